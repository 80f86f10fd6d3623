"""Response headers, loopback hosts, spreadsheet cells."""

import asyncio
from typing import Any

import pytest

from dashboard.security import SecurityHeaders, csv_cell, is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_this_machine_is_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", [".".join("0000"), "192.168.1.4", "::", "example.com", "localhost.example.com", ""])
def test_everything_else_is_not(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_text_that_a_spreadsheet_would_run_is_quoted(text: str) -> None:
    assert csv_cell(text) == "'" + text


@pytest.mark.parametrize("value", [-2.5, 0, None, "plain", "a=b"])
def test_numbers_and_plain_text_stay(value: object) -> None:
    assert csv_cell(value) == value


def test_every_response_forbids_frames_and_outside_addresses() -> None:
    sent: list[Any] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Frame-Options", b"ALLOW")]})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Any:
        return {}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(SecurityHeaders(inner)({"type": "http"}, receive, send))
    headers = {name.lower(): value for name, value in sent[0]["headers"]}
    assert headers[b"x-frame-options"] == b"DENY"
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"referrer-policy"] == b"no-referrer"
    assert b"frame-ancestors 'none'" in headers[b"content-security-policy"]
    assert b"default-src 'self'" in headers[b"content-security-policy"]
    assert b"http" not in headers[b"content-security-policy"]
    assert len(sent[0]["headers"]) == len(headers)
