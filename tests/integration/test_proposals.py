"""Proposals from publication to their end: what replaces what, what returns when, who may decide."""

import datetime as dt
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optimizer.lifecycle import ChangeRefusedError, NotAllowedError
from router_core.call_log.home import Home
from router_core.control import audit
from router_core.control.records import Actor, ConfigEdit, Interval, Totals, Verdict
from router_core.control.states import CLAIM_US, DAY_US
from router_core.control.store import Store, StoreError
from router_core.errors import ConfigError
from tests.decisions import ADA, ANALYST, BOB, REASON, VIEWER, Place, entry_ids, interval, make_draft, make_evidence

ADMIN = Actor(name="root", role="admin", auth="oidc")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_an_absent_store_reads_as_empty_and_is_not_made(place: Place) -> None:
    desk = place.desk
    assert (desk.entries(), desk.history(), desk.audit(), desk.latest_run()) == ((), (), (), None)
    assert set(desk.counts().values()) == {0}
    assert (desk.head().kind, desk.head().seq) == ("first", None)
    assert not place.home.root.exists()
    with pytest.raises(ConfigError, match="there is no P-0001"):
        desk.entry("P-0001")


def test_the_store_is_the_owners_alone(place: Place) -> None:
    place.publish()
    modes = {path.name: path.stat().st_mode & 0o777 for path in place.home.root.glob("control.*")}
    assert set(modes.values()) == {0o600}


def test_the_same_drafts_again_change_nothing(place: Place) -> None:
    assert place.publish() == ("P-0001",)
    report = place.desk.publish([make_draft()], (), ANALYST)
    assert (report.published, report.kept, report.superseded) == ((), ("P-0001",), ())
    assert entry_ids(place.desk.entries()) == ["P-0001"]


def test_other_numbers_make_another_proposal_and_end_the_old_one(place: Place) -> None:
    place.publish()
    report = place.desk.publish([make_draft(net_usd_month=interval(300.0))], (), ANALYST)
    assert (report.published, report.superseded) == (("P-0002",), ("P-0001",))
    assert place.states() == {"P-0001": "superseded", "P-0002": "open"}


def test_another_change_of_the_type_ends_the_old_one(place: Place) -> None:
    place.publish()
    place.publish(make_draft(after=("cheap",)))
    assert place.states() == {"P-0001": "superseded", "P-0002": "open"}


def test_a_run_that_no_longer_proposes_a_type_ends_its_offer(place: Place) -> None:
    place.publish(make_draft(), make_draft("x.classify", ("cheap",)))
    hold = Verdict(payload_type="x.extract", verdict="hold", text="nothing to gain")
    report = place.desk.publish([], [hold], ANALYST, window_us=(1, 2))
    assert report.superseded == ("P-0001",)
    assert place.states() == {"P-0001": "superseded", "P-0002": "open"}
    run = place.desk.latest_run()
    assert run is not None
    assert (run.by, run.window_us, run.verdicts) == ("ann", (1, 2), (hold,))


def test_a_run_keeps_what_its_moves_promise_together(place: Place) -> None:
    totals = Totals(
        payload_types=("x.extract",),
        calls_per_month=10_000,
        net_usd_month=Interval(mean=115.0, low=100.0, high=130.0),
        wrong_rate_change=Interval(mean=0.001, low=-0.001, high=0.003),
    )
    place.desk.publish([make_draft()], [], ANALYST, portfolio=totals)
    run = place.new_desk().latest_run()
    assert run is not None
    assert run.portfolio == totals


def test_verdicts_name_the_proposal_on_offer_or_what_stands_in_its_way(place: Place) -> None:
    said = Verdict(payload_type="x.extract", verdict="move", text="cheaper and as good")
    report = place.desk.publish([make_draft()], [said], ANALYST)
    assert report.run.verdicts == (replace(said, proposal_id="P-0001"),)
    place.apply("P-0001")
    report = place.desk.publish([make_draft(after=("cheap",), before=("mid",))], [said], ANALYST)
    assert report.published == ()
    (verdict,) = report.run.verdicts
    assert (verdict.verdict, verdict.proposal_id) == ("blocked", "P-0001")
    assert verdict.text == report.held_back[0].reason == "P-0001 of this type is in force and being watched"


