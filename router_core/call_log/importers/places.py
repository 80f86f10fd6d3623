"""Which of a map's places the records of one log hold, sorted out once for all records that hold the same ones."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import orjson

from router_core.call_log.importers import values
from router_core.call_log.importers.columns import tag_pairs
from router_core.call_log.importers.maps import LogMap, NestedPlaces, RawRecord

Field = tuple[str, tuple[str, ...], Callable[[Any], Any]]
_Named = tuple[tuple[str, tuple[str, ...]], ...]

UNKNOWN_TYPE: Final = "imported"
_MAX_TAGS: Final = 30
_NO_TAGS: Final[Mapping[str, str]] = {}
# places of the payload type that are none in the record
_NO_COLUMN: Final = ("tag:", "=")
# records of one log hold the same columns, or one of a few sets of them
_MOST_SETS: Final = 1_000


@dataclass(frozen=True, slots=True)
class HeldPlaces:
    """What there is to look at in records that hold the same places.

    Attributes:
        fields: Fields with their places and what makes a value of theirs.
        tags: Tags and their places.
        extra: What is kept beside the columns, and its places.
        size: Texts of which the length is kept, and their places.
        payload_type: Places of the payload type.
        lists_of_tags: Places of whole lists or objects of tags.
    """

    fields: tuple[Field, ...]
    tags: _Named
    extra: _Named
    size: _Named
    payload_type: tuple[str, ...]
    lists_of_tags: tuple[str, ...]


class RecordPlaces:
    """Finds the places of a map in the records of one log.

    Args:
        log_map: The map.
        converters: Field → what makes a value of it.

    Attributes:
        odd: What stood in the way to nested places of the last record.
    """

    def __init__(self, log_map: LogMap, converters: Mapping[str, Callable[[Any], Any]]) -> None:
        self._map = log_map
        self._nested = NestedPlaces((*chain(*log_map.places.values()), *log_map.payload_type, *log_map.tags))
        self._fields: list[Field] = []
        self._open: dict[str, list[tuple[str, tuple[str, ...]]]] = {"tags": [], "extra": [], "size": []}
        self._held: dict[tuple[str, ...], HeldPlaces] = {}
        self.odd: list[str] = []
        for name, places in log_map.places.items():
            prefix, dot, rest = name.partition(".")
            if dot:
                self._open[prefix].append((rest, places))
            elif name != "payload_type":
                self._fields.append((name, places, converters[name]))

    def at(self, record: RawRecord) -> RawRecord:
        """Return place → value: the columns, and what is nested in them where no column of that very name holds any."""
        if self.odd:
            self.odd = []
        nested = self._nested.find(record, self.odd)
        if not nested:
            return record
        at = dict(record)
        for place, value in nested.items():
            if at.get(place) is None:
                at[place] = value
        return at

    def held(self, at: RawRecord) -> HeldPlaces:
        """Return what there is to look at in a record, given by its places."""
        names = tuple(at)
        held = self._held.get(names)
        if held is None:
            if len(self._held) >= _MOST_SETS:
                self._held.clear()
            held = self._held[names] = self._sorted_out(frozenset(names))
        return held

    def _sorted_out(self, names: frozenset[str]) -> HeldPlaces:
        def of(places: Iterable[str]) -> tuple[str, ...]:
            return tuple(place for place in places if place in names)

        tags, extra, size = (
            tuple((name, found) for name, places in self._open[kind] if (found := of(places)))
            for kind in ("tags", "extra", "size")
        )
        types = self._map.payload_type
        return HeldPlaces(
            fields=tuple((name, found, convert) for name, places, convert in self._fields if (found := of(places))),
            tags=tags,
            extra=extra,
            size=size,
            payload_type=tuple(place for place in types if place in names or place.startswith(_NO_COLUMN)),
            lists_of_tags=of(self._map.tags),
        )


def first(at: RawRecord, places: Sequence[str]) -> Any:
    """Return what the first of these places holds that holds something; None where none does."""
    for place in places:
        value = at.get(place)
        if value is not None and value != "":
            return value
    return None


def extra_of(at: RawRecord, held: HeldPlaces) -> dict[str, Any]:
    """Return what is kept beside the columns: values, and lengths of texts."""
    extra: dict[str, Any] = {}
    for name, places in held.extra:
        raw = first(at, places)
        if raw is not None:
            extra[name] = raw if isinstance(raw, bool | int | float) else str(raw)[: values.MAX_TEXT]
    for name, places in held.size:
        raw = first(at, places)
        if raw is not None:
            extra[f"{name}_chars"] = len(raw if isinstance(raw, str) else orjson.dumps(raw, default=str))
    return extra


def tags_of(at: RawRecord, held: HeldPlaces) -> Mapping[str, str]:
    """Return a record's tags."""
    tags: dict[str, str] = {}
    for place in held.lists_of_tags:
        raw = at[place]
        if raw is not None and raw != "":
            for name, value in tag_pairs(raw):
                if len(tags) < _MAX_TAGS:
                    tags[name] = value
    for name, places in held.tags:
        raw = first(at, places)
        if isinstance(raw, str | int | float):
            tags[name] = values.to_text(str(raw))
    return tags or _NO_TAGS


def payload_type_of(at: RawRecord, held: HeldPlaces, tags: Mapping[str, str]) -> str:
    """Return a record's payload type; ``UNKNOWN_TYPE`` where no place says one."""
    for place in held.payload_type:
        found = _tag_at(place, tags) if place.startswith(_NO_COLUMN) else at[place]
        if isinstance(found, str | int) and found != "":
            return values.to_text(str(found)) or UNKNOWN_TYPE
    return UNKNOWN_TYPE


def _tag_at(place: str, tags: Mapping[str, str]) -> str | None:
    """Return what a place of the payload type that is no column's says."""
    if place.startswith("="):
        return place[1:]
    if place == "tag:*":
        return next((name for name, value in tags.items() if value == "true"), None)
    return tags.get(place.removeprefix("tag:"))
