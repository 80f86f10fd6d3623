"""One record of somebody else's log → one row as this log would write it, or the reason why not."""

import datetime as dt
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import orjson

from router_core.call_log.importers import values
from router_core.call_log.importers.columns import (
    cost_columns,
    failure_of,
    model_name,
    tag_pairs,
    times_of,
    to_status,
)
from router_core.call_log.importers.costs import Cost, cost_of, is_refusal
from router_core.call_log.importers.maps import LogMap, NestedPlaces, RawRecord
from router_core.types import Usage

if TYPE_CHECKING:
    from router_core.types import Price

PriceOf = Callable[[str, int, str | None], "Price | None"]
TierOf = Callable[[str], str | None]
Row = dict[str, Any]

UNKNOWN_TYPE: Final = "imported"
_MAX_TAGS: Final = 30
_MAX_ID: Final = 100
_NO_TAGS: Final[Mapping[str, str]] = {}
_TEXT_FIELDS: Final = (
    "id", "call", "run", "step", "model", "response_model", "provider", "service_tier", "tier", "error_type",
    "error_code", "prompt_hash",
)  # fmt: skip
_CONVERTERS: Final[dict[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(_TEXT_FIELDS, values.to_text),
    **dict.fromkeys(("latency_s", "latency_ms", "ttft_s", "ttft_ms"), values.to_duration),
    **dict.fromkeys(
        ("input_tokens", "cached_tokens", "cache_write_tokens", "cache_write_1h_tokens", "output_tokens"),
        values.to_count,
    ),
    "reasoning_tokens": values.to_count,
    "cost_usd": values.to_nusd,
    "error_usd": values.to_nusd,
    "confidence": values.to_fraction,
    "correct": values.to_fraction,
    "cache_hit": values.to_flag,
    "status": to_status,
}


_COPIED: Final = (
    "run", "step", "response_model", "service_tier", "confidence", "cache_hit", "prompt_hash", "correct",
)  # fmt: skip


class BadRowError(ValueError):
    """A row that cannot be imported; the message is the reason."""


_Field = tuple[str, tuple[str, ...], Callable[[Any], Any]]


class _Found:
    """What a record holds at a place: in a column of that very name, else nested."""

    __slots__ = ("nested", "record")

    def __init__(self, record: RawRecord, nested: RawRecord) -> None:
        self.record = record
        self.nested = nested

    def first(self, places: Sequence[str]) -> Any:
        """Return what the first of these places holds that holds something; None where none does."""
        for place in places:
            value = self.record.get(place)
            if value is None:
                value = self.nested.get(place)
            if value is not None and value != "":
                return value
        return None


class RowMaker:
    """Makes rows of one kind of log.

    A row has the attempt's columns, and beside them: ``row_key`` (its id, or what stands for one), ``has_id``,
    ``chain`` (what links requests of one answer), ``step``, ``tags``, ``cache_hit``, ``correct``, ``error_nusd`` and
    ``computed_nusd``. What would be NULL is left out.

    Args:
        log_map: Its column map.
        zone: Zone of instants that name none.
        price_of: Price row of a model at an instant (microseconds since the epoch) and service tier.
        tier_of: Tier of a model, when the user or the config says one.

    Attributes:
        zoneless: How many rows had a start without a zone.
    """

    def __init__(self, log_map: LogMap, *, zone: dt.tzinfo, price_of: PriceOf, tier_of: TierOf) -> None:
        self._map = log_map
        self._zone = zone
        self._price_of = price_of
        self._tier_of = tier_of
        self._fields: list[_Field] = []
        self._open: dict[str, list[tuple[str, tuple[str, ...]]]] = {"tags": [], "extra": [], "size": []}
        self._nested = NestedPlaces((*chain(*log_map.places.values()), *log_map.payload_type, *log_map.tags))
        self.zoneless = 0
        for name, places in log_map.places.items():
            self._add(name, places)

    def _add(self, name: str, places: tuple[str, ...]) -> None:
        prefix, dot, rest = name.partition(".")
        if dot:
            self._open[prefix].append((rest, places))
        elif name != "payload_type":
            own = {"started_at": self._start, "ended_at": self._instant, "first_token_at": self._instant}
            self._fields.append((name, places, own.get(name) or _CONVERTERS[name]))

    def rows(self, record: RawRecord) -> Iterator[RawRecord]:
        """Yield what one record holds: itself, unless the map takes it apart."""
        parsed = {name: _json(name, record[name]) for name in self._map.json_columns if record.get(name)}
        whole = {**record, **parsed} if parsed else record
        return iter((whole,)) if self._map.expand is None else self._map.expand(whole)

    def reason_to_leave_out(self, record: RawRecord) -> str | None:
        """Return why a record is no request to a model; None when it is one."""
        return None if self._map.leave_out is None else self._map.leave_out(record)

    def make(self, record: RawRecord) -> Row:
        """Return a row.

        Raises:
            BadRowError: The record cannot be used.
        """
        at = _Found(record, self._nested.find(record))
        return self._row(self._convert(at), at)

    def _convert(self, at: _Found) -> Row:
        # by far the most frequent lines of an import: looked up here and not in ``first``
        column, nested = at.record.get, at.nested.get
        found: Row = {}
        for name, places, convert in self._fields:
            for place in places:
                raw = column(place)
                if raw is None:
                    raw = nested(place)
                if raw is None or raw == "":
                    continue
                try:
                    found[name] = convert(raw)
                except ValueError as error:
                    message = f"{_shown(place)} {error}"
                    raise BadRowError(message) from error
                break
        return found

    def _instant(self, raw: Any) -> int:
        return values.to_instant_us(raw, self._zone)

    def _start(self, raw: Any) -> int:
        us = values.to_instant_us(raw, self._zone)
        self.zoneless += not values.has_zone(raw)
        return us

    def _row(self, found: Row, at: _Found) -> Row:
        started = found.get("started_at")
        if started is None:
            message = f"has no start ({' or '.join(map(_shown, self._map.places.get('started_at', ())))} is empty)"
            raise BadRowError(message)
        model = model_name(found.get("provider"), found.get("model"))
        if model is None:
            message = f"names no model ({' or '.join(map(_shown, self._map.places.get('model', ())))} is empty)"
            raise BadRowError(message)
        tags = self._tags(at)
        status, error_type = failure_of(found)
        row = self._costs(found, model, status, error_type)
        row["started_at"] = started
        row["payload_type"] = self._payload_type(at, tags)
        row["request_model"] = model
        row["status"] = status
        row.update(times_of(found, started))
        for name in _COPIED:
            if name in found:
                row[name] = found[name]
        if found.get("provider"):
            row["provider_name"] = found["provider"].lower()
        if "error_usd" in found:
            row["error_nusd"] = found["error_usd"]
        if error_type is not None:
            row["error_type"] = error_type
        if tags:
            row["tags"] = dict(tags)
        tier = found.get("tier") or self._tier_of(model)
        if tier is not None:
            row["tier"] = tier
        self._identify(row, found, at)
        self._keep(row, at)
        return row

    def _identify(self, row: Row, found: Row, at: _Found) -> None:
        """Give the row its key. It depends on nothing but the source: neither on prices, nor on zone, map or tiers."""
        given = found.get("id")
        row["has_id"] = given is not None
        if given is None:
            # nothing names it but what it is: the order among equal ones tells them apart
            key = _digest(orjson.dumps(at.record, default=str, option=orjson.OPT_SORT_KEYS))
        else:
            key = f"{given}@{at.first(self._map.places['started_at'])}" if self._map.keyed_by_time else given
            if len(key) > _MAX_ID or not key.isascii() or not key.isprintable() or " " in key:
                key = _digest(key.encode())
        row["row_key"] = f"{self._map.prefix}:{key}"
        if "call" in found:
            row["chain"] = found["call"]

    def _keep(self, row: Row, at: _Found) -> None:
        extra: dict[str, Any] = row.pop("price_extra", {})
        for name, places in self._open["extra"]:
            raw = at.first(places)
            if raw is not None:
                extra[name] = raw if isinstance(raw, bool | int | float) else str(raw)[: values.MAX_TEXT]
        for name, places in self._open["size"]:
            raw = at.first(places)
            if raw is not None:
                extra[f"{name}_chars"] = len(raw if isinstance(raw, str) else orjson.dumps(raw, default=str))
        if extra:
            row["extra"] = extra

    def _tags(self, at: _Found) -> Mapping[str, str]:
        tags: dict[str, str] = {}
        for place in self._map.tags:
            for name, value in tag_pairs(at.first((place,))):
                if len(tags) < _MAX_TAGS:
                    tags[name] = value
        for name, places in self._open["tags"]:
            raw = at.first(places)
            if isinstance(raw, str | int | float):
                tags[name] = values.to_text(str(raw))
        return tags or _NO_TAGS

    def _payload_type(self, at: _Found, tags: Mapping[str, str]) -> str:
        for place in self._map.payload_type:
            found = _tag_at(place, tags) if place.startswith(("tag:", "=")) else at.first((place,))
            if isinstance(found, str | int) and found != "":
                return values.to_text(str(found)) or UNKNOWN_TYPE
        return UNKNOWN_TYPE

    def _costs(self, found: Row, model: str, status: str, error_type: str | None) -> Row:
        written, written_1h = found.get("cache_write_tokens", 0), found.get("cache_write_1h_tokens", 0)
        usage = Usage(
            input_tokens=found.get("input_tokens"),
            cached_tokens=found.get("cached_tokens", 0),
            cache_write_5m_tokens=max(0, written - written_1h),
            cache_write_1h_tokens=written_1h,
            output_tokens=found.get("output_tokens"),
            reasoning_tokens=found.get("reasoning_tokens", 0),
        )
        if found.get("cache_hit"):
            cost = Cost(nusd=0, status="provider", source_nusd=found.get("cost_usd"), computed_nusd=None, price=None)
        else:
            cost = cost_of(
                usage,
                self._price_of(model, found["started_at"], found.get("service_tier")),
                found.get("cost_usd"),
                failed=status != "ok",
                refused=is_refusal(error_type, found.get("error_code")),
            )
        return cost_columns(usage, cost)


def _tag_at(place: str, tags: Mapping[str, str]) -> str | None:
    """Return what a place of the payload type that is no column's says."""
    if place.startswith("="):
        return place[1:]
    if place == "tag:*":
        return next((name for name, value in tags.items() if value == "true"), None)
    return tags.get(place.removeprefix("tag:"))


def _json(name: str, raw: Any) -> Any:
    if not isinstance(raw, str):
        return raw
    if not raw.startswith(("{", "[")):
        return raw
    try:
        return orjson.loads(raw)
    except ValueError as error:
        message = f"{name} is not JSON"
        raise BadRowError(message) from error


def _shown(place: str) -> str:
    return place.lstrip("$") or place


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:30]
