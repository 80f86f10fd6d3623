"""Does what a call's flow asks for: in a thread, or in an event loop."""

from router_core.backends import Backend
from router_core.clock import Clock
from router_core.flow import Effect, Flow, Pause, Send
from router_core.types import Answer, Response


def drive(flow: Flow, backend: Backend, clock: Clock) -> Answer:
    """Return the answer of a call, made in this thread; raises what the call raises."""
    try:
        effect = next(flow)
        while True:
            try:
                response = _perform(effect, backend, clock)
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
                response = await _aperform(effect, backend, clock)
            except BaseException as error:  # noqa: BLE001 - the flow logs it and raises what is to be raised
                effect = flow.throw(error)
            else:
                effect = flow.send(response)
    except StopIteration as stop:
        return stop.value


def _perform(effect: Effect, backend: Backend, clock: Clock) -> Response | None:
    match effect:
        case Send(request=request):
            return backend.complete(request)
        case Pause(seconds=seconds):
            return clock.sleep(seconds)


async def _aperform(effect: Effect, backend: Backend, clock: Clock) -> Response | None:
    match effect:
        case Send(request=request):
            return await backend.acomplete(request)
        case Pause(seconds=seconds):
            return await clock.asleep(seconds)
