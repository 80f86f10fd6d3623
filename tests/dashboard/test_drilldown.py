"""Calls behind a number, and how confidence does: the same as SQL over the raw rows says."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from dashboard.drilldown import CALL_KINDS, CallKind, CallWish, read_calls, read_reliability
from dashboard.periods import Period
from dashboard.source import HomeSource
from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from router_core.call_log.spool import Spool
from tests.log_files import END, TYPES, write_log

WEEK = Period(first=END - dt.timedelta(days=6), until=END + dt.timedelta(days=1), zone="Europe/Berlin")
WITHIN = (
    "timezone('Europe/Berlin', timezone('UTC', ts)) >= '2026-11-16' "
    "AND timezone('Europe/Berlin', timezone('UTC', ts)) < '2026-11-23'"
)
RAW: dict[CallKind, str] = {
    "all": "true",
    "wrong": "call_id IN (SELECT call_id FROM call_outcomes WHERE correct < 1)",
    "unanswered": "status <> 'ok'",
    "escalated": "escalations > 0",
    "degraded": "degraded",
    "labelled": "call_id IN (SELECT call_id FROM outcomes)",
}
Connection = duckdb.DuckDBPyConnection


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = Home(tmp_path_factory.mktemp("log") / ".tierwise")
    write_log(home, days=9, per_day=120, undated=60)
    sure = Spool(home.spool)
    for i in range(40):
        at_us = int(dt.datetime(2026, 11, 18, 9, i, tzinfo=dt.UTC).timestamp() * 1e6)
        call = {"call_id": f"sure-{i:02}", "ts": at_us, "payload_type": "sure.type", "status": "ok"}
        served = {"tier_served": "top" if i % 4 else "cheap", "served_attempt_id": f"try-{i:02}"}
        sure.write({"k": "call", **call, **served, "confidence": i / 40, "confidence_source": "field"})
        sure.write({"k": "outcome", "call_id": f"sure-{i:02}", "received_at": at_us, "correct": float(i >= 20)})
    sure.close()
    ingest_once(home)
    return home.root


@pytest.fixture(scope="module")
def log(root: Path) -> Iterator[Connection]:
    with reading(Home(root)) as connection:
        yield connection


@pytest.mark.parametrize("kind", CALL_KINDS)
def test_the_calls_of_a_kind_are_those_of_the_raw_rows(log: Connection, kind: CallKind) -> None:
    wish = CallWish(period=WEEK, payload_type=TYPES[0], kind=kind)
    raw = log.execute(
        f"SELECT call_id FROM calls WHERE payload_type = '{TYPES[0]}' AND {WITHIN} AND {RAW[kind]} ORDER BY ts DESC"
    ).fetchall()
    found = read_calls(log, wish, limit=10_000)
    assert [line.call_id for line in found] == [call_id for (call_id,) in raw]
    assert [line.call_id for line in read_calls(log, wish, limit=3)] == [call_id for (call_id,) in raw[:3]]


def test_undated_calls_and_tiers_can_be_asked_for(log: Connection) -> None:
    assert len(read_calls(log, CallWish(period=None))) == 60
    tiers = {line.tier_served for line in read_calls(log, CallWish(period=WEEK, tiers=("top",)), limit=10_000)}
    # an unanswered call counts where it was planned
    assert tiers == {"top", None}


def test_a_reliability_curve_holds_every_labelled_answer_with_a_confidence_once(log: Connection) -> None:
    curves = read_reliability(log, WEEK, "sure.type")
    assert [(curve.tier, curve.source, curve.calibrated) for curve in curves] == [
        ("top", "field", False),
        ("cheap", "field", False),
    ]
    raw = log.execute(
        f"""SELECT count(*), sum(correct) FROM call_outcomes WHERE payload_type = 'sure.type' AND {WITHIN}
            AND status = 'ok' AND confidence IS NOT NULL AND correct IS NOT NULL"""
    ).fetchone()
    assert raw == (40, 20.0)
    assert sum(curve.calls for curve in curves) == 40
    right = sum(each.correct * each.calls for curve in curves for each in curve.bins)
    assert right == pytest.approx(20)
    for curve in curves:
        for each in curve.bins:
            assert each.low <= each.confidence <= each.low + 0.1 + 1e-9
            assert each.interval[0] <= each.correct + 1e-9
            assert each.correct <= each.interval[1] + 1e-9


def test_a_question_that_takes_too_long_is_stopped_and_said(root: Path) -> None:
    from dashboard import source
    from dashboard.library import SlowQuestionError

    def endless(connection: Connection) -> None:
        connection.execute("SELECT count(*) FROM range(1000000000) AS a, range(1000000000) AS b")

    with reading(Home(root)) as connection, pytest.raises(SlowQuestionError):
        source._within(0.05, connection, endless)  # pyright: ignore[reportPrivateUsage]


def test_a_pages_question_can_name_no_file(root: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    ask = HomeSource(Home(root))._ask  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(duckdb.PermissionException):
        ask(lambda connection: connection.execute(f"SELECT * FROM '{secret}'").fetchall())
