"""Many calls of one payload type: those that may share requests do, in the order in which they were given.

``complete_many`` has them all at once; ``acomplete`` waits a moment for others that come at the same time.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from router_core.backends import Backend
from router_core.checks import Check
from router_core.clock import Clock, VirtualClock
from router_core.decide.packing import Small
from router_core.decide.plan import PackRule
from router_core.driving import adrive, drive
from router_core.effects import Flow
from router_core.errors import RouterError
from router_core.packing import Rider, Seat, asks_confidence, packable, seat_tokens, sharing_key, together
from router_core.prechecks import PreCheckFunction
from router_core.state import RouterState
from router_core.task import ConfidenceFunction, Task, refuse_unusable, several
from router_core.types import Answer, Message

if TYPE_CHECKING:  # loaded when a call needs it
    import asyncio

T = TypeVar("T")
# requests of one complete_many at the same time
_THREADS: Final = 8
Seating = Callable[[RouterState], Seat]


class Begin(Protocol):
    """Begins a call; see ``Router``."""

    def __call__(self, task: Task, seating: Seating | None = None) -> Flow:
        """Return the call's flow; raises what refuses the task."""
        ...


@dataclass(slots=True)
class _Waiting:
    """A call that waits for others to share with."""

    task: Task
    small: Small
    turn: "asyncio.Future[Rider | None]"


class Packer:
    """Packs the calls of one router.

    Args:
        begin: Begins a call.
        backend: Model client.
        clock: Time and ids.
    """

    def __init__(self, begin: Begin, backend: Backend, clock: Clock) -> None:
        self._begin = begin
        self._backend = backend
        self._clock = clock
        self._waiting: dict[tuple[int, bytes, int], list[_Waiting]] = {}
        self._running: set[asyncio.Task[None]] = set()

    def complete_many(self, tasks: Sequence[Task], rule: PackRule | None) -> list[Answer | RouterError]:
        """Return the answer of each task, or the error that it has ended with, in their order.

        Args:
            tasks: The tasks, of one payload type.
            rule: How they share requests; None = they do not.
        """
        answers: list[Answer | RouterError | None] = [None] * len(tasks)
        packs = list(_packs(tasks, rule))

        def run(places: Sequence[int]) -> None:
            for place, answer in zip(places, self._run([tasks[place] for place in places], rule), strict=True):
                answers[place] = answer

        if len(packs) == 1 or isinstance(self._clock, VirtualClock):  # virtual time passes in one thread
            for places in packs:
                run(places)
        else:
            from concurrent.futures import ThreadPoolExecutor

            pool = ThreadPoolExecutor(min(_THREADS, max(1, len(packs))), thread_name_prefix="tierwise-pack")
            try:
                for _ in pool.map(run, packs):
                    pass
            finally:
                pool.shutdown(cancel_futures=True)
        return [answer for answer in answers if answer is not None]

    async def acomplete(self, task: Task, rule: PackRule) -> Answer:
        """Return the answer of a task, which shares its request with those that come within a moment."""
        import asyncio

        small = packable(task)
        key = None if small is None else sharing_key(task, small)
        if small is None or key is None:
            return await adrive(self._begin(task), self._backend, self._clock)
        loop = asyncio.get_running_loop()
        place = (id(loop), key, id(task.response_format))
        mine = _Waiting(task, small, loop.create_future())
        together_with = self._waiting.setdefault(place, [])
        together_with.append(mine)
        if len(together_with) >= rule.max_items:
            self._depart(place, together_with, rule)
        elif len(together_with) == 1:
            loop.call_later(rule.max_wait_s, self._depart, place, together_with, rule)
        rider = await mine.turn
        if rider is None:
            return await adrive(self._begin(task), self._backend, self._clock)
        if rider.error is not None:
            raise rider.error
        if rider.answer is not None:
            return rider.answer
        return await adrive(rider.flow, self._backend, self._clock, rider.effect)

    def after_fork(self) -> None:
        """Forget, in a forked child, who waits: they are the parent's."""
        self._waiting, self._running = {}, set()

    def _depart(self, place: tuple[int, bytes, int], waiting: list[_Waiting], rule: PackRule) -> None:
        """Send those that wait on their way, if they are not already."""
        if self._waiting.get(place) is not waiting:
            return
        del self._waiting[place]
        here = [each for each in waiting if not each.turn.done()]
        if len(here) == 1:
            here[0].turn.set_result(None)
        elif here:
            import asyncio

            running = asyncio.ensure_future(self._arun(here, rule))
            self._running.add(running)
            running.add_done_callback(self._running.discard)

    async def _arun(self, waiting: Sequence[_Waiting], rule: PackRule) -> None:
        import asyncio

        riders: list[Rider] = []
        riding: list[_Waiting] = []
        for each, tokens in zip(waiting, _tokens(waiting), strict=True):
            try:
                riders.append(self._rider(each.task, each.small, tokens, rule))
                riding.append(each)
            except RouterError as error:
                _fail(each, error)
        try:
            await adrive(together(riders, self._pack_id()), self._backend, self._clock)
        except BaseException as error:
            for each in riding:
                _fail(each, error)
            raise
        for rider, each in zip(riders, riding, strict=True):
            if each.turn.done():  # its caller has gone away meanwhile
                rider.break_off(asyncio.CancelledError())
            else:
                each.turn.set_result(rider)

    def _run(self, tasks: Sequence[Task], rule: PackRule | None) -> list[Answer | RouterError]:
        if len(tasks) == 1 or rule is None:
            return [self._alone(tasks[0])]
        smalls = [small for task in tasks if (small := packable(task)) is not None]
        riders: list[Rider | RouterError] = []
        for task, small, tokens in zip(tasks, smalls, seat_tokens(smalls, tasks[0]), strict=True):
            try:
                riders.append(self._rider(task, small, tokens, rule))
            except RouterError as error:
                riders.append(error)
        travelling = [rider for rider in riders if isinstance(rider, Rider)]
        drive(together(travelling, self._pack_id()), self._backend, self._clock)
        answers: list[Answer | RouterError] = []
        for number, rider in enumerate(riders):
            try:
                answers.append(self._finish(rider) if isinstance(rider, Rider) else rider)
            except RouterError as error:
                answers.append(error)
            except BaseException as error:
                for left in riders[number + 1 :]:
                    if isinstance(left, Rider):
                        left.break_off(error)
                raise
        return answers

    def _alone(self, task: Task) -> Answer | RouterError:
        try:
            return drive(self._begin(task), self._backend, self._clock)
        except RouterError as error:
            return error

    def _finish(self, rider: Rider) -> Answer:
        if rider.error is not None:
            raise rider.error
        if rider.answer is not None:
            return rider.answer
        return drive(rider.flow, self._backend, self._clock, rider.effect)

    def _rider(self, task: Task, small: Small, tokens: int, rule: PackRule) -> Rider:
        seats: list[Seat] = []

        def seating(state: RouterState) -> Seat:
            seats.append(Seat(state, tokens))
            return seats[0]

        flow = self._begin(task, seating)
        return Rider(task, small, seats[0], flow, asks_confidence(task, rule))

    def _pack_id(self) -> str:
        return self._clock.new_id(self._clock.now_us())


