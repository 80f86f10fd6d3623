"""From labelled confidences to a calibration and thresholds that a router runs, through the command."""

import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from optimizer.lifecycle import Desk
from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.control.config_file import load
from router_core.control.records import Actor
from router_core.decide.calibration import calibrate
from router_core.decide.compile import compile_plans
from router_core.types import Confidence
from tests.builders import START_US, make_attempt_line, make_call_line, make_outcome_line
from tests.command_line import Tierwise

DAY_US = 86_400_000_000
AS_OF = "2026-10-19T14:13:20"
# confidences of cheap say much, but all of them stand above the default threshold: nothing ever goes up
CONFIG = """\
version: 1
timezone: UTC
tiers: {cheap: [{model: s/a}], top: [{model: s/c}]}
prices: {s/a: {input: 0.1, output: 0.4}, s/c: {input: 10, output: 40}}
payload_types:
  read: {path: [cheap, top], error_cost_usd: 0.20}
  sort: {path: [cheap, top], error_cost_usd: 0.20}
"""
COST_NUSD = {"cheap": 140_000, "top": 14_000_000}
ADMIN = Actor(name="ada", role="admin", auth="command")

Line = dict[str, Any]


@pytest.fixture
def tierwise(capsys: pytest.CaptureFixture[str]) -> Tierwise:
    return Tierwise(capsys)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.joinpath("routing.yaml").write_text(CONFIG)
    home, rng = Home(tmp_path / ".tierwise").create(), random.Random(4)
    lines = [line for kind in ("read", "sort") for line in _calls(rng, kind, 1500)]
    home.spool.joinpath("import.made-1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    ingest_once(home)
    return tmp_path


def _calls(rng: random.Random, kind: str, count: int) -> Iterator[Line]:
    for i in range(count):
        call_id, at_us = f"{kind}-{i:05}", START_US + i * 28 * DAY_US // count
        common = {"call_id": call_id, "payload_type": kind}
        times = {"started_at": at_us, "ended_at": at_us + 500_000}
        z = rng.gauss(1.5, 1.5)
        right = 1 / (1 + math.exp(-z))
        sure = 1 / (1 + math.exp(-(0.5 * z + 4.5)))
        for n, tier, role in ((1, "cheap", "serve"), (2, "top", "shadow")):
            scored = {"confidence": sure, "confidence_source": "logprob"} if n == 1 else {}
            yield make_attempt_line(
                **common, **times, **scored, attempt_id=f"{call_id}-{n}", request_id=f"r{call_id}-{n}", n=n, tier=tier,
                role=role, cost_nusd=COST_NUSD[tier], request_model="s/a" if n == 1 else "s/c", propensity=1.0,
            )  # fmt: skip
        yield make_call_line(
            **common, ts=at_us, served_attempt_id=f"{call_id}-1", tier_planned="cheap", tier_served="cheap",
            cost_nusd=COST_NUSD["cheap"], error_cost_nusd=None, seq=i + 1,
        )  # fmt: skip
        for n, chance in ((1, right), (2, 0.97)):
            yield make_outcome_line(
                call_id=call_id, attempt_id=f"{call_id}-{n}", correct=float(rng.random() < chance),
                label_propensity=1.0, received_at=at_us + DAY_US,
            )  # fmt: skip


def test_a_useless_threshold_is_replaced_by_a_fitted_one(folder: Path, tierwise: Tierwise) -> None:
    ended = tierwise("propose", "--as-of", AS_OF, "--home", folder / ".tierwise", "--json")
    assert ended.code == 0, ended.err
    drafts = {draft["payload_type"]: draft for draft in ended.json()["drafts"]}
    assert {name: draft["direction"] for name, draft in drafts.items()} == {"read": "threshold", "sort": "threshold"}
    assert all(draft["net_usd_month"]["low"] > 0 for draft in drafts.values())


def test_applied_it_runs_on_the_calibrated_scale(folder: Path, tierwise: Tierwise) -> None:
    tierwise("propose", "--as-of", AS_OF, "--home", folder / ".tierwise")
    desk = Desk(Home(folder / ".tierwise"), folder / "routing.yaml", lambda: START_US + 29 * DAY_US)
    ids = [entry.proposal.proposal_id for entry in desk.entries({"open"})]
    review = desk.review(ids)
    desk.apply(ids, ADMIN, "measured", expected_version=review.head_version)
    plan = compile_plans(load(folder / "routing.yaml")).by_type["read"]
    # the marginal-value rule: top is right in 97 %, and 0.014 USD more buys 0.20 USD per mistake avoided
    break_even = 0.97 - 0.014 / 0.20
    assert plan.steps[0].accept_at == pytest.approx(break_even, abs=0.05)
    truth = 1 / (1 + math.exp(-1.0))
    raw = Confidence(value=1 / (1 + math.exp(-(0.5 * 1.0 + 4.5))), source="logprob")
    assert calibrate(raw, plan.calibration, model="s/a").value == pytest.approx(truth, abs=0.06)


def test_a_second_look_at_the_same_log_proposes_the_same(folder: Path, tierwise: Tierwise) -> None:
    said = [tierwise("propose", "--as-of", AS_OF, "--home", folder / ".tierwise", "--json").json() for _ in range(2)]
    assert said[1]["published"]["new"] == []
    assert len(said[1]["published"]["kept"]) == 2
