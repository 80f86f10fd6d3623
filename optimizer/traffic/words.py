"""What a rehearsal takes for granted, in sentences: the same on the terminal and on the page."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from optimizer.simulate.caps import OWN, REPRICED, SCALED, UNKNOWN
from optimizer.simulate.ratios import FEWEST_PAIRS
from optimizer.simulate.rehearsal import Effect
from optimizer.traffic.labels import FEWEST_LABELS
from router_core.decide.guard import EVERYTHING
from router_core.types import NANO

RULE: Final = (
    "Capped from the call that finds non-critical spend + max(critical spend, reserve) at the limit, until local "
    "midnight: that call and every later non-critical one of the day runs once on its cheapest allowed target, without "
    "escalation or shadow. Critical calls are served as they were; only their shadows are no longer made."
)
BASIS_WORDS: Final[Mapping[int, str]] = {
    OWN: "measured, the call itself asked that target",
    SCALED: "repriced at that target's price, times what calls measured on both targets did cost there "
    f"({FEWEST_PAIRS} or more of their type)",
    REPRICED: "repriced at that target's price, tokens as the served model counted them (±)",
    UNKNOWN: "not known without an answer's tokens, so they count at what they did cost",
}


def assumptions(effects: Sequence[Effect]) -> Iterator[str]:
    """Yield what the effects take for granted; numbers are the largest among them."""
    yield RULE
    yield from _severer(effects)
    yield (
        "A call's spend counts whole from its beginning. Reservations of requests in flight are not replayed, so with "
        "many calls at once a real limit trips a few calls earlier; nor are shadows left out that it might not cover."
    )
    for basis, words in BASIS_WORDS.items():
        number = max((effect.moved_by_basis[basis] for effect in effects), default=0)
        if number:
            yield f"Cost of the alternative of {_up_to(effects)}{number:,} degraded calls: {words}."
    yield (
        "Extra wrong answers: the wrong rate of the cheapest tier minus that of what was served, per payload type, "
        f"from {FEWEST_LABELS} labelled answers or more on each side, taken as a fair sample. Calls of types without "
        "them are unknown: they are in no figure of wrong answers, impact or net. Intervals come from joint draws: one "
        "error holds for all calls of a sample."
    )
    yield from _uncapped(effects)
    left = max((len(effect.left) for effect in effects), default=0)
    if left:
        yield (
            f"On {_up_to(effects)}{left} day{'s' * (left != 1)} a limit had degraded calls already, and too few "
            "other calls tell what those would have cost without it: such a day is left as it was, unless the limit is "
            "reached before its first degraded call."
        )
    steady = next((effect.steady for effect in effects if effect.steady is not None), None)
    if steady is not None:
        yield (
            "Steady: what it would have saved to move, from morning to evening, the payload types that save most per "
            "wrong answer, until there are as many further wrong answers as under the limit; unknown calls stay where "
            "they are."
        )
    unpriced = max((effect.harm.unpriced for effect in effects), default=0)
    if unpriced:
        yield (
            f"Wrong answers of {_up_to(effects)}{unpriced:,} degraded calls have no error price; impact and net leave "
            "them out."
        )


def _severer(effects: Sequence[Effect]) -> Iterator[str]:
    limits = [effect.limit for effect in effects]
    if any(limit.per != "day" or limit.scope != EVERYTHING for limit in limits):
        yield (
            "This budget counts, and moves, the calls of its scope; what is reached stays reached until its week or "
            "month ends, or its rolling window is below the taper again."
        )
    tapered = max((effect.tapered for effect in effects), default=0)
    if tapered:
        yield (
            f"Taper: no shadows, judges or samples, and the first valid answer is served: {_up_to(effects)}{tapered:,} "
            "calls had gone on for want of confidence. What that does to answers is in no figure."
        )
    rejected = max((effect.rejected for effect in effects), default=0)
    if rejected:
        yield (
            f"{_up_to(effects).capitalize()}{rejected:,} calls would be refused, and cost nothing. What their callers "
            "lose by that is in no figure."
        )
    if any(limit.switch_at == "task" for limit in limits):
        yield "Jobs that have begun before the limit is reached keep their models, within a tenth of it more."


def _uncapped(effects: Sequence[Effect]) -> Iterator[str]:
    put_back = next((effect.uncapped for effect in effects if effect.uncapped is not None), None)
    if put_back is not None:
        days, extra = len(put_back.days), int(put_back.extra_nusd.sum()) / NANO
        yield (
            f"On {days} day{'s' * (days != 1)} a limit had degraded {put_back.calls:,} calls. What they would have "
            "cost without it is modelled, by what other calls of their type cost beside the cheapest target, and "
            f"stands for what happened: ${extra:,.2f} more than was spent."
        )


def _up_to(effects: Sequence[Effect]) -> str:
    return "up to " if len(effects) > 1 else ""
