"""Whether a confidence that takes requests of its own can be had at all: from a judge, or from further samples."""

from collections.abc import Iterator
from dataclasses import dataclass

from router_core.config.sections import Judge

SOURCES = frozenset({"judge", "agreement"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PaidRule:
    """What decides that, of one payload type.

    Attributes:
        payload_type: Its name.
        source: ``judge`` or ``agreement``.
        samples: How many further answers ``agreement`` asks for.
        attempts: Most requests of a call.
        models: Models of each step of its path.
        is_comparable: Whether the config says how answers are compared.
        judge: Who judges; None = nobody.
        judges: Models of the judge's tier.
    """

    payload_type: str
    source: str
    samples: int
    attempts: int
    models: tuple[tuple[str, ...], ...]
    is_comparable: bool
    judge: Judge | None
    judges: tuple[str, ...]


def paid_problems(rule: PaidRule) -> Iterator[str]:
    """Yield why there could never be such a confidence."""
    further = rule.samples if rule.source == "agreement" else 1
    # the answer, what is asked about it, and a step up where there is one
    least = 1 + further + (len(rule.models) > 1)
    if rule.attempts < least:
        yield f"{rule.source} takes limits.attempts of at least {least} here, not {rule.attempts}: each request counts"
    elif rule.source == "agreement" and not rule.is_comparable:
        yield f"agreement compares answers; say how for {rule.payload_type!r}: comparable: exact, json or number"
    elif rule.source == "judge" and rule.judge is None:
        yield "there is no judge; name its tier: judge: {tier: ...}"
    elif rule.source == "judge" and rule.judge is not None and not rule.judge.same_family and rule.judges:
        yield from _unjudged(rule, rule.judge)


def may_judge(judge: str, answered: str) -> bool:
    """Return whether one model may judge another's answers: a family does not grade its own work.

    A family is what stands before the last slash of the name, as in ``openai/`` or ``openrouter/anthropic/``; a name
    without one is a family of its own.

    Args:
        judge: ``provider/model`` of the judge.
        answered: ``provider/model`` that answered.
    """
    family, _, _ = judge.rpartition("/")
    other, _, _ = answered.rpartition("/")
    return judge != answered and (not family or family != other)


def _unjudged(rule: PaidRule, judge: Judge) -> Iterator[str]:
    # the last step's answer is served whatever a judge would say of it
    asked = [model for models in (rule.models[:-1] or rule.models) for model in models]
    alone = next((model for model in asked if not any(may_judge(each, model) for each in rule.judges)), None)
    if alone is not None:
        yield (
            f"nobody in tier {judge.tier!r} may judge {alone}: a model does not grade its own family; add a target of "
            "another one, or allow it: judge: {same_family: true}"
        )
