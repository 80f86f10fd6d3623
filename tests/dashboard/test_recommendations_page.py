"""The Recommendations page over a desk in memory: what it says, to whom, and what a click does."""

import re
from dataclasses import replace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.desk import Search
from dashboard.views.recommendations import PER_PAGE
from router_core.control.records import Actor, Draft, Entry, Verdict
from router_core.errors import ChangeRefusedError, ConflictError, NotAllowedError, RouterError
from tests.dashboard.desks import (
    ANALYST,
    APPROVER,
    DAY_US,
    DIFF,
    NEW,
    NOBODY,
    NOW_US,
    OLD,
    STATE,
    VIEWER,
    FakeDesk,
    FakeLog,
    FakePlace,
    interval,
    make_draft,
    make_entry,
    make_run,
)

HOSTILE = "<img src=x onerror=alert(1)> ![x](https://evil.example/p.png) $3→$1 =1+1 \u202egnp :red[x] " + "x" * 10_000


def page(fake: "FakePlace") -> None:
    from dashboard.views import recommendations

    recommendations.render(fake.place())


def shown(fake: FakePlace, **address: str | list[str]) -> AppTest:
    app = AppTest.from_function(page, args=(fake,), default_timeout=20)
    for name, value in address.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def place(*entries: Entry, actor: Actor = APPROVER, **desk: Any) -> FakePlace:
    return FakePlace(desk=FakeDesk(held=list(entries), run=make_run(), **desk), actor=actor)


def words(app: AppTest) -> str:
    elements = (
        *app.title,
        *app.subheader,
        *app.markdown,
        *app.caption,
        *app.text,
        *app.success,
        *app.warning,
        *app.error,
    )
    return "\n".join(str(element.value) for element in elements).replace("\\", "").replace("\u2060", "")


def cards(app: AppTest) -> list[str]:
    keys = [button.key or "" for button in app.button]
    return [key.removeprefix("review_") for key in keys if key.startswith("review_")]


def click(app: AppTest, key: str) -> AppTest:
    app.button(key=key).click().run()
    assert not app.exception
    return app


def test_a_card_says_what_changes_how_sure_that_is_and_on_which_evidence() -> None:
    said = words(shown(place(make_entry())))
    for expected in (
        "invoice.extract",
        "top → mid",
        "● low risk",
        "+$412.50**",
        "$380.00 to $445.00 (90%)",
        "+$430.20",
        "saves 72% of this type's spend",
        "1.02% → 1.10%",
        "+0.08 pp (−0.05 to +0.21 pp, 90%)",
        "−$10.00 to $45.00 (90%)",
        "2,160 ms → 1,800 ms",
        "312 pairs (8 worse, 3 better)",
        "120 from shadows, 192 from escalations, 40 with a carried-over label",
        "640 labels on 12,300 calls in 56 days",
        "34% from other payload types",
        "both ways were tried on the same calls",
        "Assumes: Equal answers have equal labels.",
        "P-0001 · made 60 min ago · expires in 21 days (2026-12-14 14:02 CET)",
    ):
        assert expected in said


def test_the_head_counts_by_state_and_adds_up_what_is_possible() -> None:
    entries = (
        make_entry(1),
        make_entry(2, draft=make_draft(payload_type="b", net_usd_month=interval(-5.25, -9, -1))),
        make_entry(3, draft=make_draft(kind="evidence", payload_type="c")),
        make_entry(4, "snoozed"),
        make_entry(5, "watching"),
        make_entry(6, "superseded"),
    )
    said = words(shown(place(*entries)))
    assert "Open 3 · Snoozed 1 · Applied 1 · Dismissed 0 · Expired or replaced 1" in said
    assert "Possible: +$407.25 net per month ($374.53 to $440.03, 90%), wrong answers +0.08 pp" in said


def test_cards_are_ranked_by_the_low_end_of_the_net() -> None:
    wide = make_entry(1, draft=make_draft(payload_type="wide", net_usd_month=interval(900, 10, 2000)))
    sure = make_entry(2, draft=make_draft(payload_type="sure", net_usd_month=interval(100, 90, 110)))
    trial = make_entry(3, draft=make_draft(kind="evidence", payload_type="trial", net_usd_month=interval(5, 100, 110)))
    assert cards(shown(place(wide, sure, trial))) == ["P-0002", "P-0001", "P-0003"]


