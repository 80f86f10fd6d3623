"""Alerts of a watched home: told once, also over restarts; posted, signed, and tried again."""

import hashlib
import hmac
import json
import logging
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from router_core.alerting import ID_HEADER, SIGNATURE_HEADER, Alerting, post_http
from router_core.call_log.home import Home
from router_core.call_log.ingest import Ingester, IngestReport
from tests.routers import NOON_US, ROUTING, Bench, bounded, open_bench

KEY = b"a secret of ours"
DAY_US = 86_400_000_000
# one y.write call on top costs 0.0007
ROUTED = bounded(ROUTING).replace("payload_types:\n", "payload_types:\n  y.write: {path: [top]}\n")


class Posted:
    """Takes posts; answers with these statuses, the last one again and again."""

    def __init__(self, *statuses: int | OSError) -> None:
        self.statuses = list(statuses) or [200]
        self.got: list[tuple[dict[str, Any], Mapping[str, str], bytes]] = []

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        self.got.append((json.loads(body), headers, body))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if isinstance(status, OSError):
            raise status
        return status

    @property
    def keys(self) -> list[str]:
        return [body["key"] for body, _, _ in self.got]


class Watched:
    """A home, and whoever watches it at an instant."""

    def __init__(self, bench: Bench, post: Posted | None = None, key: bytes = KEY) -> None:
        self.bench = bench
        self.home = Home(bench.home)
        self.post = post or Posted()
        self.key = key
        self.restart()

    def restart(self) -> None:
        self.alerting = Alerting(self.home, self.key, self.post)

    def look(self, now_us: int | None = None) -> int:
        """Take in what is spooled, look, and post; return how many new alerts there were."""
        at_us = self.bench.clock.now_us() if now_us is None else now_us
        ingester = Ingester(self.home, now_us=lambda: at_us)
        try:
            told = self.alerting.look(ingester.tick(), ingester, at_us)
        finally:
            ingester.close()
        self.alerting.deliver(at_us)
        return told

    def kinds(self) -> list[str]:
        return [line["details"]["kind"] for line in self.bench.lines("event") if line["event"] == "alert"]


def watched(tmp_path: Path, budgets: str = "", alerts: str = "", post: Posted | None = None) -> Watched:
    text = ROUTED + budgets + f"alerts: {{webhook: 'http://127.0.0.1:1/alerts'{alerts}}}\n"
    bench = open_bench(tmp_path, routing=text)
    return Watched(bench, post)


DAILY = "budgets: [{name: daily, usd: 0.007}]\n"


def spend(watch: Watched, calls: int) -> None:
    for _ in range(calls):
        watch.bench.ask("y.write")
    watch.bench.router._guardrail._tell(watch.bench.clock.now_us())


def test_shares_of_a_limit_are_told_once_each_also_by_the_next_process(tmp_path: Path) -> None:
    watch = watched(tmp_path, DAILY)
    told: list[int] = []
    for _ in range(11):
        spend(watch, 1)
        watch.restart()
        told.append(watch.look())
        told.append(watch.look())
    limits = [body["facts"]["share"] for body, _, _ in watch.post.got if body["kind"] == "limit"]
    assert limits == [50, 80, 100]
    assert [body["kind"] for body, _, _ in watch.post.got].count("forecast") == 1
    assert sum(told) == 4
    assert len(watch.post.got) == 4


def test_forecast_says_when_the_limit_will_be_reached(tmp_path: Path) -> None:
    watch = watched(tmp_path, "budgets: [{name: daily, usd: 0.02}]\n")
    watch.bench.clock.set(NOON_US + 3_600_000_000)
    spend(watch, 6)
    watch.look()
    (forecast,) = [body for body, _, _ in watch.post.got if body["kind"] == "forecast"]
    assert "will be reached at about" in forecast["text"]
    assert NOON_US < forecast["facts"]["forecast_us"] < NOON_US + DAY_US // 2


def test_next_day_is_told_of_anew(tmp_path: Path) -> None:
    watch = watched(tmp_path, DAILY)
    spend(watch, 11)
    watch.look()
    watch.bench.clock.sleep(86_400)
    spend(watch, 11)
    watch.look()
    limits = [body["facts"]["period"] for body, _, _ in watch.post.got if body["kind"] == "limit"]
    assert limits == ["2026-11-23", "2026-11-24"]


