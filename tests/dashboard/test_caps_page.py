"""The cap simulator over a fake source: what it says, and when it says nothing."""

import datetime as dt
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.periods import Period
from dashboard.rehearsals import CapSource
from dashboard.sums import LogState, Span
from optimizer.simulate.rehearsal import Traffic
from router_core.call_log.access import LogBusyError, NoLogError
from router_core.decide.guard import Limit
from router_core.errors import ConfigError, Problem
from tests.traffic import FIRST, ZONE, make_traffic

USD = 1_000_000_000
NOW = dt.datetime(2026, 11, 24, 14, 2, tzinfo=dt.UTC)
STATE = LogState(exists=True, demo=False, zone=ZONE, tiers=("cheap", "top"), now=NOW, as_of=NOW)
SPAN = Span(
    first_hour=dt.datetime(2026, 11, 20, 7, tzinfo=dt.UTC),
    last_hour=dt.datetime(2026, 11, 22, 9, tzinfo=dt.UTC),
    has_undated=False,
    calls=30,
    payload_types=("a.judged", "b.unknown", "c.kept"),
    tiers=("cheap", "top"),
)
HOSTILE = "<img src=x onerror=alert(1)> ![x](https://evil.example/p.png) $3→$1 =1+1 \u202egnp :red[x] " + "x" * 10_000


@dataclass(kw_only=True)
class FakeCaps:
    """Gives what it is told to, and remembers what it was asked."""

    shown: LogState = STATE
    held: Span = SPAN
    present: Limit | None = field(
        default_factory=lambda: Limit(name="daily", limit_nusd=4 * USD, critical_reserve_nusd=0)
    )
    calls: Traffic = field(default_factory=make_traffic)
    error: Exception | None = None
    asked: list[Period] = field(default_factory=list[Period])

    def state(self) -> LogState:
        return self.shown

    def span(self) -> Span:
        return self.held

    def limit(self) -> Limit | None:
        return self.present

    def traffic(self, period: Period) -> Traffic:
        self.asked.append(period)
        if self.error is not None:
            raise self.error
        return self.calls


def page(source: "CapSource") -> None:
    from dashboard.views import caps

    caps.render(source)


def shown(source: FakeCaps, **address: str) -> AppTest:
    app = AppTest.from_function(page, args=(source,), default_timeout=20)
    for name, value in address.items():
        app.query_params[name] = value
    return app.run()


def tiles(app: AppTest) -> dict[str, str]:
    assert not app.exception
    return {metric.label: metric.value for metric in app.metric}


def words(app: AppTest) -> str:
    found = (*app.caption, *app.markdown, *app.text, *app.subheader)
    return "\n".join(element.value for element in found).replace("\\", "")


def table(app: AppTest) -> Any:
    return app.dataframe[0].value


def test_the_present_limit_is_rehearsed_first_and_what_it_saves_stands_beside_what_it_costs() -> None:
    app = shown(FakeCaps())
    assert tiles(app) == {
        "Days tripped": "3 of 3",
        "Spend saved": "$13.50",
        "Calls degraded": "15",
        "Extra wrong answers": "+0.5",
        "Net total cost saved": "$13.25",
    }
    assert (app.number_input(key="limit").value, app.slider(key="limit_slider").value) == (4.0, 4.0)
    assert "the limit to begin with is the present one, $4.00 a day" in words(app)


def test_the_counterfactual_and_the_unknown_calls_are_said() -> None:
    said = words(shown(FakeCaps()))
    assert "Simulated, and compared with what happened" in said
    assert "from 100 labelled answers there" in said
    assert "unknown (5 calls)" in said
    assert "5 calls unknown" in said
    assert "tokens as the served model counted them" in said
    assert "Reservations of requests in flight are not replayed" in said


def test_slider_and_number_box_agree_whichever_is_moved() -> None:
    app = shown(FakeCaps())
    app.slider(key="limit_slider").set_value(6.0).run()
    assert app.number_input(key="limit").value == 6.0
    moved = tiles(app)["Calls degraded"]
    app.number_input(key="limit").set_value(2.5).run()
    assert app.slider(key="limit_slider").value == 2.5
    assert int(tiles(app)["Calls degraded"]) > int(moved)


def test_a_limit_beyond_the_scale_is_on_both() -> None:
    app = shown(FakeCaps())
    app.number_input(key="limit").set_value(500.0).run()
    assert (app.slider(key="limit_slider").value, tiles(app)["Days tripped"]) == (500.0, "0 of 3")


def test_an_address_sets_limit_and_reserve() -> None:
    app = shown(FakeCaps(), limit="4", reserve="2")
    assert app.number_input(key="reserve").value == 2.0
    assert tiles(app)["Calls degraded"] == "21"


@pytest.mark.parametrize("value", ["abc", "-5", "1e30", "nan", "inf", ""])
def test_an_impossible_limit_in_an_address_gives_the_present_one(value: str) -> None:
    app = shown(FakeCaps(), limit=value)
    assert (app.number_input(key="limit").value, tiles(app)["Calls degraded"]) == (4.0, "15")


def test_nothing_known_is_shown_as_unknown_and_never_as_zero() -> None:
    app = shown(FakeCaps(calls=make_traffic(names=("x", "b.unknown")), present=Limit(name="d", limit_nusd=0)))
    assert tiles(app)["Extra wrong answers"] == "+1.5"
    silent = make_traffic(names=("b.unknown",))
    labels = replace(silent.labels, sample=silent.labels.sample * 0 - 2)
    found = tiles(shown(FakeCaps(calls=replace(silent, labels=labels))))
    assert (found["Extra wrong answers"], found["Net total cost saved"]) == ("unknown", "unknown")