def test_a_gain_that_may_be_none_is_called_not_proven() -> None:
    assert "not proven" in words(shown(place(make_entry(draft=make_draft(net_usd_month=interval(5, -1, 11))))))
    assert "not proven" not in words(shown(place(make_entry())))


def test_a_trial_says_how_many_shadows_it_takes_what_they_cost_and_how_long() -> None:
    trial = make_draft(kind="evidence", shadow_calls=180, shadow_cost_usd=3.2, shadow_days=6.2)
    said = words(shown(place(make_entry(draft=trial))))
    for expected in ("○ not enough evidence", "180 shadows", "about $3.20", "about 6 days"):
        assert expected in said


def test_every_payload_type_has_its_verdict() -> None:
    fake = place(make_entry())
    fake.desk.run = make_run(
        Verdict(payload_type="invoice.extract", verdict="move", text="Cheaper by far.", proposal_id="P-0001"),
        Verdict(payload_type="a", verdict="no_error_price", text="Set error_cost_usd."),
    )
    app = shown(fake)
    assert app.dataframe[0].value.fillna("").to_numpy().tolist() == [
        ["invoice.extract", "move", "Cheaper by far.", "P-0001"],
        ["a", "no error price", "Set error_cost_usd.", ""],
    ]
    assert "last search for moves 2026-11-23 14:02 CET · evidence of 2026-09-28 to 2026-11-23" in words(app)


def test_filters_are_in_the_address_and_can_be_cleared() -> None:
    risky = make_draft(payload_type="policy.decide", risk="high")
    fake = place(make_entry(1), make_entry(2, draft=risky))
    assert cards(shown(fake, risk=["high"])) == ["P-0002"]
    assert cards(shown(fake, find="INVOICE")) == ["P-0001"]
    assert cards(shown(fake, find="p-0002")) == ["P-0002"]
    assert cards(shown(fake, kind="trials")) == []
    app = shown(fake, find="nothing like it")
    assert "Nothing matches the filters" in words(app)
    assert len(cards(click(app, "clear"))) == 2


def test_unknown_values_in_an_address_are_said() -> None:
    said = words(shown(place(make_entry()), state="gone", risk=["huge", "low"], kind="x"))
    for expected in ("States not known here: gone", "Risks not known here: huge", "Kinds not known here: x"):
        assert expected in said


def test_other_states_have_their_own_lists() -> None:
    fake = place(make_entry(1), make_entry(2, "dismissed", by="bob", reason="Not worth the risk"))
    app = shown(fake, state="dismissed")
    assert "Dismissed by bob since 2026-11-23 14:02 CET: Not worth the risk" in words(app)
    assert cards(app) == []


def test_of_thousands_of_closed_proposals_only_a_page_is_read() -> None:
    fake = place(*(make_entry(n, "expired") for n in range(1, 10_001)))
    fake.desk.read.clear()
    app = shown(fake, state="expired")
    assert sum(limit for limit, _ in fake.desk.read if limit != 2_000) == PER_PAGE
    app.pagination(key="page").select(3).run()
    assert fake.desk.read[-1] == (PER_PAGE, 2 * PER_PAGE)
    assert "P-9960" in words(app)
    assert "newest first, 10,000 in all" in words(app)


def test_evidence_and_diff_are_drawn_only_when_opened() -> None:
    fake = place(make_entry())
    app = shown(fake)
    assert not app.code
    app.session_state["diff_P-0001"] = True
    app.session_state["evidence_P-0001"] = True
    app.run()
    assert DIFF.splitlines()[-1] in app.code[0].value
    assert "made for config version: aaaaaaaaaaaa" in words(app)


