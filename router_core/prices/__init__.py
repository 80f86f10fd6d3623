"""The price book: user overrides > genai-prices (dated) > litellm's own map (its JSON file) > unpriced."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

from router_core.prices.genai import SLOT_US, from_genai, steps_us
from router_core.prices.litellm_map import from_litellm, lacks_of, sizes_of
from router_core.prices.rates import nusd_per_m
from router_core.types import Abilities, Price

if TYPE_CHECKING:
    from router_core.config import Pessimistic, PriceOverride

__all__ = ["SLOT_US", "PriceBook"]

_CACHE_ROWS: Final = 10_000
# what providers call the tier that everybody gets
_STANDARD_TIERS: Final = frozenset({"auto", "default", "on_demand", "standard"})


class PriceBook:
    """Dated prices of models, resolved once per model, service tier and time in which its price may change.

    Args:
        overrides: The user's own prices by ``provider/model``, USD per million tokens; they always win.
        on_unpriced: ``error`` leaves a model that no list knows without a price; else it gets this pessimistic one.
        version: What is written as the date of overrides and pessimistic prices, e.g. the config's hash.
    """

    def __init__(
        self,
        overrides: "Mapping[str, PriceOverride] | None" = None,
        on_unpriced: "Literal['error'] | Pessimistic" = "error",
        *,
        version: str = "",
    ) -> None:
        self._overrides = dict(overrides or {})
        self._pessimistic = None if on_unpriced == "error" else on_unpriced.pessimistic
        self._version = version
        self._rows: dict[tuple[str, int, str | None], Price | None] = {}
        self._steps_us: dict[str, int] = {}

    def price(self, model: str, at_us: int, *, service_tier: str | None = None) -> Price | None:
        """Return the model's price row at an instant, or None when nobody knows it.

        Args:
            model: ``provider/model``.
            at_us: The instant, microseconds since the epoch, UTC.
            service_tier: The provider's service tier (``batch``, ``flex``, ``priority``, ...) in its own words; None =
                the standard one. For a tier that no list has, the standard row stands in, marked so.
        """
        step_us = self._steps_us.get(model)
        if step_us is None:
            step_us = self._step_us(model)
        slot = at_us // step_us if step_us else 0
        key = (model, slot, service_tier)
        try:
            return self._rows[key]
        except KeyError:
            pass
        if len(self._rows) >= _CACHE_ROWS:
            self._rows, self._steps_us = {}, {}
        tier = None if service_tier is None else service_tier.lower()
        row = self._rows[key] = self._resolve(model, slot * step_us, None if tier in _STANDARD_TIERS else tier)
        return row

    def abilities(self, model: str, at_us: int) -> Abilities:
        """Return what the lists know of a model beside its prices.

        Args:
            model: ``provider/model``.
            at_us: The instant its row is looked up for, microseconds since the epoch, UTC.
        """
        row = self.price(model, at_us)
        window = sizes_of(model)[1] if row is None else row.context_tokens
        return Abilities(lacks=lacks_of(model), context_tokens=window)

    def _step_us(self, model: str) -> int:
        """Return the length of the times in which the model's price cannot change, microseconds; 0 = it never does."""
        step_us = 0 if model in self._overrides else steps_us(model)
        self._steps_us[model] = step_us
        return step_us

    def _resolve(self, model: str, at_us: int, service_tier: str | None) -> Price | None:
        row = self._of_tier(model, at_us, service_tier)
        if row is None and service_tier is not None:
            standard = self._of_tier(model, at_us, None)
            row = None if standard is None else _as_stand_in(standard)
        if row is None and self._pessimistic is not None:
            return _from_override(self._pessimistic, "pessimistic", self._version, model)
        return row

    def _of_tier(self, model: str, at_us: int, service_tier: str | None) -> Price | None:
        """Return the row of just this service tier, None = of the standard one."""
        override = self._overrides.get(model)
        if override is not None:
            return None if service_tier else _from_override(override, "override", self._version, model)
        at = dt.datetime.fromtimestamp(at_us / 1_000_000, tz=dt.UTC)
        return from_genai(model, at, service_tier, sizes_of(model)) or from_litellm(model, service_tier)


def _as_stand_in(row: Price) -> Price:
    long = None if row.long_price is None else _as_stand_in(row.long_price)
    return replace(row, is_stand_in=True, long_price=long)


def _from_override(override: "PriceOverride", source: str, date: str, model: str) -> Price:
    cached = override.input if override.cached is None else override.cached
    write_5m = override.input if override.write_5m is None else override.write_5m
    write_1h = write_5m if override.write_1h is None else override.write_1h
    max_output, context = sizes_of(model)
    return Price(
        input_nusd_per_m=nusd_per_m(override.input),
        cached_nusd_per_m=nusd_per_m(cached),
        write_5m_nusd_per_m=nusd_per_m(write_5m),
        write_1h_nusd_per_m=nusd_per_m(write_1h),
        output_nusd_per_m=nusd_per_m(override.output),
        source=source,
        date=date,
        max_output_tokens=max_output,
        context_tokens=context,
    )