def test_the_table_has_a_row_per_payload_type_and_no_number_where_nothing_is_known() -> None:
    rows = table(shown(FakeCaps())).set_index("Payload type")
    assert rows["Degraded"].to_dict() == {"a.judged": 5, "b.unknown": 5, "c.kept": 5}
    assert rows["Unknown calls"].to_dict() == {"a.judged": 0, "b.unknown": 5, "c.kept": 0}
    assert rows["Extra wrong"].isna().to_dict() == {"a.judged": False, "b.unknown": True, "c.kept": False}
    assert rows["Net saved"].isna()["b.unknown"]


def test_days_left_as_they_were_are_said() -> None:
    app = shown(FakeCaps(calls=make_traffic(degraded_on=1)), limit="8")
    assert tiles(app)["Days tripped"] == "2 of 3"
    assert "1 left as they were" in words(app)
    assert "On 1 day a limit had degraded calls already" in words(app)


def test_a_limit_that_changes_nothing_says_why() -> None:
    app = shown(FakeCaps(calls=make_traffic(degraded_on=1)), limit="50")
    assert "This one changes nothing that the log could show; try a lower one." in words(app)


def test_without_a_budget_a_fitting_limit_is_proposed_and_shown_as_a_budget() -> None:
    app = shown(FakeCaps(present=None))
    assert "routing.yaml has no budget yet" in words(app)
    assert float(app.number_input(key="limit").value or 0) > 0
    assert "per: day" in app.code[0].value


def test_the_period_is_asked_for_as_far_as_the_log_reaches() -> None:
    source = FakeCaps()
    app = shown(source, period="30d")
    assert (source.asked[-1].first, source.asked[-1].until) == (FIRST, FIRST + dt.timedelta(3))
    assert "the log begins on 2026-11-20" in words(app)
    assert "2026-10-24 to 2026-11-22 (30 days)" in words(app)


def test_simulated_data_is_marked() -> None:
    assert "DEMO DATA (simulated)" in words(shown(FakeCaps(shown=replace(STATE, demo=True))))
    assert "DEMO DATA" not in words(shown(FakeCaps()))


def test_without_a_log_the_page_says_how_to_fill_it() -> None:
    app = shown(FakeCaps(shown=replace(STATE, exists=False)))
    assert app.subheader[0].value == "No calls logged yet"
    assert not app.metric
    app = shown(FakeCaps(error=NoLogError("gone")))
    assert app.subheader[0].value == "No calls logged yet"


def test_an_empty_period_says_so() -> None:
    app = shown(FakeCaps(calls=make_traffic(days=0)))
    assert app.subheader[0].value == "No calls in this period"


def test_undated_evaluations_cannot_be_replayed() -> None:
    app = shown(FakeCaps(held=replace(SPAN, first_hour=None, last_hour=None, has_undated=True)))
    assert app.subheader[0].value == "Nothing here has a time"


def test_without_a_usable_config_the_page_says_what_it_needs_it_for() -> None:
    error = ConfigError("routing.yaml", [Problem(path="tiers", message="what <b>is</b> this")])
    app = shown(FakeCaps(error=error))
    assert app.subheader[0].value == "A routing config is needed"
    assert any("what <b>is</b> this" in text.value for text in app.text)


def test_a_locked_log_can_be_tried_again() -> None:
    app = shown(FakeCaps(error=LogBusyError("locked")))
    assert app.warning
    assert app.button(key="retry")


def test_a_hostile_payload_type_is_text() -> None:
    app = shown(FakeCaps(calls=make_traffic(names=(HOSTILE,))))
    assert not app.exception
    shown_name = str(table(app)["Payload type"].iloc[0])
    assert "\\u202e" in shown_name
    assert len(shown_name) < 250
    assert all("evil.example" not in element.value for element in (*app.markdown, *app.caption))


def test_two_thousand_payload_types_are_drawn() -> None:
    app = shown(FakeCaps(calls=make_traffic(per_day=4_000, names=tuple(f"type.{n:04}" for n in range(2_000)))))
    assert len(table(app)) == 1_000
    assert "The first 1,000 of 2,000 rows; the CSV has them all." in words(app)


def test_limits_are_kept_to_compare_and_the_address_holds_them() -> None:
    app = shown(FakeCaps())
    app.button(key="keep_limit").click().run()
    app.number_input(key="limit").set_value(2.5).run()
    app.button(key="keep_limit").click().run()
    assert app.query_params["compare"] in (["4:0,2.5:0"], "4:0,2.5:0")
    app.number_input(key="limit").set_value(6.0).run()
    compared = next(frame.value for frame in app.dataframe if "Days reached" in frame.value)
    assert list(compared["Per day"]) == [6.0, 4.0, 2.5]
    assert compared["Saved"].iloc[1] == 13.5
    again = shown(FakeCaps(), compare="4:0,2.5:0")
    beside = next(frame.value for frame in again.dataframe if "Days reached" in frame.value)
    assert list(beside["Per day"]) == [4.0, 4.0, 2.5]
    again.button(key="forget_limits").click().run()
    assert "compare" not in again.query_params


def test_what_is_no_limit_in_an_address_is_said() -> None:
    app = shown(FakeCaps(), compare="4:0,nan,-1,x:y,1:2:3,4")
    assert not app.exception
    assert "Limits to compare, at most 4 as limit:reserve: nan, -1, x:y, 1:2:3" in words(app)


def test_the_charts_can_be_read_as_tables() -> None:
    app = shown(FakeCaps())
    app.segmented_control(key="cap_view").set_value("table").run()
    days = next(frame.value for frame in app.dataframe if "Happened" in frame.value)
    assert list(days["Limit"]) == ["reached"] * 3
    assert sum(days["Happened"]) - sum(days["Under the limit"]) == pytest.approx(13.5)