def test_a_claimed_type_gets_no_other_proposal_until_the_claim_runs_out(place: Place) -> None:
    place.publish()
    place.desk.claim("P-0001", ANALYST)
    other = make_draft(after=("cheap",))
    assert place.desk.publish([other], (), ANALYST).published == ()
    place.now_us += CLAIM_US
    assert place.state("P-0001") == "open"
    assert place.desk.publish([other], (), ANALYST).published == ("P-0002",)


def test_a_claim_is_one_persons_and_can_be_renewed_and_released(place: Place) -> None:
    place.publish()
    assert place.desk.claim("P-0001", ADA).until_us == place.now_us + CLAIM_US
    with pytest.raises(ChangeRefusedError, match="claimed by ada"):
        place.desk.claim("P-0001", BOB)
    with pytest.raises(ChangeRefusedError, match="who alone may release it"):
        place.desk.release("P-0001", BOB)
    place.now_us += CLAIM_US // 2
    assert place.desk.claim("P-0001", ADA).until_us == place.now_us + CLAIM_US
    assert place.desk.release("P-0001", ADA).state == "open"
    assert place.desk.release("P-0001", ADA).state == "open"
    assert place.audited()[-2:] == [("release", "done"), ("release", "already")]


def test_an_admin_may_end_anothers_claim(place: Place) -> None:
    place.publish()
    (place.folder / "access.yaml").write_text("roles: {root: admin}\n")
    place.desk.claim("P-0001", ADA)
    assert place.desk.release("P-0001", ADMIN).state == "open"


def test_what_was_dismissed_returns_after_28_days(place: Place) -> None:
    place.publish()
    place.desk.dismiss("P-0001", ANALYST, "these are audited")
    place.now_us += 28 * DAY_US - 1
    report = place.desk.publish([make_draft()], (), ANALYST)
    assert report.held_back[0].reason == (
        "P-0001 asked for the same and was dismissed (these are audited); without new evidence it returns in 1 days"
    )
    place.now_us += 1
    assert place.desk.publish([make_draft()], (), ANALYST).published == ("P-0002",)


@pytest.mark.parametrize(
    "changed",
    [
        {"evidence": make_evidence(400)},
        {"net_usd_month": interval(-1.0)},
        {"net_usd_month": interval(130.0)},
    ],
)
def test_what_was_dismissed_returns_earlier_with_new_evidence(place: Place, changed: dict[str, Any]) -> None:
    place.publish()
    place.desk.dismiss("P-0001", ANALYST, "these are audited")
    assert place.publish(replace(make_draft(), **changed)) == ("P-0002",)


def test_another_change_of_a_dismissed_type_is_proposed_at_once(place: Place) -> None:
    place.publish()
    place.desk.dismiss("P-0001", ANALYST, "these are audited")
    assert place.publish(make_draft(after=("cheap",))) == ("P-0002",)


def test_what_was_taken_back_does_not_return_at_once(place: Place) -> None:
    place.publish()
    done = place.apply("P-0001")
    place.desk.undo(done.seq, ADA, REASON, expected_version=done.version)
    assert place.publish() == ()
    place.now_us += 28 * DAY_US
    assert place.publish() == ("P-0002",)


def test_what_is_snoozed_does_not_return_before_its_time_whatever_the_numbers(place: Place) -> None:
    place.publish()
    place.desk.snooze("P-0001", ANALYST, place.now_us + 40 * DAY_US, "after the audit")
    place.now_us += 39 * DAY_US
    assert place.publish(make_draft(net_usd_month=interval(900.0))) == ()
    assert place.state("P-0001") == "snoozed"
    place.now_us += DAY_US
    assert place.state("P-0001") == "expired", "its offer had ended meanwhile"
    assert place.publish() == ("P-0002",)


def test_a_snooze_within_the_offers_time_wakes_up_open(place: Place) -> None:
    place.publish()
    place.desk.snooze("P-0001", ANALYST, place.now_us + DAY_US, "tomorrow then")
    assert place.desk.counts()["snoozed"] == 1
    place.now_us += DAY_US
    assert place.state("P-0001") == "open"
    assert (place.desk.counts()["snoozed"], place.desk.counts()["open"]) == (0, 1)
    assert entry_ids(place.desk.entries(["open"])) == ["P-0001"]


