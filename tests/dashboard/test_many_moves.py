"""Several proposals at once: reviewed and applied together, and read as a table."""

import pytest

from router_core.control.records import Actor, Entry
from tests.dashboard.desks import NOBODY, VIEWER, interval, make_draft, make_entry
from tests.dashboard.test_recommendations_page import cards, click, place, shown, words


def safe_moves() -> tuple[Entry, ...]:
    return (
        make_entry(1),
        make_entry(2, draft=make_draft(payload_type="b", net_usd_month=interval(50, 40, 60))),
        make_entry(3, draft=make_draft(payload_type="c", risk="high")),
        make_entry(4, draft=make_draft(payload_type="d", net_usd_month=interval(5, -1, 11))),
        make_entry(5, "claimed", draft=make_draft(payload_type="e")),
    )


def test_low_risk_moves_are_reviewed_and_applied_together_as_one_change() -> None:
    fake = place(*safe_moves())
    app = click(shown(fake), "together")
    # neither the risky one, nor the one that may be no gain, nor the one somebody else looks at
    claims = [about for action, about, *_ in fake.desk.wrote if action == "claim"]
    assert claims == ["P-0001", "P-0002"]
    assert "Together: +$462.50 net per month" in words(app).replace("**", "")
    click(app, "dialog_do")
    (applied,) = [done for done in fake.desk.wrote if done[0] == "apply"]
    assert applied[1] == ("P-0001", "P-0002")
    assert "P-0001, P-0002 are applied" in words(app)


def test_what_was_claimed_together_is_given_back_together() -> None:
    fake = place(*safe_moves())
    click(click(shown(fake), "together"), "dialog_cancel")
    assert [about for action, about, *_ in fake.desk.wrote if action == "release"] == ["P-0001", "P-0002"]


@pytest.mark.parametrize("actor", [VIEWER, NOBODY])
def test_who_may_not_decide_cannot_review_several(actor: Actor) -> None:
    assert shown(place(*safe_moves(), actor=actor)).button(key="together").disabled


def test_one_safe_move_alone_needs_no_way_to_review_several() -> None:
    assert "together" not in [button.key for button in shown(place(make_entry())).button]


def test_proposals_can_be_read_as_a_table() -> None:
    app = shown(place(*safe_moves()), **{"as": "table"})
    table = app.dataframe[0].value
    assert len(table) == 5
    row = table.set_index("Proposal").loc["P-0001"]
    assert (row["Net per month"], row["Low, 90%"], row["Risk"]) == (412.5, 380.0, "● low risk")
    assert cards(app) == []
    assert "Nothing matches the filters" in words(shown(place(make_entry()), **{"as": "table", "find": "zzz"}))
