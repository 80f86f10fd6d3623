"""The life cycle at the command line: proposals, apply, dismiss, snooze, rollback, history."""

import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import pytest

from router_core.control.records import Interval, Verdict
from router_core.control.states import DAY_US
from tests.command_line import Tierwise
from tests.decisions import ANALYST, REASON, ROUTING, Place, make_draft

HOSTILE = "x.\x1b[31m\u202eevil"


@pytest.fixture
def tierwise(capsys: pytest.CaptureFixture[str]) -> Tierwise:
    return Tierwise(capsys)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIERWISE_HOME", raising=False)
    # proposals are dated by the machine's clock at the command line
    return Place(tmp_path, now_us=time.time_ns() // 1000)


def test_without_any_proposal_the_next_step_is_named(place: Place, tierwise: Tierwise) -> None:
    ended = tierwise("proposals")
    assert (ended.code, ended.out) == (0, "No proposals yet. Look for some: tierwise propose\n")
    assert not place.home.control.exists(), "looking makes no store"


def test_history_without_a_config_says_only_that(place: Place, tierwise: Tierwise) -> None:
    place.config.unlink()
    ended = tierwise("history")
    assert (ended.code, "does not exist; `tierwise init`" in ended.out, "seq" in ended.out) == (0, True, False)


def test_config_that_nobody_has_edited_is_not_called_a_hand_edit(place: Place, tierwise: Tierwise) -> None:
    assert "not in history yet" in (said := tierwise("history").out)
    assert "hand" not in said
    assert str(place.config) in said


def test_listing_and_showing_one(place: Place, tierwise: Tierwise) -> None:
    (proposal,) = place.publish()
    listed = tierwise("proposals")
    assert "P-0001  open   x.extract     top to mid" in listed.out
    assert listed.out.endswith("open 1\n")
    shown = tierwise("proposals", proposal)
    assert "+  x.extract: {path: [mid], error_cost_usd: 0.5}   # the big one" in shown.out
    assert "200 pairs (4 worse, 2 better" in shown.out
    assert tierwise("proposals", "--json").json()["entries"][0]["proposal"]["proposal_id"] == proposal
    assert tierwise("proposals", "p-1", "--json").json()["review"]["refusal"] is None


def test_what_the_log_cannot_tell_has_no_figures(place: Place, tierwise: Tierwise) -> None:
    trial = replace(
        make_draft(),
        kind="evidence",
        identification="none",
        saving_usd_month=Interval(mean=-0.0001, low=-0.0001, high=-0.0001),
        net_usd_month=Interval(mean=1.11, low=-432.1, high=434.32),
        shadow_calls=180,
        shadow_cost_usd=3.2,
    )
    place.publish(trial)
    listed, shown = tierwise("proposals").out, tierwise("proposals", "P-0001").out
    for text in (listed, shown):
        assert "432.10" not in text
        assert "-$0.00" not in text
        assert "run shadows to judge top to mid" in text
    assert "the log cannot tell what the change would do" in shown
    assert "180 shadow calls, about $3.20" in shown


def test_figures_carry_their_unit_and_no_draw_makes_them_certain(place: Place, tierwise: Tierwise) -> None:
    place.publish(
        replace(make_draft(), p_net_positive=1.0, saving_usd_month=Interval(mean=-0.001, low=-2.5, high=1_000.0))
    )
    assert "$0.00 (-$2.50 to $1,000.00)" in tierwise("proposals").out
    assert "positive with >99 %" in tierwise("proposals", "P-0001").out
    tierwise("apply", "P-0001", "--yes")
    assert " pp, 200 pairs" in (place.desk.audit()[0].reason or "")


def test_apply_shows_the_change_and_says_how_to_take_it_back(place: Place, tierwise: Tierwise) -> None:
    place.publish()
    ended = tierwise("apply", "P-0001", "--yes")
    assert ended.code == 0
    assert "-  x.extract: {path: [top]" in ended.err
    assert "Applied P-0001: version 2" in ended.out
    assert "tierwise rollback --undo P-0001" in ended.out
    assert place.path_of("x.extract") == ["mid"]
    row = place.desk.audit()[0]
    assert row.reason is not None
    assert row.reason.startswith("P-0001 x.extract: top to mid; net $115.00 a month")
    again = tierwise("apply", "P-0001", "--yes")
    assert (again.code, "Nothing was changed now." in again.out) == (0, True)


def test_apply_asks_and_without_a_terminal_says_how_not_to_be_asked(place: Place, tierwise: Tierwise) -> None:
    place.publish()
    ended = tierwise("apply", "P-0001")
    assert ended.code == 2
    assert "--yes" in ended.err
    assert place.config.read_text() == ROUTING


def test_stale_apply_is_refused_with_the_new_change_and_the_way_to_make_it(place: Place, tierwise: Tierwise) -> None:
    place.publish()
    place.config.write_text(ROUTING.replace("critical: true", "critical: false"))
    ended = tierwise("apply", "P-0001", "--yes")
    head = place.desk.head().version
    assert ended.code == 1
    assert "+  x.extract: {path: [mid]" in ended.err
    assert f"--yes --on {head}" in ended.err
    assert place.audited()[-1] == ("apply", "refused")
    assert tierwise("apply", "P-0001", "--yes", "--on", head).code == 0
    assert place.path_of("x.extract") == ["mid"]


def test_rollback_and_undo(place: Place, tierwise: Tierwise) -> None:
    place.publish(make_draft(), make_draft("x.classify", ("cheap",)))
    assert tierwise("apply", "P-0001", "--yes").code == 0
    assert tierwise("apply", "P-0002", "--yes", "--on", place.desk.head().version).code == 0
    undone = tierwise("rollback", "--undo", "P-0001", "--yes", "--json")
    assert undone.json()["result"] == "done"
    assert (place.path_of("x.extract"), place.path_of("x.classify")) == (["top"], ["cheap"])
    assert tierwise("rollback", "1", "--yes").code == 0
    assert place.config.read_text() == ROUTING
    assert tierwise("history", "3").out.encode() == place.desk.text(3)
    assert [each["kind"] for each in tierwise("history", "--json").json()["versions"]] == [
        "rollback", "undo", "apply", "apply", "first",
    ]  # fmt: skip
    audit = tierwise("history", "--audit")
    assert (audit.code, "The chain holds." in audit.out) == (0, True)


def test_dismiss_and_snooze(place: Place, tierwise: Tierwise) -> None:
    place.publish(make_draft(), make_draft("x.classify", ("cheap",)))
    assert tierwise("dismiss", "P-0001", "--reason", "these are audited").out == "Dismissed P-0001.\n"
    snoozed = tierwise("snooze", "P-0002", "--for", "2w", "--json").json()
    assert snoozed["until_us"] - place.now_us == pytest.approx(14 * DAY_US, abs=DAY_US / 100)
    assert tierwise("snooze", "P-0002", "--until", "2100-01-01").code == 0
    assert tierwise("proposals", "--state", "snoozed").out.count("P-000") == 1
    assert tierwise("proposals", "--all").out.count("P-000") == 2


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("apply", "P-0009", "--yes"), 2, "there is no P-0009"),
        (("apply", "nonsense", "--yes"), 2, "'nonsense' is no proposal"),
        (("proposals", "99999999999999999999"), 2, "is no proposal"),
        (("dismiss", "P-0001", "--reason", "no"), 1, "a reason of 5 to 200 characters is needed, this one has 2"),
        (("snooze", "P-0001"), 2, "give either --for 7d or --until 2026-12-01"),
        (("snooze", "P-0001", "--for", "soon"), 2, "'soon' is no time"),
        (("snooze", "P-0001", "--until", "2001-01-01"), 1, "must end in the future"),
        (("rollback",), 2, "give either the number of a version or --undo ID"),
        (("rollback", "77", "--yes"), 2, "there is no version 77"),
        (("rollback", "--undo", "P-0001", "--yes"), 2, "was never applied"),
        (("history", "77"), 2, "there is no version 77"),
        (("apply", "P-0001", "--yes", "--config", "none.yaml"), 2, "does not exist"),
    ],
)
def test_bad_input_is_one_clear_message(
    place: Place, tierwise: Tierwise, arguments: tuple[str, ...], code: int, said: str
) -> None:
    place.publish()
    ended = tierwise(*arguments)
    assert (ended.code, ended.out) == (code, "")
    assert said in ended.err
    assert place.config.read_text() == ROUTING


