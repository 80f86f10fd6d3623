"""Does what a call's flow asks for: in a thread, or in an event loop."""

from router_core.backends import Backend
from router_core.clock import Clock
from router_core.effects import Effect, Flow, Pause, Send
from router_core.types import Answer


def drive(flow: Flow, backend: Backend, clock: Clock) -> Answer:
    """Return the answer of a call, made in this thread; raises what the call raises."""
    try:
        effect = next(flow)
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


async def adrive(flow: Flow, backend: Backend, clock: Clock) -> Answer:
    """Return the answer of a call without blocking the event loop; raises what the call raises."""
    try:
        effect = next(flow)
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
