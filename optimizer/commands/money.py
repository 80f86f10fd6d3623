"""Amounts and intervals on a terminal."""

from router_core.control.records import Interval
from router_core.types import NANO


def nusd_text(nusd: int) -> str:
    """Return nano-dollars as ``$1,234.56``, with four digits below a dollar."""
    return money(nusd / NANO)


def money(usd: float, form: str = ",.2f") -> str:
    """Return an amount as ``$1,234.56``, with four digits below a dollar."""
    digits = form if abs(usd) >= 1 or usd == 0 else ",.4f"
    return f"{'−' if usd < 0 else ''}${abs(usd):{digits}}"


def interval_text(interval: Interval, form: str, unit: str = "") -> str:
    """Return ``mean (low to high)``, in USD where a unit is given; the mean alone where nothing is uncertain."""
    if unit:
        mean, low, high = (money(each) for each in (interval.mean, interval.low, interval.high))
        return mean if low == high else f"{mean} ({low} to {high})"
    if interval.low == interval.high:
        return f"{interval.mean:{form}}".replace("-", "−")
    return f"{interval.mean:{form}} ({interval.low:{form}} to {interval.high:{form}})".replace("-", "−")
