"""Does what a call's flow asks for: in a thread, or in an event loop."""

from typing import TypeVar

from router_core.backends import Backend
from router_core.clock import Clock
from router_core.effects import Driven, Effect, Pause, Send

T = TypeVar("T")


def drive(flow: Driven[T], backend: Backend, clock: Clock, effect: Effect | None = None) -> T:
    """Return the answer of a call, made in this thread; raises what the call raises.

    Args:
        flow: The call.
        backend: Model client.
        clock: Time.
        effect: What it asks for now; None = it has not begun.
    """
    try:
        effect = next(flow) if effect is None else effect
        while True:
            try:
                response = (
                    backend.complete(effect.request) if isinstance(effect, Send) else clock.sleep(_pause_s(effect))
                )
            except BaseException as error:  # noqa: BLE001 - the flow logs it and raises what is to be raised
                effect = flow.throw(error)
            else:
                effect = flow.send(response)
    except StopIteration as stop:
        return stop.value


async def adrive(flow: Driven[T], backend: Backend, clock: Clock, effect: Effect | None = None) -> T:
    """Return the answer of a call without blocking the event loop; see ``drive``."""
    try:
        effect = next(flow) if effect is None else effect
        while True:
            try:
                response = (
                    await backend.acomplete(effect.request)
                    if isinstance(effect, Send)
                    else await clock.asleep(_pause_s(effect))
                )
            except BaseException as error:  # noqa: BLE001 - the flow logs it and raises what is to be raised
                effect = flow.throw(error)
            else:
                effect = flow.send(response)
    except StopIteration as stop:
        return stop.value


def _pause_s(effect: Effect) -> float:
    if not isinstance(effect, Pause):
        raise TypeError(f"only a streamed call asks for {type(effect).__name__}")
    return effect.seconds
