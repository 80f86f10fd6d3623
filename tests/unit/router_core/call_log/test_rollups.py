"""Quantiles read from logarithmic buckets."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core.call_log.rollups import bucket_quantile
from router_core.call_log.schema import LATENCY_BUCKET_RATIO


@given(
    latencies=st.lists(st.floats(0.01, 1e7), min_size=1, max_size=200),
    q=st.sampled_from((0.0, 0.05, 0.5, 0.95, 0.99, 1.0)),
)
def test_quantile_is_within_two_and_a_half_percent_of_the_exact_one(latencies: list[float], q: float) -> None:
    counts = Counter(math.floor(math.log(value) / math.log(LATENCY_BUCKET_RATIO)) for value in latencies)
    exact = sorted(latencies)[max(0, math.ceil(q * len(latencies)) - 1)]

    assert bucket_quantile(counts, q) == pytest.approx(exact, rel=0.025)


def test_quantile_of_nothing_is_none() -> None:
    assert bucket_quantile({}, 0.5) is None
