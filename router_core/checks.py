"""Free checks of an answer: parse it against the wanted format, then ask the caller's own checks."""

import inspect
import re
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import lru_cache
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, cast

from router_core.decide.compare import unfenced
from router_core.record import maker, record
from router_core.types import CheckResult

if TYPE_CHECKING:
    from jsonschema.protocols import Validator
    from pydantic import BaseModel

CheckFunction = Callable[[Any], Any]
"""Gets the parsed answer (the text when no format was asked for); falsy or an exception = failed, None = passed.

A float above 0 and up to 1 has passed, and grades how well; any other float but 0 is no verdict and counts as an error.
"""
Check = CheckFunction | re.Pattern[str] | type["BaseModel"] | Mapping[str, Any]
"""A function; or what the answer's text must hold (a pattern) or be (a pydantic model class, a JSON schema)."""

_NAME_LENGTH: Final = 100
_FORMAT: Final = "format"
# what such a function returns has still to be run: it is never False, whatever the function would have said
_RUNS_LATER: Final = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_SAID: Final = (bool, type(None), float)


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
        names = _names(checks)
        return _checked(None, [_run(name, check, text, text) for name, check in zip(names, checks, strict=True)])
    parsed, fits = _fitted(_FORMAT, text, response_format)
    if fits.verdict != "passed":
        return Checked(parsed=None, results=(fits,), valid=False)
    if not checks:
        return _make_checked(parsed=parsed, results=(fits,), valid=True)
    names = _names(checks, _FORMAT)
    own = [_run(name, check, text, parsed) for name, check in zip(names, checks, strict=True)]
    return _checked(parsed, [fits, *own])


def _checked(parsed: Any, results: Sequence[CheckResult]) -> Checked:
    return Checked(parsed=parsed, results=tuple(results), valid=all(result.verdict == "passed" for result in results))


def refuse_unusable_format(response_format: Any, name: str = "response_format") -> None:
    """Do nothing for a response format that answers can be checked against.

    Args:
        response_format: The format.
        name: The argument that it was given as.

    Raises:
        TypeError: It is neither a pydantic model class nor a JSON schema.
        ValueError: The JSON schema is not one.
    """
    if response_format is None or _is_model(response_format):
        return
    if not isinstance(response_format, Mapping):
        given = response_format.__name__ if isinstance(response_format, type) else type(response_format).__name__
        raise TypeError(f"{name} must be a pydantic model class or a JSON schema, not {given}")
    wanted = cast("Mapping[str, Any]", response_format)
    if wanted.get("type") == "json_schema" and _inner_schema(wanted) is None:
        raise ValueError(
            f"{name} of type json_schema has no schema: give it as json_schema: {{name: ..., schema: {{...}}}}, or give"
            " the JSON schema alone, or a pydantic model class"
        )
    schema = json_schema(wanted)
    if schema is not None:
        import jsonschema
        import orjson

        try:
            _validator(orjson.dumps(schema))
        except jsonschema.SchemaError as error:
            raise ValueError(f"{name} is not a JSON schema: {error.message}") from error


def _is_model(wanted: object) -> bool:
    # an object of such a class has its methods too, and nothing to check an answer against
    return isinstance(wanted, type) and hasattr(wanted, "model_validate_json")


def refuse_unusable_check(check: object) -> None:
    """Do nothing for a check that answers can be given to.

    Raises:
        TypeError: It is none of what ``Check`` names.
        ValueError: It is a JSON schema that is none.
    """
    if type(check) is FunctionType and not check.__code__.co_flags & _RUNS_LATER:  # nearly all of them, at every call
        return
    if isinstance(check, re.Pattern):
        if not isinstance(cast("re.Pattern[Any]", check).pattern, str):
            raise TypeError("checks must be patterns of text, not of bytes")
    elif isinstance(check, Mapping):
        refuse_unusable_format(cast("object", check), "a check")
    elif not callable(check):
        raise TypeError(
            f"checks must be functions, patterns, pydantic models or JSON schemas, not {type(check).__name__}"
        )
    else:
        refuse_awaited("checks", check)


def refuse_awaited(name: str, function: object) -> None:
    """Do nothing for a function whose answer is there when it returns.

    Args:
        name: The argument that it was given as.
        function: Anything that can be called.

    Raises:
        TypeError: It has to be awaited.
    """
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function) or _is_async_object(function):
        raise TypeError(f"{name} takes plain functions, not async ones: nothing awaits what they return")


def _is_async_object(function: object) -> bool:
    return inspect.iscoroutinefunction(getattr(type(function), "__call__", None))  # noqa: B004 - the method itself


def _names(checks: Sequence[Check], *taken: str) -> list[str]:
    """Return what the log calls each check, all different: its function's or class's name, ``regex`` or ``schema``.

    A pattern itself may be long, or hold what the log must not.
    """
    names = [_name(check) for check in checks]
    if len({*taken, *names}) == len(taken) + len(names):
        return names
    used = set(taken)
    for place, name in enumerate(names):
        number, unique = 1, name
        while unique in used:
            number += 1
            unique = f"{name}_{number}"
        used.add(unique)
        names[place] = unique
    return names


def _name(check: Check) -> str:
    if isinstance(check, re.Pattern):
        return "regex"
    if isinstance(check, Mapping):
        return "schema"
    return str(getattr(check, "__name__", type(check).__name__))[:_NAME_LENGTH]


def _run(name: str, check: Check, text: str, parsed: Any) -> CheckResult:
    """Return a check's verdict; patterns and schemas look at the text, functions at what was parsed of it."""
    if isinstance(check, re.Pattern):
        return _timed(name, check.search, text, needs_answer=True)
    if isinstance(check, Mapping) or _is_model(check):
        return _fitted(name, text, check)[1]
    return _timed(name, cast("CheckFunction", check), parsed)


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
        said = _said(check(subject))
    except Exception as error:  # noqa: BLE001 - a caller's check may raise anything; that is a verdict, not a crash
        verdict, detail = "error", f"{type(error).__name__}: {error}"
    else:
        passed = bool(said) or (said is None and not needs_answer)
        verdict, detail = ("passed" if passed else "failed"), None
        grade = said if isinstance(said, float) else None
    return CheckResult(name=name, ms=_ms_since(began), verdict=verdict, detail=detail, grade=grade)


def _said(value: Any) -> Any:
    """Return what a check has said, if that is a verdict.

    Raises:
        TypeError: It is still to be awaited.
        ValueError: It is a float that is no grade.
    """
    if isinstance(value, float) and not 0 <= value <= 1:  # NaN is not within anything
        raise ValueError(f"a grade must be within 0..1, not {value!r}")
    if type(value) not in _SAID and inspect.isawaitable(value):
        if isinstance(value, Coroutine):
            value.close()  # or it would warn, later and elsewhere, that nobody has awaited it
        raise TypeError("a check must be a plain function: what it returned has to be awaited")
    return value


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
        return _inner_schema(wanted)
    return None if wanted.get("type") == "json_object" else wanted


def _inner_schema(wanted: Mapping[str, Any]) -> Mapping[str, Any] | None:
    inner = wanted.get("json_schema")
    schema = cast("Mapping[str, Any]", inner).get("schema") if isinstance(inner, Mapping) else None
    return cast("Mapping[str, Any]", schema) if isinstance(schema, Mapping) else None
