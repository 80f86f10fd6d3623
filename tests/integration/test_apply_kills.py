"""kill -9 at every step of a change of the config: old bytes or new ones, and everything else agrees."""

from pathlib import Path

import pytest

from router_core.control.intents import unfinished
from router_core.control.store import Store
from tests.decision_processes import (
    ACTIONS,
    FALLBACK_STEPS,
    PROPOSAL,
    STEPS,
    act,
    act_and_die,
    copied,
    no_exchange,
    prepare,
    settle_and_die,
)
from tests.decisions import Place
from tests.log_processes import start

KILLS = 10
KIND = {"apply": "apply", "undo": "undo", "undo_moved": "undo", "rollback": "rollback"}
AFTER = {"apply": "watching", "undo": "rolled_back", "undo_moved": "rolled_back", "rollback": "rolled_back"}
CHANGED = {"exchanged", "compared", "synced", "finishing", "done", "tidied"}


@pytest.fixture(scope="module", params=ACTIONS)
def before(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Place]:
    return request.param, prepare(tmp_path_factory.mktemp("before"), request.param)


def kill(folder: Path, action: str, step: str, *, fallback: bool = False) -> None:
    child = start(act_and_die, folder, action, step, fallback)
    child.join(60)
    assert child.exitcode == -9


def expected_bytes(template: Place, folder: Path, action: str) -> bytes:
    place = copied(template, folder)
    act(place.desk, action)
    return place.config.read_bytes()


def assert_whole(place: Place, template: Place, action: str, new: bytes, *, changed: bool) -> None:
    """The change took place as a whole, or not at all; either is in the audit, and nothing is left over."""
    old = template.config.read_bytes()
    assert place.config.read_bytes() == (new if changed else old)
    known = template.versions()
    assert place.versions() == [*known, (KIND[action], new)] if changed else known
    assert place.state(PROPOSAL) == (AFTER[action] if changed else template.state(PROPOSAL))
    assert place.beside() == []
    with Store(place.home).reading() as con:
        assert con is not None
        assert unfinished(con) == 0
    rows = place.audited()[len(template.audited()) :]
    assert (
        rows in ([(KIND[action], "done")], [(KIND[action], "recovered")])
        if changed
        else (rows in ([], [(KIND[action], "abandoned")]))
    )


@pytest.mark.parametrize("fallback", [False, True])
def test_the_steps_are_all_there_are(before: tuple[str, Place], tmp_path: Path, fallback: bool) -> None:
    action, template = before
    steps: list[str] = []
    place = copied(template, tmp_path / "place")
    options = {"trade": no_exchange} if fallback else {}
    act(place.new_desk(at_step=steps.append, **options), action)
    assert tuple(steps) == (FALLBACK_STEPS if fallback else STEPS)


@pytest.mark.parametrize("step", STEPS)
def test_a_change_that_is_killed_took_place_or_did_not(before: tuple[str, Place], tmp_path: Path, step: str) -> None:
    action, template = before
    new = expected_bytes(template, tmp_path / "whole", action)
    for n in range(KILLS if action == "apply" else 3):
        place = copied(template, tmp_path / str(n))
        kill(place.folder, action, step)
        place.desk.observe()
        assert_whole(place, template, action, new, changed=step in CHANGED)
        again = act(place.desk, action)
        assert again.result == ("already" if step in CHANGED else "done")
        assert place.config.read_bytes() == new
        assert place.beside() == []


@pytest.fixture(scope="module")
def unapplied(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return prepare(tmp_path_factory.mktemp("unapplied"), "apply")


@pytest.mark.parametrize("step", FALLBACK_STEPS)
def test_the_same_where_files_cannot_be_exchanged(unapplied: Place, tmp_path: Path, step: str) -> None:
    new = expected_bytes(unapplied, tmp_path / "whole", "apply")
    for n in range(KILLS):
        place = copied(unapplied, tmp_path / str(n))
        kill(place.folder, "apply", step, fallback=True)
        place.desk.observe()
        assert_whole(place, unapplied, "apply", new, changed=step in CHANGED)


@pytest.mark.parametrize("step", ["intent", "staged", "exchanged", "synced", "done"])
@pytest.mark.parametrize("second", ["recovering", "judged", "finishing", "done", "tidied"])
def test_a_recovery_that_is_killed_is_taken_up_again(unapplied: Place, tmp_path: Path, step: str, second: str) -> None:
    new = expected_bytes(unapplied, tmp_path / "whole", "apply")
    place = copied(unapplied, tmp_path / "place")
    kill(place.folder, "apply", step)
    child = start(settle_and_die, place.folder, second)
    child.join(60)
    assert child.exitcode in {0, -9}
    place.desk.observe()
    assert_whole(place, unapplied, "apply", new, changed=step in CHANGED)


@pytest.mark.parametrize("step", ["staged", "exchanged"])
def test_what_lay_beside_the_file_may_be_cleared_away_before_recovery(
    unapplied: Place, tmp_path: Path, step: str
) -> None:
    new = expected_bytes(unapplied, tmp_path / "whole", "apply")
    place = copied(unapplied, tmp_path / "place")
    kill(place.folder, "apply", step)
    for left in place.folder.glob(".routing.yaml.*"):
        left.unlink()
    place.desk.observe()
    assert_whole(place, unapplied, "apply", new, changed=step in CHANGED)


@pytest.mark.parametrize("fallback", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_an_edit_after_the_kill_is_kept_on_top(unapplied: Place, tmp_path: Path, step: str, fallback: bool) -> None:
    new = expected_bytes(unapplied, tmp_path / "whole", "apply")
    place = copied(unapplied, tmp_path / "place")
    kill(place.folder, "apply", step, fallback=fallback)
    edited = place.config.read_bytes().replace(b"# who goes where", b"# edited")
    place.config.write_bytes(edited)
    place.desk.observe()
    assert place.config.read_bytes() == edited
    made = [("apply", new)] if step in CHANGED else []
    assert place.versions() == [*unapplied.versions(), *made, ("hand", edited)]
    assert place.beside() == []
