"""Lines that the fast encoder refuses, written as well as they can be: never an error, never a line less."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from router_core.errors import place_of

_MOST_DEEP = 50
_logger = logging.getLogger("router_core.call_log")


def encode_anyhow(line: Mapping[Any, Any]) -> bytes:
    """Return a line as JSON with its newline: foreign objects and keys as text, lone surrogates as ``?``."""
    text = json.dumps(_plain(line, ()), ensure_ascii=False)
    return text.encode("utf-8", "replace") + b"\n"


def _plain(value: object, around: tuple[int, ...]) -> Any:
    """Return what JSON can hold of a value inside of others, which are given by their ids."""
    kind = type(value).__name__
    try:
        if not isinstance(value, Mapping | list | tuple):
            return _plain_scalar(value)
        container = cast("Mapping[Any, Any] | Sequence[Any]", value)
        if id(container) in around or len(around) >= _MOST_DEEP:
            return "..."
        return _plain_container(container, (*around, id(container)))
    except Exception as error:  # noqa: BLE001 - the caller's objects may raise anything
        _logger.warning("call log: a value that cannot be read is logged as its type: %s", place_of(error))
        return f"<{kind}>"


def _plain_container(value: Mapping[Any, Any] | Sequence[Any], around: tuple[int, ...]) -> Any:
    if isinstance(value, Mapping):
        return {str(_plain(key, around)): _plain(item, around) for key, item in value.items()}
    return [_plain(item, around) for item in value]


def _plain_scalar(value: object) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        # beyond 64 bits it would be read as a float anyhow, and endless digits are an error
        return int(value) if -(2**63) <= value < 2**64 else float(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return str(value)
