"""What the targets of a config need before the first call: a price and a key."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from router_core.backends.keys import KeyState, can_go_without, key_state
from router_core.call_log.terminal import safe, table, usd
from router_core.errors import Problem

if TYPE_CHECKING:
    from router_core.config import RoutingConfig
    from router_core.prices import PriceBook
    from router_core.types import Price


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """One target of a config, as it stands in this environment.

    Attributes:
        path: Where it is in the config, e.g. ``tiers.cheap[0]``.
        tier: Its tier.
        model: Its model.
        price: Its price row now; None = no list knows it.
        api_base: Its address; None = the provider's own.
        key: Where its key is looked for, and whether it is there.
    """

    path: str
    tier: str
    model: str
    price: "Price | None"
    api_base: str | None
    key: KeyState

    def problems(self) -> list[Problem]:
        """Return what keeps the target from being called, each with the way out."""
        found: list[Problem] = []
        if self.price is None:
            message = (
                f"{self.model}: no price list knows it; add it under prices: (USD per million tokens, 0 = free) "
                "or set on_unpriced: {pessimistic: {input: 15, output: 75}}"
            )
            found.append(Problem(path=self.path, message=message))
        if self.key.is_withheld and not can_go_without(self.model):
            message = f"{self.model}: this machine's credentials do not go to {safe(self.api_base)}; set api_key_env"
            found.append(Problem(path=self.path, message=message))
        if self.key.present is False:
            names = " or ".join(self.key.variables[:2])
            found.append(Problem(path=self.path, message=f"{self.model}: no key; set the environment variable {names}"))
        return found


def target_states(
    config: "RoutingConfig", book: "PriceBook", environ: Mapping[str, str], at_us: int
) -> tuple[TargetState, ...]:
    """Return the state of every target, in the order of the config.

    Args:
        config: A valid config.
        book: The price book made for it.
        environ: The environment; only whether a variable has a value is looked at.
        at_us: The instant prices are asked for, microseconds since the epoch.
    """
    return tuple(
        TargetState(
            path=f"tiers.{tier}[{i}]",
            tier=tier,
            model=target.model,
            price=book.price(target.model, at_us),
            api_base=target.api_base,
            key=key_state(target.model, target.api_key_env, environ, target.api_base),
        )
        for tier, targets in config.tiers.items()
        for i, target in enumerate(targets)
    )


def targets_text(targets: Sequence[TargetState]) -> str:
    """Return a table of the targets, one line each, and below it the addresses that no key is sent to."""
    words = {True: "set", False: "missing", None: "not checked"}
    rows: list[tuple[object, ...]] = []
    for target in targets:
        price = target.price
        rates = None if price is None else f"{usd(price.input_nusd_per_m, 3)} / {usd(price.output_nusd_per_m, 3)}"
        source = "no price" if price is None else f"{price.source} {price.date.removeprefix(price.source).strip()}"
        key = target.key.variables[0] if target.key.variables else None
        state = "not sent" if target.key.is_withheld else words[target.key.present]
        rows.append((target.tier, target.model, rates, source, key, state))
    listed = table(("tier", "model", "USD/M in / out", "price from", "key", "key is"), rows, left=6)
    notes = [
        f"{target.path}: no key is sent to {safe(target.api_base)}, which is no address of the provider's own; "
        "if it asks for one, name its variable: api_key_env"
        for target in targets
        if target.key.is_withheld and can_go_without(target.model)
    ]
    return "\n".join([listed, *(["", *notes] if notes else [])])