def test_call_above_an_amount_is_told_of_and_an_old_one_never(tmp_path: Path) -> None:
    watch = watched(tmp_path, alerts=", call_above_usd: 0.0005")
    old = watch.bench.ask("y.write")
    watch.bench.clock.sleep(90_000)
    dear = watch.bench.ask("y.write")
    watch.bench.ask("x.extract")
    assert (watch.look(), watch.look()) == (1, 0)
    assert watch.post.keys == [f"call/{dear.call_id}"] != [f"call/{old.call_id}"]


def test_day_above_three_times_the_usual_one_is_told_of(tmp_path: Path) -> None:
    watch = watched(tmp_path)
    for day in range(10):
        watch.bench.clock.set(NOON_US + day * DAY_US)
        spend(watch, 2 if day < 9 else 7)
        watch.look()
    assert watch.post.keys == ["day/2026-12-02"]


def test_store_that_could_not_be_used_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "home" / "control.sqlite").mkdir(parents=True)  # SQLite cannot open a folder
    watch = watched(tmp_path, DAILY)
    watch.bench.ask("y.write")
    watch.look()
    assert {body["kind"] for body, _, _ in watch.post.got} == {"store"}


def test_backlog_is_told_of_once_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import router_core.alerting

    monkeypatch.setattr(router_core.alerting, "_BACKLOG_BYTES", 1)
    watch = watched(tmp_path)
    report = IngestReport(backlog_bytes=5)
    assert [watch.alerting.look(report, _Nothing(), NOON_US + n * 2_000_000) for n in range(3)] == [1, 0, 0]


class _Nothing:
    def ask(self, *questions: Any) -> list[list[Any]]:
        return [[] for _ in questions]


def test_post_is_signed_and_tried_again_with_the_same_id_until_it_is_taken(tmp_path: Path) -> None:
    watch = watched(tmp_path, DAILY, post=Posted(ConnectionRefusedError(), 500, 302, 200))
    spend(watch, 11)
    at_us = watch.bench.clock.now_us()
    for wait_s in (0, 1, 3, 7, 15, 30):
        watch.restart()
        watch.look(at_us + wait_s * 1_000_000)
    assert watch.post.keys == ["limit/daily//2026-11-23/7000000/100"] * 4
    assert len({headers[ID_HEADER] for _, headers, _ in watch.post.got}) == 1
    _, headers, body = watch.post.got[-1]
    time, _, signed = headers[SIGNATURE_HEADER].removeprefix("t=").partition(",v1=")
    assert hmac.new(KEY, time.encode() + b"." + body, hashlib.sha256).hexdigest() == signed


def test_nothing_is_posted_without_a_key_and_the_log_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    watch = watched(tmp_path, DAILY)
    watch.key = b""
    watch.restart()
    spend(watch, 11)
    with caplog.at_level(logging.WARNING):
        assert watch.look() == 1
    assert watch.post.got == []
    assert "TIERWISE_WEBHOOK_KEY" in caplog.text
    assert "budget daily, 2026-11-23: 100 %" in caplog.text
    assert watch.kinds() == ["limit"]


@contextmanager
def listening(status: int) -> Generator[tuple[str, list[tuple[bytes, str | None]]]]:
    got: list[tuple[bytes, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            got.append((body, self.headers.get(SIGNATURE_HEADER)))
            self.send_response(status)
            self.send_header("location", "http://127.0.0.1:1/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("status", [200, 302, 503])
def test_post_goes_over_http_and_follows_no_redirect(status: int) -> None:
    with listening(status) as (url, got):
        assert post_http(url, b"{}", {SIGNATURE_HEADER: "t=1,v1=2"}) == status
        assert got == [(b"{}", "t=1,v1=2")]


def test_address_that_nobody_listens_at_is_an_error_that_is_tried_again() -> None:
    with pytest.raises(OSError, match="refused"):
        post_http("http://127.0.0.1:9/", b"{}", {})
