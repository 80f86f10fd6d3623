"""What the pages are made of: filters, and the sums a query gives back for them."""

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from dashboard.periods import Period, Slice

NO_NAME: Final = ""
"""Stands for a missing payload type, tier or model, which no config can name."""

_Z_95 = 1.959963984540054
# a tick is a second; twice the interval at which anybody would still call it live
_STALE_AFTER_S = 60.0
_USUAL_ORDER = ("cheap", "mid", "top")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What part of the log a page is about.

    Attributes:
        period: Whole local days; None = the undated evaluations.
        payload_types: Payload types to keep; empty = all.
        tiers: Tiers to keep, ``NO_NAME`` for none: the tier that served a call, the tier of an attempt; empty = all.
    """

    period: Period | None
    payload_types: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LogState:
    """How fresh the log is, and how it is to be read.

    Attributes:
        exists: Whether there is a log at all.
        demo: Whether everything in it was simulated.
        zone: IANA name of the reporting zone.
        tiers: The routing config's tiers, cheapest first; empty when there is no readable config.
        now: When this was found out, UTC.
        as_of: When lines last came into the log, UTC; None when none ever did.
        backlog_bytes: Bytes that routers have written and nobody has taken in yet.
        watched: Whether a process takes lines in as they come.
        config_version: Hash of the routing config; empty when there is no readable one.
        data_version: What changes whenever the log does, short.
    """

    exists: bool
    demo: bool
    zone: str
    tiers: tuple[str, ...]
    now: dt.datetime
    as_of: dt.datetime | None = None
    backlog_bytes: int = 0
    watched: bool = False
    config_version: str = ""
    data_version: str = ""

    @property
    def stale(self) -> bool:
        """Whether lines have waited for longer than a few ticks."""
        if not self.backlog_bytes:
            return False
        return self.as_of is None or (self.now - self.as_of).total_seconds() > _STALE_AFTER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What there is to choose from.

    Attributes:
        first_hour: First hour with calls or attempts, UTC; None when nothing is dated.
        last_hour: Last such hour, UTC.
        has_undated: Whether static evaluations are in the log.
        calls: All calls of the log.
        payload_types: Names in use, at most 2,000.
        tiers: Names in use.
    """

    first_hour: dt.datetime | None
    last_hour: dt.datetime | None
    has_undated: bool
    calls: int
    payload_types: tuple[str, ...]
    tiers: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing, dated or not."""
        return self.last_hour is None and not self.has_undated


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Exact sums over one group of calls, attempts and labels, and two bucket quantiles.

    Attributes:
        calls: Calls, answered or not.
        unanswered: Calls that failed, were rejected or interrupted.
        degraded: Calls that a limit moved below their plan.
        escalated: Calls with at least one escalation.
        attempts: Attempts of all roles.
        failed: Attempts whose request failed.
        invalid: Attempts whose answer failed a check.
        spend_nusd: Known cost of all attempts, shadows and judges included.
        shadow_nusd: The part of it spent on unserved answers.
        priced: Attempts with a known cost.
        labelled: Served calls with an outcome.
        wrong: Sum of 1 - correct over those.
        impact_nusd: What their wrong answers cost, where that is known.
        wrong_unpriced: The part of ``wrong`` without any error price.
        p50_ms: Median call latency, within 2.5 %.
        p95_ms: 95th percentile of it, within 2.5 %.
    """

    calls: int = 0
    unanswered: int = 0
    degraded: int = 0
    escalated: int = 0
    attempts: int = 0
    failed: int = 0
    invalid: int = 0
    spend_nusd: int = 0
    shadow_nusd: int = 0
    priced: int = 0
    labelled: int = 0
    wrong: float = 0.0
    impact_nusd: int = 0
    wrong_unpriced: float = 0.0
    p50_ms: float | None = None
    p95_ms: float | None = None

    @property
    def unpriced(self) -> int:
        """Attempts whose cost is not known and so not in the spend."""
        return self.attempts - self.priced

    @property
    def cost_per_1k_nusd(self) -> float | None:
        """Spend per 1,000 calls."""
        return self.spend_nusd * 1000 / self.calls if self.calls else None

    @property
    def cost_per_1k_attempts_nusd(self) -> float | None:
        """Mean known cost of 1,000 attempts."""
        return self.spend_nusd * 1000 / self.priced if self.priced else None

    @property
    def failed_rate(self) -> float | None:
        """Share of attempts whose request failed."""
        return self.failed / self.attempts if self.attempts else None

    @property
    def invalid_rate(self) -> float | None:
        """Share of attempts whose answer failed a check."""
        return self.invalid / self.attempts if self.attempts else None

    @property
    def wrong_rate(self) -> float | None:
        """Share of labelled served answers that were wrong."""
        return self.wrong / self.labelled if self.labelled else None

    @property
    def wrong_interval(self) -> tuple[float, float] | None:
        """The 95 % interval of ``wrong_rate``."""
        return wilson(self.wrong, self.labelled)

    @property
    def answered(self) -> int:
        """Calls that got an answer."""
        return self.calls - self.unanswered

    @property
    def failed_interval(self) -> tuple[float, float] | None:
        """The 95 % interval of ``failed_rate``."""
        return wilson(self.failed, self.attempts)

    @property
    def invalid_interval(self) -> tuple[float, float] | None:
        """The 95 % interval of ``invalid_rate``."""
        return wilson(self.invalid, self.attempts)

    @property
    def coverage(self) -> float | None:
        """Share of answered calls that have a label."""
        return self.labelled / self.answered if self.answered else None

    def impact_with(self, price_nusd: int | None) -> int:
        """Return the observed impact, wrong answers without a price counted at ``price_nusd`` if given."""
        return self.impact_nusd + (round(self.wrong_unpriced * price_nusd) if price_nusd is not None else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Sums of one payload type, tier or model; ``name`` is ``NO_NAME`` where the log has none."""

    name: str
    sums: Sums


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Sums of one payload type in one tier; either is ``NO_NAME`` where the log has none."""

    payload_type: str
    tier: str
    sums: Sums


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Sums of one day, week or month.

    Attributes:
        slice: Which one.
        sums: Its sums.
        spend_by_tier_nusd: Spend by tier of the attempt.
    """

    slice: Slice
    sums: Sums
    spend_by_tier_nusd: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Everything the first page shows.

    Attributes:
        total: Sums over the filters.
        before: Sums over the period of the same length before, when the log covers it.
        by_type: One row per payload type, dearest first.
        by_tier: One row per tier, dearest first.
        by_model: One row per model, dearest first.
        points: One per slice of the period, in order, without gaps; empty for undated evaluations.
        cells: One per payload type and tier, dearest first, without latencies.
    """

    total: Sums
    before: Sums | None
    by_type: tuple[Row, ...]
    by_tier: tuple[Row, ...]
    by_model: tuple[Row, ...]
    points: tuple[Point, ...]
    cells: tuple[Cell, ...] = ()


def wilson(successes: float, trials: float, z: float = _Z_95) -> tuple[float, float] | None:
    """Return Wilson's score interval of a share, 95 % by default; None without trials.

    (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n). Wilson, E. B. (1927), JASA 22, 209-212.
    """
    if not trials:
        return None
    share, spread = successes / trials, z * z / trials
    middle = share + spread / 2
    half = z * math.sqrt(max(0.0, share * (1 - share)) / trials + spread / (4 * trials))
    low, high = (middle - half) / (1 + spread), (middle + half) / (1 + spread)
    # at 0 and 1 the bounds are exact; subtraction leaves dust there
    return (0.0 if successes <= 0 else max(0.0, low), 1.0 if successes >= trials else min(1.0, high))


class Source(Protocol):
    """Where a page gets its data."""

    def state(self) -> LogState:
        """Return how fresh the log is.

        Raises:
            LogBusyError: The log stayed locked.
        """
        ...

    def span(self) -> Span:
        """Return what the log holds.

        Raises:
            NoLogError: There is no log.
            LogBusyError: The log stayed locked.
        """
        ...

    def overview(self, filters: Filters) -> Overview:
        """Return the first page's sums.

        Raises:
            NoLogError: There is no log.
            LogBusyError: The log stayed locked.
        """
        ...


def tier_order(configured: Sequence[str], in_log: Sequence[str]) -> tuple[str, ...]:
    """Return all tiers, cheapest first: as configured, else by usual name; others by name, no tier last.

    It does not depend on a filter, so that a tier keeps its place and its colour.
    """
    usual = _USUAL_ORDER if not configured and any(name in _USUAL_ORDER for name in in_log) else ()
    known = (*configured, *usual)
    others = sorted(name for name in in_log if name not in known and name != NO_NAME)
    return (*known, *others, *((NO_NAME,) if NO_NAME in in_log else ()))
