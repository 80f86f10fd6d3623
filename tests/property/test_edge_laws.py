"""Local days are exact in every zone, also in those where they begin inside a UTC hour."""

import datetime as dt
import tempfile
from collections import Counter
from pathlib import Path
from zoneinfo import ZoneInfo

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard import queries
from dashboard.periods import Period
from dashboard.sums import Filters
from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading

ZONES = ("UTC", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Chatham", "America/St_Johns")
FIRST, DAYS = dt.date(2026, 10, 2), 4  # clocks change on Lord Howe and on Chatham within these days
_START = dt.datetime(2026, 10, 1, tzinfo=dt.UTC)
_minutes = st.integers(0, (DAYS + 2) * 24 * 4).map(lambda quarter: quarter * 15) | st.integers(0, (DAYS + 2) * 1440)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(_minutes, st.booleans()), max_size=40))
def test_calls_and_labels_are_on_the_local_day_of_their_call(calls: list[tuple[int, bool]]) -> None:
    moments = [_START + dt.timedelta(minutes=minute) for minute, _ in calls]
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder)).create()
        lines: list[dict[str, object]] = []
        for n, (moment, (_, is_wrong)) in enumerate(zip(moments, calls, strict=True)):
            at = int(moment.timestamp() * 1e6)
            lines.append({"k": "call", "call_id": f"c{n}", "ts": at, "payload_type": "t", "status": "ok"})
            lines.append({"k": "attempt", "attempt_id": f"a{n}", "call_id": f"c{n}", "started_at": at, "cost_nusd": n})
            if is_wrong:
                lines.append({"k": "outcome", "call_id": f"c{n}", "correct": 0.0, "source": "user"})
        home.spool.joinpath("import.x-1.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
        ingest_once(home)
        for zone in ZONES:
            period = Period(first=FIRST, until=FIRST + dt.timedelta(days=DAYS), zone=zone)
            days = [moment.astimezone(ZoneInfo(zone)).date() for moment in moments]
            wrong = Counter(day for day, (_, is_wrong) in zip(days, calls, strict=True) if is_wrong)
            spend: Counter[dt.date] = Counter()
            for n, day in enumerate(days):
                spend[day] += n
            with reading(home) as con:
                points = queries.read_overview(con, Filters(period=period)).points
            found = {point.slice.first: (point.sums.calls, point.sums.spend_nusd, point.sums.wrong) for point in points}
            counts = Counter(days)
            assert found == {day: (counts[day], spend[day], wrong[day]) for day in found}
            assert len(found) == DAYS
