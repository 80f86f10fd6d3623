"""What an import of a log did: rows read, kept and left out, what they cost by the source and by the price book."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from router_core.call_log.importers.maps import LogMap

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SHOWN_MODELS: Final = 20
_KEPT: Final = "FROM identified WHERE NOT is_repeated"
_REPEATED: Final = "same id as an earlier row"
_REPEATED_OTHERWISE: Final = "same id as an earlier row, whose other cost counts"
_CHANGED: Final = f"""
    FROM (SELECT * {_KEPT}) AS i JOIN known ON known.id = i.attempt_id
    WHERE known.cost_nusd IS DISTINCT FROM i.cost_nusd OR known.tier IS DISTINCT FROM i.tier"""
_SHOWN_UNTAKEN: Final = 3
# where both say something: a source's 0 for tokens that were used says nothing
_BOTH: Final = f"{_KEPT} AND cost_source_nusd > 0 AND computed_nusd IS NOT NULL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Rows left out for one reason.

    Attributes:
        reason: Why.
        rows: How many.
        first: Where the first ones are, from 1.
        place: What a place is called: ``line`` or ``row``.
        is_bad: Whether they are broken; others are whole, but no requests to a model, or there already.
    """

    reason: str
    rows: int
    first: tuple[int, ...]
    place: str
    is_bad: bool

    def text(self) -> str:
        """Return it as a line for a person."""
        places = ", ".join(f"{place:,}" for place in self.first)
        more = ", ..." if self.rows > len(self.first) else ""
        where = f" ({self.place}{'s' * (self.rows != 1)} {places}{more})" if self.first else ""
        return f"{self.rows:,} × {self.reason}{where}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Untaken:
    """What a file says of a row that the log has with other figures: the log's stay.

    Attributes:
        id: The row's id in the log.
        kept_nusd: Its cost there, nano-dollars; None = unknown.
        given_nusd: The file's cost for it.
        kept_tier: Its tier there.
        given_tier: The file's tier for it.
    """

    id: str
    kept_nusd: int | None
    given_nusd: int | None
    kept_tier: str | None
    given_tier: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What the source and the price book say about the same requests.

    Attributes:
        model: The model; None = all of them.
        rows: Requests for which both have a cost.
        source_nusd: Sum of the source's costs, nano-dollars.
        computed_nusd: Sum of ours.
    """

    model: str | None
    rows: int
    source_nusd: int
    computed_nusd: int

    @property
    def rate(self) -> float | None:
        """How much more the source says than we do, as a fraction of ours; None when ours is 0."""
        return (self.source_nusd - self.computed_nusd) / self.computed_nusd if self.computed_nusd else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogImportReport:
    """What an import of a log did.

    Attributes:
        file: Name of the file or database.
        format: Name of the format.
        columns: Field → places in the source, in order.
        payload_type: Places of the payload type, in order.
        rows_read: Rows in it.
        rows_kept: Usable rows; the others are in ``skipped``.
        rows_new: Kept rows that were not in the log yet.
        rows_known: Kept rows that were in the log already.
        rows_changed: Known rows for which the log has another cost or tier; it is never rewritten.
        kept_nusd: What the log has for these together, nano-dollars.
        untaken_nusd: What the file says of them together.
        untaken: The first of these rows, with the figures that were not taken.
        skipped: Rows left out, by reason.
        not_read: Kept rows of which something could not be read, by what that is.
        since_us: Start of the earliest kept row, microseconds since the epoch; None without any.
        until_us: Start of the latest.
        zoneless: Rows whose instants name no zone.
        calls_new: Answers that the new rows are.
        linked: New rows that are a retry or fallback of the one before.
        cache_hits: Kept rows that a cache answered.
        failed: Kept rows that failed.
        rows_without_payload_type: Kept rows for which no column tells the kind of task.
        cost_nusd: Sum of the kept rows' costs that count.
        costs: Kept rows by ``cost_status``.
        unpriced: Models that nobody knows a price for, the most frequent first.
        drift: Source against price book: all together, then by model, the largest difference first.
        preview: The first rows as they would be imported (dry runs only).
        is_dry: Whether nothing was to be written.
        changed: Whether anything was written.
    """

    file: str
    format: str
    columns: Mapping[str, tuple[str, ...]]
    payload_type: tuple[str, ...]
    rows_read: int
    rows_kept: int
    rows_new: int
    rows_known: int
    rows_changed: int
    kept_nusd: int
    untaken_nusd: int
    untaken: tuple[Untaken, ...]
    skipped: tuple[Skipped, ...]
    not_read: tuple[Skipped, ...]
    since_us: int | None
    until_us: int | None
    zoneless: int
    calls_new: int
    linked: int
    cache_hits: int
    failed: int
    rows_without_payload_type: int
    cost_nusd: int
    costs: Mapping[str, int]
    unpriced: tuple[str, ...]
    drift: tuple[Drift, ...]
    preview: tuple[Mapping[str, Any], ...]
    is_dry: bool
    changed: bool

    def details(self) -> dict[str, Any]:
        """Return what the log keeps about the import, as an event's details."""
        return {
            "format": self.format,
            "file": self.file,
            "rows_read": self.rows_read,
            "rows_kept": self.rows_kept,
            "rows_new": self.rows_new,
            "rows_changed": self.rows_changed,
            "kept_nusd": self.kept_nusd,
            "untaken_nusd": self.untaken_nusd,
            "skipped": {one.reason: one.rows for one in self.skipped},
            "not_read": {one.reason: one.rows for one in self.not_read},
            "since_us": self.since_us,
            "until_us": self.until_us,
            "drift": [asdict(one) for one in self.drift],
        }


