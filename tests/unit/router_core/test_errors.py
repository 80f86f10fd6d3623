"""Errors that come from a worker process."""

import copy
import pickle
from collections.abc import Callable

import pytest

from router_core import CallError, ConfigError, Problem, RequestRejectedError, RouteExhaustedError, RouterError
from router_core.control.store import StoreError
from router_core.errors import ConflictError, NotAllowedError, StaleError
from router_core.types import NO_CONFIDENCE, AttemptRecord, Receipt

ATTEMPT = AttemptRecord(
    attempt_id="c-1-1",
    request_id="c-1-1",
    n=1,
    role="serve",
    tier="cheap",
    model="a/small",
    status="failed",
    error_type="rate_limit",
    message="rate limited",
    confidence=NO_CONFIDENCE,
    checks=(),
    receipt=Receipt(cost_nusd=7, cost_status="exact"),
    latency_ms=1.5,
)
ERRORS: dict[str, RouterError] = {
    "config": ConfigError("routing.yaml", [Problem(path="tiers", message="is missing", line=3)]),
    "rejected": RequestRejectedError("the router is closed"),
    "call": CallError("no", kind="rate_limit", status_code=429, retry_after_s=2.0, billed=None),
    "exhausted": RouteExhaustedError("no answer", call_id="c-1", attempts=[ATTEMPT], cost_nusd=7, partial_text="Dear"),
    "not allowed": NotAllowedError("no"),
    "stale": StaleError("stale", head_version="v2", diff="-a"),
    "conflict": ConflictError("conflict", kept=None),
    "store": StoreError("no store"),
}


def _sent_along(error: RouterError) -> RouterError:
    return pickle.loads(pickle.dumps(error))  # noqa: S301 - made here


@pytest.mark.parametrize("error", ERRORS.values(), ids=list(ERRORS))
@pytest.mark.parametrize("way", [_sent_along, copy.copy], ids=["process", "copy"])
def test_error_arrives_with_all_it_carries(error: RouterError, way: Callable[[RouterError], RouterError]) -> None:
    arrived = way(error)
    assert (type(arrived), str(arrived), vars(arrived)) == (type(error), str(error), vars(error))
