"""Proposals and where they stand, in the control store. Closed ones cost nothing: open ones are found by index."""

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, cast, get_args

from router_core.control.bodies import change_key, draft_of, draft_text, run_of, run_text
from router_core.control.records import Draft, Entry, Proposal, ProposalState
from router_core.control.reviews import Run
from router_core.control.states import Standing, as_of
from router_core.errors import ConfigError, Problem

STATES: Final[tuple[ProposalState, ...]] = get_args(ProposalState)
_RUNS_KEPT: Final = 50
_ID_PREFIX: Final = "P-"
_COLUMNS: Final = "state, since_us, expires_us, who, reason, until_us, seq"
_BY_STATE: Final = f"""
SELECT n, {_COLUMNS} FROM proposal_states
WHERE state = ? AND (lapses_us IS NULL OR lapses_us > ?) ORDER BY n DESC LIMIT ?"""
_LAPSED: Final = f"SELECT n, {_COLUMNS} FROM proposal_states WHERE lapses_us <= ?"
_OF_TYPE: Final = f"SELECT n, {_COLUMNS} FROM proposal_states WHERE payload_type = ? AND state = ? ORDER BY n DESC"
_LATEST_OF_CHANGE: Final = f"""
SELECT n, {_COLUMNS} FROM proposal_states
WHERE payload_type = ? AND change = ? AND state = ? ORDER BY n DESC LIMIT 1"""
_SAVE: Final = """
UPDATE proposal_states SET state = ?, since_us = ?, expires_us = ?, who = ?, reason = ?, until_us = ?, seq = ?,
    lapses_us = ?
WHERE n = ?"""

Row = tuple[int, Standing]


def id_of(n: int) -> str:
    """Return the id of the n-th proposal."""
    return f"{_ID_PREFIX}{n:04d}"


def number_of(proposal_id: str) -> int:
    """Return which proposal an id names.

    Raises:
        ConfigError: It is not written as one.
    """
    digits = proposal_id.strip().upper().removeprefix(_ID_PREFIX)
    if not (digits.isascii() and digits.isdigit() and len(digits) <= len("9" * 15)):
        message = f"{proposal_id!r} is no proposal; they are named P-0001: list them with tierwise proposals"
        raise ConfigError("proposal", [Problem(path="id", message=message)])
    return int(digits)


def entries(
    con: sqlite3.Connection, states: Collection[ProposalState] | None, now_us: int, *, limit: int, offset: int
) -> tuple[Entry, ...]:
    """Return proposals in the given states, newest first, as they stand at ``now_us``."""
    wanted = frozenset(STATES if states is None else states)
    found = [row for row in _lapsed(con, now_us) if row[1].state in wanted]
    for state in sorted(wanted):
        found += map(_row, con.execute(_BY_STATE, (state, now_us, offset + limit)))
    found.sort(key=lambda row: -row[0])
    return tuple(_entry(con, n, standing) for n, standing in found[offset : offset + limit])


def counts(con: sqlite3.Connection, now_us: int) -> Mapping[ProposalState, int]:
    """Return how many proposals are in each state at ``now_us``."""
    found: dict[ProposalState, int] = dict.fromkeys(STATES, 0)
    found.update(cast("Iterable[tuple[ProposalState, int]]", con.execute("SELECT state, n FROM proposal_counts")))
    for _, standing in map(_row, con.execute(_LAPSED, (now_us,))):
        found[standing.state] -= 1
        found[as_of(standing, now_us).state] += 1
    return found


def find(con: sqlite3.Connection | None, proposal_id: str, now_us: int) -> Entry:
    """Return one proposal as it stands at ``now_us``.

    Raises:
        ConfigError: There is none of that id.
    """
    n = number_of(proposal_id)
    row = None
    if con is not None:
        row = con.execute(f"SELECT n, {_COLUMNS} FROM proposal_states WHERE n = ?", (n,)).fetchone()
    if con is None or row is None:
        message = f"there is no {id_of(n)}; list them with: tierwise proposals --all"
        raise ConfigError("proposal", [Problem(path="id", message=message)])
    return _entry(con, n, as_of(_row(row)[1], now_us))


def standing_of(entry: Entry) -> Standing:
    """Return where a proposal stands, from its entry."""
    return Standing(
        state=entry.state,
        since_us=entry.since_us,
        expires_us=entry.proposal.expires_us,
        who=entry.by,
        reason=entry.reason,
        until_us=entry.until_us,
        seq=entry.seq,
    )


