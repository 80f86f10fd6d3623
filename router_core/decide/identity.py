"""A request → what tells it from every other: the key under which an answer may be kept for a retry."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, cast

import orjson

from router_core.decide.plan import PlanTarget
from router_core.types import Message

# changes with what is in the key, so that keys of two versions never mean two things
_VERSION: Final = 1


def key_of(
    run: str,
    step: str,
    payload_type: str,
    messages: Sequence[Message],
    response_format: Any,
    params: Mapping[str, Any],
) -> bytes | None:
    """Return the key of a request of a job's step, 16 bytes; None for a request that cannot be told from others.

    Everything that the model is given is in it, but for the target: run, step, payload type, messages, the schema of
    the format, the caller's extra arguments.
    """
    parts = [_VERSION, run, step, payload_type, messages, _schema(response_format), params]
    try:
        asked = orjson.dumps(parts, _plain, orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError):  # orjson.JSONEncodeError is a TypeError
        return None
    return blake2b(asked, digest_size=16).digest()


def target_of(target: PlanTarget) -> str:
    """Return what tells answers of a target from another's: model, address, and the longest answer it may give."""
    # no name in a config holds a line break
    return f"{target.model}\n{target.api_base or ''}\n{target.max_output_tokens or ''}"


def _schema(response_format: Any) -> Any:
    return _model_schema(response_format) if isinstance(response_format, type) else response_format


@lru_cache(maxsize=256)
def _model_schema(model: Any) -> object:
    """Return the JSON schema of a pydantic model as text; making one costs a hundred times what a key does otherwise.

    A model that has no schema is returned itself: no key can be made with it.
    """
    try:
        return orjson.dumps(model.model_json_schema()).decode()
    except Exception:  # noqa: BLE001 - the caller's model may raise anything; its answers are not kept
        return model


def _plain(value: Any) -> Any:
    """Return what JSON knows of a value.

    Raises:
        TypeError: Two different ones might look the same.
    """
    if isinstance(value, Mapping):
        return dict(cast("Mapping[Any, Any]", value))
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return list(cast("Sequence[Any]", value))
    dump = None if isinstance(value, type) else getattr(cast("Any", value), "model_dump", None)
    if callable(dump):
        return dump()
    raise TypeError(f"{type(value).__name__} is no part of a request that can be told from others")
