"""The first page over a fake source: what it says, and what it never does with logged text."""

import datetime as dt
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.periods import slices
from dashboard.sums import NO_NAME, Filters, LogState, Overview, Point, Row, Source, Span, Sums
from router_core.call_log.access import LogBusyError, NoLogError
from router_core.errors import ConfigError, Problem

NOW = dt.datetime(2026, 11, 23, 14, 2, tzinfo=dt.UTC)
HOSTILE = "<img src=x onerror=alert(1)> ![x](https://evil.example/p.png) $3→$1 =1+1 \u202egnp :red[x] " + "x" * 10_000
STATE = LogState(exists=True, demo=False, zone="Europe/Berlin", tiers=("cheap", "top"), now=NOW, as_of=NOW)
SPAN = Span(
    first_hour=dt.datetime(2026, 9, 1, tzinfo=dt.UTC),
    last_hour=dt.datetime(2026, 11, 22, 22, tzinfo=dt.UTC),
    has_undated=False,
    calls=5_000,
    payload_types=("invoice.extract", "ticket.classify"),
    tiers=("cheap", "top"),
)
SUMS = Sums(
    calls=1_000,
    unanswered=20,
    degraded=7,
    attempts=1_200,
    failed=24,
    invalid=60,
    spend_nusd=12_500_000_000,
    priced=1_190,
    labelled=490,
    wrong=49,
    impact_nusd=30_000_000_000,
    wrong_unpriced=4,
    p50_ms=412.4,
    p95_ms=12_345.6,
)
NOTHING_FOUND = Overview(total=Sums(), before=None, by_type=(), by_tier=(), by_model=(), points=())


@dataclass(kw_only=True)
class FakeSource:
    """Gives what it is told to, and remembers what it was asked."""

    shown: LogState = STATE
    held: Span = SPAN
    total: Sums = SUMS
    before: Sums | None = None
    names: Sequence[str] = ("invoice.extract", "ticket.classify")
    error: Exception | None = None
    asked: list[Filters] = field(default_factory=list[Filters])

    def state(self) -> LogState:
        return self.shown

    def span(self) -> Span:
        if self.error is not None:
            raise self.error
        return self.held

    def overview(self, filters: Filters) -> Overview:
        self.asked.append(filters)
        if not self.total.calls:
            return NOTHING_FOUND
        return Overview(
            total=self.total,
            before=self.before,
            by_type=tuple(Row(name=name, sums=self.total) for name in self.names),
            by_tier=tuple(Row(name=name, sums=self.total) for name in self.held.tiers),
            by_model=(Row(name="openai/gpt-5-nano", sums=self.total), Row(name=NO_NAME, sums=Sums(calls=3))),
            points=tuple(
                Point(slice=piece, sums=self.total, spend_by_tier_nusd=dict.fromkeys(self.held.tiers, 10**9))
                for piece in (slices(filters.period) if filters.period else ())
            ),
        )


def page(source: "Source") -> None:
    from dashboard.views import overview

    overview.render(source)


def shown(source: FakeSource, **address: str | list[str]) -> AppTest:
    app = AppTest.from_function(page, args=(source,), default_timeout=20)
    for name, value in address.items():
        app.query_params[name] = value
    return app.run()


def tiles(app: AppTest) -> dict[str, str]:
    assert not app.exception
    return {metric.label: metric.value for metric in app.metric}


def words(app: AppTest) -> str:
    return "\n".join(element.value for element in (*app.caption, *app.markdown, *app.text, *app.subheader)).replace(
        "\\", ""
    )


def test_tiles_show_the_sums() -> None:
    app = shown(FakeSource())
    assert tiles(app) == {
        "Spend": "$12.50",
        "Cost per 1k calls": "$12.50",
        "Observed impact": "$30.00",
        "Total cost": "$42.50",
        "Calls": "1,000",
        "Latency p50": "≈ 412 ms",
        "Latency p95": "≈ 12.3 s",
        "Failed requests": "2.00%",
        "Invalid answers": "5.00%",
        "Wrong answers": "10.00%",
    }


def test_the_wrong_rate_carries_its_interval_and_the_page_says_how_much_is_labelled() -> None:
    app = shown(FakeSource())
    (wrong,) = [metric for metric in app.metric if metric.label == "Wrong answers"]
    assert "7.65–12.98% (95%)" in str(wrong.proto)
    assert "labels cover 50.00% of the answered calls" in words(app)


def test_unknown_costs_are_said() -> None:
    assert "the cost of 10 of 1,200 attempts is not known" in words(shown(FakeSource()))


def test_the_bar_says_period_zone_calls_and_age() -> None:
    state = replace(STATE, as_of=NOW - dt.timedelta(minutes=5))
    said = words(shown(FakeSource(shown=state)))
    assert "2026-10-24 to 2026-11-22 (30 days) · Europe/Berlin · 1,000 calls · data as of 2026-11-23 14:57 CET" in said
    assert "5 min ago" in said


