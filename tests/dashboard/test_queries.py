"""Every number of the first page equals SQL over the raw rows."""

import datetime as dt
import math
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from dashboard import queries
from dashboard.periods import Period
from dashboard.source import HomeSource
from dashboard.sums import NO_NAME, Filters, Overview, Row, Sums
from router_core.call_log.home import Home
from router_core.call_log.read import reading
from tests.log_files import END, TIERS, TYPES, write_log

ZONE = "Europe/Berlin"
WEEK = Period(first=END - dt.timedelta(days=6), until=END + dt.timedelta(days=1), zone=ZONE)
FILTERS = [
    Filters(period=WEEK),
    Filters(period=WEEK, payload_types=(TYPES[0], TYPES[3])),
    Filters(period=WEEK, tiers=("top",)),
    Filters(period=WEEK, payload_types=(TYPES[1],), tiers=("cheap", "mid")),
    Filters(period=Period(first=END, until=END + dt.timedelta(days=1), zone=ZONE)),
    Filters(period=None),
]
Connection = duckdb.DuckDBPyConnection


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("log") / ".tierwise")
    write_log(home, days=15, per_day=120, undated=300)
    return home


@pytest.fixture(scope="module")
def log(home: Home) -> Iterator[Connection]:
    with reading(home) as connection:
        yield connection


def raw_sums(log: Connection, filters: Filters, *, tier: str | None = None, day: dt.date | None = None) -> Sums:
    """Return the sums and exact quantiles over the raw rows, by SQL of its own."""

    def where(instant: str, tier_column: str) -> str:
        zone = filters.period.zone if filters.period is not None else ZONE
        local = f"timezone('{zone}', timezone('UTC', {instant}))"
        parts = [f"{instant} IS NULL"]
        if filters.period is not None:
            first, until = (day, day + dt.timedelta(days=1)) if day else (filters.period.first, filters.period.until)
            parts = [f"{local} >= '{first}'", f"{local} < '{until}'"]
        if filters.payload_types:
            parts.append(f"payload_type IN {(*filters.payload_types, '')}")
        tiers = (tier,) if tier is not None else filters.tiers
        if tiers:
            parts.append(f"{tier_column} IN {(*tiers, '-')}")
        return " AND ".join(parts)

    def one(sql: str) -> tuple[float, ...]:
        found = log.execute(sql).fetchone()
        assert found is not None
        return tuple(value or 0 for value in found)

    calls = one(
        f"""SELECT count(*), count(*) FILTER (status <> 'ok'), count(*) FILTER (degraded),
            count(*) FILTER (escalations > 0) FROM calls WHERE {where("ts", "coalesce(tier_served, tier_planned)")}"""
    )
    attempts = one(
        f"""SELECT count(*), count(*) FILTER (status = 'failed'), count(*) FILTER (status = 'invalid'), sum(cost_nusd),
            sum(cost_nusd) FILTER (role = 'shadow'), count(cost_nusd)
            FROM attempts WHERE {where("started_at", "tier")}"""
    )
    labels = one(
        f"""SELECT count(*), sum(1 - correct),
            sum(CASE WHEN error_nusd IS NOT NULL THEN error_nusd ELSE (1 - correct) * error_cost_nusd END),
            sum(1 - correct) FILTER (error_nusd IS NULL AND error_cost_nusd IS NULL)
            FROM calls JOIN outcomes USING (call_id) WHERE {where("ts", "tier_served")}"""
    )
    latencies = [
        ms
        for (ms,) in log.execute(
            f"SELECT latency_ms FROM calls WHERE {where('ts', 'tier_served')} ORDER BY latency_ms"
        ).fetchall()
    ]
    rank = [max(1, math.ceil(q * len(latencies))) - 1 for q in (0.5, 0.95)]
    return Sums(
        calls=int(calls[0]),
        unanswered=int(calls[1]),
        degraded=int(calls[2]),
        escalated=int(calls[3]),
        attempts=int(attempts[0]),
        failed=int(attempts[1]),
        invalid=int(attempts[2]),
        spend_nusd=int(attempts[3]),
        shadow_nusd=int(attempts[4]),
        priced=int(attempts[5]),
        labelled=int(labels[0]),
        wrong=float(labels[1]),
        impact_nusd=int(labels[2]),
        wrong_unpriced=float(labels[3]),
        p50_ms=latencies[rank[0]] if latencies else None,
        p95_ms=latencies[rank[1]] if latencies else None,
    )


