"""What a payload type costs now."""

import pytest

from dashboard.spending import spend_by_type
from router_core.call_log.access import NoLogError
from tests.dashboard.desks import DAY_US, NOW_US, FakeLog, make_draft


def test_the_mean_cost_without_shadows_times_the_months_volume() -> None:
    spend = spend_by_type(FakeLog(), "UTC")
    assert spend(make_draft(calls_per_month=30_000.0)) == pytest.approx(600.0)
    assert spend(make_draft(payload_type="unheard.of")) is None


class Counting(FakeLog):
    asked = 0

    def overview(self, filters):
        self.asked += 1
        return super().overview(filters)


def test_one_window_is_read_once_and_few_windows_at_all() -> None:
    log = Counting()
    spend = spend_by_type(log, "UTC")
    for days in (7, 7, 14, 21, 28, 35):
        spend(make_draft(window_us=(NOW_US - days * DAY_US, NOW_US)))
    assert log.asked == 3


def test_a_log_that_cannot_say_is_no_failure() -> None:
    class Empty(FakeLog):
        def overview(self, filters):
            raise NoLogError

    assert spend_by_type(Empty(), "UTC")(make_draft(window_us=None)) is None