def test_apply_is_one_click_with_the_reason_filled_in() -> None:
    fake = place(make_entry())
    app = click(shown(fake), "review_P-0001")
    assert app.text_input(key="reason_apply_P-0001").value == "Saves 412.50 USD per month"
    assert "-  invoice.extract: {path: [top], error_cost_usd: 2.5}" in app.code[0].value
    click(app, "dialog_do")
    assert fake.desk.wrote == [
        ("claim", "P-0001", "ada"),
        ("apply", ("P-0001",), "ada", "Saves 412.50 USD per month", OLD),
    ]
    said = words(app)
    assert "P-0001 is applied." in said
    assert f"audit 1 · ada (approver) · 2026-11-23 15:02 CET · config {OLD} → {NEW} · Saves 412.50" in said
    assert "dialog_do" not in [button.key for button in app.button]


def test_the_reason_can_be_rewritten_and_a_short_one_is_refused_without_losing_it() -> None:
    fake = place(make_entry())
    app = click(shown(fake), "review_P-0001")
    app.text_input(key="reason_apply_P-0001").set_value("no")
    click(app, "dialog_do")
    assert "A reason of 5 to 200 characters is needed." in words(app)
    assert app.text_input(key="reason_apply_P-0001").value == "no"
    app.text_input(key="reason_apply_P-0001").set_value("passes our own eval")
    click(app, "dialog_do")
    assert fake.desk.wrote[-1][3] == "passes our own eval"


def twice(fake: "FakePlace") -> None:
    from dashboard.components import decisions

    at = fake.place()
    decisions.open_review(at, "P-0001")
    asked = decisions.asked()
    assert asked is not None
    for _ in range(2):
        decisions.answer(at, asked, lambda: "a good reason")


def test_a_second_click_of_the_same_button_changes_nothing() -> None:
    fake = place(make_entry())
    assert not AppTest.from_function(twice, args=(fake,)).run().exception
    assert [write[0] for write in fake.desk.wrote] == ["claim", "apply"]


def test_a_change_that_is_made_already_is_said_to_be() -> None:
    fake = place(make_entry(), result="already")
    assert "already; nothing was changed twice" in words(click(click(shown(fake), "review_P-0001"), "dialog_do"))


def test_a_stale_proposal_is_refused_and_its_new_change_can_be_applied() -> None:
    fake = place(make_entry())
    app = click(shown(fake), "review_P-0001")
    fake.desk.version = "cccccccccccc"
    click(app, "dialog_do")
    assert (
        "The config has changed meanwhile. Nothing was changed; below is the change as it would be made now."
        in words(app)
    )
    assert fake.desk.version == "cccccccccccc"
    click(app, "dialog_do")
    assert fake.desk.wrote[-1][-1] == "cccccccccccc"
    assert "P-0001 is applied." in words(app)


@pytest.mark.parametrize(
    "error",
    [
        ConflictError("routing.yaml was saved meanwhile; both texts are kept.", kept="routing.yaml.theirs"),
        NotAllowedError("It saves more than 5000 USD per month, so it takes a second person."),
        ChangeRefusedError("It is dismissed."),
        RouterError("The control store cannot be used now."),
        OSError(28, "No space left on device"),
    ],
)
def test_a_refusal_is_a_line_in_the_dialog_and_nothing_is_lost(error: Exception) -> None:
    fake = place(make_entry())
    app = click(shown(fake), "review_P-0001")
    app.text_input(key="reason_apply_P-0001").set_value("my own words")
    fake.desk.error = error
    click(app, "dialog_do")
    assert (getattr(error, "strerror", None) or str(error)) in words(app)
    assert app.text_input(key="reason_apply_P-0001").value == "my own words"
    assert "P-0001 is applied." in words(click(app, "dialog_do"))


def test_what_cannot_be_applied_says_why_and_has_no_button_for_it() -> None:
    app = click(shown(place(make_entry(), refusal="The path was edited by hand.")), "review_P-0001")
    assert "The path was edited by hand." in words(app)
    assert "No difference" not in words(app)
    assert app.button(key="dialog_do").disabled


def test_a_proposal_that_somebody_else_reviews_can_still_be_read() -> None:
    fake = place(make_entry())
    fake.desk.error = ChangeRefusedError("P-0001 is in review by bob until 15:00.")
    app = click(shown(fake), "review_P-0001")
    assert "P-0001 is in review by bob until 15:00." in words(app)
    assert app.code
    # what was not taken into review is not given back
    click(app, "dialog_cancel")
    assert [write[0] for write in fake.desk.wrote] == ["claim"]