def assert_same(found: Sums, raw: Sums) -> None:
    for name in Sums.__dataclass_fields__:
        mine, exact = getattr(found, name), getattr(raw, name)
        if name in {"p50_ms", "p95_ms"} and exact is not None:
            assert mine == pytest.approx(exact, rel=0.025), name
        else:
            assert mine == exact, name


@pytest.mark.parametrize("filters", FILTERS)
def test_totals_equal_the_raw_rows(log: Connection, filters: Filters) -> None:
    found = queries.read_overview(log, filters).total
    assert found.calls > 20
    assert_same(found, raw_sums(log, filters))


@pytest.mark.parametrize("name", TYPES)
def test_each_payload_type_equals_the_raw_rows(log: Connection, name: str) -> None:
    rows = queries.read_overview(log, Filters(period=WEEK)).by_type
    (row,) = [row for row in rows if row.name == name]
    assert_same(row.sums, raw_sums(log, Filters(period=WEEK, payload_types=(name,))))


@pytest.mark.parametrize("name", TIERS)
def test_each_tier_equals_the_raw_rows(log: Connection, name: str) -> None:
    rows = queries.read_overview(log, Filters(period=WEEK)).by_tier
    (row,) = [row for row in rows if row.name == name]
    assert_same(row.sums, raw_sums(log, Filters(period=WEEK), tier=name))


@pytest.mark.parametrize("i", range(7))
def test_each_local_day_equals_the_raw_rows(log: Connection, i: int) -> None:
    filters = Filters(period=WEEK)
    point = queries.read_overview(log, filters).points[i]
    assert point.slice.first == WEEK.first + dt.timedelta(days=i)
    assert_same(point.sums, raw_sums(log, filters, day=point.slice.first))


# their days begin inside a UTC hour; on Lord Howe clocks even change by half an hour
@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns"])
def test_days_that_begin_inside_an_hour_equal_the_raw_rows(log: Connection, zone: str) -> None:
    filters = Filters(period=Period(first=WEEK.first, until=WEEK.until, zone=zone))
    found = queries.read_overview(log, filters)

    assert_same(found.total, raw_sums(log, filters))
    assert found.before is not None
    assert filters.period is not None
    assert_same(found.before, raw_sums(log, Filters(period=filters.period.before())))
    for point in found.points:
        assert_same(point.sums, raw_sums(log, filters, day=point.slice.first))
    chosen = Filters(period=filters.period, payload_types=(TYPES[2],), tiers=("mid",))
    assert_same(queries.read_overview(log, chosen).total, raw_sums(log, chosen))


def whole(rows: tuple[Row, ...], name: str) -> float:
    return sum(getattr(row.sums, name) for row in rows)


@pytest.mark.parametrize("filters", FILTERS)
def test_the_parts_add_up_to_the_total(log: Connection, filters: Filters) -> None:
    found: Overview = queries.read_overview(log, filters)
    for name in ("calls", "attempts", "spend_nusd", "labelled", "wrong", "impact_nusd"):
        total = getattr(found.total, name)
        assert whole(found.by_type, name) == total
        assert whole(found.by_tier, name) == total
        assert whole(found.by_model, name) == total
        if filters.period is not None:
            assert sum(getattr(point.sums, name) for point in found.points) == total
    if filters.period is not None:
        assert sum(sum(point.spend_by_tier_nusd.values()) for point in found.points) == found.total.spend_nusd


