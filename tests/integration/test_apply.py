"""Proposals applied to a real file, taken back, rolled back, and refused."""

from pathlib import Path

import pytest

from optimizer.lifecycle import ChangeRefusedError, ConflictError, Done, NotAllowedError, StaleError
from router_core.control.records import Actor
from router_core.errors import ConfigError
from tests.decisions import ADA, ANALYST, BOB, REASON, ROUTING, VIEWER, Place, make_draft

MOVED = ROUTING.replace("x.extract: {path: [top]", "x.extract: {path: [mid]").encode()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_applying_changes_the_intended_bytes_and_nothing_else(place: Place) -> None:
    (proposal,) = place.publish()
    before = place.desk.head()
    done = place.apply(proposal)
    assert place.config.read_bytes() == MOVED
    head = place.desk.head()
    assert (done.result, done.version, done.before_version) == ("done", head.version, before.version)
    assert (head.seq, head.kind, head.by, head.reason, head.proposal_ids) == (
        done.seq,
        "apply",
        "ada",
        REASON,
        (proposal,),
    )
    assert place.state(proposal) == "watching"
    assert place.versions() == [("first", ROUTING.encode()), ("apply", MOVED)]
    assert place.audited() == [("propose", "done"), ("apply", "done")]
    row = place.desk.audit()[0]
    assert (row.seq, row.before, row.after) == (done.audit_seq, before.version, head.version)
    assert "+  x.extract: {path: [mid], error_cost_usd: 0.5}   # the big one" in (row.diff or "")
    assert place.beside() == []


def test_applying_again_changes_nothing_and_says_so(place: Place) -> None:
    (proposal,) = place.publish()
    first = place.apply(proposal)
    again = place.desk.apply([proposal], BOB, REASON, expected_version=first.before_version)
    assert (again.result, again.seq, again.version) == ("already", first.seq, first.version)
    assert [kind for kind, _ in place.versions()] == ["first", "apply"]
    assert place.audited()[-1] == ("apply", "already")


def test_undo_restores_the_file_byte_for_byte(place: Place) -> None:
    (proposal,) = place.publish()
    done = place.apply(proposal)
    offer = place.desk.undo_offer(done.seq)
    assert (offer.exact, offer.refusal) == (True, None)
    undone = place.desk.undo(done.seq, ADA, offer.reason, expected_version=offer.head_version)
    assert place.config.read_bytes() == ROUTING.encode()
    assert undone.version == done.before_version
    assert place.state(proposal) == "rolled_back"
    assert place.desk.undo(done.seq, BOB, REASON, expected_version=offer.head_version).result == "already"


def test_after_a_hand_edit_undo_is_the_inverse_change_on_the_present_file(place: Place) -> None:
    (proposal,) = place.publish()
    done = place.apply(proposal)
    edited = MOVED.replace(b"critical: true", b"critical: false")
    place.config.write_bytes(edited)
    offer = place.desk.undo_offer(done.seq)
    assert (offer.exact, offer.refusal) == (False, None)
    place.desk.undo(done.seq, ADA, offer.reason, expected_version=offer.head_version)
    assert place.config.read_bytes() == ROUTING.replace("critical: true", "critical: false").encode()
    assert [kind for kind, _ in place.versions()] == ["first", "apply", "hand", "undo"]


def test_undo_is_refused_when_the_value_is_another_one_now(place: Place) -> None:
    (proposal,) = place.publish()
    done = place.apply(proposal)
    place.config.write_bytes(MOVED.replace(b"{path: [mid]", b"{path: [cheap]"))
    offer = place.desk.undo_offer(done.seq)
    assert offer.refusal is not None
    assert "payload_types.x.extract.path is [cheap] now" in offer.refusal
    with pytest.raises(ChangeRefusedError, match="edited by hand"):
        place.desk.undo(done.seq, ADA, REASON, expected_version=offer.head_version)


def test_rollback_gives_old_bytes_a_new_number(place: Place) -> None:
    first, second = place.publish(make_draft(), make_draft("x.classify", ("cheap",)))
    place.apply(first)
    place.apply(second)
    review = place.desk.review_rollback(1)
    done = place.desk.rollback(1, ADA, review.reason, expected_version=review.head_version)
    assert place.config.read_bytes() == ROUTING.encode()
    assert (done.seq, place.desk.head().kind) == (4, "rollback")
    assert place.states() == {first: "rolled_back", second: "rolled_back"}
    assert sorted(place.desk.history()[0].proposal_ids) == [first, second]
    assert place.desk.rollback(1, ADA, REASON, expected_version=review.head_version).result == "already"


