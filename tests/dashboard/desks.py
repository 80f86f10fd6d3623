"""A desk in memory for tests of pages: it keeps what it is told, refuses what it is told to refuse."""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from dashboard.desk import Place, Search
from dashboard.sums import Filters, LogState, Overview, Row, Source, Span, Sums
from router_core.config import parse
from router_core.control.access import may
from router_core.control.records import (
    Actor,
    AuditRow,
    ConfigEdit,
    ConfigVersion,
    Draft,
    Entry,
    Evidence,
    Interval,
    Proposal,
    ProposalState,
    RoleName,
    Verdict,
)
from router_core.control.reviews import Done, Head, Review, Run, UndoOffer
from router_core.errors import ChangeRefusedError, NotAllowedError, StaleError

NOW = dt.datetime(2026, 11, 23, 14, 2, tzinfo=dt.UTC)
NOW_US = int(NOW.timestamp() * 1e6)
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
STATE = LogState(exists=True, demo=False, zone="Europe/Berlin", tiers=("cheap", "mid", "top"), now=NOW, as_of=NOW)
CONFIG = b"""\
version: 1
timezone: Europe/Berlin
tiers:
  cheap: [{model: a/small}]
  mid: [{model: a/medium}]
  top: [{model: b/large}]
shadow_budget: {per: day, usd: 1.00}
payload_types:
  invoice.extract: {path: [top], error_cost_usd: 2.5}
  policy.decide: {path: [top], critical: true, error_cost_usd: 40, shadow: [{tier: mid, rate: 0.02}]}
  ticket.classify: {path: [{tier: cheap, accept_at: 0.8}, mid]}
"""
OLD, NEW, NEWER = "aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc"
DIFF = """\
--- routing.yaml
+++ routing.yaml
@@ -8 +8 @@
-  invoice.extract: {path: [top], error_cost_usd: 2.5}
+  invoice.extract: {path: [mid], error_cost_usd: 2.5}
"""
APPROVER = Actor(name="ada", role="approver", auth="local")
ANALYST = Actor(name="bob@example.com", role="analyst", auth="oidc")
VIEWER = Actor(name="eve@example.com", role="viewer", auth="oidc")
NOBODY = Actor(name="nobody", role="viewer", auth="none")


def interval(mean: float, low: float, high: float) -> Interval:
    return Interval(mean=mean, low=low, high=high)


def make_draft(**fields: Any) -> Draft:
    """A safe move from top to mid with plenty of evidence."""
    usual: dict[str, Any] = {
        "kind": "move",
        "payload_type": "invoice.extract",
        "direction": "down",
        "path_now": ("top",),
        "path_proposed": ("mid",),
        "edits": (ConfigEdit(path=("payload_types", "invoice.extract", "path"), before=["top"], after=["mid"]),),
        "base_version": OLD,
        "window_us": (NOW_US - 56 * DAY_US, NOW_US),
        "calls_per_month": 30_000.0,
        "error_cost_usd": 2.5,
        "saving_usd_month": interval(430.2, 410.0, 450.4),
        "wrong_rate_now": 0.0102,
        "wrong_rate_change": interval(0.0008, -0.0005, 0.0021),
        "impact_usd_month": interval(17.7, -10.0, 45.0),
        "net_usd_month": interval(412.5, 380.0, 445.0),
        "p_net_positive": 0.999,
        "p95_ms_now": 2160.0,
        "p95_ms_proposed": 1800.0,
        "evidence": Evidence(
            pairs=312,
            worse=8,
            better=3,
            escalated_pairs=192,
            shadow_pairs=120,
            transferred=40,
            labels=640,
            calls=12_300,
            days=56,
            prior_weight=0.34,
        ),
        "identification": "pairs_and_transfer",
        "assumptions": ("Equal answers have equal labels.",),
        "risk": "low",
        "seed": 7,
        "optimizer_version": "0.1.0",
    }
    return Draft(**(usual | fields))


def make_entry(n: int = 1, state: ProposalState = "open", *, draft: Draft | None = None, **fields: Any) -> Entry:
    """Proposal ``P-000n``, made an hour ago."""
    proposal = Proposal(
        proposal_id=f"P-{n:04d}",
        created_us=NOW_US - HOUR_US,
        expires_us=NOW_US + 21 * DAY_US - HOUR_US,
        draft=draft or make_draft(),
    )
    usual: dict[str, Any] = {"since_us": NOW_US - HOUR_US}
    return Entry(proposal=proposal, state=state, **(usual | fields))


