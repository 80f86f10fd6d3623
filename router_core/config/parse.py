"""Bytes → routing config, or every problem at once."""

from collections.abc import Mapping
from typing import Any, cast

from pydantic import ValidationError

from router_core.config.calibration import named_calibrations
from router_core.config.checks import semantic_problems
from router_core.config.document import format_path, read
from router_core.config.messages import explained, shown
from router_core.config.model import RoutingConfig
from router_core.config.tree import Location
from router_core.errors import ConfigError, Problem

NO_CALIBRATIONS: Mapping[str, bytes] = {}


def parse(data: bytes, *, source: str, calibrations: Mapping[str, bytes] = NO_CALIBRATIONS) -> RoutingConfig:
    """Return the config that ``data`` holds.

    Args:
        data: Bytes of a YAML file.
        source: What to call it in errors, usually its path.
        calibrations: The calibration files beside it: their bytes by id.

    Raises:
        ConfigError: It cannot be used; carries all problems, each with its path and line.
    """
    document = read(data, source=source)
    raw = document.plain()
    if not isinstance(raw, dict):
        message = f"must be a mapping with tiers and payload_types, not {shown(raw)}"
        raise ConfigError(source, [*document.problems, Problem(path="", message=message, line=1)])
    config, structural = _validated(cast("dict[str, Any]", raw))
    semantic = semantic_problems(cast("dict[str, Any]", raw), calibrations)
    named, unusable = named_calibrations(cast("dict[str, Any]", raw), calibrations)
    problems = [*document.problems]
    said = {problem.path for problem in problems}
    for location, message in (*structural, *semantic, *unusable):
        path = format_path(location)
        if path not in said:
            problems.append(Problem(path=path, message=message, line=document.line_of(location)))
    if problems or config is None:
        raise ConfigError(source, sorted(problems, key=lambda problem: problem.line or 0))
    return config.came_from(data, document.lines(), raw, named)


def _validated(raw: dict[str, Any]) -> tuple[RoutingConfig | None, list[tuple[Location, str]]]:
    try:
        return RoutingConfig.model_validate(raw), []
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=True)
        return None, [said for said in (explained(detail, raw) for detail in details) if said is not None]