def test_a_change_that_a_rollback_made_again_can_be_undone_again(place: Place) -> None:
    place.publish()
    done = place.apply("P-0001")

    def undo() -> Done:
        offer = place.desk.undo_offer(done.seq)
        return place.desk.undo(done.seq, ADA, REASON, expected_version=offer.head_version)

    undo()
    review = place.desk.review_rollback(done.seq)
    place.desk.rollback(done.seq, ADA, REASON, expected_version=review.head_version)
    assert undo().result == "done"
    assert place.config.read_bytes() == ROUTING.encode()
    assert undo().result == "already"


def test_several_proposals_are_one_version(place: Place) -> None:
    ids = place.publish(make_draft(), make_draft("x.classify", ("cheap",)))
    done = place.apply(*ids)
    assert (place.path_of("x.extract"), place.path_of("x.classify")) == (["mid"], ["cheap"])
    assert place.desk.history()[0].proposal_ids == ids
    offer = place.desk.undo_offer(done.seq)
    place.desk.undo(done.seq, ADA, REASON, expected_version=offer.head_version)
    assert place.config.read_bytes() == ROUTING.encode()


def test_stale_change_is_refused_with_the_new_diff_and_can_then_be_applied(place: Place) -> None:
    (proposal,) = place.publish()
    reviewed = place.desk.review([proposal]).head_version
    place.config.write_bytes(ROUTING.replace("critical: true", "critical: false").encode())
    with pytest.raises(StaleError) as caught:
        place.desk.apply([proposal], ADA, REASON, expected_version=reviewed)
    assert caught.value.head_version == place.desk.head().version
    assert "+  x.extract: {path: [mid]" in caught.value.diff
    assert place.desk.review([proposal]).stale
    place.desk.apply([proposal], ADA, REASON, expected_version=caught.value.head_version)
    assert place.path_of("x.extract") == ["mid"]
    assert place.audited() == [("propose", "done"), ("hand", "done"), ("apply", "refused"), ("apply", "done")]


def test_hand_edit_of_the_path_ends_what_was_on_offer(place: Place) -> None:
    (proposal,) = place.publish()
    place.config.write_bytes(ROUTING.replace("x.extract: {path: [top]", "x.extract: {path: [cheap, top]").encode())
    with pytest.raises(ChangeRefusedError, match="superseded"):
        place.apply(proposal)
    assert place.desk.entry(proposal).reason == "its path was edited by hand"


def test_hand_edit_of_the_path_ends_a_watch_as_not_measured(place: Place) -> None:
    (proposal,) = place.publish()
    place.apply(proposal)
    place.config.write_bytes(MOVED.replace(b"{path: [mid]", b"{path: [cheap]"))
    place.desk.observe()
    entry = place.desk.entry(proposal)
    assert (entry.state, entry.reason) == ("superseded", "not measured: its path was edited by hand")


@pytest.mark.parametrize("reason", ["", "    ", "ok", "x" * 201])
def test_a_reason_is_needed(place: Place, reason: str) -> None:
    (proposal,) = place.publish()
    with pytest.raises(ChangeRefusedError, match="5 to 200"):
        place.desk.apply([proposal], ADA, reason, expected_version=place.desk.head().version)
    assert place.audited()[-1] == ("apply", "refused")


@pytest.mark.parametrize("actor", [VIEWER, ANALYST])
def test_only_approvers_change_the_config(place: Place, actor: Actor) -> None:
    (proposal,) = place.publish()
    done = place.apply(proposal)
    for attempt in (place.desk.undo, place.desk.rollback):
        with pytest.raises(NotAllowedError, match="approver"):
            attempt(done.seq, actor, REASON, expected_version=done.version)
    assert place.config.read_bytes() == MOVED
    assert place.audited()[-2:] == [("undo", "refused"), ("rollback", "refused")]


def test_a_change_that_routers_would_refuse_is_not_made(place: Place) -> None:
    place.config.write_bytes(ROUTING.replace("  a/medium: {input: 1, output: 4}\n", "on_unpriced: error\n").encode())
    place.config.write_bytes(place.config.read_bytes().replace(b"  b/large", b"# b/large") + b"judge: {tier: top}\n")
    before = place.config.read_bytes()
    (proposal,) = place.publish()
    with pytest.raises(ConfigError):
        place.apply(proposal)
    assert place.config.read_bytes() == before


def test_another_save_in_the_moment_of_the_exchange_stays(place: Place) -> None:
    theirs = ROUTING.replace("critical: true", "critical: false").encode()

    def save(step: str) -> None:
        if step == "staged":
            place.config.write_bytes(theirs)

    (proposal,) = place.publish()
    with pytest.raises(ConflictError) as caught:
        place.apply(proposal, desk=place.new_desk(at_step=save))
    assert place.config.read_bytes() == theirs
    assert caught.value.kept is not None
    assert Path(caught.value.kept).read_bytes() == MOVED
    assert place.state(proposal) == "open"
    assert place.audited()[-1] == ("apply", "conflict")
