"""The Routing and audit page over a desk in memory."""

import csv
import io
import re
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from router_core.control.records import Actor, AuditRow, ConfigVersion
from router_core.errors import RouterError
from tests.dashboard.desks import (
    ANALYST,
    APPROVER,
    CONFIG,
    DAY_US,
    DIFF,
    NEW,
    NOBODY,
    NOW_US,
    OLD,
    VIEWER,
    FakeDesk,
    FakePlace,
)

HOSTILE = "<img src=x onerror=alert(1)> ![x](https://evil.example/p.png) $3→$1 \u202egnp :red[x] " + "x" * 10_000


def page(fake: "FakePlace") -> None:
    from dashboard.views import routing

    routing.render(fake.place())


def shown(fake: FakePlace, **address: str) -> AppTest:
    st.cache_data.clear()
    app = AppTest.from_function(page, args=(fake,), default_timeout=20)
    for name, value in address.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def place(actor: Actor = APPROVER, **desk: Any) -> FakePlace:
    return FakePlace(desk=FakeDesk(**desk), actor=actor)


def words(app: AppTest) -> str:
    elements = (
        *(*app.title, *app.subheader, *app.markdown, *app.caption, *app.text),
        *(*app.success, *app.warning, *app.error),
    )
    return "\n".join(str(element.value) for element in elements).replace("\\", "").replace("\u2060", "")


def click(app: AppTest, key: str) -> AppTest:
    app.button(key=key).click().run()
    assert not app.exception
    return app


def applied() -> FakePlace:
    """Version 2 moved invoice.extract; version 1 had it elsewhere."""
    past = [
        ConfigVersion(seq=1, version=OLD, since_us=NOW_US - DAY_US, kind="first"),
        ConfigVersion(
            seq=2,
            version=NEW,
            since_us=NOW_US,
            kind="apply",
            by="ada",
            reason="passes the eval",
            proposal_ids=("P-0001",),
        ),
    ]
    fake = place(past=past, version=NEW, seq=2, kind="apply")
    texts = {2: CONFIG, 1: CONFIG.replace(b"invoice.extract: {path: [top]", b"invoice.extract: {path: [mid]")}
    fake.desk.text = lambda seq: texts[seq]
    return fake


def table(app: AppTest, column: str) -> list[Any]:
    (found,) = [frame.value for frame in app.dataframe if column in frame.value.columns]
    return found[column].astype(object).fillna("").tolist()


def test_the_page_says_what_runs_since_when_and_how() -> None:
    said = words(shown(place()))
    assert f"Version {OLD} · change 1 · first seen · since 2026-11-22 15:02 CET" in said
    assert "✓ file in step with history" in said


def test_each_payload_type_says_how_it_is_routed_and_who_decided_that() -> None:
    app = shown(applied())
    assert table(app, "Path") == ["top", "top", "cheap (0.8) › mid"]
    assert table(app, "Source") == ["P-0001", "first seen", "first seen"]
    assert table(app, "By") == ["ada", "", ""]
    assert table(app, "Since")[0] == "2026-11-23 15:02 CET"
    assert table(app, "Error price") == [2.5, 40.0, ""]
    assert table(app, "Shadow") == ["", "mid 2%", ""]
    assert table(app, "Critical") == ["", "critical", ""]


def test_an_edit_by_hand_is_marked_and_shown_as_a_diff() -> None:
    fake = applied()
    fake.desk.kind, fake.desk.seq, fake.desk.version = "hand", None, "cccccccccccc"
    app = shown(fake)
    assert "edited outside, not in history yet" in words(app)
    app.session_state["hand_diff"] = True
    app.run()
    assert f"{NEW} cccccccccccc" in app.code[0].value


def test_a_hand_edit_is_taken_into_history_when_the_page_sees_it() -> None:
    fake = place()
    shown(fake)
    assert ("observe",) in fake.desk.wrote


def test_an_invalid_file_shows_its_problems_and_what_keeps_running() -> None:
    fake = applied()
    fake.desk.problem, fake.desk.version = "payload_types.x.path: unknown tier 'best'", "cccccccccccc"
    said = words(shown(fake))
    assert f"Those that run keep the last good version (such as {NEW})" in said
    assert "unknown tier 'best'" in said


def test_history_has_a_diff_for_each_version() -> None:
    app = shown(applied())
    assert f"2 · 2026-11-23 15:02 CET · {NEW} · applied P-0001 by ada: passes the eval" in words(app)
    assert not app.code
    app.session_state["version_diff_2"] = True
    app.run()
    assert f"{OLD} {NEW}" in app.code[0].value


def test_rolling_back_shows_the_change_and_is_one_click() -> None:
    fake = applied()
    app = click(shown(fake), "rollback_1")
    assert DIFF.splitlines()[-1] in app.code[-1].value
    assert app.text_input(key="reason_rollback_1").value == "Back to 1"
    click(app, "dialog_do")
    assert fake.desk.wrote[-2] == ("rollback", 1, "ada", "Back to 1", NEW)
    assert "The config is as it was at 1 again." in words(app)


