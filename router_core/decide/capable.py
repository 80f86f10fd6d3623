"""What a request needs and what a target can take: nothing is sent to a model that cannot answer it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

from router_core.decide.plan import PlanStep, PlanTarget
from router_core.record import maker, record
from router_core.types import Capability, Message

# so many characters of ordinary text make at least one token: a window is called too small only when it surely is,
# for a request that a provider refuses costs nothing, and one that is wrongly held back costs the answer
_MOST_CHARS_PER_TOKEN: Final = 6
_CHARS_PER_TOKEN: Final = 4
_PICTURES: Final = frozenset({"image_url", "image", "input_image"})
# what the clients of providers call the largest completion
OUTPUT_LIMITS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
# response formats that ask for no schema
_WITHOUT_SCHEMA: Final = frozenset({"json_object", "text"})
_WORDS: Final[Mapping[Capability, str]] = {
    "tools": "tools",
    "vision": "pictures",
    "schema": "a response format",
    "logprobs": "log-probabilities",
}


@record
class Needs:
    """What a request asks of whoever answers it.

    Attributes:
        capabilities: What the model must be able to do.
        characters: How much text the messages have; pictures and the like count nothing.
        most_output_tokens: The largest completion that the caller asks for; None = no limit.
    """

    capabilities: frozenset[Capability] = frozenset()
    characters: int = 0
    most_output_tokens: int | None = None

    @property
    def least_tokens(self) -> int:
        """How many tokens the text has at least."""
        return self.characters // _MOST_CHARS_PER_TOKEN

    @property
    def about_tokens(self) -> int:
        """How many tokens the text has, more or less."""
        return self.characters // _CHARS_PER_TOKEN


_make_needs = maker(Needs)
_NOTHING: Final[frozenset[Capability]] = frozenset()
_SCHEMA: Final = frozenset[Capability](("schema",))
_NOBODY: Final[frozenset[str]] = frozenset()


def needs_of(messages: Sequence[Message], params: Mapping[str, Any], response_format: Any) -> Needs:
    """Return what a request needs.

    Args:
        messages: Chat messages.
        params: The caller's arguments for the model client (``tools``, ``logprobs``, ...).
        response_format: What the answer should follow, as the caller gave it.
    """
    characters, is_pictured = 0, False
    for message in messages:
        content = message.get("content")
        if isinstance(content, str):
            characters += len(content)
        else:
            for part in _parts(content):
                characters += len(str(part.get("text", "")))
                is_pictured |= part.get("type") in _PICTURES
    if not params and not is_pictured:
        is_free = response_format is None or _is_plain(response_format)
        return _make_needs(capabilities=_NOTHING if is_free else _SCHEMA, characters=characters)
    asked: tuple[tuple[Capability, object], ...] = (
        ("tools", params.get("tools") or params.get("functions")),
        ("logprobs", params.get("logprobs") or params.get("top_logprobs")),
        ("schema", response_format is not None and not _is_plain(response_format)),
        ("vision", is_pictured),
    )
    return Needs(
        capabilities=frozenset([name for name, is_asked in asked if is_asked]),
        characters=characters,
        most_output_tokens=_most_output_tokens(params),
    )


def shortfall(needs: Needs, target: PlanTarget) -> str | None:
    """Return why a target cannot take a request, in words without its text; None = it can, as far as anyone knows."""
    missing = needs.capabilities & target.lacks
    if missing:
        return f"takes no {' and no '.join(_WORDS[each] for each in sorted(missing))}"
    window = target.context_tokens
    if window is not None and needs.least_tokens > window:
        return f"takes {window} tokens, and this has {needs.least_tokens} at least"
    return None


def can_take(needs: Needs, target: PlanTarget) -> bool:
    """Return whether a target can take a request, as far as anyone knows."""
    if target.lacks and needs.capabilities & target.lacks:
        return False
    return target.context_tokens is None or needs.least_tokens <= target.context_tokens


def unfit(needs: Needs, steps: Iterable[PlanStep]) -> frozenset[str]:
    """Return the models of these steps that cannot take a request."""
    found: list[str] = []
    for step in steps:
        for target in step.targets:
            if (target.lacks or target.context_tokens is not None) and not can_take(needs, target):
                found.append(target.name)
    return frozenset(found) if found else _NOBODY


def no_larger(steps: Iterable[PlanStep], full: PlanTarget) -> frozenset[str]:
    """Return the models of these steps that are pointless to ask after ``full`` found the request too long.

    That is ``full`` itself, and all whose window is known to be no larger. A window that nobody knows may be.
    """
    window = full.context_tokens
    if window is None:
        return frozenset((full.name,))
    others = (target for step in steps for target in step.targets)
    smaller = [one.name for one in others if one.context_tokens is not None and one.context_tokens <= window]
    return frozenset((full.name, *smaller))


def _most_output_tokens(params: Mapping[str, Any]) -> int | None:
    limits = [params.get(name) for name in OUTPUT_LIMITS]
    return min((limit for limit in limits if isinstance(limit, int) and limit > 0), default=None)


def _parts(content: object) -> list[Mapping[str, object]]:
    if not isinstance(content, list | tuple):
        return []
    return [
        cast("Mapping[str, object]", each) for each in cast("Sequence[object]", content) if isinstance(each, Mapping)
    ]


def _is_plain(response_format: object) -> bool:
    """Return whether a response format is satisfied by any model: text, or JSON of no certain shape."""
    # an abstract class is asked more slowly than a real one
    if isinstance(response_format, type) or not isinstance(response_format, Mapping):
        return False
    return cast("Mapping[str, object]", response_format).get("type") in _WITHOUT_SCHEMA
