"""Whether this version can run a routing config, and whether a limit lets a call begin."""

from typing import TYPE_CHECKING

from router_core.decide.plan import Plan
from router_core.errors import ConfigError, Problem, RequestRejectedError
from router_core.lines import CallFacts, Closed, call_line
from router_core.state import RouterState

if TYPE_CHECKING:  # the config brings pydantic: loaded when a router is opened
    from router_core.config import RoutingConfig
    from router_core.prices import PriceBook


def admit(config: "RoutingConfig", source: str, now_us: int) -> None:
    """Do nothing for a config that this version can run.

    Raises:
        ConfigError: It asks for something that is not built yet, for models whose price nobody knows, for a budget over
            answers of any size, or for functions that are not there.
    """
    from router_core.config import unsupported
    from router_core.prechecks import unusable_functions
    from router_core.prices import PriceBook

    prices = PriceBook(config.prices, config.on_unpriced, version=config.content_hash)
    problems = [*unsupported(config), *unpriced(config, prices, now_us), *unbounded(config, prices, now_us)]
    problems += unusable_functions(config)
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


def unbounded(config: "RoutingConfig", prices: "PriceBook", at_us: int) -> tuple[Problem, ...]:
    """Return a problem for every target whose answers may be of any size, once a budget has to bound their cost."""
    if not config.budgets:
        return ()
    return tuple(
        config.problem(
            ("tiers", tier, index),
            f"a budget needs the largest answer of every target, and no list tells that of {target.model!r}; "
            "set max_output_tokens",
        )
        for tier, targets in config.tiers.items()
        for index, target in enumerate(targets)
        if target.max_output_tokens is None
        and ((price := prices.price(target.model, at_us)) is None or price.max_output_tokens is None)
    )


def stopped_by(state: RouterState, plan: Plan, call: CallFacts) -> RequestRejectedError:
    """Put on record that a limit rejects a call, and return the error that says so."""
    closed = Closed(status="rejected", reason="guard", ended_us=call.opened_us, error_type="budget")
    state.log_call(call_line(plan, call, closed))
    return RequestRejectedError(
        f"{call.payload_type}: budget {plan.budget!r} rejects calls that are not critical: its limit or its stop "
        "is reached; nothing was sent; see: tierwise check"
    )