def test_what_runs_now_cannot_be_rolled_back_to() -> None:
    assert shown(applied()).button(key="rollback_2").disabled


def test_an_applied_change_can_be_undone_here() -> None:
    fake = applied()
    click(click(shown(fake), "undo_2"), "dialog_do")
    assert fake.desk.wrote[-2][:3] == ("undo", 2, "ada")


@pytest.mark.parametrize("actor", [ANALYST, VIEWER, NOBODY])
def test_only_an_approver_rolls_back(actor: Actor) -> None:
    fake = applied()
    fake.actor = actor
    app = shown(fake)
    assert app.button(key="rollback_1").disabled
    assert app.button(key="undo_2").disabled
    assert "needs the role approver" in app.button(key="rollback_1").help


def test_a_rollback_asks_again_who_acts() -> None:
    fake = applied()
    app = click(shown(fake), "rollback_1")
    fake.actor = ANALYST
    click(app, "dialog_do")
    assert fake.desk.version == NEW
    assert "ob@example.com may not rollback" in words(app)


def audit() -> list[AuditRow]:
    def row(seq: int, who: str, action: str, result: str, **fields: Any) -> AuditRow:
        return AuditRow(
            seq=seq, at_us=NOW_US, who=who, role="approver", auth="oidc", action=action, result=result, **fields
        )

    return [
        row(1, "ada", "apply", "done", reason="=1+1", before=OLD, after=NEW, diff=DIFF),
        row(2, "eve", "apply", "refused", detail="eve is viewer"),
        row(3, "ada", "snooze", "done"),
    ]


def test_the_audit_lists_refused_tries_too_and_can_be_filtered() -> None:
    fake = place(rows=audit())
    assert table(shown(fake), "Result") == ["done", "refused", "done"]
    assert table(shown(fake, action="apply"), "Row") == [2, 1]
    assert table(shown(fake, who="eve"), "Detail") == ["eve is viewer"]
    assert "Nothing matches these filters." in words(shown(fake, who="mallory"))


def test_the_audits_csv_has_all_fields_and_no_formula() -> None:
    from zoneinfo import ZoneInfo

    from dashboard.components import ledger

    rows = list(csv.DictReader(io.StringIO(ledger.of(audit(), ZoneInfo("UTC")).csv())))
    assert rows[0]["reason"] == "'=1+1"
    assert rows[0]["at"] == "2026-11-23 14:02 UTC"
    assert rows[0]["diff"].endswith("error_cost_usd: 2.5}\n")


def test_an_unknown_action_in_an_address_is_said() -> None:
    assert "Actions not known here: gone" in words(shown(place(rows=audit()), action="gone"))


def test_of_a_long_audit_only_the_newest_rows_are_drawn() -> None:
    fake = place(rows=audit() * 100)
    app = shown(fake)
    assert len(table(app, "Row")) == 200
    assert "the newest 200 rows; the CSV has them all" in words(app)


def test_a_broken_chain_is_said() -> None:
    assert "✓ hash chain intact" in words(shown(place()))
    assert "hash chain broken at row 7" in words(shown(place(broken_at=7)))


def test_without_a_history_the_page_still_draws() -> None:
    said = words(shown(place(past=[], seq=None)))
    assert "No version is in history yet" in said
    assert "Nothing was decided here yet." in said


def test_a_hand_edit_that_cannot_be_noted_does_not_hide_the_page() -> None:
    fake = place()

    def refused() -> None:
        raise RouterError("the store is locked")

    fake.desk.observe = refused
    said = words(shown(fake))
    assert "cannot be taken into history now: the store is locked" in said
    assert "What runs now" in said


def test_hostile_text_is_never_read_as_markdown() -> None:
    version = ConfigVersion(seq=1, version=OLD, since_us=NOW_US, kind="hand", by=HOSTILE, reason=HOSTILE)
    row = AuditRow(seq=1, at_us=NOW_US, who=HOSTILE, role="x", auth="x", action="apply", result=HOSTILE)
    fake = place(past=[version], rows=[row], problem=HOSTILE, actor=Actor(name=HOSTILE, role="viewer", auth="oidc"))
    app = shown(fake)
    checked = (*app.markdown, *app.caption, *app.warning, *app.error)
    assert any("evil" in str(element.value) for element in checked)
    for element in checked:
        for live in (r"(?<!\\)\]\(", r"(?<!\\)<img", r"(?<!\\)\$3", r"(?<!\\):red", "\u202e"):
            assert not re.search(live, str(element.value))
    assert len(table(app, "Result")[0]) < 300


def test_problems_of_a_broken_config_stand_on_lines_of_their_own() -> None:
    app = shown(place(problem="routing.yaml: 2 problems\n  - a: is odd\n  - b: is odd\u202e"))
    assert "routing.yaml: 2 problems\n  - a: is odd\n  - b: is odd\\u202e" in [text.value for text in app.text]