def test_the_period_ends_with_the_data_and_not_today() -> None:
    source = FakeSource()
    shown(source)
    period = source.asked[-1].period
    assert period is not None
    assert period.last == dt.date(2026, 11, 22)


def test_a_period_that_begins_before_the_log_says_so() -> None:
    assert "the log begins on 2026-09-01" in words(shown(FakeSource(), period="90d"))
    assert "the log begins" not in words(shown(FakeSource()))


def test_the_day_that_is_not_over_is_marked_as_a_part() -> None:
    now = dt.datetime(2026, 11, 22, 15, tzinfo=dt.UTC)
    unfinished = replace(STATE, now=now, as_of=now)
    assert "pale: part of a day" in words(shown(FakeSource(shown=unfinished)))
    assert "pale" not in words(shown(FakeSource()))


def test_changes_name_the_period_they_are_against() -> None:
    app = shown(FakeSource(before=replace(SUMS, spend_nusd=10_000_000_000, failed=24)))
    spend = app.metric[0]
    assert (spend.label, spend.delta) == ("Spend", "+25.0%")
    assert "changes against 2026-09-24 to 2026-10-23" in words(app)


def test_without_a_period_before_there_is_no_change() -> None:
    assert [metric.delta for metric in shown(FakeSource()).metric] == [""] * 10


def test_filters_reach_the_query() -> None:
    source = FakeSource()
    app = shown(source)
    app.segmented_control(key="period").set_value("7d")
    app.multiselect(key="type").set_value(["ticket.classify"])
    app.multiselect(key="tier").set_value(["top"]).run()
    asked = source.asked[-1]
    assert asked.period is not None
    assert (asked.period.days, asked.payload_types, asked.tiers) == (7, ("ticket.classify",), ("top",))


def test_an_address_sets_the_filters() -> None:
    source = FakeSource()
    shown(source, period="90d", type=["invoice.extract"], tier="cheap")
    asked = source.asked[-1]
    assert asked.period is not None
    assert (asked.period.days, asked.payload_types, asked.tiers) == (90, ("invoice.extract",), ("cheap",))


def test_unknown_values_in_an_address_are_said() -> None:
    app = shown(FakeSource(), type=["gone.type", "invoice.extract"])
    assert "Payload types not in this log: gone.type" in words(app)


def test_days_can_be_chosen() -> None:
    source = FakeSource()
    app = shown(source, period="custom")
    app.date_input(key="days").set_value((dt.date(2026, 11, 3), dt.date(2026, 11, 5))).run()
    period = source.asked[-1].period
    assert period is not None
    assert (period.first, period.last) == (dt.date(2026, 11, 3), dt.date(2026, 11, 5))


def test_static_evaluations_are_a_period_of_their_own() -> None:
    source = FakeSource(held=replace(SPAN, first_hour=None, last_hour=None, has_undated=True))
    app = shown(source)
    assert source.asked[-1].period is None
    assert "undated evaluation" in words(app)
    assert not app.get("plotly_chart")


def test_a_price_for_wrong_answers_without_one_is_named_as_the_readers() -> None:
    app = shown(FakeSource())
    assert "4 wrong answers carry no error price" in words(app)
    app.number_input(key="price").set_value(2.5).run()
    assert tiles(app)["Observed impact"] == "$40.00"
    assert tiles(app)["Total cost"] == "$52.50"
    assert "4 wrong answers counted at $2.50 each, your figure" in words(app)


def test_no_price_is_asked_for_when_every_wrong_answer_has_one() -> None:
    assert not shown(FakeSource(total=replace(SUMS, wrong_unpriced=0))).number_input


def test_demo_data_are_marked() -> None:
    assert "DEMO DATA (simulated)" in words(shown(FakeSource(shown=replace(STATE, demo=True))))
    assert "DEMO DATA" not in words(shown(FakeSource()))


def test_lines_that_wait_too_long_make_the_page_stale() -> None:
    waiting = replace(STATE, as_of=NOW - dt.timedelta(minutes=9), backlog_bytes=1_400_000)
    said = words(shown(FakeSource(shown=waiting)))
    assert "stale" in said
    assert "1.4 MB written by routers, not in these numbers yet" in said
    assert "stale" not in words(shown(FakeSource(shown=replace(waiting, backlog_bytes=0))))


def test_limit_days_are_counted() -> None:
    assert "limit hit on 30 days: 7 degraded calls" in words(shown(FakeSource()))


def test_the_breakdown_can_be_by_type_tier_or_model() -> None:
    app = shown(FakeSource())
    assert list(app.dataframe[0].value["Payload type"]) == ["invoice.extract", "ticket.classify"]
    app.segmented_control(key="by").set_value("tier").run()
    assert list(app.dataframe[0].value["Tier"]) == ["cheap", "top"]
    app.segmented_control(key="by").set_value("model").run()
    assert list(app.dataframe[0].value["Model"]) == ["openai/gpt-5-nano", "(none)"]


