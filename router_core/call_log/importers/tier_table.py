"""Which tier a model of an imported log stands for: said by the user, else by the routing config."""

from collections.abc import Iterable

from router_core.call_log.importers.tiers import offer
from router_core.errors import ConfigError, Problem

_MOST_SEEN = 1_000


class TierTable:
    """Tiers by model.

    Args:
        tiers: Pairs of tier and model; a model is known by its whole name, or without its provider.
    """

    def __init__(self, tiers: Iterable[tuple[str, str]] = ()) -> None:
        self._tiers = {model: tier for tier, model in tiers}
        self._unused = set(self._tiers)
        self._seen: dict[str, str | None] = {}

    def tier_of(self, model: str) -> str | None:
        """Return a model's tier, or None when nobody says one."""
        try:
            return self._seen[model]
        except KeyError:
            pass
        name = next((name for name in (model, model.partition("/")[2]) if name in self._tiers), None)
        if name is not None:
            self._unused.discard(name)
        tier = self._tiers[name] if name is not None else None
        if len(self._seen) < _MOST_SEEN:
            self._seen[model] = tier
        return tier

    def require_used(self, file: str) -> None:
        """Check that every model of the table has been asked for.

        Raises:
            ConfigError: One has not; the message names the closest ones that have.
        """
        problems = [
            Problem(
                path="value", message=f"{file} has no requests to model {model!r}; {offer(model, list(self._seen))}"
            )
            for model in sorted(self._unused)
        ]
        if problems:
            raise ConfigError("--tiers", problems)


def parse_tier_models(text: str) -> list[tuple[str, str]]:
    """Return pairs of tier and model from ``cheap=MODEL|MODEL,top=MODEL``.

    Raises:
        ConfigError: A part is not ``tier=model``, or a model is named twice.
    """
    pairs: list[tuple[str, str]] = []
    problems: list[Problem] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        tier, equals, models = (piece.strip() for piece in part.partition("="))
        named = [model for model in (piece.strip() for piece in models.split("|")) if model]
        if not (tier and equals and named):
            problems.append(Problem(path="value", message=f"{part!r} is not tier=model, e.g. cheap=gpt-5-nano"))
        for model in named:
            if model in {known for _, known in pairs}:
                problems.append(Problem(path="value", message=f"model {model!r} is named twice; give it one tier"))
            pairs.append((tier, model))
    if not pairs and not problems:
        problems.append(Problem(path="value", message="no tier given; write cheap=MODEL|MODEL,top=MODEL"))
    if problems:
        raise ConfigError("--tiers", problems)
    return pairs
