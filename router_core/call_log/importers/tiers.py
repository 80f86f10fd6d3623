"""The ``--tiers`` mapping of an import: which model stands for which tier."""

import difflib
from collections.abc import Mapping, Sequence

from router_core.errors import ConfigError, Problem

_LISTED_MODELS = 12


def parse_tiers(text: str) -> dict[str, str]:
    """Return tier → model, cheapest first, from ``cheap=MODEL,mid=MODEL,top=MODEL``.

    Raises:
        ConfigError: A part is not ``tier=model``, or a tier or model is named twice.
    """
    mapping: dict[str, str] = {}
    problems: list[Problem] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        tier, equals, model = (piece.strip() for piece in part.partition("="))
        if not (tier and equals and model):
            problems.append(Problem(path="value", message=f"{part!r} is not tier=model, e.g. cheap=gpt-5-nano"))
        elif tier in mapping:
            problems.append(Problem(path="value", message=f"tier {tier!r} is named twice; give each tier one model"))
        elif model in mapping.values():
            problems.append(Problem(path="value", message=f"model {model!r} is named twice; give each model one tier"))
        else:
            mapping[tier] = model
    if not mapping and not problems:
        problems.append(Problem(path="value", message="no tier given; write cheap=MODEL,top=MODEL, cheapest first"))
    if problems:
        raise ConfigError("--tiers", problems)
    return mapping


def require_known(tiers: Mapping[str, str], models: Sequence[str], file: str) -> None:
    """Check that every mapped model occurs in the file.

    Raises:
        ConfigError: A model does not; the message names the closest ones that do.
    """
    problems = [
        Problem(path="value", message=f"tier {tier!r}: {file} has no model {model!r}; {offer(model, models)}")
        for tier, model in tiers.items()
        if model not in models
    ]
    if problems:
        raise ConfigError("--tiers", problems)


def offer(model: str, models: Sequence[str]) -> str:
    """Return which of the models there are comes close to a name that is not among them."""
    lowered = {name.lower(): name for name in models}
    close = [lowered[name] for name in difflib.get_close_matches(model.lower(), lowered, n=3, cutoff=0.5)]
    if close:
        return f"closest: {', '.join(close)}"
    more = f" and {len(models) - _LISTED_MODELS} more" if len(models) > _LISTED_MODELS else ""
    return f"it has {', '.join(sorted(models)[:_LISTED_MODELS])}{more}"
