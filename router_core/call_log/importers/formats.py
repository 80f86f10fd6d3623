"""Which kind of log a file holds: told by its columns."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from router_core.call_log.importers import generic_map
from router_core.call_log.importers.helicone_map import HELICONE
from router_core.call_log.importers.langfuse_map import LANGFUSE
from router_core.call_log.importers.litellm_maps import LOGGING_PAYLOAD, SPEND_LOGS
from router_core.call_log.importers.maps import LogMap
from router_core.call_log.importers.otel_map import OTEL
from router_core.call_log.importers.records import Record, open_records
from router_core.call_log.importers.unpack import refused

KNOWN_MAPS: Final = (SPEND_LOGS, LOGGING_PAYLOAD, LANGFUSE, HELICONE, OTEL)
# what else ``--format`` may name: an evaluation, this log's own export, any table, or what the content says
OUTCOMES: Final = "outcomes"
OWN_EXPORT: Final = "tierwise"
TABLE: Final = "table"
AUTO: Final = "auto"
_OUTCOMES_SIGNATURE: Final = frozenset({"dataset", "query_id", "model"})
_SAMPLES: Final = 50
_SHOWN_COLUMNS: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The beginning of a file.

    Attributes:
        columns: Columns of its first records, in order.
        records: Those records.
    """

    columns: tuple[str, ...]
    records: tuple[Mapping[str, Any], ...]


def sample(path: Path) -> Sample:
    """Return the first records of a file.

    Raises:
        ConfigError: It cannot be read, or not one of its first records is usable.
    """
    with open_records(path) as source:
        first: list[Record] = list(islice(source.records, _SAMPLES))
        noun = source.place
    found = sample_of(record.data for record in first if record.data is not None)
    if not found.records:
        if not first:
            raise refused(path, "has columns but no row; export it again")
        raise refused(path, f"{noun} {first[0].place:,} {first[0].reason}; export it again as CSV, JSONL or Parquet")
    return found


def sample_of(records: Iterable[Mapping[str, Any]]) -> Sample:
    """Return these records and their columns."""
    kept = tuple(records)
    return Sample(columns=tuple(dict.fromkeys(name for record in kept for name in record)), records=kept)


def format_of(found: Sample) -> str:
    """Return the format's name that the columns tell."""
    columns = frozenset(found.columns)
    if columns >= _OUTCOMES_SIGNATURE:
        return OUTCOMES
    for log_map in KNOWN_MAPS:
        if any(signature <= columns for signature in log_map.signature):
            return log_map.name
    return TABLE


def map_of(name: str, found: Sample) -> LogMap:
    """Return the column map of a format.

    Args:
        name: As ``--format`` names it; ``table`` is guessed from the columns.
        found: The file's beginning.
    """
    for log_map in KNOWN_MAPS:
        if log_map.name == name:
            return log_map
    return generic_map.guess(found.columns, found.records)


def require_fields(path: Path, log_map: LogMap, columns: Sequence[str]) -> None:
    """Check that a map finds what no log can do without.

    Raises:
        ConfigError: It does not; the message names the columns there are.
    """
    lacking = generic_map.missing(log_map)
    if lacking:
        shown = ", ".join(columns[:_SHOWN_COLUMNS]) + (", ..." if len(columns) > _SHOWN_COLUMNS else "")
        options = " ".join(f"--map COLUMN={name}" for name in lacking)
        message = f"no column tells {' and '.join(lacking)}; say which one: {options}. It has: {shown}"
        raise refused(path, message)
