"""A change of the config as it would be made now: for a review, and once more for the change itself."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from router_core.call_log.terminal import number
from router_core.control import history, proposals
from router_core.control.access import Access
from router_core.control.changes import edited, inverse
from router_core.control.history import Kept
from router_core.control.records import Actor, ConfigEdit, Entry
from router_core.control.site import FileNow, Site
from router_core.control.states import Step, decide
from router_core.errors import ChangeRefusedError, ConfigError, NotAllowedError, Problem

_LONGEST_REASON: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One change of the config file.

    Attributes:
        now: The file as it is.
        entries: Proposals it is about.
        todo: Ids of those that are not applied, or taken back, yet.
        after: Bytes that the file would have; None when there are none.
        diff: The change as a unified diff; empty without ``after``.
        refusal: Why it cannot be made; None = it can.
        done: The version that made it already.
        exact: Of an undo: whether the bytes are those from before.
    """

    now: FileNow
    entries: tuple[Entry, ...] = ()
    todo: tuple[str, ...] = ()
    after: bytes | None = None
    diff: str = ""
    refusal: ChangeRefusedError | ConfigError | None = None
    done: Kept | None = None
    exact: bool = False


def plan_apply(site: Site, con: sqlite3.Connection | None, proposal_ids: Sequence[str]) -> Plan:
    """Return what applying proposals would change.

    Raises:
        ConfigError: There is no such proposal, or none was named.
    """
    if not proposal_ids:
        raise ConfigError("proposals", [Problem(path="id", message="name at least one, e.g. P-0001")])
    now_us, now = site.now_us(), site.look()
    numbers = dict.fromkeys(proposals.number_of(each) for each in proposal_ids)
    entries = tuple(proposals.find(con, proposals.id_of(n), now_us) for n in numbers)
    decisions = {
        entry.proposal.proposal_id: decide(proposals.standing_of(entry), Step(action="apply", at_us=now_us))
        for entry in entries
    }
    refusals = [f"{each}: {found.refusal}" for each, found in decisions.items() if found.result == "refused"]
    if refusals:
        refusal = ChangeRefusedError(f"cannot be applied: {'; '.join(refusals)}")
        return Plan(now=now, entries=entries, refusal=refusal)
    todo = tuple(each for each, found in decisions.items() if found.result == "done")
    if not todo and con is not None:
        done = history.find(con, site.key, entries[0].seq or 0)
        return Plan(now=now, entries=entries, done=done)
    edits = [edit for entry in entries if entry.proposal.proposal_id in todo for edit in entry.proposal.draft.edits]
    return _planned(site, Plan(now=now, entries=entries, todo=todo), lambda data: edited(data, edits))


def plan_undo(site: Site, con: sqlite3.Connection | None, seq: int) -> Plan:
    """Return what taking back the change that made version ``seq`` would do.

    Raises:
        ConfigError: There is no such version.
    """
    now_us, now = site.now_us(), site.look()
    kept = history.find(con, site.key, seq)
    if con is None or kept.shown.kind != "apply" or kept.before_digest is None:
        message = f"version {seq} was not made by applying a proposal; go back to an earlier version: rollback"
        return Plan(now=now, refusal=ChangeRefusedError(message))
    entries = tuple(proposals.find(con, each, now_us) for each in kept.shown.proposal_ids)
    done = history.about(con, seq, "undo")
    # a rollback may have put the change in force again since
    if done is not None and now.digest != kept.digest:
        return Plan(now=now, entries=entries, done=done)
    todo = tuple(entry.proposal.proposal_id for entry in entries)
    plan = Plan(now=now, entries=entries, todo=todo, exact=now.digest == kept.digest)
    if plan.exact:
        before = history.bytes_of(con, kept.before_digest)
        return _planned(site, plan, lambda _: before)
    edits: list[ConfigEdit] = [edit for entry in entries for edit in entry.proposal.draft.edits]
    return _planned(site, plan, lambda data: edited(data, inverse(edits)))


def plan_rollback(site: Site, con: sqlite3.Connection | None, seq: int) -> Plan:
    """Return what going back to version ``seq`` would do.

    Raises:
        ConfigError: There is no such version.
    """
    now = site.look()
    kept = history.find(con, site.key, seq)
    if con is None or kept.digest == now.digest:
        return Plan(now=now, done=(None if con is None else history.latest(con, site.key)) or kept)
    wanted = history.bytes_of(con, kept.digest)
    return _planned(site, Plan(now=now), lambda _: wanted)


def apply_reason(entries: Sequence[Entry]) -> str:
    """Return a reason for applying proposals: what they promise, and on what evidence."""
    texts: list[str] = []
    for entry in entries:
        draft = entry.proposal.draft
        if draft.kind == "evidence":
            cost = "" if draft.shadow_cost_usd is None else f", about ${number(draft.shadow_cost_usd)}"
            what = f"gather evidence ({draft.shadow_calls or 0:,} shadow calls{cost})"
        else:
            net, change = draft.net_usd_month, draft.wrong_rate_change
            what = (
                f"{' > '.join(draft.path_now)} to {' > '.join(draft.path_proposed)}; net ${number(net.mean)} a month "
                f"({number(net.low)} to {number(net.high)}), wrong {100 * change.mean:+.2f} pp, "
                f"{draft.evidence.pairs:,} pairs"
            )
        texts.append(f"{entry.proposal.proposal_id} {draft.payload_type}: {what}")
    return _cut("; ".join(texts))


def undo_reason(seq: int, proposal_ids: Sequence[str]) -> str:
    """Return a reason for an undo."""
    return _cut(f"Undo of version {seq} ({', '.join(proposal_ids)})")


def refuse_alone(access: Access, entries: Sequence[Entry], actor: Actor) -> None:
    """Do nothing when one person may apply these proposals.

    Raises:
        NotAllowedError: They move so much money that somebody else has to have claimed each of them.
    """
    limit = access.two_person_above_usd_month
    if limit is None:
        return
    drafts = [entry.proposal.draft for entry in entries]
    # what one proposal costs does not make up for what another one moves
    saving = sum(abs(draft.saving_usd_month.mean) for draft in drafts)
    net = sum(abs(draft.net_usd_month.mean) for draft in drafts)
    alone = [entry.proposal.proposal_id for entry in entries if entry.state != "claimed" or entry.by == actor.name]
    if max(saving, net) > limit and alone:
        raise NotAllowedError(
            f"above ${number(limit)} a month it takes two people: one who claims the proposal and another who applies "
            f"it within 15 minutes. Nobody but you has claimed {', '.join(alone)}"
        )


def _planned(site: Site, plan: Plan, make: Callable[[bytes], bytes]) -> Plan:
    now = plan.now
    refusal: ChangeRefusedError | ConfigError | None = now.problem
    after: bytes | None = None
    if now.data is not None:
        try:
            after = make(now.data)
            if after == now.data:
                raise ChangeRefusedError("it changes nothing: the file says so already")
            site.refuse_inadmissible(after)
        except (ChangeRefusedError, ConfigError) as error:
            refusal = error
    diff = "" if now.data is None or after is None else history.text_diff(now.data, after, source=site.config.name)
    return Plan(
        now=now,
        entries=plan.entries,
        todo=plan.todo,
        after=after,
        diff=diff,
        refusal=refusal,
        exact=plan.exact,
    )


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_REASON else f"{text[: _LONGEST_REASON - 1]}…"