def test_a_chart_can_be_read_as_a_table() -> None:
    app = shown(FakeSource())
    app.segmented_control(key="spend_view").set_value("table").run()
    table = app.dataframe[0].value
    assert len(table) == 30
    assert table["Spend"].iloc[0] == 12.5
    assert list(table.columns[:4]) == ["From", "Spend", "cheap", "top"]


def test_latency_has_a_chart() -> None:
    app = shown(FakeSource())
    app.segmented_control(key="measure").set_value("latency").run()
    assert not app.exception
    specs = [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]
    assert "Milliseconds" in [spec["layout"]["yaxis"]["title"]["text"] for spec in specs]


def test_every_chart_has_an_alternative_text() -> None:
    charts: Sequence[Any] = shown(FakeSource()).get("plotly_chart")
    assert len(charts) == 2
    assert all(chart.proto.alt for chart in charts)


def test_no_log_says_how_to_get_one() -> None:
    app = shown(FakeSource(shown=replace(STATE, exists=False)))
    assert "No calls logged yet" in words(app)
    assert "tierwise demo" in [code.value for code in app.code]


def test_a_log_without_rows_says_the_same() -> None:
    empty = Span(first_hour=None, last_hour=None, has_undated=False, calls=0, payload_types=(), tiers=())
    assert "No calls logged yet" in words(shown(FakeSource(held=empty)))
    assert "No calls logged yet" in words(shown(FakeSource(error=NoLogError())))


def test_filters_that_match_nothing_are_named_and_can_be_cleared() -> None:
    source = FakeSource(total=Sums())
    app = shown(source, type=["ticket.classify"], period="7d")
    assert "Nothing matches the filters" in words(app)
    assert "Payload types: ticket.classify" in words(app)
    app.button(key="clear").click().run()
    assert not app.exception
    asked = source.asked[-1]
    assert asked.payload_types == ()
    assert asked.period is not None
    assert asked.period.first == dt.date(2026, 9, 1)


def test_a_busy_log_can_be_tried_again() -> None:
    source = FakeSource(error=LogBusyError("locked"))
    app = shown(source)
    assert "Nothing is lost" in app.warning[0].value
    source.error = None
    app.button(key="retry").click().run()
    assert tiles(app)["Spend"] == "$12.50"


def test_an_unreadable_log_says_what_is_wrong() -> None:
    app = shown(FakeSource(error=ConfigError("calls.duckdb", [Problem(path="x", message="written by a newer one")])))
    assert app.error[0].value == "The log cannot be read."
    assert "written by a newer one" in words(app)


def test_an_error_shows_an_id_and_keeps_its_details_in_the_servers_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "tierwise.dashboard"):
        app = shown(FakeSource(error=ValueError("secret detail")))
    assert not app.exception
    said = app.error[0].value
    assert "secret detail" not in said + words(app)
    (record,) = [record for record in caplog.records if record.name == "tierwise.dashboard"]
    assert record.getMessage().split()[-1] in said
    assert record.exc_info is not None


def test_hostile_names_are_never_read_as_markdown() -> None:
    held = replace(SPAN, payload_types=(HOSTILE, HOSTILE + "2"), tiers=(HOSTILE,))
    app = shown(FakeSource(held=held, names=(HOSTILE,)), type=[HOSTILE])
    assert not app.exception
    for element in (*app.markdown, *app.caption, *app.subheader):
        assert "evil" not in element.value
    first, second = app.multiselect(key="type").options
    assert len(first) < 230
    assert "\u202e" not in first
    assert "\\u202e" in first
    assert first != second
    name = app.dataframe[0].value["Payload type"].iloc[0]
    assert len(name) < 230
    for chart in app.get("plotly_chart"):
        assert "<img" not in chart.proto.spec
        assert "\u202e" not in json.loads(json.dumps(chart.proto.alt))


@pytest.mark.parametrize(
    "sums",
    [
        Sums(calls=1, attempts=1),
        Sums(calls=1, attempts=1, priced=1),
        Sums(calls=3, unanswered=3, attempts=3, failed=3),
        Sums(calls=10, attempts=10, priced=10, spend_nusd=1),
        Sums(calls=10**7, attempts=10**7, priced=10**7, spend_nusd=10**18, labelled=10, wrong=10.0, impact_nusd=10**18),
    ],
)
def test_tiny_and_huge_logs_show_no_nan(sums: Sums) -> None:
    app = shown(FakeSource(total=sums))
    for text in (*tiles(app).values(), words(app)):
        assert "nan" not in text.lower().replace("tenant", "")
        assert "None" not in text


def test_thousands_of_payload_types_are_cut_on_the_page_only() -> None:
    app = shown(FakeSource(names=[f"type.{i}" for i in range(2_000)]))
    assert len(app.dataframe[0].value) == 1_000
    assert "The first 1,000 of 2,000 rows" in words(app)
