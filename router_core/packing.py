"""Several calls that share a request: one prompt, one ``started`` line, one write of all their ``attempt`` lines.

Each call runs its own flow and notices nothing of the others: what it sends first is put together with theirs, and it
is given back its own answer with its share of tokens and cost. From then on it goes on by itself. As long as the shared
request fails as a whole, they stay together and try again together; a failure that one of them may be to blame for, and
an answer that is missing or spoiled, is followed by a request of its own.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from router_core.decide.capable import OUTPUT_LIMITS
from router_core.decide.packing import (
    Entry,
    Small,
    can_hoist,
    item_ids,
    packed_messages,
    packed_schema,
    prompt_size,
    small_task,
    split,
)
from router_core.decide.plan import PackRule
from router_core.decide.receipt import exact_micro, receipt, split_nusd
from router_core.effects import Begun, Driven, Effect, Flow, Pause, Send
from router_core.errors import CallError, ErrorKind
from router_core.inflight import is_withheld
from router_core.labels import declares, schema_of
from router_core.lines import Line
from router_core.prices import PriceBook
from router_core.seat import Seat
from router_core.task import Task
from router_core.types import Answer, PackShare, Price, Receipt, Request, Response, Usage

# failures that one task may have brought upon all
_SPOILS: Final[frozenset[ErrorKind]] = frozenset({"bad_request", "content_policy", "context_overflow"})
# what makes an answer more than its text, or a reply more than one answer
_ALONE: Final = frozenset(
    {"tools", "functions", "tool_choice", "n", "logprobs", "top_logprobs", "modalities", "audio", "prediction", "stop"}
)
_CHARS_PER_TOKEN: Final = 4
# of a packed reply: an entry's id, names and braces
_AROUND_TOKENS: Final = 40


def packable(task: Task) -> Small | None:
    """Return a task as one that may share a request; None when it cannot."""
    if task.is_streamed or not _ALONE.isdisjoint(task.params) or not can_hoist(schema_of(task.response_format)):
        return None
    return small_task(task.messages)


def asks_confidence(task: Task, rule: PackRule) -> bool:
    """Return whether answers are to say beside themselves how sure they are: where else nothing would tell."""
    asked = rule.confidence_source in ("auto", "field") and task.confidence is None
    return asked and not declares(task.response_format, rule.confidence_field)


def sharing_key(task: Task, small: Small) -> bytes | None:
    """Return what tasks that may share a request have in common; None of one that cannot be compared."""
    common = [task.payload_type, small.prefix, task.params, task.confidence is None]
    try:
        return orjson.dumps(common, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return None


@dataclass(slots=True)
class Rider:
    """One call of a pack.

    Attributes:
        task: What it asks for.
        small: The same as a task that shares its prompt.
        seat: What it sees of the router.
        flow: The call.
        asks: Whether its answer is to say beside itself how sure it is.
        effect: What it asks for now; None = it has ended, or not begun.
        answer: Its answer, once it has one.
        error: What it has ended with otherwise.
        is_riding: Whether it still shares its requests.
    """

    task: Task
    small: Small
    seat: Seat
    flow: Flow
    asks: bool
    effect: Effect | None = None
    answer: Answer | None = None
    error: Exception | None = None
    is_riding: bool = True
    _has_begun: bool = field(default=False, init=False)

    def go(self, given: Response | Begun | None = None, failure: BaseException | None = None) -> None:
        """Go on to what the call asks for next, or to its end."""
        try:
            if failure is not None:
                self.effect = self.flow.throw(failure)
            elif self._has_begun:
                self.effect = self.flow.send(given)
            else:
                self._has_begun = True
                self.effect = next(self.flow)
        except StopIteration as stop:
            self.effect, self.answer = None, stop.value
        except Exception as error:  # noqa: BLE001 - it is this call's, and the others go on
            self.effect, self.error = None, error

    def break_off(self, failure: BaseException) -> None:
        """End the call with its lines written."""
        if self.effect is not None:
            try:
                self.flow.throw(failure)
            except BaseException as error:  # noqa: BLE001 - what is raised is raised once, by whoever drives the pack
                self.error = error if isinstance(error, Exception) else None
            self.effect = None
        self.seat.leave()


def together(riders: Sequence[Rider], pack_id: str) -> Driven[None]:
    """Yield what is to be done until no call shares a request any more; each then waits at what it asks for next.

    Args:
        riders: The calls.
        pack_id: Names the pack in the log.
    """
    try:
        for rider in riders:
            rider.go()
        number = 0
        while True:
            pauses = [rider for rider in riders if rider.is_riding and isinstance(rider.effect, Pause)]
            if pauses:
                yield Pause(seconds=max(rider.effect.seconds for rider in pauses if isinstance(rider.effect, Pause)))
                for rider in pauses:
                    rider.go()
            group = _largest(riders)
            if len(group) <= 1:
                break
            number += 1
            yield from _shared(group, pack_id, f"{pack_id}-{number}")
    except BaseException as error:
        for rider in riders:
            rider.break_off(error)
        raise
    for rider in riders:
        rider.seat.leave()


def _largest(riders: Sequence[Rider]) -> Sequence[Rider]:
    """Return the calls that can share the next request: those for the same target."""
    groups: dict[tuple[str | None, ...], list[Rider]] = {}
    for rider in riders:
        if rider.is_riding and isinstance(rider.effect, Send):
            wanted = rider.effect.request
            groups.setdefault((wanted.model, wanted.api_base, wanted.api_key_env), []).append(rider)
    return max(groups.values(), key=len) if groups else ()


def _shared(group: Sequence[Rider], pack_id: str, request_id: str) -> Generator[Effect, Response | Begun | None, None]:
    asked = [rider.effect.request for rider in group if isinstance(rider.effect, Send)]
    started, before = _started(group, request_id)
    for rider, request in zip(group, asked, strict=True):
        rider.seat.shares(request.request_id, pack_id, request_id, started["at"])
    group[0].seat.write([*before, started])
    are_texts = group[0].task.response_format is None
    ids = item_ids(request_id, len(group))
    packed = _packed_request(group, asked, request_id, ids, are_texts=are_texts)
    try:
        response = yield Send(request=packed)
    except Exception as error:  # noqa: BLE001 - each call has its own lines, and goes on or ends by its own rules
        _fail(group, error)
    else:
        if not isinstance(response, Response):
            raise TypeError(f"a backend must return a Response, not {type(response).__name__}")
        _hand_out(group, asked, packed, response, ids, started)
    lines: list[Line] = []
    for rider in group:
        rider.seat.is_mute = False
        # what it asks for next with the others is started with theirs
        keeps = [line for line in rider.seat.held if rider.is_riding and line["k"] == "started"]
        lines += [line for line in rider.seat.held if line not in keeps]
        rider.seat.held = keeps
        if not rider.is_riding:
            rider.seat.leave()
    group[0].seat.write(lines)


def _fail(group: Sequence[Rider], error: Exception) -> None:
    """Tell each call that the request has failed; the first one takes note of it for the target's health."""
    failure, spoils = error, False
    if isinstance(error, CallError) and error.kind in _SPOILS:
        failure, spoils = CallError(str(error), kind="spoiled", billed=error.billed), True
    for number, rider in enumerate(group):
        rider.seat.is_mute, rider.is_riding = spoils or number > 0, not spoils
        rider.go(failure=failure)


