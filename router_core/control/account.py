"""One limit's money in one period, as one process knows it."""

from router_core.control.ledger import NOT_REACHED, Booking, Key, Latch, Pair, Shared
from router_core.decide.guard import Limit, Spend, lease_now_nusd, used_nusd
from router_core.decide.periods import Period, slice_of
from router_core.record import maker

_make_spend = maker(Spend)


class Account:
    """What is spent and set aside under one key in one period.

    What the store knows of all processes, and on top of it what this process has not told yet. Not for several threads.

    Args:
        limit: The limit that it is for; may be changed.
        key: What its money is counted under.
        period: The period; of a rolling window it moves on.

    Attributes:
        limit: As above.
        key: As above.
        names: The key as a log line has it.
        period: As above.
        version: The store's version at the last look; -1 = none yet.
        lease_nusd: What may be booked before the others are told.
        is_dirty: Whether there is something to tell.
        latch: What was reached.
        is_tapered: Whether this process has said that its taper is reached.
    """

    __slots__ = (
        "_others",
        "_reserved",
        "_settled",
        "_told",
        "_untold",
        "_untold_sum",
        "is_dirty",
        "is_tapered",
        "key",
        "latch",
        "lease_nusd",
        "limit",
        "names",
        "period",
        "untold_latch",
        "version",
    )

    def __init__(self, limit: Limit, key: Key, period: Period) -> None:
        self.limit = limit
        self.key = key
        self.names = (key.budget, key.scope)
        self.period = period
        self.version = -1
        self.lease_nusd = 0
        self.latch = NOT_REACHED
        self.untold_latch: Latch | None = None
        self.is_dirty = self.is_tapered = False
        self._settled = Pair()
        self._others = Pair()
        # [non-critical, critical]: lists, because every call changes them
        self._reserved = [0, 0]
        self._told = [0, 0]
        self._untold: dict[int, list[int]] = {}
        self._untold_sum = [0, 0]

    @property
    def is_rolling(self) -> bool:
        """Whether its period moves on with time."""
        return self.limit.per == "rolling"

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing of it is only in this process."""
        return not (self.is_dirty or self._reserved[0] or self._reserved[1])

    def spend(self) -> Spend:
        """Return what counts against the limit now."""
        latch, limit = self.latch, self.limit
        return _make_spend(
            noncritical_nusd=self._settled[0] + self._others[0] + self._untold_sum[0] + self._reserved[0],
            critical_nusd=self._settled[1] + self._others[1] + self._untold_sum[1] + self._reserved[1],
            # a changed limit is judged anew: only the limit that was reached stays reached
            latched=latch.limit_nusd == limit.limit_nusd,
            stopped=latch.stop_nusd is not None and latch.stop_nusd == limit.stop_nusd,
        )

    def reserve(self, nusd: int, critical: bool) -> bool:
        """Set an amount aside; a negative one releases it. Return whether the others should be told now."""
        self._reserved[critical] += nusd
        self.is_dirty = True
        return self.is_due

    def settle(self, at_us: int, nusd: int, critical: bool) -> None:
        """Book what was spent by a request that began at an instant."""
        if nusd:
            spent = self._untold.setdefault(slice_of(at_us), [0, 0])
            spent[critical] += nusd
            self._untold_sum[critical] += nusd
            self.is_dirty = True

    @property
    def is_due(self) -> bool:
        """Whether the others should be told now: they miss more than the lease, or believe in what is over."""
        reserved, told = self._reserved, self._told
        if not (reserved[0] or reserved[1]) and (told[0] or told[1]):
            return True
        ahead = reserved[0] + reserved[1] - told[0] - told[1]
        untold = self._untold_sum[0] + self._untold_sum[1] + (ahead if ahead > 0 else 0)
        return untold > self.lease_nusd or self.untold_latch is not None

    def reach(self, at_us: int, *, limit: bool, stop: bool) -> None:
        """Take note that the limit, or its stop, is reached now."""
        self.latch = Latch(
            self.limit.limit_nusd if limit else self.latch.limit_nusd,
            self.limit.stop_nusd if stop else self.latch.stop_nusd,
            at_us if limit and self.latch.limit_nusd != self.limit.limit_nusd else self.latch.at_us or at_us,
        )
        self.untold_latch, self.is_dirty = self.latch, True

    def booking(self) -> Booking:
        """Return what is to be told."""
        return Booking(
            key=self.key,
            period=self.period,
            is_rolling=self.is_rolling,
            spent={slice_us: Pair(*spent) for slice_us, spent in self._untold.items()},
            reserved=None if self._told == self._reserved else Pair(*self._reserved),
            latch=self.untold_latch,
        )

    def told(self) -> None:
        """Take note that all of it was told."""
        self._untold.clear()
        self._untold_sum = [0, 0]
        self._told = list(self._reserved)
        self.untold_latch, self.is_dirty = None, False

    def take(self, shared: Shared, version: int, processes: int) -> None:
        """Take in what the store knows."""
        self._settled, self._others = shared.settled, shared.others
        if self.untold_latch is None:
            self.latch = shared.latch
        self.version = version
        spend = self.spend()
        used = used_nusd(self.limit, spend)
        self.lease_nusd = 0 if spend.latched else lease_now_nusd(self.limit, used, processes)

    def disown(self) -> None:
        """Forget, in a forked child, what is the parent's."""
        self._reserved, self._told, self._untold_sum = [0, 0], [0, 0], [0, 0]
        self._untold = {}
        self.untold_latch, self.is_dirty = None, False
