"""Calibration files: JSON, named by a hash of their bytes, never changed. ``docs/confidence.md`` tells the format."""

import hashlib
import itertools
from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, Field, JsonValue, ValidationError
from pydantic_core import PydanticCustomError

from router_core.config.builder import format_path
from router_core.config.sections import Fraction, Name, Section
from router_core.config.tree import Location

PREFIX = "cal-"
_DIGITS = 8

Found = tuple[Location, str]
Knot = tuple[Fraction, Fraction]
FittedSource = Literal["check", "logprob", "field", "judge", "agreement", "caller"]


def _rising(knots: tuple[Knot, ...]) -> tuple[Knot, ...]:
    pairs = list(itertools.pairwise(knots))
    if any(after[0] <= before[0] for before, after in pairs):
        raise PydanticCustomError("knots", "must have rising confidences")
    if any(after[1] < before[1] for before, after in pairs):
        raise PydanticCustomError("knots", "must have shares that never fall")
    return knots


class _Fitted(Section):
    """What a curve was fitted for.

    Attributes:
        payload_type: Name of the payload type's section in the routing config.
        model: ``provider/model`` of the target that answered.
        source: Where the raw confidence came from.
        response_model: The snapshot that the provider said has answered; None = whichever.
        judge: ``provider/model`` of the judge; with source ``judge``, and only then.
        fit: What it was fitted on and how well it fits, in whatever figures; kept, never applied.
    """

    payload_type: Name
    model: Name
    source: FittedSource
    response_model: Name | None = None
    judge: Name | None = None
    fit: dict[str, JsonValue] = Field(default_factory=dict)


class LogisticEntry(_Fitted):
    """p = logistic(a · logit(confidence) + b).

    Attributes:
        a: Slope, above 0: a curve that falls would prefer the answers that are less sure.
        b: Intercept.
    """

    method: Literal["logistic"]
    a: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
    b: Annotated[float, Field(ge=-1000, le=1000, allow_inf_nan=False)]


class IsotonicEntry(_Fitted):
    """Straight lines between knots ``[confidence, share right]``, level beyond them."""

    method: Literal["isotonic"]
    knots: Annotated[tuple[Knot, ...], Field(min_length=2, max_length=10_000), AfterValidator(_rising)]


EntryModel = Annotated[LogisticEntry | IsotonicEntry, Field(discriminator="method")]


class CalibrationFile(Section):
    """One calibration file.

    Attributes:
        version: Version of the format, always 1.
        entries: The curves.
    """

    version: Literal[1]
    entries: Annotated[tuple[EntryModel, ...], Field(min_length=1)]


def calibration_id(data: bytes) -> str:
    """Return the id, and the file's name without its ending: ``cal-`` and the first 8 hex digits of the SHA-256."""
    return f"{PREFIX}{hashlib.sha256(data).hexdigest()[:_DIGITS]}"


def read_calibration(name: str, data: bytes) -> tuple[CalibrationFile | None, str]:
    """Return what a calibration file holds, or None and what is wrong with it.

    Args:
        name: Its id, by which a config names it.
        data: Its bytes.
    """
    found = calibration_id(data)
    if found != name:
        return None, f"its content is not the one it was named for (it would be {found}); put the original file back"
    try:
        file = CalibrationFile.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = format_path(tuple(part for part in first["loc"] if part not in ("logistic", "isotonic")))
        return None, f"{place}: {first['msg']}" if place else first["msg"]
    return file, _misfit(file)


def named_calibrations(
    raw: Mapping[str, Any], there: Mapping[str, bytes]
) -> tuple[dict[str, CalibrationFile], list[Found]]:
    """Return the calibrations that a config's payload types name, by id, and what is wrong with them.

    One that is not there is left out: that is told where the other names are looked up.
    """
    types = raw.get("payload_types")
    named: dict[str, CalibrationFile] = {}
    problems: list[Found] = []
    for kind, settings in cast("Mapping[Any, Any]", types).items() if isinstance(types, Mapping) else ():
        name = cast("Mapping[Any, Any]", settings).get("calibration") if isinstance(settings, Mapping) else None
        if not isinstance(kind, str) or not isinstance(name, str) or name not in there:
            continue
        file, wrong = read_calibration(name, there[name])
        if file is not None and not wrong and all(entry.payload_type != kind for entry in file.entries):
            fitted = ", ".join(sorted({entry.payload_type for entry in file.entries}))
            wrong = f"it was not fitted for this payload type, but for: {fitted}"
        if wrong:
            problems.append((("payload_types", kind, "calibration"), f"calibration {name!r} cannot be used: {wrong}"))
        elif file is not None:
            named[name] = file
    return named, problems


def _misfit(file: CalibrationFile) -> str:
    """Return what is wrong with the entries beyond their schema, or nothing."""
    seen: set[tuple[str | None, ...]] = set()
    for index, entry in enumerate(file.entries):
        if (entry.source == "judge") != (entry.judge is not None):
            return f"entries[{index}].judge: names the judge with source judge, and only then"
        key = (entry.payload_type, entry.model, entry.source, entry.response_model, entry.judge)
        if key in seen:
            return f"entries[{index}]: there are two curves for the same payload type, model and source"
        seen.add(key)
    return ""