def _hand_out(
    group: Sequence[Rider],
    asked: Sequence[Request],
    packed: Request,
    response: Response,
    ids: Sequence[str],
    started: Line,
) -> None:
    """Give each call its own answer, or say why there is none."""
    first = group[0]
    found = split(response.text, ids, are_texts=first.task.response_format is None, asks=first.asks)
    parts = [found.entries.get(item_id) for item_id in ids]
    reserved = [item["reserved_nusd"] for item in started["items"]]
    dealt = _deal(group, packed, response, parts, reserved, group[0].seat.prices, started["at"])
    for rider, request, mine, item_id in zip(group, asked, dealt, ids, strict=True):
        why = found.spoiled.get(item_id)
        share = mine.pack if why is None or mine.pack is None else _spoil(mine.pack, why)
        rider.seat.is_mute, rider.is_riding = why is not None, False
        if share is not None:
            rider.seat.dealt(request.request_id, share)
        rider.go(replace(mine, pack=share))


def _spoil(share: PackShare, why: str) -> PackShare:
    # the request of its own that follows is what it would have cost alone
    return replace(share, spoiled=why, alone_nusd=0, alone_input_tokens=0)


def _started(group: Sequence[Rider], request_id: str) -> tuple[Line, list[Line]]:
    """Return one line that starts the request for all, and what else the calls have to say before it."""
    before: list[Line] = []
    items: list[Any] = []
    at = None
    for rider in group:
        for line in rider.seat.held:
            if line["k"] == "started":
                items += line["items"]
                at = line["at"] if at is None else at
            else:
                before.append(line)
        rider.seat.held = []
    return {"k": "started", "request_id": request_id, "at": at, "items": items}, before


def _packed_request(
    group: Sequence[Rider], asked: Sequence[Request], request_id: str, ids: Sequence[str], *, are_texts: bool
) -> Request:
    first, texts = group[0], [rider.small.text for rider in group]
    return replace(
        asked[0],
        request_id=request_id,
        messages=packed_messages(first.small.prefix, texts, ids, are_texts=are_texts, asks=first.asks),
        response_format=packed_schema(schema_of(first.task.response_format), ids, are_texts=are_texts, asks=first.asks),
        timeout_s=max(request.timeout_s for request in asked),
        params=_for_all(first.task.params, len(group)),
        logprobs=False,
        alternatives=False,
    )


def _for_all(params: Mapping[str, Any], count: int) -> Mapping[str, Any]:
    """Return the caller's arguments with limits of one answer turned into limits of all, and of what is around each."""
    limits = {
        name: count * (value + _AROUND_TOKENS)
        for name, value in params.items()
        if name in OUTPUT_LIMITS and isinstance(value, int)
    }
    return {**params, **limits}


# --- shares