def test_an_offer_ends_after_21_days(place: Place) -> None:
    place.publish()
    place.now_us += 21 * DAY_US
    assert place.state("P-0001") == "expired"
    assert entry_ids(place.desk.entries(["expired"])) == ["P-0001"]
    assert place.desk.entries(["open"]) == ()
    with pytest.raises(ChangeRefusedError, match="it is expired"):
        place.apply("P-0001")


def test_a_watch_ends_unmeasured_and_can_still_be_taken_back(place: Place) -> None:
    place.publish()
    done = place.apply("P-0001")
    place.now_us += 28 * DAY_US
    entry = place.desk.entry("P-0001")
    assert entry.state == "superseded"
    assert entry.reason is not None
    assert entry.reason.startswith("not measured")
    place.desk.undo(done.seq, ADA, REASON, expected_version=done.version)
    assert place.state("P-0001") == "rolled_back"


def test_gathering_evidence_does_not_stand_in_the_way_of_the_move_it_is_for(place: Place) -> None:
    edit = ConfigEdit(path=("payload_types", "x.extract", "latency_slo_s"), before=None, after=30)
    place.publish(make_draft(kind="evidence", edits=(edit,), shadow_calls=180, shadow_cost_usd=3.2, shadow_days=9.0))
    place.apply("P-0001")
    assert place.desk.entry("P-0001").until_us == place.now_us + 9 * DAY_US
    assert place.publish() == ("P-0002",)
    assert place.states() == {"P-0001": "confirmed", "P-0002": "open"}


def test_drafts_come_back_as_they_were_published(place: Place) -> None:
    after = {"path": ["mid"], "until": dt.date(2026, 12, 7), "rate": 0.05, "text": "no: yes", "none": None}
    edit = ConfigEdit(path=("payload_types", "x.extract", "holdback"), before=None, after=after)
    draft = make_draft(edits=(edit,), window_us=None, shadow_days=None, saving_usd_month=interval(0.1 + 0.2))
    report = place.desk.publish([draft], (), ANALYST)
    assert place.desk.entry(report.published[0]).proposal.draft == draft


Decide = Callable[[Place, Actor], object]
DECISIONS: dict[str, Decide] = {
    "propose": lambda place, actor: place.desk.publish([make_draft()], (), actor),
    "claim": lambda place, actor: place.desk.claim("P-0001", actor),
    "dismiss": lambda place, actor: place.desk.dismiss("P-0001", actor, REASON),
    "snooze": lambda place, actor: place.desk.snooze("P-0001", actor, place.now_us + DAY_US, REASON),
    "release": lambda place, actor: place.desk.release("P-0001", actor),
    "apply": lambda place, actor: place.apply("P-0001", actor=actor),
}


@pytest.mark.parametrize("action", DECISIONS)
def test_a_viewer_decides_nothing_and_is_audited(place: Place, action: str) -> None:
    place.publish()
    before = place.desk.entry("P-0001")
    with pytest.raises(NotAllowedError, match=f"vic is a viewer and may not {action}"):
        DECISIONS[action](place, VIEWER)
    assert place.desk.entry("P-0001") == before
    row = place.desk.audit()[0]
    assert (row.who, row.role, row.action, row.result) == ("vic", "viewer", action, "refused")


def test_a_role_that_was_taken_away_does_not_count_any_more(place: Place) -> None:
    place.publish()
    (place.folder / "access.yaml").write_text("roles: {eve: approver}\n")
    eve = Actor(name="eve", role="approver", auth="oidc")
    place.desk.claim("P-0001", eve)
    (place.folder / "access.yaml").write_text("roles: {eve: viewer}\n")
    with pytest.raises(NotAllowedError):
        place.apply("P-0001", actor=eve)


def test_nobody_known_decides_nothing(place: Place) -> None:
    with pytest.raises(NotAllowedError):
        place.desk.publish([make_draft()], (), Actor(name="x", role="admin", auth="none"))


