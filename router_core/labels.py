"""What a wanted format says of its answers before there is any: which fields they have, and where their label is."""

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from router_core.checks import json_schema
from router_core.decide.confidence import LabelField
from router_core.types import Comparable

if TYPE_CHECKING:
    from pydantic import BaseModel


def schema_of(response_format: Any) -> Mapping[str, Any] | None:
    """Return the JSON schema of a wanted format; None where it says nothing of its answers' fields."""
    if isinstance(response_format, type):
        return _schema_of_model(cast("type[BaseModel]", response_format))
    return json_schema(response_format)


@lru_cache(maxsize=256)
def _schema_of_model(model: "type[BaseModel]") -> dict[str, Any]:
    return model.model_json_schema()


def declares(response_format: Any, field: str) -> bool:
    """Return whether a wanted format has a field of this name at its top."""
    if isinstance(response_format, type):
        return _is_field(cast("type[BaseModel]", response_format), field)
    schema = json_schema(response_format)
    return schema is not None and field in cast("Mapping[str, Any]", schema.get("properties") or {})


@lru_cache(maxsize=256)
def _is_field(model: "type[BaseModel]", field: str) -> bool:
    return field in model.model_fields


def label_field(response_format: Any, comparable: Comparable | None) -> LabelField | None:
    """Return where the answers of a classification say their label; None for answers that are more than a label.

    With a format, that is its only field with a closed list of texts. Without one, it is the whole text, where the
    payload type's answers are compared exactly.

    Args:
        response_format: What the caller wants.
        comparable: How the payload type's answers are compared.
    """
    if response_format is None:
        return LabelField(key=None) if comparable == "exact" else None
    if isinstance(response_format, type):
        return _label_of_model(cast("type[BaseModel]", response_format))
    schema = json_schema(response_format)
    if schema is None:
        return None
    import orjson

    return _label_of_schema(orjson.dumps(schema))


@lru_cache(maxsize=256)
def _label_of_model(model: "type[BaseModel]") -> LabelField | None:
    import orjson

    return _label_of_schema(orjson.dumps(model.model_json_schema()))


@lru_cache(maxsize=256)
def _label_of_schema(schema: bytes) -> LabelField | None:
    import orjson

    loaded: dict[str, Any] = orjson.loads(schema)
    defined: dict[str, Any] = loaded.get("$defs") or {}
    found: list[LabelField] = []
    for key, rule in cast("dict[str, Any]", loaded.get("properties") or {}).items():
        if not isinstance(rule, dict):
            continue
        of = cast("dict[str, Any]", rule)
        listed: object = defined.get(str(of.get("$ref", "")).rpartition("/")[2], of).get("enum")
        if isinstance(listed, list) and listed and all(isinstance(each, str) for each in cast("list[object]", listed)):
            found.append(LabelField(key=key, labels=tuple(cast("list[str]", listed))))
    return found[0] if len(found) == 1 else None
