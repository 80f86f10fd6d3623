"""Scalars of the YAML 1.2 core schema: text to Python value, Python value to text.

A plain ``2026-12-07`` is a date besides.
"""

import datetime as dt
import json
import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_DECIMAL_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)")
_NAN = frozenset({".nan", ".NaN", ".NAN"})
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# Python refuses to read or write an integer of more than 4,300 digits; a longer run is text here
_MAX_DIGITS = 3000
# what YAML 1.1 readers would take for a boolean
_OLD_BOOL = frozenset({"y", "n", "yes", "no", "on", "off"})

_FORMS: tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...] = (
    (_DECIMAL_INT, int),
    (re.compile(r"0o[0-7]+"), lambda text: int(text[2:], 8)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text[2:], 16)),
    (_FLOAT, float),
    (_INFINITE, lambda text: -math.inf if text.startswith("-") else math.inf),
    (_DATE, dt.date.fromisoformat),
)
_SAFE_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./@+-]*")
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def value_of(text: str) -> Any:
    """Return what a plain scalar means.

    Raises:
        ValueError: It looks like a date and is none.
    """
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if text in _NAN:
        return math.nan
    if len(text) <= _MAX_DIGITS:
        for form, construct in _FORMS:
            if form.fullmatch(text):
                return construct(text)
    return text


def text_of(value: Any) -> str:
    """Return a scalar as YAML that stays what it is in block and in flow context, always on one line.

    Raises:
        TypeError: There is no YAML for it.
    """
    match value:
        case None:
            written = "null"
        case bool():
            written = "true" if value else "false"
        case str():
            written = _quoted(value)
        case Decimal():
            written = _decimal(value)
        case float() if not math.isfinite(value):
            written = ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
        case int() | float():
            written = repr(value)
        case dt.date() if not isinstance(value, dt.datetime):
            written = value.isoformat()
        case _:
            message = f"{type(value).__name__} has no YAML form"
            raise TypeError(message)
    return written


def _quoted(text: str) -> str:
    if _SAFE_PLAIN.fullmatch(text) and text.lower() not in _OLD_BOOL and isinstance(value_of(text), str):
        return text
    written = json.dumps(text, ensure_ascii=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", written)


def _decimal(value: Decimal) -> str:
    if value == value.to_integral_value():
        return str(int(value))
    # a float that says exactly the same, else text, which every amount of money may be written as
    return repr(float(value)) if Decimal(repr(float(value))) == value else f'"{value}"'