def test_roles_hold_at_the_command_line_too(place: Place, tierwise: Tierwise) -> None:
    place.publish()
    (place.folder / "access.yaml").write_text("roles: {local: analyst}\n")
    ended = tierwise("apply", "P-0001", "--yes")
    assert (ended.code, "is an analyst and may not apply; that takes an approver" in ended.err) == (1, True)
    (place.folder / "access.yaml").write_text("rolls: {}\n")
    broken = tierwise("dismiss", "P-0001", "--reason", REASON)
    assert broken.code == 1
    assert "rolls (line 1): is not known here" in broken.err
    assert "everybody is a viewer" in broken.err


def test_hostile_names_reach_the_terminal_escaped(place: Place, tierwise: Tierwise) -> None:
    draft = make_draft(HOSTILE, ("mid",), assumptions=(HOSTILE,))
    verdict = Verdict(payload_type=HOSTILE, verdict="move", text=HOSTILE)
    place.desk.publish([draft], [verdict], ANALYST)
    for arguments in (("proposals",), ("proposals", "P-0001"), ("apply", "P-0001", "--yes"), ("history", "--audit")):
        ended = tierwise(*arguments)
        assert not {"\x1b", "\u202e"} & set(ended.out + ended.err)


def test_doctor_sees_a_broken_chain_a_cut_off_change_and_a_broken_access_file(place: Place, tierwise: Tierwise) -> None:
    place.publish()
    place.home.create()
    found = {each["name"]: each["state"] for each in tierwise("doctor", "--json").json()}
    assert (found["audit"], "change" in found) == ("ok", False)
    (place.folder / "access.yaml").write_text("roles: {ada: king}\n")
    con = sqlite3.connect(place.home.control)
    con.execute("DROP TRIGGER audit_never_updated")
    con.execute("UPDATE audit SET body = replace(body, 'ann', 'eve')")
    con.execute("INSERT INTO config_intents (config, body, before, after) VALUES ('x', '{}', x'', x'')")
    con.commit()
    con.close()
    found = {each["name"]: each["state"] for each in tierwise("doctor", "--json").json()}
    assert (found["audit"], found["change"], found["access"]) == ("wrong", "wrong", "wrong")
    assert tierwise("history", "--audit").code == 1
