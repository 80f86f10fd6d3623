"""Commands of the life cycle: ``proposals``, ``apply``, ``dismiss``, ``snooze``, ``rollback`` and ``history``."""

import datetime as dt
import re
import sys
import time
from collections.abc import Callable, Collection
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router_core.commands import CONFIG_NAME, HomeOption, JsonOption, examples, find_home

if TYPE_CHECKING:
    from optimizer.lifecycle import Desk, Done
    from router_core.control.records import Actor, ProposalState

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_FOR = re.compile(r"(\d{1,4})([hdw])")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", help="The routing config. Default: the one in the home, else beside it.", show_default=False
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
ReasonOption = Annotated[
    str | None, typer.Option("--reason", help="Why, 5 to 200 characters; kept in the audit.", show_default=False)
]
LimitOption = Annotated[int, typer.Option(min=1, max=100_000, help="How many to list.")]


class State(StrEnum):
    """States that ``proposals`` may list."""

    open = "open"
    claimed = "claimed"
    applied = "applied"
    watching = "watching"
    confirmed = "confirmed"
    rolled_back = "rolled_back"
    dismissed = "dismissed"
    snoozed = "snoozed"
    expired = "expired"
    superseded = "superseded"


@app.command(epilog=examples("tierwise proposals", "tierwise proposals P-0001", "tierwise proposals --state dismissed"))
def proposals(
    proposal_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="Show this one whole.")] = None,
    state: Annotated[list[State] | None, typer.Option(help="List those in this state; again for more.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="List closed ones too.")] = False,
    limit: LimitOption = 50,
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what may be moved up or down, or show one with its evidence and its change."""
    from optimizer.commands.lifecycle_text import proposal_text, proposals_text
    from router_core.control.proposals import STATES
    from router_core.control.states import LIVE, ON_OFFER

    desk = _desk(home, config)
    if proposal_id is not None:
        entry = desk.entry(proposal_id)
        review = desk.review([proposal_id]) if entry.state in ON_OFFER else None
        _print(as_json, {"entry": entry, "review": review}, lambda: proposal_text(entry, review))
        return
    wanted = {each.value for each in state or ()}
    chosen: Collection[ProposalState] | None = [each for each in STATES if each in wanted] or LIVE
    if everything and not wanted:
        chosen = None
    entries, counts = desk.entries(chosen, limit=limit), desk.counts()
    _print(as_json, {"counts": counts, "entries": entries}, lambda: proposals_text(entries, counts, _now_us()))


@app.command(epilog=examples("tierwise apply P-0001", 'tierwise apply P-0001 P-0004 --yes --reason "checked with ops"'))
def apply(
    proposal_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Applied together, as one version.")],
    reason: ReasonOption = None,
    yes: YesOption = False,
    on: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION",
            help="The config version that was looked at; needed with --yes when it has changed since the proposal.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the change that proposals ask for, after showing it.

    Only the bytes of the change are written to the routing config; running routers use it within a second.
    """
    from optimizer.lifecycle import StaleError

    desk, actor = _desk(home, config), _actor(home, config)
    desk.observe()
    review = desk.review(proposal_ids)
    expected = on or review.head_version
    if yes and review.stale and on is None:
        # nobody has looked at the change as it is now
        bases = (each.proposal.draft.base_version for each in review.entries)
        expected = next(base for base in bases if base != review.head_version)
    elif review.diff:
        if review.stale and not yes:
            typer.echo("The config has changed since this was proposed. The change as it would be now:\n", err=True)
        _ask(review.diff, f"Apply {', '.join(proposal_ids)}?", yes=yes, quiet=as_json)
    try:
        done = desk.apply(proposal_ids, actor, reason or review.reason, expected_version=expected)
    except StaleError as error:
        _show(error.diff)
        hint = f"tierwise apply {' '.join(proposal_ids)} --yes --on {error.head_version}"
        raise StaleError(
            f"the config has changed. Above is the change as it would be now; to make it: {hint}",
            head_version=error.head_version,
            diff=error.diff,
        ) from error
    _tell(as_json, done, f"Applied {', '.join(proposal_ids)}", undo=proposal_ids[0])


@app.command(epilog=examples('tierwise dismiss P-0001 --reason "these invoices are audited"'))
def dismiss(
    proposal_id: Annotated[str, typer.Argument(metavar="ID", help="The proposal.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, 5 to 200 characters; kept in the audit.")],
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Turn a proposal down. It returns after 28 days, or earlier if the evidence changes."""
    entry = _desk(home, config).dismiss(proposal_id, _actor(home, config), reason)
    _print(as_json, entry, lambda: f"Dismissed {entry.proposal.proposal_id}.")


@app.command(epilog=examples("tierwise snooze P-0001 --for 7d", "tierwise snooze P-0001 --until 2026-12-01"))
def snooze(
    proposal_id: Annotated[str, typer.Argument(metavar="ID", help="The proposal.")],
    duration: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="How long: 12h, 7d, 2w.", show_default=False)
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Until when: 2026-12-01, 2026-12-01T12:00.", show_default=False),
    ] = None,
    reason: ReasonOption = None,
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a proposal away for a while."""
    desk = _desk(home, config)
    until_us = _until_us(desk, duration, until)
    text = f"{dt.datetime.fromtimestamp(until_us / 1e6, dt.UTC):%Y-%m-%d %H:%M} UTC"
    entry = desk.snooze(proposal_id, _actor(home, config), until_us, reason or f"snoozed until {text}")
    _print(as_json, entry, lambda: f"Snoozed {entry.proposal.proposal_id} until {text}.")


@app.command(epilog=examples("tierwise rollback 17", "tierwise rollback --undo P-0001"))
def rollback(
    seq: Annotated[int | None, typer.Argument(metavar="[SEQ]", help="The version to go back to.")] = None,
    undo: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Take back the change that this proposal made, and no other."),
    ] = None,
    reason: ReasonOption = None,
    yes: YesOption = False,
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give the routing config the bytes of an earlier version again, or take one proposal's change back.

    Either makes a new version; history keeps all of them: tierwise history.
    """
    from router_core.errors import ConfigError, Problem

    if (seq is None) == (undo is None):
        message = "give either the number of a version or --undo ID; list versions with: tierwise history"
        raise ConfigError("rollback", [Problem(path="seq", message=message)])
    desk, actor = _desk(home, config), _actor(home, config)
    desk.observe()
    if undo is not None:
        applied = desk.entry(undo).seq
        if applied is None:
            message = f"{undo} was never applied, so there is nothing to take back"
            raise ConfigError("rollback", [Problem(path="--undo", message=message)])
        offer = desk.undo_offer(applied)
        if offer.diff:
            _ask(offer.diff, f"Take back {undo}?", yes=yes, quiet=as_json)
        done = desk.undo(applied, actor, reason or offer.reason, expected_version=offer.head_version)
        _tell(as_json, done, f"Took back {undo}")
        return
    review = desk.review_rollback(seq or 0)
    if review.diff:
        _ask(review.diff, f"Go back to version {seq}?", yes=yes, quiet=as_json)
    done = desk.rollback(seq or 0, actor, reason or review.reason, expected_version=review.head_version)
    _tell(as_json, done, f"Went back to version {seq}")


@app.command(epilog=examples("tierwise history", "tierwise history 17 > routing-17.yaml", "tierwise history --audit"))
def history(
    seq: Annotated[
        int | None, typer.Argument(metavar="[SEQ]", help="Print the config as it was in this version.")
    ] = None,
    audit: Annotated[bool, typer.Option("--audit", help="List who did what and why, refused attempts too.")] = False,
    observe: Annotated[
        bool, typer.Option("--observe", help="First take in a hand edit, and settle what a crash has cut off.")
    ] = False,
    limit: LimitOption = 20,
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the versions of the routing config: who made which, when and why."""
    from optimizer.commands.lifecycle_text import audit_text, history_text

    desk = _desk(home, config)
    if observe:
        desk.observe()
    if seq is not None:
        typer.echo(desk.text(seq), nl=False)
        return
    if audit:
        rows, broken = desk.audit(limit=limit), desk.verify_audit()
        _print(as_json, {"rows": rows, "broken_at": broken}, lambda: audit_text(rows, broken))
        if broken is not None:
            raise typer.Exit(1)
        return
    head, versions = desk.head(), desk.history(limit=limit)
    shown = {"version": head.version, "seq": head.seq, "kind": head.kind, "problem": head.problem}
    _print(as_json, {"head": shown, "versions": versions}, lambda: history_text(head, versions))


def _desk(home: Path | None, config: Path | None) -> "Desk":
    from optimizer.lifecycle import Desk

    return Desk(find_home(home), _config_path(home, config), _now_us)


def _config_path(home: Path | None, config: Path | None) -> Path:
    from router_core.control.config_file import config_path_of

    return config or config_path_of(find_home(home)) or Path(CONFIG_NAME)


def _actor(home: Path | None, config: Path | None) -> "Actor":
    from router_core.control.access import account_name, load_access
    from router_core.control.records import Actor

    name = account_name()
    role = load_access(_config_path(home, config)).role_of(name, local=True)
    return Actor(name=name, role=role, auth="command")


def _until_us(desk: "Desk", duration: str | None, until: str | None) -> int:
    from router_core.call_log.instants import find_zone, parse_instant
    from router_core.errors import ConfigError, Problem

    if (duration is None) == (until is None):
        raise ConfigError("snooze", [Problem(path="time", message="give either --for 7d or --until 2026-12-01")])
    now = dt.datetime.now(dt.UTC)
    if duration is not None:
        found = _FOR.fullmatch(duration)
        if found is None:
            raise ConfigError("--for", [Problem(path="value", message=f"{duration!r} is no time; write 12h, 7d or 2w")])
        return round((now + dt.timedelta(**{_UNITS[found[2]]: int(found[1])})).timestamp() * 1e6)
    running = desk.head().config
    zone = find_zone("UTC" if running is None else running.timezone)
    instant = parse_instant(until, zone, now, "--until")
    return 0 if instant is None else round(instant.timestamp() * 1e6)


def _ask(diff: str, question: str, *, yes: bool, quiet: bool) -> None:
    from router_core.errors import ConfigError, Problem

    if not (yes and quiet):
        _show(diff)
    if yes:
        return
    if not sys.stdin.isatty():
        message = "nobody can be asked here; look at the change and say --yes"
        raise ConfigError("--yes", [Problem(path="value", message=message)])
    typer.confirm(question, abort=True, err=True)


def _show(diff: str) -> None:
    from optimizer.commands.lifecycle_text import safe_lines

    typer.echo(safe_lines(diff), err=True)


def _tell(as_json: bool, done: "Done", what: str, *, undo: str | None = None) -> None:
    from optimizer.commands.lifecycle_text import done_text

    hint = "" if undo is None else f"\nTake it back: tierwise rollback --undo {undo}"
    _print(as_json, done, lambda: done_text(done, what) + hint)


def _print(as_json: bool, value: Any, text: Callable[[], str]) -> None:
    if as_json:
        import orjson

        typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode())
    else:
        typer.echo(text())


def _now_us() -> int:
    return time.time_ns() // 1000
