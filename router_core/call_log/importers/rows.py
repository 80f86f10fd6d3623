"""One record of somebody else's log → one row as this log would write it, or the reason why not."""

import datetime as dt
import hashlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import orjson

from router_core.call_log.importers import values
from router_core.call_log.importers.columns import (
    cost_columns,
    failure_of,
    model_name,
    times_of,
    to_status,
)
from router_core.call_log.importers.costs import Cost, cost_of, is_refusal
from router_core.call_log.importers.maps import Broken, LogMap, RawRecord
from router_core.call_log.importers.places import (
    HeldPlaces,
    RecordPlaces,
    extra_of,
    first,
    payload_type_of,
    tags_of,
)
from router_core.types import Usage

if TYPE_CHECKING:
    from router_core.types import Price

PriceOf = Callable[[str, int, str | None], "Price | None"]
TierOf = Callable[[str], str | None]
Row = dict[str, Any]

_MAX_ID: Final = 100
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
        own = {"started_at": self._start, "ended_at": self._instant, "first_token_at": self._instant}
        self._places = RecordPlaces(log_map, {**_CONVERTERS, **own})
        self.zoneless = 0

    def rows(self, record: RawRecord) -> Iterator[RawRecord | Broken]:
        """Yield what one record holds: itself, unless the map takes it apart."""
        parsed = {name: _json(name, record[name]) for name in self._map.json_columns if record.get(name)}
        whole = {**record, **parsed} if parsed else record
        return iter((whole,)) if self._map.expand is None else self._map.expand(whole)

    def reason_to_leave_out(self, record: RawRecord) -> str | None:
        """Return why a record is no request to a model; None when it is one."""
        return None if self._map.leave_out is None else self._map.leave_out(record)

    def not_read(self, record: RawRecord) -> Iterator[str]:
        """Yield what of the row that was made last, of this record, could not be read."""
        yield from self._places.odd
        if self._map.note is not None:
            yield from self._map.note(record)

    def make(self, record: RawRecord) -> Row:
        """Return a row.

        Raises:
            BadRowError: The record cannot be used.
        """
        at = self._places.at(record)
        held = self._places.held(at)
        return self._row(_converted(at, held), at, held, record)

    def _instant(self, raw: Any) -> int:
        return values.to_instant_us(raw, self._zone)

    def _start(self, raw: Any) -> int:
        us = values.to_instant_us(raw, self._zone)
        self.zoneless += not values.has_zone(raw)
        return us

    def _row(self, found: Row, at: RawRecord, held: HeldPlaces, record: RawRecord) -> Row:
        started = found.get("started_at")
        if started is None:
            message = f"has no start ({' or '.join(map(_shown, self._map.places.get('started_at', ())))} is empty)"
            raise BadRowError(message)
        model = model_name(found.get("provider"), found.get("model"))
        if model is None:
            message = f"names no model ({' or '.join(map(_shown, self._map.places.get('model', ())))} is empty)"
            raise BadRowError(message)
        tags = tags_of(at, held)
        status, error_type = failure_of(found)
        row = self._costs(found, model, status, error_type)
        row["started_at"] = started
        row["payload_type"] = payload_type_of(at, held, tags)
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
        self._identify(row, found, at, record)
        _keep(row, extra_of(at, held))
        return row

    def _identify(self, row: Row, found: Row, at: RawRecord, record: RawRecord) -> None:
        """Give the row its key. It depends on nothing but the source: neither on prices, nor on zone, map or tiers."""
        given = found.get("id")
        row["has_id"] = given is not None
        if given is None:
            # nothing names it but what it is: the order among equal ones tells them apart
            key = _digest(orjson.dumps(record, default=str, option=orjson.OPT_SORT_KEYS))
        else:
            key = f"{given}@{first(at, self._map.places['started_at'])}" if self._map.keyed_by_time else given
            if len(key) > _MAX_ID or not key.isascii() or not key.isprintable() or " " in key:
                key = _digest(key.encode())
        row["row_key"] = f"{self._map.prefix}:{key}"
        if "call" in found:
            row["chain"] = found["call"]

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


def _converted(at: RawRecord, held: HeldPlaces) -> Row:
    # by far the most frequent lines of an import: looked up here and not in ``first``
    found: Row = {}
    for name, places, convert in held.fields:
        for place in places:
            raw = at[place]
            if raw is None or raw == "":
                continue
            try:
                found[name] = convert(raw)
            except ValueError as error:
                message = f"{_shown(place)} {error}"
                raise BadRowError(message) from error
            break
    return found


def _keep(row: Row, extra: dict[str, Any]) -> None:
    """Put what has no column into ``extra``."""
    kept = row.pop("price_extra", {}) | extra
    if kept:
        row["extra"] = kept


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
