import os
from itertools import pairwise

import pytest

from router_core.clock import CallTime, SystemClock, VirtualClock

NOON_US = 1_795_435_200_000_000
HOUR_US = 3_600_000_000


@pytest.mark.parametrize("by_us", [-HOUR_US, HOUR_US])
def test_adjusted_clock_moves_no_instant_of_a_running_call(by_us: int) -> None:
    clock = VirtualClock(NOON_US)
    time = CallTime(clock)
    clock.sleep(1)
    clock.adjust(by_us)
    clock.sleep(2)
    assert time.now_us() - time.start_us == 3_000_000
    assert clock.now_us() == NOON_US + by_us + 3_000_000
    assert CallTime(clock).start_us == clock.now_us()


def test_ids_sort_by_their_instant_and_differ_within_it() -> None:
    clock = SystemClock()
    ids = [clock.new_id(at_us) for at_us in range(NOON_US, NOON_US + 100) for _ in range(2)]
    assert all(earlier[:14] <= later[:14] for earlier, later in pairwise(ids))
    assert len(set(ids)) == len(ids)
    assert {len(one) for one in ids} == {26}
    assert int(ids[0][:14], 16) == NOON_US


@pytest.mark.parametrize("clock", [SystemClock(), VirtualClock(NOON_US, seed=7)], ids=["machine", "virtual"])
def test_forked_child_draws_what_its_parent_does_not(clock: SystemClock | VirtualClock) -> None:
    clock.new_id(NOON_US)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, clock.new_id(NOON_US).encode())
        os._exit(0)
    sibling = os.fork()
    if sibling == 0:
        os.write(writer, clock.new_id(NOON_US).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.waitpid(sibling, 0)
    ids = [os.read(reader, 26).decode(), os.read(reader, 26).decode(), clock.new_id(NOON_US)]
    assert len(set(ids)) == 3
    os.close(reader)
    os.close(writer)


def test_system_clock_is_steady() -> None:
    clock = SystemClock()
    assert clock.steady_us() <= clock.steady_us()