def of_type(
    con: sqlite3.Connection, payload_type: str, states: Collection[ProposalState], now_us: int
) -> tuple[Entry, ...]:
    """Return a payload type's proposals that stand in one of the states at ``now_us``, newest first."""
    # what is on offer may only have got there by time: settle() has written that down before
    rows = [row for state in sorted(states) for row in map(_row, con.execute(_OF_TYPE, (payload_type, state)))]
    settled = [(n, as_of(standing, now_us)) for n, standing in sorted(rows, key=lambda row: -row[0])]
    return tuple(_entry(con, n, standing) for n, standing in settled if standing.state in states)


def latest_of_change(con: sqlite3.Connection, draft: Draft, states: Iterable[ProposalState]) -> tuple[Entry, ...]:
    """Return, per state, the newest proposal that asked for what the draft asks for."""
    key = change_key(draft)
    rows = [con.execute(_LATEST_OF_CHANGE, (draft.payload_type, key, state)).fetchone() for state in states]
    return tuple(_entry(con, *_row(row)) for row in rows if row is not None)


def live_types(con: sqlite3.Connection, states: Iterable[ProposalState]) -> frozenset[str]:
    """Return the payload types with a proposal in one of the states."""
    query = "SELECT DISTINCT payload_type FROM proposal_states WHERE state = ?"
    return frozenset(row[0] for state in states for row in con.execute(query, (state,)))


def settle(con: sqlite3.Connection, now_us: int) -> None:
    """Write down what time alone has changed."""
    for n, standing in _lapsed(con, now_us):
        save(con, n, standing)


def add(con: sqlite3.Connection, draft: Draft, created_us: int, expires_us: int) -> Entry:
    """Publish a draft and return it, open."""
    key = change_key(draft)
    body = (draft.payload_type, key, created_us, expires_us, draft_text(draft))
    n = con.execute(
        "INSERT INTO proposals (payload_type, change, created_us, expires_us, body) VALUES (?, ?, ?, ?, ?)", body
    ).lastrowid
    con.execute(
        f"INSERT INTO proposal_states (n, payload_type, change, {_COLUMNS}, lapses_us) "
        "VALUES (?, ?, ?, 'open', ?, ?, NULL, NULL, NULL, NULL, ?)",
        (n, draft.payload_type, key, created_us, expires_us, expires_us),
    )
    return find(con, id_of(cast("int", n)), created_us)


def save(con: sqlite3.Connection, n: int, standing: Standing) -> None:
    """Write down where a proposal stands."""
    values = (
        standing.state,
        standing.since_us,
        standing.expires_us,
        standing.who,
        standing.reason,
        standing.until_us,
        standing.seq,
        standing.lapses_us,
    )
    con.execute(_SAVE, (*values, n))


def add_run(con: sqlite3.Connection, run: Run) -> Run:
    """Store a run of the optimizer and return it with its id; the oldest ones go."""
    n = con.execute("INSERT INTO optimizer_runs (at_us, body) VALUES (?, ?)", (run.at_us, run_text(run))).lastrowid
    con.execute("DELETE FROM optimizer_runs WHERE n <= ?", (cast("int", n) - _RUNS_KEPT,))
    return run_of(cast("int", n), run.at_us, run_text(run))


def latest_run(con: sqlite3.Connection) -> Run | None:
    """Return the last run of the optimizer."""
    row = con.execute("SELECT n, at_us, body FROM optimizer_runs ORDER BY n DESC LIMIT 1").fetchone()
    return None if row is None else run_of(*row)


def _lapsed(con: sqlite3.Connection, now_us: int) -> list[Row]:
    rows = map(_row, con.execute(_LAPSED, (now_us,)).fetchall())
    return [(n, as_of(standing, now_us)) for n, standing in rows]


def _row(row: Sequence[object]) -> Row:
    n, state, since_us, expires_us, who, reason, until_us, seq = row
    return cast("int", n), Standing(
        state=cast("ProposalState", state),
        since_us=cast("int", since_us),
        expires_us=cast("int", expires_us),
        who=cast("str | None", who),
        reason=cast("str | None", reason),
        until_us=cast("int | None", until_us),
        seq=cast("int | None", seq),
    )


def _entry(con: sqlite3.Connection, n: int, standing: Standing) -> Entry:
    created_us, expires_us, body = con.execute(
        "SELECT created_us, expires_us, body FROM proposals WHERE n = ?", (n,)
    ).fetchone()
    proposal = Proposal(proposal_id=id_of(n), created_us=created_us, expires_us=expires_us, draft=draft_of(body))
    return Entry(
        proposal=proposal,
        state=standing.state,
        since_us=standing.since_us,
        by=standing.who,
        reason=standing.reason,
        until_us=standing.until_us,
        seq=standing.seq,
    )
