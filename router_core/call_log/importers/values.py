"""What somebody else's log writes for an instant, an amount or a count, in this log's units.

Every function raises ``ValueError`` with words that follow the column's name: "is not a number".
"""

import datetime as dt
import re
from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any, Final, cast

import orjson

from router_core.types import NANO

MAX_TEXT: Final = 500
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_NAIVE_EPOCH: Final = _EPOCH.replace(tzinfo=None)
_DAY_US: Final = 86_400_000_000
# an instant before LLMs or after this century is a number that means something else
_INSTANTS: Final = range(946_684_800_000_000, 4_102_444_800_000_000)
_NUMERIC: Final = re.compile(r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?")
# up to which magnitude a bare number is seconds, milliseconds, microseconds; beyond it is nanoseconds
_EPOCH_UNITS: Final = ((100_000_000_000, 1_000_000), (100_000_000_000_000, 1_000), (100_000_000_000_000_000, 1))
_MAX_TOKENS: Final = 10_000_000_000
_MAX_DIGITS: Final = 12
_MAX_USD: Final = 1_000_000
_YEAR_MS: Final = 31_536_000_000
# beyond it, arithmetic with the digits written out would take forever
_MAX_EXPONENT: Final = 400
_TRUE: Final = frozenset({"true", "t", "yes", "y", "1", "hit"})
_FALSE: Final = frozenset({"false", "f", "no", "n", "0", "none", "null", "miss", ""})


def to_instant_us(value: Any, zone: dt.tzinfo) -> int:
    """Return microseconds since the epoch, UTC.

    Args:
        value: ISO 8601 text, a datetime, or a number since the epoch: its size tells seconds, milliseconds,
            microseconds and nanoseconds apart.
        zone: Zone of texts and datetimes without one.
    """
    try:
        us = _instant_us(value, zone)
    except (ValueError, OverflowError, TypeError, InvalidOperation):
        us = 0
    if us not in _INSTANTS:
        message = "is no instant of the years 2000 to 2099 (ISO 8601, or a number since the epoch)"
        raise ValueError(message)
    return us


def _instant_us(value: Any, zone: dt.tzinfo) -> int:
    if isinstance(value, str):
        # the fifth character tells most dates from numbers
        if value[4:5] == "-" or not _NUMERIC.fullmatch(value):
            return _datetime_us(dt.datetime.fromisoformat(value.strip()), zone)
        value = Decimal(value)
    if isinstance(value, dt.datetime):
        return _datetime_us(value, zone)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise TypeError
    exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    for limit, factor in _EPOCH_UNITS:
        if exact < limit:
            return int((exact * factor).to_integral_value(rounding=ROUND_HALF_EVEN))
    return int(exact // 1000)


def _datetime_us(moment: dt.datetime, zone: dt.tzinfo) -> int:
    if moment.tzinfo is not None:
        since = moment - _EPOCH
    elif zone is dt.UTC:  # the usual one, without asking it for its offset
        since = moment - _NAIVE_EPOCH
    else:
        since = moment.replace(tzinfo=zone) - _EPOCH
    return since.days * _DAY_US + since.seconds * 1_000_000 + since.microseconds


def has_zone(value: Any) -> bool:
    """Return whether an instant says itself in which zone it is; numbers are UTC."""
    if isinstance(value, dt.datetime):
        return value.tzinfo is not None
    # behind the date only an offset has a sign
    return not isinstance(value, str) or value[-1:] == "Z" or "+" in value or "-" in value[10:] or _is_number(value)


def _is_number(text: str) -> bool:
    return _NUMERIC.fullmatch(text) is not None


def to_nusd(value: Any) -> int:
    """Return USD as nano-dollars, rounded half to even from the decimal digits that were written."""
    amount = _decimal(value.strip().removeprefix("$") if isinstance(value, str) else value)
    if amount < 0:
        message = "is negative"
        raise ValueError(message)
    if amount > _MAX_USD:
        message = "is above 1,000,000 USD"
        raise ValueError(message)
    return int((amount * NANO).to_integral_value(rounding=ROUND_HALF_EVEN))


def to_count(value: Any) -> int:
    """Return a count of tokens."""
    if type(value) is int:
        count = value
    elif type(value) is str and value.isdecimal() and len(value) <= _MAX_DIGITS:
        count = int(value)
    else:
        amount = _decimal(value)
        count = int(amount)
        if count != amount:
            message = "is not a whole number"
            raise ValueError(message)
    if not 0 <= count <= _MAX_TOKENS:
        message = "is negative" if count < 0 else "is above 10 billion"
        raise ValueError(message)
    return count


def to_duration(value: Any) -> float:
    """Return a duration in the unit it came in, at most a year of milliseconds."""
    amount = float(_decimal(value))
    if not 0 <= amount <= _YEAR_MS:
        message = "is negative" if amount < 0 else "is above a year"
        raise ValueError(message)
    return amount


def to_fraction(value: Any) -> float:
    """Return a number in 0..1; true and false are 1 and 0."""
    if isinstance(value, bool):
        return float(value)
    lowered = value.strip().lower() if isinstance(value, str) else value
    amount = float(_decimal({"true": 1, "false": 0}.get(lowered, lowered) if isinstance(lowered, str) else lowered))
    if not 0 <= amount <= 1:
        message = "is outside 0..1"
        raise ValueError(message)
    return amount


def to_text(value: Any) -> str:
    """Return a short text: numbers as they are written, longer texts cut at ``MAX_TEXT`` characters."""
    if type(value) is str and value.isascii() and "\x00" not in value:
        return value.strip()[:MAX_TEXT]
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        message = "is not text"
        raise ValueError(message)
    text = value if isinstance(value, str) else str(value)
    if "\x00" in text:
        message = "holds a NUL character"
        raise ValueError(message)
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        message = "is not UTF-8"
        raise ValueError(message)
    return text.strip()[:MAX_TEXT]


def to_flag(value: Any) -> bool:
    """Return a truth value."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    message = "is neither true nor false"
    raise ValueError(message)


def to_mapping(value: Any) -> Mapping[str, Any]:
    """Return an object, also one that is written as JSON text; anything else is an empty one."""
    if isinstance(value, str):
        if not value.startswith("{"):
            return {}
        try:
            value = orjson.loads(value)
        except ValueError:
            return {}
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def to_list(value: Any) -> list[Any]:
    """Return a list, also one that is written as JSON text; anything else is an empty one."""
    if isinstance(value, str):
        if not value.startswith("["):
            return [value] if value else []
        try:
            value = orjson.loads(value)
        except ValueError:
            return []
    return cast("list[Any]", value) if isinstance(value, list) else []


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool):
        message = "is not a number"
        raise ValueError(message)
    try:
        # the shortest decimal that means the same float is what was written
        amount = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    except (InvalidOperation, TypeError, ValueError) as error:
        message = "is not a number"
        raise ValueError(message) from error
    if not amount.is_finite() or (amount and abs(amount.adjusted()) > _MAX_EXPONENT):
        message = "is not a number"
        raise ValueError(message)
    return amount