def test_the_period_before_is_compared_with_when_the_log_covers_it(log: Connection) -> None:
    before = queries.read_overview(log, Filters(period=WEEK)).before
    assert before is not None
    assert_same(before, raw_sums(log, Filters(period=WEEK.before())))


def test_a_period_before_the_logs_first_hour_is_not_compared_with(log: Connection) -> None:
    fortnight = Period(first=END - dt.timedelta(days=13), until=END + dt.timedelta(days=1), zone=ZONE)
    assert queries.read_overview(log, Filters(period=fortnight)).before is None


def test_days_without_calls_are_there_with_nothing_in_them(log: Connection) -> None:
    longer = Period(first=END - dt.timedelta(days=19), until=END + dt.timedelta(days=3), zone=ZONE)
    points = queries.read_overview(log, Filters(period=longer)).points
    assert len(points) == 22
    assert points[0].sums == Sums()
    assert points[-1].sums == Sums()


def test_an_unknown_name_matches_nothing(log: Connection) -> None:
    found = queries.read_overview(log, Filters(period=WEEK, payload_types=("' OR 1=1 --",)))
    assert found.total == Sums()
    assert found.by_type == ()


def test_the_span_names_what_is_in_the_log(log: Connection) -> None:
    span = queries.read_span(log)
    assert span.payload_types == tuple(sorted(TYPES))
    assert span.tiers == TIERS
    assert span.has_undated
    assert span.last_hour == dt.datetime(2026, 11, 22, 22, tzinfo=dt.UTC)
    assert span.calls == 15 * 120 + 300


def test_pages_need_no_raw_table(log: Connection) -> None:
    with duckdb.connect() as rollups_alone:
        for table in ("rollup_calls", "rollup_attempts", "rollup_latency", "rollup_outcomes", "ledger", "progress"):
            copied = log.table(table).arrow()
            rollups_alone.register("copied", copied)
            rollups_alone.execute(f"CREATE TABLE {table} AS FROM copied")
            rollups_alone.unregister("copied")
        assert queries.read_span(rollups_alone) == queries.read_span(log)
        assert queries.read_progress(rollups_alone) == queries.read_progress(log)
        for filters in FILTERS:
            assert queries.read_overview(rollups_alone, filters) == queries.read_overview(log, filters)


def test_a_home_names_its_zone_its_tiers_and_how_fresh_it_is(home: Home) -> None:
    state = HomeSource(home).state()
    assert (state.exists, state.zone, state.tiers, state.demo) == (True, ZONE, TIERS, False)
    assert state.backlog_bytes == 0
    assert state.as_of is not None


def test_lines_that_nobody_took_in_are_said(home: Home) -> None:
    waiting = home.spool / "w-1.jsonl"
    waiting.write_text('{"k": "call", "call_id": "later"}\n')
    try:
        assert HomeSource(home).state().backlog_bytes == waiting.stat().st_size
    finally:
        waiting.unlink()


def test_a_broken_config_does_not_hide_the_log(home: Home, tmp_path: Path) -> None:
    broken = tmp_path / "routing.yaml"
    broken.write_text("version: 9\n")
    source = HomeSource(home, broken)
    assert source.state().zone == "UTC"
    assert source.overview(Filters(period=None)).total.calls == 300


def test_a_call_without_a_tier_has_a_row_without_a_name(tmp_path: Path) -> None:
    home = Home(tmp_path / ".tierwise").create()
    line = '{"k": "call", "call_id": "c1", "ts": 1763800000000000, "payload_type": "t", "status": "ok"}\n'
    home.spool.joinpath("import.x-1.jsonl").write_text(line)
    from router_core.call_log.ingest import ingest_once

    ingest_once(home)
    source = HomeSource(home)
    assert source.span().tiers == (NO_NAME,)
    day = dt.date(2025, 11, 22)
    found = source.overview(Filters(period=Period(first=day, until=day + dt.timedelta(days=1), zone="UTC")))
    assert [(row.name, row.sums.calls) for row in found.by_tier] == [(NO_NAME, 1)]
