"""Response headers, loopback hosts, spreadsheet cells."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from dashboard.security import KnownHosts, SecurityHeaders, csv_cell, is_loopback


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


def answered(middleware: Any, kind: str = "http", headers: Sequence[tuple[bytes, bytes]] = ()) -> list[Any]:
    """Return what a middleware sends for one request."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(middleware({"type": kind, "headers": list(headers)}, receive, send))
    return sent


async def page(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Frame-Options", b"ALLOW")]})
    await send({"type": "http.response.body", "body": b""})


def test_every_response_forbids_frames_and_outside_addresses() -> None:
    sent = answered(SecurityHeaders(page))
    headers = {name.lower(): value for name, value in sent[0]["headers"]}
    assert headers[b"x-frame-options"] == b"DENY"
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"referrer-policy"] == b"no-referrer"
    assert b"frame-ancestors 'none'" in headers[b"content-security-policy"]
    assert b"default-src 'self'" in headers[b"content-security-policy"]
    assert b"http" not in headers[b"content-security-policy"]
    assert len(sent[0]["headers"]) == len(headers)


@pytest.mark.parametrize("host", [b"localhost", b"127.0.0.1:8501", b"[::1]:8501", b"LOCALHOST:1"])
def test_this_machines_names_are_answered(host: bytes) -> None:
    assert answered(KnownHosts(page), headers=[(b"host", host)])[0]["status"] == 200


@pytest.mark.parametrize(
    "host", [b"evil.example", b"localhost.evil.example:8501", b"", b"[", b"127.0.0.1@evil.example", b"\xff"]
)
def test_other_names_are_not(host: bytes) -> None:
    assert answered(KnownHosts(page), headers=[(b"host", host)])[0]["status"] == 400


def test_a_websocket_under_another_name_is_never_opened() -> None:
    sent = answered(KnownHosts(page), "websocket", [(b"host", b"evil.example")])
    assert sent == [{"type": "websocket.close", "code": 1008}]
