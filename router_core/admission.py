"""Whether this version can run a routing config."""

from typing import TYPE_CHECKING

from router_core.errors import ConfigError, Problem

if TYPE_CHECKING:  # the config brings pydantic: loaded when a router is opened
    from router_core.config import RoutingConfig
    from router_core.prices import PriceBook


def admit(config: "RoutingConfig", source: str, now_us: int) -> None:
    """Do nothing for a config that this version can run.

    Raises:
        ConfigError: It asks for something that is not built yet, for models whose price nobody knows, or for functions
            that are not there.
    """
    from router_core.config import unsupported
    from router_core.prechecks import unusable_functions
    from router_core.prices import PriceBook

    prices = PriceBook(config.prices, config.on_unpriced, version=config.content_hash)
    problems = [*unsupported(config), *unpriced(config, prices, now_us), *unusable_functions(config)]
    if problems:
        raise ConfigError(source, problems)


def unpriced(config: "RoutingConfig", prices: "PriceBook", at_us: int) -> tuple[Problem, ...]:
    """Return a problem for every target whose price nobody knows, unless the config says what such models count at."""
    return tuple(
        config.problem(
            ("tiers", tier, index, "model"),
            f"no price is known for {target.model!r}; add it to prices (USD per million tokens, 0 = free), "
            "or set on_unpriced: {pessimistic: {input: ..., output: ...}}",
        )
        for tier, targets in config.tiers.items()
        for index, target in enumerate(targets)
        if prices.price(target.model, at_us) is None
    )
