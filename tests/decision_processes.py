"""Processes that change one routing config, for tests that kill them or let them meet."""

import errno
import os
import shutil
import signal
import threading
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from optimizer.lifecycle import ChangeRefusedError, Desk
from router_core.call_log.home import Home
from router_core.control.budgets import Guardrail
from router_core.control.records import Actor
from router_core.decide.guard import Limit
from tests.builders import make_call
from tests.decisions import ADA, REASON, Place, make_draft

ACTIONS = ("apply", "undo", "undo_moved", "rollback")
STEPS = (
    "settled", "planned", "intent", "written", "staged",
    "exchanged", "compared", "synced", "finishing", "done", "tidied",
)  # fmt: skip
FALLBACK_STEPS = tuple(step for at in STEPS for step in (("linked", at) if at == "exchanged" else (at,)))
PROPOSAL = "P-0001"


def no_exchange(one: Path, other: Path) -> None:
    """An exchange of a system that has none."""
    raise OSError(errno.ENOSYS, "not here", str(one), None, str(other))


def prepare(folder: Path, action: str) -> Place:
    """A place at which the action can be done next."""
    place = Place(folder)
    place.publish()
    if action != "apply":
        place.apply(PROPOSAL)
    if action in {"undo_moved", "rollback"}:
        place.publish(make_draft("x.classify", ("cheap",)))
        place.apply("P-0002")
    return place


def copied(template: Place, folder: Path) -> Place:
    """The same place once more."""
    shutil.copytree(template.folder, folder)
    return Place(folder)


def act(desk: Desk, action: str, actor: Actor = ADA, version: str | None = None) -> Any:
    """Do the action on the version that is expected, by default the present one."""
    version = version or desk.head().version
    if action == "apply":
        return desk.apply([PROPOSAL], actor, REASON, expected_version=version)
    if action == "rollback":
        return desk.rollback(1, actor, REASON, expected_version=version)
    return desk.undo(2, actor, REASON, expected_version=version)


def act_and_die(folder: Path, action: str, step: str, fallback: bool) -> None:
    """Do the action and be killed at a step of it."""

    def at_step(name: str) -> None:
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)

    place = Place(folder)
    act(place.new_desk(at_step=at_step, **({"trade": no_exchange} if fallback else {})), action)


def settle_and_die(folder: Path, step: str) -> None:
    """Settle what a crash has left, and be killed at a step of that."""

    def at_step(name: str) -> None:
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)

    Place(folder).new_desk(at_step=at_step).observe()


def act_when_told(folder: Path, actor: Actor, version: str, go: Any, results: Any) -> None:
    """Do an apply at a signal; send what came of it."""
    desk = Place(folder).desk
    go.wait(30)
    try:
        results.send(act(desk, "apply", actor, version).result)
    except ChangeRefusedError as error:
        results.send(type(error).__name__)


def book_budgets(root: Path, stop: Any, results: Any) -> None:
    """Book spend until told to stop; send how many bookings there were and what the store has."""
    events: list[object] = []
    guardrail = Guardrail(Home(root).control, lambda name, details, at_us: events.append((name, details)))
    limit = Limit(name="daily", limit_nusd=10**15, critical_reserve_nusd=0)
    guardrail.keep_to([limit], ZoneInfo("UTC"))
    call = make_call()
    booked, at_us, pause = 0, 1_795_435_200_000_000, threading.Event()
    while not stop.is_set():
        guardrail.verdict(at_us + booked, call)
        guardrail.settle(guardrail.reserve(at_us + booked, 5, call, critical=False), 7, at_us + booked)
        booked += 1
        pause.wait(0.001)
    guardrail.close()
    results.send((booked, events))
