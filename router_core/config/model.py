"""The root of a routing config."""

import copy
import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar, cast

from pydantic import Field, PrivateAttr

from router_core.config.builder import format_path
from router_core.config.calibration import CalibrationFile
from router_core.config.sections import (
    Alerts,
    Budget,
    CacheRule,
    CallLimits,
    ConfidenceRule,
    Defaults,
    HealthRule,
    Judge,
    LogRule,
    Name,
    OnUnpriced,
    PayloadType,
    PriceOverride,
    Section,
    ShadowBudget,
    Storage,
    Target,
)
from router_core.config.tree import Location
from router_core.errors import Problem

HASH_DIGITS = 12
ANY_TYPE = "*"
"""The payload type that stands for all types without a section of their own."""

S = TypeVar("S", bound=Section)


class RoutingConfig(Section):
    """A whole routing config. ``tiers`` are ordered, cheapest first; targets stand in fallback order.

    Attributes:
        version: Version of the schema, always 1.
        timezone: IANA zone of day boundaries.
    """

    version: Literal[1]
    timezone: str = "UTC"
    tiers: dict[Name, Annotated[tuple[Target, ...], Field(min_length=1)]] = Field(min_length=1)
    defaults: Defaults = Defaults()
    payload_types: dict[Name, PayloadType] = Field(min_length=1)
    budgets: tuple[Budget, ...] = ()
    shadow_budget: ShadowBudget | None = None
    prices: dict[Name, PriceOverride] = Field(default_factory=dict)
    on_unpriced: OnUnpriced = "error"
    judge: Judge | None = None
    cache: CacheRule = CacheRule()
    health: HealthRule = HealthRule()
    log: LogRule = LogRule()
    storage: Storage = Storage()
    alerts: Alerts = Alerts()
    _bytes_hash: str | None = PrivateAttr(default=None)
    _lines: Mapping[str, int] | None = PrivateAttr(default=None)
    _written: Any = PrivateAttr(default=None)
    _calibrations: Mapping[str, CalibrationFile] = PrivateAttr(default_factory=dict[str, CalibrationFile])

    @property
    def content_hash(self) -> str:
        """First 12 hex digits of the SHA-256 of the file's bytes: the ``config_version`` of the log.

        A config that was not read from bytes is hashed by its values.
        """
        if self._bytes_hash is None:
            self._bytes_hash = content_hash(self.model_dump_json().encode())
        return self._bytes_hash

    @property
    def tier_names(self) -> tuple[str, ...]:
        """Names of the tiers, cheapest first."""
        return tuple(self.tiers)

    def rule_for(self, payload_type: str) -> PayloadType | None:
        """Return the section of ``payload_type``, else the one of ``*``, else None."""
        return self.payload_types.get(payload_type) or self.payload_types.get(ANY_TYPE)

    def limits_of(self, rule: PayloadType) -> CallLimits:
        """Return the limits of a payload type's calls, defaults applied."""
        return _overridden(self.defaults.limits, rule.limits)

    def confidence_of(self, rule: PayloadType) -> ConfidenceRule:
        """Return where a payload type's confidence comes from, defaults applied."""
        return _overridden(self.defaults.confidence, rule.confidence)

    def calibration_of(self, rule: PayloadType) -> CalibrationFile | None:
        """Return what is in the calibration file that a payload type names; None when it names none."""
        return None if rule.calibration is None else self._calibrations.get(rule.calibration)

    def came_from(
        self, data: bytes, lines: Mapping[str, int], plain: Any, calibrations: Mapping[str, CalibrationFile]
    ) -> Self:
        """Return this config, remembering the bytes' hash, the line of each path in them and the plain data.

        Args:
            data: The bytes.
            lines: 1-based line by path.
            plain: The plain data.
            calibrations: The calibrations that it names, by id.
        """
        self._bytes_hash = content_hash(data)
        self._lines = lines
        self._written = plain
        self._calibrations = calibrations
        return self

    def written(self, location: Location) -> Any:
        """Return the plain data that the file has at ``location``; None = nothing, or not read from a file."""
        found = self._written
        for part in location:
            if isinstance(found, dict):
                found = cast("dict[Any, Any]", found).get(part)
            elif isinstance(found, list) and isinstance(part, int) and part < len(cast("list[Any]", found)):
                found = cast("list[Any]", found)[part]
            else:
                return None
        return copy.deepcopy(found)

    def problem(self, location: Location, message: str) -> Problem:
        """Return a problem at ``location``, with its line if the config was read from bytes."""
        path = format_path(location)
        return Problem(path=path, message=message, line=(self._lines or {}).get(path))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy; one with other values has another hash and no lines."""
        copied = super().model_copy(update=update, deep=deep)
        if update:
            copied._bytes_hash = copied._lines = copied._written = None
        return copied

    def __eq__(self, other: object) -> bool:
        """Return whether both say the same; the bytes they came from do not count."""
        if not isinstance(other, RoutingConfig):
            return NotImplemented
        fields = RoutingConfig.model_fields
        return list(self.tiers) == list(other.tiers) and all(getattr(self, f) == getattr(other, f) for f in fields)

    def __hash__(self) -> int:
        """Return a hash that agrees with equality."""
        return hash((self.timezone, tuple(self.tiers), frozenset(self.payload_types)))


def content_hash(data: bytes) -> str:
    """Return the first 12 hex digits of the SHA-256 of ``data``."""
    return hashlib.sha256(data).hexdigest()[:HASH_DIGITS]


def _overridden(base: S, override: Section | None) -> S:
    if override is None:
        return base
    return base.model_copy(update={key: value for key, value in override if value is not None})