def _deal(
    group: Sequence[Rider],
    packed: Request,
    response: Response,
    parts: Sequence[Entry | None],
    reserved: Sequence[int],
    prices: PriceBook,
    started_us: int,
) -> list[Response]:
    """Return each call's own response, with its share of the tokens and the cost."""
    price = prices.price(packed.model, started_us, service_tier=response.service_tier)
    usages = _usages(group, response.usage, parts)
    receipts = _receipts(usages, response, price, reserved)
    alone = _alone(group, packed, response, parts, price)
    return [
        replace(
            response,
            text="" if part is None else part.text,
            usage=usage,
            cost_nusd=None,
            # what is withheld of a reply is missing in it, and asked for alone
            finish_reason=None if is_withheld(response) else response.finish_reason,
            token_logprobs=(),
            tokens=(),
            pack=PackShare(
                request_id=packed.request_id,
                items=len(group),
                receipt=mine,
                said=None if part is None else part.confidence,
                alone_nusd=cost,
                alone_input_tokens=tokens,
            ),
        )
        for part, usage, mine, (cost, tokens) in zip(parts, usages, receipts, alone, strict=True)
    ]


def _usages(group: Sequence[Rider], usage: Usage, parts: Sequence[Entry | None]) -> list[Usage]:
    n = len(group)
    own = [len(rider.small.text) for rider in group]
    common = prompt_size(group[0].small.prefix, schema_of(group[0].task.response_format))
    taken = [common + n * size for size in own]
    given = [0 if part is None else part.weight for part in parts]
    if usage.input_tokens is None or usage.output_tokens is None:
        return [Usage()] * n
    cached, minutes, hours = (
        split_nusd(max(0, count), taken)
        for count in (usage.cached_tokens, usage.cache_write_5m_tokens, usage.cache_write_1h_tokens)
    )
    rest = max(0, usage.input_tokens - sum(cached) - sum(minutes) - sum(hours))
    fresh = split_nusd(rest, taken)
    reasoning = split_nusd(max(0, usage.reasoning_tokens), given)
    said = split_nusd(max(0, usage.output_tokens - sum(reasoning)), given)
    media, searches = (split_nusd(max(0, count), taken) for count in (usage.media_tokens, usage.web_searches))
    return [
        Usage(
            input_tokens=fresh[i] + cached[i] + minutes[i] + hours[i],
            cached_tokens=cached[i],
            cache_write_5m_tokens=minutes[i],
            cache_write_1h_tokens=hours[i],
            output_tokens=said[i] + reasoning[i],
            reasoning_tokens=reasoning[i],
            media_tokens=media[i],
            web_searches=searches[i],
        )
        for i in range(n)
    ]


def _receipts(
    usages: Sequence[Usage], response: Response, price: Price | None, reserved: Sequence[int]
) -> list[Receipt]:
    whole = receipt(response.usage, price, reported_nusd=response.cost_nusd, estimated=response.is_counted)
    if whole.cost_nusd is None:
        # an answer whose tokens nobody reported counts at its reserved estimate
        unknown = whole.cost_status == "unknown"
        return [replace(whole, cost_nusd=cost if unknown else None) for cost in reserved]
    row = whole.price
    weights = [
        (usage.input_tokens or 0) + (usage.output_tokens or 0) if row is None else exact_micro(usage, row)
        for usage in usages
    ]
    costs = split_nusd(max(0, whole.cost_nusd), weights)
    told = None if whole.cost_source_nusd is None else split_nusd(max(0, whole.cost_source_nusd), weights)
    return [
        replace(whole, cost_nusd=cost, cost_source_nusd=None if told is None else told[i])
        for i, cost in enumerate(costs)
    ]


def _alone(
    group: Sequence[Rider], packed: Request, response: Response, parts: Sequence[Entry | None], price: Price | None
) -> list[tuple[int | None, int]]:
    """Return what a request of its own would have cost each call, nano-dollars, and its prompt, tokens.

    The provider's own counts say how many tokens a character of this prompt has, and one of this reply.
    """
    usage = response.usage
    if usage.input_tokens is None or usage.output_tokens is None:
        return [(None, 0)] * len(group)
    whole = prompt_size(packed.messages, packed.response_format)
    per_character = usage.input_tokens / max(1, whole)
    per_reply = usage.output_tokens / max(1, len(response.text))
    found: list[tuple[int | None, int]] = []
    for rider, part in zip(group, parts, strict=True):
        tokens = round(prompt_size(rider.task.messages, schema_of(rider.task.response_format)) * per_character)
        said = 0 if part is None else round(len(part.text) * per_reply)
        own = Usage(input_tokens=tokens, cached_tokens=min(tokens, usage.cached_tokens), output_tokens=said)
        found.append((receipt(own, price).cost_nusd, tokens))
    return found


def seat_tokens(smalls: Sequence[Small], task: Task) -> list[int]:
    """Return each task's share of a common prompt, tokens."""
    if not smalls:
        return []
    common = prompt_size(smalls[0].prefix, schema_of(task.response_format))
    return [(common // len(smalls) + len(small.text)) // _CHARS_PER_TOKEN + 1 for small in smalls]