def test_above_the_limit_it_takes_two(place: Place) -> None:
    place.publish()
    (place.folder / "access.yaml").write_text("two_person_above_usd_month: 100\n")
    with pytest.raises(NotAllowedError, match=r"above \$100\.00 a month it takes two people"):
        place.apply("P-0001")
    place.desk.claim("P-0001", ADA)
    with pytest.raises(NotAllowedError, match="Nobody but you has claimed P-0001"):
        place.apply("P-0001", actor=ADA)
    assert place.apply("P-0001", actor=BOB).result == "done"


def test_a_move_that_costs_does_not_make_up_for_one_that_saves(place: Place) -> None:
    saving = make_draft(saving_usd_month=interval(600), net_usd_month=interval(600))
    costing = make_draft("x.classify", ("cheap",), saving_usd_month=interval(-590), net_usd_month=interval(-590))
    ids = place.publish(saving, costing)
    (place.folder / "access.yaml").write_text("two_person_above_usd_month: 100\n")
    with pytest.raises(NotAllowedError, match="it takes two people"):
        place.apply(*ids)


def test_at_the_limit_one_is_enough(place: Place) -> None:
    place.publish()
    (place.folder / "access.yaml").write_text("two_person_above_usd_month: 120\n")
    assert place.apply("P-0001").result == "done"


def test_audit_and_history_are_only_ever_added_to(place: Place) -> None:
    place.publish()
    place.apply("P-0001")
    tables = ("audit", "config_history", "config_bytes", "proposals")
    with closing(sqlite3.connect(place.home.control)) as con:
        for table in tables:
            for change in (f"DELETE FROM {table}", f"UPDATE {table} SET rowid = rowid + 100"):
                with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                    con.execute(change)
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                con.execute(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}")


@pytest.mark.parametrize(
    ("tampering", "row"),
    [
        ("UPDATE audit SET body = replace(body, 'the evidence is good', 'no reason at all') WHERE seq = 2", 2),
        ("UPDATE audit SET who = 'bob' WHERE seq = 2", 2),
        ("UPDATE audit SET hash = (SELECT hash FROM audit WHERE seq = 1) WHERE seq = 3", 3),
        ("DELETE FROM audit WHERE seq = 1", 1),
        ("DELETE FROM audit WHERE seq = 2", 2),
        ("DELETE FROM audit WHERE seq = 3", 3),
    ],
)
def test_the_chain_finds_the_first_row_that_was_tampered_with(place: Place, tampering: str, row: int) -> None:
    place.publish()
    done = place.apply("P-0001")
    place.desk.undo(done.seq, ADA, REASON, expected_version=done.version)
    assert place.desk.verify_audit() is None
    with closing(sqlite3.connect(place.home.control)) as con:
        for name in ("updated", "deleted"):
            con.execute(f"DROP TRIGGER audit_never_{name}")
        con.execute(tampering)
        con.commit()
    assert place.desk.verify_audit() == row


def test_a_hostile_reason_is_kept_as_text(place: Place) -> None:
    place.publish()
    place.desk.dismiss("P-0001", ANALYST, "bad \udcff bytes \x00 '; DROP TABLE audit")
    assert "DROP TABLE" in (place.desk.audit()[0].reason or "")
    assert place.desk.verify_audit() is None


def test_two_configs_of_one_home_have_histories_of_their_own(place: Place) -> None:
    other = Place(place.folder / "other")
    desk = type(other.desk)(place.home, other.config, lambda: place.now_us)
    place.publish()
    desk.observe()
    assert (place.desk.head().seq, desk.head().seq) == (1, 2)
    place.apply("P-0001")
    assert [each.seq for each in place.desk.history()] == [3, 1]
    assert [each.seq for each in desk.history()] == [2]
    with pytest.raises(ConfigError, match="there is no version 3"):
        desk.review_rollback(3)


def test_a_home_that_moves_with_its_config_keeps_its_history(place: Place) -> None:
    place.publish()
    place.apply("P-0001")
    moved = place.folder.rename(place.folder.parent / "moved")
    desk = type(place.desk)(Home(moved / ".tierwise"), moved / "routing.yaml", lambda: place.now_us)
    assert (desk.head().seq, desk.head().kind) == (2, "apply")
    moved.rename(place.folder)