def test_cancelling_gives_the_proposal_back() -> None:
    fake = place(make_entry())
    app = click(click(shown(fake), "review_P-0001"), "dialog_cancel")
    assert [write[0] for write in fake.desk.wrote] == ["claim", "release"]
    assert not app.text_input(key="find").disabled
    assert "dialog_do" not in [button.key for button in app.button]


@pytest.mark.parametrize("actor", [VIEWER, NOBODY])
def test_a_viewer_sees_everything_and_can_press_nothing(actor: Actor) -> None:
    app = shown(place(make_entry(), actor=actor))
    said = words(app)
    assert "top → mid" in said
    assert "needs the role approver" in said
    for key in ("review_P-0001", "dismiss_P-0001", "look"):
        assert app.button(key=key).disabled
    assert app.menu_button(key="snooze_P-0001").disabled
    assert "needs the role analyst" in app.button(key="review_P-0001").help


def test_nobody_signed_in_is_said() -> None:
    assert "Nobody signed in · read-only" in words(shown(place(make_entry(), actor=NOBODY)))


def test_an_analyst_reviews_snoozes_and_dismisses_but_cannot_apply() -> None:
    fake = place(make_entry(), actor=ANALYST)
    app = click(shown(fake), "review_P-0001")
    assert app.button(key="dialog_do").disabled
    assert "Applying a change needs the role approver; bob@example.com is analyst." in words(app)
    assert fake.desk.held[0].state == "claimed"


def test_a_callback_asks_again_who_acts() -> None:
    fake = place(make_entry())
    app = click(shown(fake), "review_P-0001")
    fake.actor = VIEWER
    click(app, "dialog_do")
    assert fake.desk.version == OLD
    # the desk was asked and refused, so that the audit has it
    assert fake.desk.wrote[-1][:3] == ("apply", ("P-0001",), "eve@example.com")
    assert "ve@example.com may not apply" in words(app)


def test_what_takes_two_people_stays_claimed_for_the_second() -> None:
    fake = place(make_entry())
    app = click(shown(fake), "review_P-0001")
    fake.desk.error = NotAllowedError("above $100 a month it takes two people")
    click(app, "dialog_do")
    assert "takes two people. It stays claimed by you" in words(app)
    click(app, "dialog_cancel")
    assert [write[0] for write in fake.desk.wrote] == ["claim", "apply"]
    assert fake.desk.held[0].state == "claimed"


def test_an_analyst_can_leave_a_proposal_claimed() -> None:
    fake = place(make_entry(), actor=ANALYST)
    app = click(click(shown(fake), "review_P-0001"), "dialog_leave")
    assert [write[0] for write in fake.desk.wrote] == ["claim"]
    assert "P-0001 stays claimed for 15 minutes." in words(app)


def test_undo_is_offered_in_the_banner_and_on_the_card() -> None:
    fake = place(make_entry())
    app = click(click(shown(fake), "review_P-0001"), "dialog_do")
    click(app, "banner_undo")
    assert "byte for byte" in words(app)
    click(app, "dialog_do")
    assert fake.desk.wrote[-1] == ("undo", 2, "ada", "Undo of an applied change", NEW)
    assert "Change 2 is undone." in words(app)
    click(app, "banner_close")
    assert "is undone" not in words(app)


def test_undo_after_a_later_edit_offers_the_inverse_change() -> None:
    fake = place(make_entry(1, "applied", seq=2, by="ada"), exact=False)
    app = click(shown(fake, state="applied"), "undo_P-0001")
    assert "only this change is taken back, all later ones stay" in words(app)


def test_snoozing_puts_a_proposal_off() -> None:
    fake = place(make_entry())
    app = shown(fake)
    app.menu_button(key="snooze_P-0001").click("1 week").run()
    assert not app.exception
    assert fake.desk.wrote == [("snooze", "P-0001", "ada", NOW_US + 7 * DAY_US, "snoozed for 1 week")]
    assert "P-0001 snoozed for 1 week." in words(app)
    assert cards(app) == []
    # said where a reader looks who is far down the page, and once
    assert ["snoozed for 1 week" in toast.value for toast in app.toast] == [True]
    assert not app.run().toast