def make_run(*verdicts: Verdict) -> Run:
    return Run(run_id=1, at_us=NOW_US - HOUR_US, by="ada", window_us=(NOW_US - 56 * DAY_US, NOW_US), verdicts=verdicts)


@dataclass(kw_only=True)
class FakeDesk:
    """Applies by moving ``version`` on; ``error`` is raised by the next write."""

    held: list[Entry] = field(default_factory=list[Entry])
    run: Run | None = None
    version: str = OLD
    config: bytes = CONFIG
    problem: str | None = None
    seq: int | None = 1
    kind: Any = "first"
    past: list[ConfigVersion] = field(
        default_factory=lambda: [ConfigVersion(seq=1, version=OLD, since_us=NOW_US - DAY_US, kind="first")]
    )
    rows: list[AuditRow] = field(default_factory=list[AuditRow])
    broken_at: int | None = None
    refusal: str | None = None
    reason: str = "Saves 412.50 USD per month"
    exact: bool = True
    result: Literal["done", "already"] = "done"
    error: Exception | None = None
    wrote: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    read: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    def entries(
        self, states: Collection[ProposalState] | None = None, *, limit: int = 100, offset: int = 0
    ) -> tuple[Entry, ...]:
        self.read.append((limit, offset))
        found = [entry for entry in reversed(self.held) if states is None or entry.state in states]
        return tuple(found[offset : offset + limit])

    def counts(self) -> Mapping[ProposalState, int]:
        counted: dict[ProposalState, int] = dict.fromkeys(get_args(ProposalState), 0)
        for entry in self.held:
            counted[entry.state] += 1
        return counted

    def latest_run(self) -> Run | None:
        return self.run

    def head(self) -> Head:
        return Head(
            path=Path("routing.yaml"),
            version=self.version,
            seq=self.seq,
            since_us=NOW_US - DAY_US,
            kind=self.kind,
            config=None if self.problem else parse(self.config, source="routing.yaml"),
            problem=self.problem,
        )

    def history(self, *, limit: int = 50, offset: int = 0) -> tuple[ConfigVersion, ...]:
        return tuple(sorted(self.past, key=lambda version: -version.seq)[offset : offset + limit])

    def diff(self, before: str, after: str) -> str:
        return DIFF.replace("@@ -8", f"{before} {after} @@ -8")

    def audit(
        self, *, limit: int = 100, offset: int = 0, action: str | None = None, who: str | None = None
    ) -> tuple[AuditRow, ...]:
        found = [row for row in reversed(self.rows) if action in (None, row.action) and who in (None, row.who)]
        return tuple(found[offset : offset + limit])

    def verify_audit(self) -> int | None:
        return self.broken_at

    def text(self, seq: int) -> bytes:
        return self.config

    def observe(self) -> None:
        self.wrote.append(("observe",))

    def review(self, proposal_ids: Sequence[str]) -> Review:
        return Review(
            entries=tuple(entry for entry in self.held if entry.proposal.proposal_id in proposal_ids),
            head_version=self.version,
            stale=self.version != OLD,
            diff="" if self.refusal else DIFF,
            refusal=self.refusal,
            reason=self.reason,
        )

    def undo_offer(self, seq: int) -> UndoOffer:
        return UndoOffer(
            seq=seq,
            head_version=self.version,
            exact=self.exact,
            diff=DIFF,
            refusal=self.refusal,
            reason="Undo of an applied change",
        )

    def review_rollback(self, seq: int) -> Review:
        return Review(
            entries=(),
            head_version=self.version,
            stale=False,
            diff=DIFF,
            refusal=self.refusal,
            reason=f"Back to {seq}",
        )

    def claim(self, proposal_id: str, actor: Actor) -> Entry:
        self._check("claim", proposal_id, actor, right="decide")
        return self._moved(proposal_id, "claimed", actor)

    def release(self, proposal_id: str, actor: Actor) -> Entry:
        self._check("release", proposal_id, actor, right="decide")
        return self._moved(proposal_id, "open", actor)

    def apply(self, proposal_ids: Sequence[str], actor: Actor, reason: str, *, expected_version: str) -> Done:
        self._check("apply", tuple(proposal_ids), actor, reason, expected_version, right="change")
        done = self._changed("apply", actor, reason, expected_version)
        for proposal_id in proposal_ids:
            self._moved(proposal_id, "applied", actor, seq=done.seq)
        return done

    def undo(self, seq: int, actor: Actor, reason: str, *, expected_version: str) -> Done:
        self._check("undo", seq, actor, reason, expected_version, right="change")
        return self._changed("undo", actor, reason, expected_version)

    def rollback(self, seq: int, actor: Actor, reason: str, *, expected_version: str) -> Done:
        self._check("rollback", seq, actor, reason, expected_version, right="change")
        return self._changed("rollback", actor, reason, expected_version)

    def dismiss(self, proposal_id: str, actor: Actor, reason: str) -> Entry:
        self._check("dismiss", proposal_id, actor, reason, right="decide")
        return self._moved(proposal_id, "dismissed", actor, reason=reason)

    def snooze(self, proposal_id: str, actor: Actor, until_us: int, reason: str) -> Entry:
        self._check("snooze", proposal_id, actor, until_us, reason, right="decide")
        return self._moved(proposal_id, "snoozed", actor, reason=reason, until_us=until_us)

    def _check(self, action: str, about: Any, actor: Actor, *rest: Any, right: Any) -> None:
        self.wrote.append((action, about, actor.name, *rest))
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        if not may(actor.role, right):
            raise NotAllowedError(f"{actor.name} may not {action}")

    def _changed(self, kind: Any, actor: Actor, reason: str, expected_version: str) -> Done:
        if not 5 <= len(reason) <= 200:
            raise ChangeRefusedError("a reason of 5 to 200 characters is needed")
        if expected_version != self.version:
            raise StaleError("The config has changed meanwhile.", head_version=self.version, diff=DIFF)
        before, self.version, self.seq, self.kind = self.version, NEW, (self.seq or 0) + 1, kind
        self.past.append(ConfigVersion(seq=self.seq, version=NEW, since_us=NOW_US, kind=kind, by=actor.name))
        row = AuditRow(
            seq=len(self.rows) + 1,
            at_us=NOW_US,
            who=actor.name,
            role=actor.role,
            auth=actor.auth,
            action=kind,
            result="done",
            reason=reason,
            before=before,
            after=NEW,
        )
        self.rows.append(row)
        return Done(result=self.result, seq=self.seq, version=NEW, before_version=before, audit_seq=row.seq)

    def _moved(self, proposal_id: str, state: ProposalState, actor: Actor, **fields: Any) -> Entry:
        (at,) = [i for i, entry in enumerate(self.held) if entry.proposal.proposal_id == proposal_id]
        self.held[at] = replace(self.held[at], state=state, by=actor.name, **fields)
        return self.held[at]


