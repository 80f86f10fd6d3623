"""Proposals, their config and their desk for tests: valid by default, real files, a clock that the test moves."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from optimizer.lifecycle import Desk, Done
from router_core.call_log.home import Home
from router_core.control.changes import plain_of, value_at
from router_core.control.records import Actor, ConfigEdit, Draft, Entry, Evidence, Interval, Verdict
from router_core.control.states import DAY_US

ROUTING = """\
# who goes where
version: 1
tiers:
  cheap: [{model: a/small}]   # günstig
  mid: [{model: a/medium}]
  top: [{model: b/large}]
payload_types:
  x.extract: {path: [top], error_cost_usd: 0.5}   # the big one
  x.classify:
    path:
    - mid   # for now
    - top
  x.decide: {path: [top], critical: true}
prices:
  a/small: {input: 0.1, output: 0.4}
  a/medium: {input: 1, output: 4}
  b/large: {input: 5, output: 20}
"""
NOON_US = 1_795_435_200_000_000  # 2026-11-23 12:00 UTC
ADA = Actor(name="ada", role="approver", auth="command")
BOB = Actor(name="bob", role="approver", auth="command")
ANALYST = Actor(name="ann", role="analyst", auth="command")
VIEWER = Actor(name="vic", role="viewer", auth="command")
REASON = "the evidence is good"


def interval(mean: float, low: float | None = None, high: float | None = None) -> Interval:
    """A prediction with an interval of a tenth to both sides."""
    width = abs(mean) / 10
    return Interval(mean=mean, low=mean - width if low is None else low, high=mean + width if high is None else high)


def make_draft(payload_type: str = "x.extract", after: tuple[str, ...] = ("mid",), **values: Any) -> Draft:
    """A move of a type's path; ``x.extract`` goes from top to mid."""
    before = values.pop("before", None)
    before = list(before) if before is not None else ["mid", "top"] if payload_type == "x.classify" else ["top"]
    edit = ConfigEdit(path=("payload_types", payload_type, "path"), before=before, after=list(after))
    draft = Draft(
        kind="move",
        payload_type=payload_type,
        direction="down",
        path_now=tuple(map(str, before)),
        path_proposed=tuple(map(str, after)),
        edits=(edit,),
        base_version="000000000000",
        window_us=(NOON_US - 28 * DAY_US, NOON_US),
        calls_per_month=10_000,
        error_cost_usd=0.5,
        saving_usd_month=interval(120.0),
        wrong_rate_now=0.02,
        wrong_rate_change=interval(0.001, -0.001, 0.003),
        impact_usd_month=interval(5.0),
        net_usd_month=interval(115.0),
        p_net_positive=0.99,
        p95_ms_now=900.0,
        p95_ms_proposed=600.0,
        evidence=make_evidence(),
        identification="pairs",
        assumptions=("answers are judged alike",),
        risk="low",
        seed=0,
        optimizer_version="thin-1",
    )
    return replace(draft, **values)


def make_evidence(pairs: int = 200, **counts: int) -> Evidence:
    """Evidence that rests on so many pairs."""
    fields: dict[str, Any] = {
        "pairs": pairs, "worse": 4, "better": 2, "escalated_pairs": 0, "shadow_pairs": pairs, "transferred": 0,
        "labels": 400, "calls": 9_000, "days": 28, "prior_weight": 0.1,
    }  # fmt: skip
    return Evidence(**(fields | counts))


@dataclass
class Place:
    """A routing config, its home and its desk, in a folder of its own."""

    folder: Path
    text: bytes = ROUTING.encode()
    now_us: int = NOON_US
    desk_options: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.config.exists():
            self.config.write_bytes(self.text)
        self.desk = self.new_desk()

    @property
    def config(self) -> Path:
        return self.folder / "routing.yaml"

    @property
    def home(self) -> Home:
        return Home(self.folder / ".tierwise")

    def new_desk(self, **options: Any) -> Desk:
        """Another desk at the same place."""
        return Desk(self.home, self.config, lambda: self.now_us, **(self.desk_options | options))

    def publish(self, *drafts: Draft, verdicts: tuple[Verdict, ...] = ()) -> tuple[str, ...]:
        """Publish drafts made for the present version; return the new ids."""
        version = self.desk.head().version
        based = [replace(draft, base_version=version) for draft in drafts or (make_draft(),)]
        return self.desk.publish(based, verdicts, ANALYST).published

    def apply(self, *proposal_ids: str, actor: Actor = ADA, desk: Desk | None = None) -> Done:
        """Apply proposals on the present version."""
        head = self.desk.head().version
        return (desk or self.desk).apply(proposal_ids, actor, REASON, expected_version=head)

    def path_of(self, payload_type: str) -> Any:
        """The path of a type as the file has it."""
        return value_at(plain_of(self.config.read_bytes()), ("payload_types", payload_type, "path"))

    def state(self, proposal_id: str) -> str:
        return self.desk.entry(proposal_id).state

    def states(self) -> dict[str, str]:
        return {entry.proposal.proposal_id: entry.state for entry in self.desk.entries(limit=10**6)}

    def audited(self) -> list[tuple[str, str]]:
        """Action and result of every audit row, oldest first; the chain must hold."""
        assert self.desk.verify_audit() is None
        return [(row.action, row.result) for row in reversed(self.desk.audit(limit=10**6))]

    def versions(self) -> list[tuple[str, bytes]]:
        """Kind and bytes of every version, oldest first."""
        return [(each.kind, self.desk.text(each.seq)) for each in reversed(self.desk.history(limit=10**6))]

    def beside(self) -> list[str]:
        """Files that lie beside the config and are not meant to."""
        return sorted(path.name for path in self.folder.iterdir() if path.name not in {"routing.yaml", ".tierwise"})


def entry_ids(entries: tuple[Entry, ...]) -> list[str]:
    """Ids of entries, in their order."""
    return [entry.proposal.proposal_id for entry in entries]
