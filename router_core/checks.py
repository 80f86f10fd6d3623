"""Free checks of an answer: parse it against the wanted format, then ask the caller's own checks."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import FunctionType
from typing import TYPE_CHECKING, Any, cast

from router_core.decide.compare import unfenced
from router_core.record import maker, record
from router_core.types import CheckResult

if TYPE_CHECKING:
    from jsonschema.protocols import Validator
    from pydantic import BaseModel

CheckFunction = Callable[[Any], Any]
"""Gets the parsed answer (the text when no format was asked for); falsy or an exception = failed, None = passed.

A float above 0 and up to 1 has passed, and grades how well.
"""
Check = CheckFunction | re.Pattern[str] | type["BaseModel"] | Mapping[str, Any]
"""A function; or what the answer's text must hold (a pattern) or be (a pydantic model class, a JSON schema)."""

_NAME_LENGTH = 100


@record
class Checked:
    """The result of all free checks of one answer.

    Attributes:
        parsed: The answer in the wanted format; None when none was asked for or it does not fit.
        results: One verdict per check, in order; those after a failed format are not run.
        valid: Whether every check passed.
    """

    parsed: Any
    results: tuple[CheckResult, ...]
    valid: bool


_make_result = maker(CheckResult)
_make_checked = maker(Checked)


def run_checks(text: str, response_format: Any, checks: Sequence[Check]) -> Checked:
    """Return the verdicts of the format and of the caller's checks on an answer.

    Args:
        text: The answer.
        response_format: pydantic model class, JSON schema, ``{"type": "json_object"}``, or None.
        checks: The caller's checks.
    """
    if response_format is None and not checks:
        return Checked(parsed=None, results=(), valid=True)
    if response_format is None:
        return _checked(None, [_run(check, text, text) for check in checks])
    parsed, fits = _fitted("format", text, response_format)
    if fits.verdict != "passed":
        return Checked(parsed=None, results=(fits,), valid=False)
    if not checks:
        return _make_checked(parsed=parsed, results=(fits,), valid=True)
    return _checked(parsed, [fits, *(_run(check, text, parsed) for check in checks)])


def _checked(parsed: Any, results: Sequence[CheckResult]) -> Checked:
    return Checked(parsed=parsed, results=tuple(results), valid=all(result.verdict == "passed" for result in results))


def refuse_unusable_format(response_format: Any) -> None:
    """Do nothing for a response format that answers can be checked against.

    Raises:
        TypeError: It is neither a pydantic model class nor a JSON schema.
        ValueError: The JSON schema is not one.
    """
    if response_format is None or hasattr(response_format, "model_validate_json"):
        return
    if not isinstance(response_format, Mapping):
        raise TypeError(f"response_format must be a pydantic model class or a JSON schema, not {response_format!r}")
    schema = json_schema(cast("Mapping[str, Any]", response_format))
    if schema is not None:
        import jsonschema
        import orjson

        try:
            _validator(orjson.dumps(schema))
        except jsonschema.SchemaError as error:
            raise ValueError(f"response_format is not a JSON schema: {error.message}") from error


def refuse_unusable_check(check: object) -> None:
    """Do nothing for a check that answers can be given to.

    Raises:
        TypeError: It is none of what ``Check`` names.
        ValueError: It is a JSON schema that is none.
    """
    if type(check) is FunctionType:  # nearly all of them: asked at every call
        return
    if isinstance(check, re.Pattern):
        if not isinstance(cast("re.Pattern[Any]", check).pattern, str):
            raise TypeError("checks must be patterns of text, not of bytes")
    elif isinstance(check, Mapping):
        refuse_unusable_format(cast("object", check))
    elif not callable(check):
        raise TypeError(
            f"checks must be functions, patterns, pydantic models or JSON schemas, not {type(check).__name__}"
        )


def _run(check: Check, text: str, parsed: Any) -> CheckResult:
    """Return a check's verdict; patterns and schemas look at the text, functions at what was parsed of it."""
    if isinstance(check, re.Pattern):
        return _timed(f"regex {check.pattern}", check.search, text, needs_answer=True)
    if isinstance(check, Mapping) or hasattr(check, "model_validate_json"):
        return _fitted(getattr(cast("Any", check), "__name__", "schema")[:_NAME_LENGTH], text, check)[1]
    return _timed(getattr(check, "__name__", type(check).__name__), cast("CheckFunction", check), parsed)


def _fitted(name: str, text: str, wanted: Any) -> tuple[Any, CheckResult]:
    """Return a text in the wanted format, None where it does not fit, and the verdict."""
    began = time.perf_counter_ns()
    try:
        parsed = _parse(text, wanted)
    except Exception as error:  # noqa: BLE001 - a caller's model may raise anything; the answer does not fit it
        detail = f"{type(error).__name__}: {error}"
        return None, CheckResult(name=name, ms=_ms_since(began), verdict="failed", detail=detail)
    return parsed, _make_result(name=name, ms=_ms_since(began), verdict="passed")


def _timed(name: str, check: CheckFunction, subject: Any, *, needs_answer: bool = False) -> CheckResult:
    began, grade = time.perf_counter_ns(), None
    try:
        said = check(subject)
    except Exception as error:  # noqa: BLE001 - a caller's check may raise anything; that is a verdict, not a crash
        verdict, detail = "error", f"{type(error).__name__}: {error}"
    else:
        passed = bool(said) or (said is None and not needs_answer)
        verdict, detail = ("passed" if passed else "failed"), None
        grade = said if isinstance(said, float) and 0 <= said <= 1 else None
    ms = _ms_since(began)
    return CheckResult(name=name[:_NAME_LENGTH], ms=ms, verdict=verdict, detail=detail, grade=grade)


def _ms_since(began_ns: int) -> float:
    return (time.perf_counter_ns() - began_ns) / 1e6


def _parse(text: str, response_format: Any) -> Any:
    """Return the text as the wanted format.

    Raises:
        ValueError: It is not JSON, or does not fit (pydantic's and jsonschema's errors included).
    """
    body = unfenced(text)
    if isinstance(response_format, type):
        model: type[BaseModel] = response_format
        return model.model_validate_json(body)
    import orjson

    value = orjson.loads(body)
    schema = json_schema(response_format)
    if schema is not None:
        _validator(orjson.dumps(schema)).validate(value)
    return value


@lru_cache(maxsize=256)
def _validator(schema: bytes) -> "Validator":
    """Return a ready validator; making one costs a hundred times what using it does."""
    import orjson
    from jsonschema import Draft202012Validator, validators
    from referencing import Registry

    loaded: dict[str, Any] = orjson.loads(schema)
    kind: type[Validator] = validators.validator_for(loaded, default=Draft202012Validator)
    kind.check_schema(loaded)
    # an empty registry: a $ref to another document is an error, never a download
    return kind(loaded, registry=Registry())


def json_schema(response_format: Any) -> Mapping[str, Any] | None:
    """Return the JSON schema inside a response format, or None when it only asks for JSON."""
    if not isinstance(response_format, Mapping):
        return None
    wanted = cast("Mapping[str, Any]", response_format)
    if wanted.get("type") == "json_schema":
        return wanted["json_schema"].get("schema")
    return None if wanted.get("type") == "json_object" else wanted
