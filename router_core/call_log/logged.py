"""Parts of logged rows → the records they were made of. Others may have written the JSON: it need not fit."""

import json
from collections.abc import Mapping
from typing import Any, cast

from router_core.types import CheckResult, Price, Usage


def usage_of(row: Mapping[str, Any]) -> Usage:
    """Return the tokens of an attempt's row."""
    return Usage(
        input_tokens=row["input_tokens"],
        cached_tokens=row["cached_tokens"] or 0,
        cache_write_5m_tokens=row["cache_write_5m_tokens"] or 0,
        cache_write_1h_tokens=row["cache_write_1h_tokens"] or 0,
        output_tokens=row["output_tokens"],
        reasoning_tokens=row["reasoning_tokens"] or 0,
    )


def price_of(row: Mapping[str, Any], extra: Mapping[str, Any]) -> Price:
    """Return the price row that an attempt was charged at.

    Args:
        row: The attempt's row, with ``price_in`` and ``price_out``.
        extra: Its ``extra``, where the rare prices are.
    """
    write = row["price_write"] if row["price_write"] is not None else row["price_in"]
    hour = _whole(extra.get("price_write_1h"))
    return Price(
        input_nusd_per_m=row["price_in"],
        cached_nusd_per_m=row["price_cached"] if row["price_cached"] is not None else row["price_in"],
        write_5m_nusd_per_m=write,
        write_1h_nusd_per_m=write if hour is None else hour,
        output_nusd_per_m=row["price_out"],
        reasoning_nusd_per_m=_whole(extra.get("price_reasoning")),
        source=row["price_source"] or "",
        date=row["price_date"] or "",
    )


def checks_of(logged: str | None) -> tuple[CheckResult, ...]:
    """Return the verdicts in a logged ``checks``."""
    entries: object = json.loads(logged) if logged else []
    if not isinstance(entries, list):
        return ()
    found = [cast("dict[str, Any]", entry) for entry in cast("list[object]", entries) if isinstance(entry, dict)]
    return tuple(
        CheckResult(name=str(entry.get("name", "")), ms=_number(entry.get("ms")), verdict=entry.get("verdict", "error"))
        for entry in found
    )


def mapping_of(logged: str | None) -> Mapping[str, Any]:
    """Return the object in a logged ``extra`` or ``tags``; what is none is empty."""
    value: object = json.loads(logged) if logged else None
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