def summarise(
    con: "DuckDBPyConnection",
    *,
    name: str,
    log_map: LogMap,
    rows_read: int,
    skipped: tuple[Skipped, ...],
    not_read: tuple[Skipped, ...],
    preview: tuple[Mapping[str, Any], ...],
    zoneless: int,
    is_dry: bool,
) -> LogImportReport:
    """Return the report over the tables ``identified``, ``known`` and ``fresh``.

    Args:
        con: The connection that has them.
        name: Name of the file or database.
        log_map: Its column map.
        rows_read: Rows that were read.
        skipped: Rows that did not get into the tables.
        not_read: Rows that did, but not with all they hold.
        preview: Rows to show.
        zoneless: Rows whose instants name no zone.
        is_dry: Whether nothing is written.
    """
    kept, since, until, hits, failed, untyped, cost = _row(
        con,
        f"""SELECT count(*), min(started_at), max(started_at), count(*) FILTER (cache_hit),
                   count(*) FILTER (status <> 'ok'), count(*) FILTER (payload_type = 'imported'),
                   CAST(coalesce(sum(cost_nusd), 0) AS BIGINT) {_KEPT}""",
    )
    new, answers, linked = _row(con, "SELECT count(*), count(DISTINCT call_id), count(*) FILTER (n > 1) FROM fresh")
    changed, theirs, untaken = _row(
        con,
        f"""SELECT count(*), CAST(coalesce(sum(known.cost_nusd), 0) AS BIGINT),
                   CAST(coalesce(sum(i.cost_nusd), 0) AS BIGINT) {_CHANGED}""",
    )
    return LogImportReport(
        file=name,
        format=log_map.name,
        columns=dict(log_map.places),
        payload_type=log_map.payload_type,
        rows_read=rows_read,
        rows_kept=kept,
        rows_new=new,
        rows_known=kept - new,
        rows_changed=changed,
        kept_nusd=theirs,
        untaken_nusd=untaken,
        untaken=_untaken(con),
        skipped=(*skipped, *_repeated(con)),
        not_read=not_read,
        since_us=since,
        until_us=until,
        zoneless=zoneless,
        calls_new=answers,
        linked=linked,
        cache_hits=hits,
        failed=failed,
        rows_without_payload_type=untyped,
        cost_nusd=cost,
        costs=dict(con.execute(f"SELECT cost_status, count(*) {_KEPT} GROUP BY 1 ORDER BY 1").fetchall()),
        unpriced=_unpriced(con),
        drift=_drift(con),
        preview=preview,
        is_dry=is_dry,
        changed=bool(new) and not is_dry,
    )


def _repeated(con: "DuckDBPyConnection") -> tuple[Skipped, ...]:
    found = con.execute(
        """SELECT i.cost_nusd IS DISTINCT FROM earlier.cost_nusd AS differs, count(*), min(i.place)
           FROM identified AS i JOIN (
               SELECT imported.row_key, cost_nusd FROM imported JOIN twins ON twins.r = imported.rowid WHERE twin = 1
           ) AS earlier ON earlier.row_key = i.row_key
           WHERE i.is_repeated GROUP BY differs ORDER BY differs"""
    ).fetchall()
    return tuple(
        Skipped(
            reason=_REPEATED_OTHERWISE if differs else _REPEATED, rows=rows, first=(first,), place="row", is_bad=False
        )
        for differs, rows, first in found
    )


def _untaken(con: "DuckDBPyConnection") -> tuple[Untaken, ...]:
    rows = con.execute(
        f"""SELECT i.attempt_id, known.cost_nusd, i.cost_nusd, known.tier, i.tier {_CHANGED}
            ORDER BY i.place LIMIT {_SHOWN_UNTAKEN}"""
    ).fetchall()
    return tuple(
        Untaken(id=row_id, kept_nusd=kept, given_nusd=given, kept_tier=kept_tier, given_tier=given_tier)
        for row_id, kept, given, kept_tier, given_tier in rows
    )


def _unpriced(con: "DuckDBPyConnection") -> tuple[str, ...]:
    rows = con.execute(
        f"""SELECT request_model {_KEPT} AND cost_status = 'unpriced'
            GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT {_SHOWN_MODELS}"""
    ).fetchall()
    return tuple(str(row[0]) for row in rows)


def _drift(con: "DuckDBPyConnection") -> tuple[Drift, ...]:
    sums = "count(*), CAST(sum(cost_source_nusd) AS BIGINT) AS theirs, CAST(sum(computed_nusd) AS BIGINT) AS ours"
    rows = con.execute(
        f"""SELECT NULL, {sums} {_BOTH} HAVING count(*) > 0
            UNION ALL (SELECT request_model, {sums} {_BOTH} GROUP BY 1
                       ORDER BY abs(theirs - ours) DESC, request_model LIMIT {_SHOWN_MODELS})"""
    ).fetchall()
    return tuple(Drift(model=model, rows=n, source_nusd=theirs, computed_nusd=ours) for model, n, theirs, ours in rows)


def _row(con: "DuckDBPyConnection", query: str) -> tuple[Any, ...]:
    row = con.execute(query).fetchone()
    return row if row is not None else ()
