"""Logs that say little or nothing: every one gets a clear answer."""

import json
from pathlib import Path
from typing import Any

import pytest

from optimizer.propose import Sheet, propose
from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.config import parse
from tests.builders import START_US, make_attempt_line, make_call_line, make_outcome_line

DAY_US = 86_400_000_000
TWO = b"""
version: 1
tiers: {cheap: [{model: s/a}], top: [{model: s/c}]}
payload_types:
  read: {path: [cheap, top], error_cost_usd: 0.20}
"""
ONE = b"""
version: 1
tiers: {cheap: [{model: s/a}]}
payload_types:
  read: {path: [cheap], error_cost_usd: 0.20}
"""


def look(
    folder: Path,
    config: bytes,
    calls: int,
    *,
    label: float | None = 1.0,
    cost: int | None = 1000,
    confidence: float = 0.5,
) -> Sheet:
    """What is proposed of calls with the answers of two tiers, all alike."""
    home, lines = Home(folder / "home").create(), list[dict[str, Any]]()
    tiers = ("cheap", "top") if b"top" in config else ("cheap",)
    for i in range(calls):
        call_id, at_us = f"c{i:05}", START_US + i * 28 * DAY_US // max(calls, 1)
        common = {"call_id": call_id, "payload_type": "read"}
        for n, tier in enumerate(tiers, start=1):
            lines.append(make_attempt_line(
                **common, started_at=at_us, ended_at=at_us + 1, attempt_id=f"{call_id}-{n}",
                request_id=f"r{call_id}-{n}", n=n,
                tier=tier, role="serve" if n == 1 else "shadow", cost_nusd=cost, confidence=confidence,
                confidence_source="logprob", request_model="s/a" if n == 1 else "s/c", propensity=1.0,
            ))  # fmt: skip
            if label is not None:
                lines.append(make_outcome_line(
                    call_id=call_id, attempt_id=f"{call_id}-{n}", correct=label, label_propensity=1.0,
                    received_at=at_us,
                ))  # fmt: skip
        lines.append(make_call_line(
            **common, ts=at_us, served_attempt_id=f"{call_id}-1", tier_planned="cheap", tier_served="cheap",
            cost_nusd=cost, error_cost_nusd=None, seq=i + 1,
        ))  # fmt: skip
    home.spool.joinpath("import.made-1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    ingest_once(home)
    return propose(home, parse(config, source="routing.yaml"), now_us=START_US + 28 * DAY_US)


@pytest.mark.parametrize(
    ("fields", "verdicts"),
    [
        ({"calls": 400, "label": None}, {"not_enough_evidence"}),
        ({"calls": 2}, {"hold", "not_enough_evidence"}),
        ({"calls": 400, "label": 0.0}, {"hold", "not_enough_evidence"}),
        ({"calls": 400, "label": 1.0}, {"hold", "move", "not_enough_evidence"}),
        ({"calls": 400, "cost": 0}, {"hold", "not_enough_evidence"}),
        ({"calls": 400, "cost": None}, {"hold", "not_enough_evidence"}),
        ({"calls": 400, "confidence": 1.0}, {"hold", "move", "not_enough_evidence"}),
        ({"calls": 400, "confidence": 0.0}, {"hold", "move", "not_enough_evidence"}),
    ],
    ids=["no outcomes", "two calls", "all wrong", "all right", "all free", "no costs", "all sure", "all unsure"],
)
def test_a_poor_log_gets_a_verdict(tmp_path: Path, fields: dict[str, Any], verdicts: set[str]) -> None:
    sheet = look(tmp_path, TWO, **fields)
    (verdict,) = sheet.verdicts
    assert verdict.verdict in verdicts
    assert verdict.text


def test_one_tier_leaves_nothing_to_move(tmp_path: Path) -> None:
    (verdict,) = look(tmp_path, ONE, 400).verdicts
    assert (verdict.verdict, verdict.text[:13]) == ("hold", "no other path")