def test_dismissing_takes_a_reason_from_the_list_and_words_of_ones_own() -> None:
    fake = place(make_entry())
    app = click(shown(fake), "dismiss_P-0001")
    app.selectbox(key="why_dismiss_P-0001").set_value("Tried before")
    app.text_input(key="reason_dismiss_P-0001").set_value("in May")
    click(app, "dialog_do")
    assert fake.desk.wrote == [("dismiss", "P-0001", "ada", "Tried before: in May")]
    assert "P-0001 dismissed." in words(app)


def test_more_than_ten_changes_a_minute_are_refused() -> None:
    fake = place(*(make_entry(n) for n in range(1, 13)))
    app = shown(fake)
    for n in range(1, 13):
        app.menu_button(key=f"snooze_P-{n:04d}").click("1 day").run()
    assert len(fake.desk.wrote) == 10
    assert "Too many changes in one minute" in words(app)


def test_without_any_search_the_page_says_how_and_offers_one() -> None:
    fake = FakePlace(desk=FakeDesk())
    app = shown(fake)
    assert "Nobody has looked for moves yet" in words(app)
    assert "tierwise propose" in [code.value for code in app.code]
    click(app, "look")
    assert fake.searches == 1


def test_a_search_that_fails_shows_what_it_said() -> None:
    fake = FakePlace(desk=FakeDesk(), found=Search(ok=False, said="tierwise: there is no log\x1b[31m yet"))
    app = click(shown(fake), "look")
    assert "The search for moves failed." in words(app)
    assert "there is no log\\x1b[31m yet" in [text.value for text in app.text][-1]


def test_without_a_log_the_page_says_how_to_get_one() -> None:
    fake = FakePlace(desk=FakeDesk(), log=FakeLog(shown=replace(STATE, exists=False)))
    assert "No calls logged yet" in words(shown(fake))


def test_a_search_that_found_nothing_leaves_its_reasons() -> None:
    fake = place()
    fake.desk.run = make_run(Verdict(payload_type="a", verdict="hold", text="The tie holds."))
    app = shown(fake)
    assert "No open proposal" in words(app)
    assert "The tie holds." in app.dataframe[0].value["Why"].tolist()


def test_a_broken_access_file_is_said() -> None:
    fake = place(make_entry(), actor=VIEWER)
    fake.trouble = "access.yaml: roles.ada: 'boss' is no role"
    said = words(shown(fake))
    assert "everybody is a viewer until it is mended" in said
    assert "'boss' is no role" in said


def hostile_draft() -> Draft:
    return make_draft(
        payload_type=HOSTILE,
        path_now=(HOSTILE,),
        path_proposed=("cheap",),
        assumptions=(HOSTILE,),
        optimizer_version=HOSTILE,
    )


def test_hostile_text_is_never_read_as_markdown() -> None:
    hostile_actor = Actor(name=HOSTILE, role="approver", auth="local")
    fake = place(make_entry(draft=hostile_draft()), actor=hostile_actor)
    fake.desk.reason = HOSTILE
    fake.desk.run = make_run(Verdict(payload_type=HOSTILE, verdict="hold", text=HOSTILE))
    app = click(shown(fake), "review_P-0001")
    app.session_state["evidence_P-0001"] = True
    app.run()
    assert not app.exception
    checked = (*app.markdown, *app.caption, *app.warning, *app.success, *app.subheader, *app.error)
    assert any("evil" in str(element.value) for element in checked)
    for element in checked:
        text = str(element.value)
        for live in (r"(?<!\\)\]\(", r"(?<!\\)<img", r"(?<!\\)\$3", r"(?<!\\):red", "\u202e"):
            assert not re.search(live, text)
        assert len(text) < 3_000
    fake.desk.error = RouterError(HOSTILE)
    click(app, "dialog_do")
    assert all("![x](" not in str(element.value) for element in app.warning)


def test_a_page_of_twenty_cards_has_a_second_one() -> None:
    fake = place(*(make_entry(n, draft=make_draft(payload_type=f"t{n}")) for n in range(1, 26)))
    app = shown(fake)
    assert len(cards(app)) == PER_PAGE
    app.pagination(key="page").select(2).run()
    assert len(cards(app)) == 5