class ManyCalls:
    """Many calls of a router at once."""

    _packer: Packer

    def _pack_rule(self, payload_type: str) -> PackRule | None:
        raise NotImplementedError

    def complete_many(
        self,
        payload_type: str,
        items: Iterable[T],
        *,
        messages: Callable[[T], Sequence[Message]],
        response_format: Any = None,
        checks: Sequence[Check] = (),
        pre_checks: Sequence[PreCheckFunction] = (),
        confidence: ConfidenceFunction | None = None,
        run: str | None = None,
        step: Callable[[T], str] | None = None,
        tags: Mapping[str, str] | None = None,
        **params: Any,
    ) -> list[Answer | RouterError]:
        """Return the answer of each item, in their order, or the error that its call has ended with.

        Where the payload type has ``pack``, items whose messages differ in the last one only share requests: the prompt
        is paid for once. Each item is a call of its own, with its own confidence, its share of the cost, and its own
        checks, retries and escalations; an answer that is missing or invalid is asked for once more by itself.

        Args:
            payload_type: What kind of task they are.
            items: What is to be done.
            messages: Returns the chat messages of an item.
            response_format: As for ``complete``, of each answer by itself.
            checks: As for ``complete``.
            pre_checks: As for ``complete``.
            confidence: As for ``complete``.
            run: The job that they belong to.
            step: Returns the step of an item within the job.
            tags: Labels for reports.
            **params: Passed to the model client unchanged.

        Raises:
            TypeError, ValueError: An argument cannot be used; nothing was sent.
        """
        tasks = [
            Task(
                payload_type=payload_type,
                messages=messages(item),
                response_format=response_format,
                checks=several("checks", checks),
                pre_checks=several("pre_checks", pre_checks),
                confidence=confidence,
                run=run,
                step=None if step is None else step(item),
                tags=tags,
                params=params,
            )
            for item in items
        ]
        for task in tasks:
            refuse_unusable(task)
        return self._packer.complete_many(tasks, self._pack_rule(payload_type))


def _packs(tasks: Sequence[Task], rule: PackRule | None) -> Iterator[list[int]]:
    """Yield the places of tasks that share requests, each place once."""
    open_packs: dict[bytes, list[int]] = {}
    for place, task in enumerate(tasks):
        small = None if rule is None else packable(task)
        key = None if small is None else sharing_key(task, small)
        if rule is None or key is None:
            yield [place]
            continue
        pack = open_packs.setdefault(key, [])
        pack.append(place)
        if len(pack) == rule.max_items:
            yield open_packs.pop(key)
    yield from open_packs.values()


def _tokens(waiting: Sequence[_Waiting]) -> list[int]:
    return seat_tokens([each.small for each in waiting], waiting[0].task)


def _fail(waiting: _Waiting, error: BaseException) -> None:
    if waiting.turn.done():
        return
    if isinstance(error, Exception):
        waiting.turn.set_exception(error)
    else:
        waiting.turn.cancel()
