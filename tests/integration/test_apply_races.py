"""Several hands at one config: double clicks, two tabs, two approvers, editors that save at any step, budgets."""

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from optimizer.lifecycle import ConflictError, StaleError
from router_core.control.records import Actor
from tests.decision_processes import (
    FALLBACK_STEPS,
    PROPOSAL,
    STEPS,
    act,
    act_when_told,
    book_budgets,
    copied,
    no_exchange,
    prepare,
)
from tests.decisions import ADA, BOB, REASON, ROUTING, Place
from tests.log_processes import end, event, pipe, start

MOVED = ROUTING.replace("x.extract: {path: [top]", "x.extract: {path: [mid]").encode()
RACES = 50
# on top of whatever the file is, as an editor that has it open would save it
MARK = b"# who goes where"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return prepare(tmp_path_factory.mktemp("unapplied"), "apply")


@pytest.fixture
def place(template: Place, tmp_path: Path) -> Place:
    return copied(template, tmp_path / "place")


def save_in_place(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def save_by_renaming(path: Path, data: bytes) -> None:
    fresh = path.with_suffix(".theirs")
    fresh.write_bytes(data)
    fresh.replace(path)


SAVES = [save_in_place, save_by_renaming]


def assert_one_change(place: Place) -> None:
    assert place.config.read_bytes() == MOVED
    assert [kind for kind, _ in place.versions()] == ["first", "apply"]
    assert place.beside() == []
    assert place.audited().count(("apply", "done")) == 1


def test_double_click_is_one_change(place: Place) -> None:
    version = place.desk.head().version
    results: list[str] = []
    barrier = threading.Barrier(2)

    def click() -> None:
        barrier.wait()
        results.append(place.desk.apply([PROPOSAL], ADA, REASON, expected_version=version).result)

    threads = [threading.Thread(target=click) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["already", "done"]
    assert_one_change(place)


def test_two_approvers_in_two_processes_make_one_change_each_of_fifty_times(template: Place, tmp_path: Path) -> None:
    for n in range(RACES):
        place = copied(template, tmp_path / str(n))
        assert sorted(race(place, place.desk.head().version, (ADA, BOB))) == ["already", "done"]
        assert_one_change(place)
        assert place.audited() == [("propose", "done"), ("apply", "done"), ("apply", "already")]


def race(place: Place, version: str, actors: tuple[Actor, ...]) -> list[str]:
    go, ends = event(), [pipe() for _ in actors]
    children = [
        start(act_when_told, place.folder, actor, version, go, sender)
        for actor, (_, sender) in zip(actors, ends, strict=True)
    ]
    go.set()
    results = [receiver.recv() for receiver, _ in ends]
    for child in children:
        child.join(30)
    return results


@pytest.mark.parametrize("save", SAVES)
@pytest.mark.parametrize(("step", "fallback"), [*((s, False) for s in STEPS), *((s, True) for s in FALLBACK_STEPS)])
def test_an_editor_that_saves_at_any_step_loses_nothing(
    place: Place, save: Callable[[Path, bytes], None], step: str, fallback: bool
) -> None:
    theirs = b""

    def at_step(name: str) -> None:
        nonlocal theirs
        if name == step:
            theirs = place.config.read_bytes().replace(MARK, b"# theirs, " + name.encode())
            save(place.config, theirs)

    desk = place.new_desk(at_step=at_step, **({"trade": no_exchange} if fallback else {}))
    conflict = act_or_conflict(desk)
    place.desk.observe()
    assert theirs != b""
    assert place.config.read_bytes() == theirs
    assert place.versions()[-1] == ("hand", theirs)
    if conflict is None:
        assert ("apply", MOVED) in place.versions()
        assert place.state(PROPOSAL) == "watching"
        assert place.beside() == []
    else:
        assert place.state(PROPOSAL) == "open"
        assert place.audited()[-2] == ("apply", "conflict" if isinstance(conflict, ConflictError) else "refused")
        if isinstance(conflict, ConflictError):
            assert conflict.kept is not None
            assert Path(conflict.kept).read_bytes() == MOVED
            assert conflict.kept in str(conflict)


def act_or_conflict(desk: Any) -> ConflictError | StaleError | None:
    try:
        act(desk, "apply")
    except (ConflictError, StaleError) as error:
        return error
    return None


@pytest.mark.parametrize("save", SAVES)
def test_two_saves_in_the_moment_of_the_exchange_are_both_kept(
    place: Place, save: Callable[[Path, bytes], None]
) -> None:
    saved: list[bytes] = []

    def at_step(name: str) -> None:
        if name in {"staged", "exchanged"}:
            saved.append(place.config.read_bytes().replace(MARK, b"# theirs, " + name.encode()))
            save(place.config, saved[-1])

    with pytest.raises(ConflictError) as caught:
        act(place.new_desk(at_step=at_step), "apply")
    assert place.config.read_bytes() == saved[1]
    assert caught.value.kept is not None
    assert Path(caught.value.kept).read_bytes() == saved[0]


@pytest.mark.parametrize("fallback", [False, True])
@pytest.mark.parametrize("step", ["exchanged", "compared", "done"])
def test_an_editor_that_writes_to_the_file_it_had_open_loses_nothing(place: Place, step: str, fallback: bool) -> None:
    theirs = ROUTING.replace("# who goes where", "# slowly written").encode()
    with place.config.open("r+b") as editor:

        def at_step(name: str) -> None:
            if name == step:
                editor.truncate()
                editor.write(theirs)
                editor.flush()

        desk = place.new_desk(at_step=at_step, **({"trade": no_exchange} if fallback else {}))
        try:
            note = act(desk, "apply").note
        except ConflictError:
            assert place.config.read_bytes() == theirs
        else:
            kept = place.folder / place.beside()[0]
            assert kept.read_bytes() == theirs
            assert str(kept) in note
            assert place.audited()[-1] == ("apply", "conflict")


def test_a_file_that_is_taken_away_in_the_moment_is_a_conflict(place: Place) -> None:
    def at_step(name: str) -> None:
        if name == "staged":
            place.config.rename(place.folder / "away.yaml")

    with pytest.raises(ConflictError, match="taken away"):
        act(place.new_desk(at_step=at_step), "apply")
    assert place.beside() == ["away.yaml"]
    assert place.state(PROPOSAL) == "open"


def test_budgets_of_routers_go_on_while_proposals_are_applied(place: Place) -> None:
    stop, ends = event(), [pipe() for _ in range(2)]
    bookers = [start(book_budgets, place.home.root, stop, sender) for _, sender in ends]
    for n in range(8):
        done = (
            act(place.desk, "apply")
            if n == 0
            else place.desk.rollback(1 + (n + 1) % 2, ADA, REASON, expected_version=place.desk.head().version)
        )
        assert done.seq == n + 2
    stop.set()
    results = [receiver.recv() for receiver, _ in ends]
    for booker in bookers:
        booker.join(30)
    end(bookers)
    assert [events for _, events in results] == [[], []]
    booked = sum(count for count, _ in results)
    with closing(sqlite3.connect(place.home.control)) as con:
        assert con.execute("SELECT sum(noncritical_nusd) FROM budget_spend").fetchone() == (booked * 7,)


def test_two_processes_that_see_one_edit_give_it_one_number(place: Place) -> None:
    place.config.write_bytes(place.config.read_bytes().replace(MARK, b"# by hand"))
    threads = [threading.Thread(target=place.new_desk().observe) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [kind for kind, _ in place.versions()] == ["first", "hand"]


def test_a_half_written_save_gets_no_number(place: Place) -> None:
    whole = place.config.read_bytes().replace(MARK, b"# whole")
    observer = threading.Thread(target=place.desk.observe)
    with place.config.open("wb") as slow:
        slow.write(whole[:100])
        slow.flush()
        observer.start()
        for position in range(100, len(whole), 50):
            time.sleep(0.02)
            slow.write(whole[position : position + 50])
            slow.flush()
    observer.join()
    place.desk.observe()
    assert place.versions()[1:] == [("hand", whole)]