def test_a_link_is_followed_and_stays_a_link(place: Place) -> None:
    real = place.folder / "shared.yaml"
    place.config.rename(real)
    place.config.symlink_to(real.name)
    real.chmod(0o640)
    owner = (4711, 4712) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    os.chown(real, *owner)
    place.publish()
    place.apply("P-0001")
    assert place.config.is_symlink()
    assert place.path_of("x.extract") == ["mid"]
    assert real.stat().st_mode & 0o777 == 0o640
    assert (real.stat().st_uid, real.stat().st_gid) == owner
    assert place.beside() == ["shared.yaml"]


@pytest.mark.parametrize("text", ["version: [", "version: 1\n", ""])
def test_an_invalid_hand_edit_is_the_head_and_says_what_is_wrong(place: Place, text: str) -> None:
    place.publish()
    place.config.write_text(text)
    place.desk.observe()
    head = place.desk.head()
    assert (head.kind, head.config, head.seq) == ("hand", None, 2)
    assert head.problem
    assert place.state("P-0001") == "open", "nothing is decided from a file that cannot be read"
    refusal = place.desk.review(["P-0001"]).refusal
    assert refusal is not None
    place.desk.rollback(1, ADA, REASON, expected_version=head.version)
    assert place.desk.head().problem is None
    assert place.apply("P-0001").result == "done"


def test_a_version_that_routers_refuse_cannot_be_rolled_back_to(place: Place) -> None:
    place.publish()
    good = place.config.read_bytes()
    place.config.write_text("version: 1\n")
    place.desk.observe()
    place.config.write_bytes(good)
    place.desk.observe()
    with pytest.raises(ConfigError):
        place.desk.rollback(2, ADA, REASON, expected_version=place.desk.head().version)
    assert place.config.read_bytes() == good


def test_a_missing_file_is_said(place: Place) -> None:
    place.publish()
    place.config.unlink()
    assert "does not exist" in (place.desk.head().problem or "")
    assert "does not exist" in (place.desk.review(["P-0001"]).refusal or "")
    with pytest.raises(ConfigError, match="does not exist"):
        place.desk.apply(["P-0001"], ADA, REASON, expected_version="")


def test_a_folder_that_cannot_be_written_leaves_everything_as_it_was(place: Place) -> None:
    place.publish()

    def full(step: str) -> None:
        if step == "written":
            raise OSError(28, os.strerror(28))

    with pytest.raises(ChangeRefusedError, match="No space left on device"):
        place.apply("P-0001", desk=place.new_desk(at_step=full))
    assert place.beside() == []
    assert place.state("P-0001") == "open"
    assert place.audited()[-2:] == [("apply", "abandoned"), ("apply", "refused")]
    assert place.apply("P-0001").result == "done"


def test_a_store_that_is_no_database_is_one_clear_message(place: Place) -> None:
    place.home.create()
    place.home.control.write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match="cannot be used"):
        place.desk.entries()


def test_a_store_of_a_newer_version_is_left_alone(place: Place) -> None:
    place.publish()
    with Store(place.home).writing() as con:
        con.execute("UPDATE control_schema SET version = 99")
    with pytest.raises(StoreError, match="install the newer Tierwise"):
        place.desk.entries()


def test_audit_rows_can_be_asked_for_by_action_and_by_name(place: Place) -> None:
    place.publish()
    place.desk.claim("P-0001", BOB)
    place.apply("P-0001", actor=BOB)
    assert [row.action for row in place.desk.audit(who="bob")] == ["apply", "claim"]
    assert [row.who for row in place.desk.audit(action="propose")] == ["ann"]
    assert [row.seq for row in place.desk.audit(limit=1, offset=1)] == [2]
    assert audit.BY_HAND.role == "viewer"


def test_the_difference_of_any_two_versions_can_be_shown(place: Place) -> None:
    place.publish()
    done = place.apply("P-0001")
    text = place.desk.diff(done.before_version, done.version)
    assert text.count("\n+ ") == text.count("\n- ") == 1
    assert place.desk.diff(done.version, done.version) == ""
    with pytest.raises(ConfigError, match="no version"):
        place.desk.diff("ffffffffffff", done.version)