@dataclass(kw_only=True)
class FakeLog:
    """A log in which the payload type costs 0.02 USD per call."""

    shown: LogState = STATE

    def state(self) -> LogState:
        return self.shown

    def span(self) -> Span:
        raise NotImplementedError

    def overview(self, filters: Filters) -> Overview:
        sums = Sums(calls=1_000, spend_nusd=21_000_000_000, shadow_nusd=1_000_000_000)
        row = Row(name="invoice.extract", sums=sums)
        return Overview(total=sums, before=None, by_type=(row,), by_tier=(), by_model=(), points=())


@dataclass(kw_only=True)
class FakePlace:
    """Makes a place and lets a test change who acts, and what a search comes to."""

    desk: FakeDesk
    actor: Actor = APPROVER
    log: Source = field(default_factory=FakeLog)
    found: Search = field(default_factory=lambda: Search(ok=True, said=""))
    searches: int = 0
    trouble: str | None = None

    def place(self) -> Place:
        return Place(
            source=self.log,
            desk=self.desk,
            who=lambda: self.actor,
            search=self._search,
            now_us=lambda: NOW_US,
            trouble=self.trouble,
        )

    def _search(self) -> Search:
        self.searches += 1
        return self.found


def with_role(role: RoleName) -> Actor:
    return Actor(name="eve@example.com", role=role, auth="oidc")
