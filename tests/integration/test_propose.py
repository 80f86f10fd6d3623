"""From a log to verdicts and proposals, through the command as a user runs it."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from optimizer.lifecycle import Desk
from optimizer.propose import propose
from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.config import parse
from router_core.control.config_file import load
from tests.builders import START_US, make_attempt_line, make_call_line, make_outcome_line
from tests.command_line import Tierwise

DAY_US = 86_400_000_000
END_US = START_US + 28 * DAY_US
AS_OF = "2026-10-19T14:13:20"
CONFIG = """\
version: 1
timezone: UTC
tiers: {cheap: [{model: s/a}], mid: [{model: s/b}], top: [{model: s/c}]}
prices: {s/a: {input: 0.1, output: 0.4}, s/b: {input: 1, output: 4}, s/c: {input: 10, output: 40}}
payload_types:
  safe: {path: [mid], error_cost_usd: 0.10}      # cheap is as good
  weak: {path: [cheap], error_cost_usd: 0.20}    # mid is far better
  tiny: {path: [mid], error_cost_usd: 0.10}
  rare: {path: [top], error_cost_usd: 0.10}
  unpriced: {path: [mid]}
  quiet: {path: [mid], error_cost_usd: 0.10}
  "*": {path: [cheap]}
"""
COST_NUSD = {"cheap": 140_000, "mid": 1_400_000, "top": 14_000_000}

Line = dict[str, Any]


@pytest.fixture
def tierwise(capsys: pytest.CaptureFixture[str]) -> Tierwise:
    return Tierwise(capsys)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a routing config and its home beside it; nothing in it is published."""
    folder = tmp_path_factory.mktemp("propose")
    folder.joinpath("routing.yaml").write_text(CONFIG)
    _write_log(Home(folder / ".tierwise").create())
    return folder


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Home:
    """A copy of it that a test may write to."""
    tmp_path.joinpath("routing.yaml").write_text(CONFIG)
    copy = Home(tmp_path / ".tierwise").create()
    copy.log.write_bytes(Home(made / ".tierwise").log.read_bytes())
    return copy


def _write_log(home: Home) -> None:
    rng = random.Random(3)
    lines = [
        *_calls(rng, "safe", 3000, ("mid", 0.04), ("cheap", 0.04)),
        *_calls(rng, "weak", 1500, ("cheap", 0.15), ("mid", 0.03)),
        *_calls(rng, "tiny", 12, ("mid", 0.04), ("cheap", 0.04)),
        *_calls(rng, "rare", 300, ("top", 0.03), None, label_rate=0.0),
        *_calls(rng, "unpriced", 1500, ("mid", 0.03), ("cheap", 0.03)),
        *_calls(rng, "stray", 20, ("cheap", 0.03), None),
        *_calls(rng, "safe", 200, ("cheap", 0.5), None, degraded=True),
    ]
    home.spool.joinpath("import.made-1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    ingest_once(home)


def _calls(
    rng: random.Random,
    kind: str,
    count: int,
    served: tuple[str, float],
    shadow: tuple[str, float] | None,
    *,
    label_rate: float = 0.8,
    degraded: bool = False,
) -> Iterator[Line]:
    for i in range(count):
        call_id = f"{kind}-{'d' if degraded else 'c'}{i:05}"
        at_us = START_US + i * 28 * DAY_US // count
        common = {"call_id": call_id, "payload_type": kind}
        times = {"started_at": at_us, "ended_at": at_us + 500_000}
        cost_nusd = COST_NUSD[served[0]] + rng.randrange(10_000)
        yield make_attempt_line(
            **common, **times, attempt_id=f"{call_id}-1", request_id=f"r{call_id}-1", tier=served[0],
            cost_nusd=cost_nusd,
        )  # fmt: skip
        if shadow is not None:
            yield make_attempt_line(
                **common, **times, attempt_id=f"{call_id}-2", request_id=f"r{call_id}-2", n=2, tier=shadow[0],
                role="shadow", cost_nusd=COST_NUSD[shadow[0]] + rng.randrange(10_000),
            )  # fmt: skip
        yield make_call_line(
            **common, ts=at_us, served_attempt_id=f"{call_id}-1", tier_planned=served[0], tier_served=served[0],
            cost_nusd=cost_nusd, degraded=degraded, error_cost_nusd=None, seq=i + 1,
        )  # fmt: skip
        if rng.random() < label_rate:
            hard = rng.random()
            for n, chance in ((1, served[1]), (2, shadow[1] if shadow is not None else None)):
                if chance is not None:
                    yield make_outcome_line(
                        call_id=call_id, attempt_id=f"{call_id}-{n}", correct=float(hard >= chance),
                        label_propensity=label_rate, received_at=at_us + DAY_US,
                    )  # fmt: skip


def dry(tierwise: Tierwise, folder: Path, *arguments: str) -> dict[str, Any]:
    """What the command says with ``--dry-run --json`` at the end of the log."""
    home, config = folder / ".tierwise", folder / "routing.yaml"
    ended = tierwise("propose", "--dry-run", "--json", "--as-of", AS_OF, "--home", home, "--config", config, *arguments)
    assert ended.code == 0, ended.err
    return ended.json()


def verdicts(said: dict[str, Any]) -> dict[str, str]:
    return {each["payload_type"]: each["verdict"] for each in said["verdicts"]}


def test_every_payload_type_of_config_and_log_has_a_verdict(tierwise: Tierwise, made: Path) -> None:
    assert verdicts(dry(tierwise, made)) == {
        "safe": "move",
        "weak": "move",
        "tiny": "hold",
        "rare": "not_enough_evidence",
        "unpriced": "no_error_price",
        "quiet": "no_calls",
        "stray": "blocked",
    }


def test_moves_go_both_ways_with_the_smallest_edit(tierwise: Tierwise, made: Path) -> None:
    drafts = {each["payload_type"]: each for each in dry(tierwise, made)["drafts"]}
    down, up = drafts["safe"], drafts["weak"]
    assert (down["direction"], down["path_proposed"], up["direction"], up["path_proposed"]) == (
        "down", ["cheap"], "up", ["mid"],
    )  # fmt: skip
    assert down["edits"] == [{"path": ["payload_types", "safe", "path", 0], "before": "mid", "after": "cheap"}]


def test_figures_of_a_move_are_those_of_the_log(tierwise: Tierwise, made: Path) -> None:
    (draft,) = (each for each in dry(tierwise, made)["drafts"] if each["payload_type"] == "safe")
    assert draft["calls_per_month"] == pytest.approx(3000 * 30 / 28, rel=0.01)
    assert draft["saving_usd_month"]["mean"] == pytest.approx(draft["calls_per_month"] * 0.00126, rel=0.01)
    assert (draft["evidence"]["calls"], draft["evidence"]["pairs"]) == (3000, draft["evidence"]["labels"])
    assert draft["evidence"]["worse"] == draft["evidence"]["better"] == 0
    assert draft["wrong_rate_change"]["mean"] == pytest.approx(0, abs=0.002)
    net, saving, impact = draft["net_usd_month"], draft["saving_usd_month"], draft["impact_usd_month"]
    assert net["mean"] == pytest.approx(saving["mean"] - impact["mean"], abs=0.1)
    assert draft["identification"] == "pairs"


def test_calls_that_a_limit_moved_are_left_out_and_said(tierwise: Tierwise, made: Path) -> None:
    (draft,) = (each for each in dry(tierwise, made)["drafts"] if each["payload_type"] == "safe")
    assert "200 calls that a limit moved off their path are left out" in draft["assumptions"]


def test_missing_evidence_has_a_price_from_list_prices_and_says_that_labels_are_needed(
    tierwise: Tierwise, made: Path
) -> None:
    said = dry(tierwise, made)
    (draft,) = (each for each in said["drafts"] if each["payload_type"] == "rare")
    assert draft["kind"] == "evidence"
    tier = draft["path_proposed"][0]
    per_call = {"cheap": 0.00014, "mid": 0.0014}[tier]
    assert draft["shadow_cost_usd"] == pytest.approx(draft["shadow_calls"] * per_call)
    assert draft["edits"][0]["path"] == ["shadow_budget"]
    assert draft["edits"][1]["after"][0]["tier"] == tier
    (text,) = (each["text"] for each in said["verdicts"] if each["payload_type"] == "rare")
    assert f"run {draft['shadow_calls']:,} shadow calls of {tier}, about $" in text
    assert "labels are needed too" in text


def test_error_price_can_be_given_for_types_without_one(tierwise: Tierwise, made: Path) -> None:
    said = dry(tierwise, made, "--error-cost-usd", "0.01")
    assert verdicts(said)["unpriced"] != "no_error_price"
    (draft,) = (each for each in said["drafts"] if each["payload_type"] == "unpriced")
    assert draft["error_cost_usd"] == 0.01
    assert any("as given for this run" in text for text in draft["assumptions"])


def test_same_log_and_seed_give_the_same_bytes(tierwise: Tierwise, made: Path) -> None:
    arguments = ("--dry-run", "--json", "--as-of", AS_OF, "--config", made / "routing.yaml")
    first, second = (tierwise("propose", *arguments, "--home", made / ".tierwise").out for _ in range(2))
    assert first == second
    assert tierwise("propose", *arguments, "--home", made / ".tierwise", "--seed", "1").out != first


def test_calls_before_the_window_do_not_count(tierwise: Tierwise, made: Path) -> None:
    (draft,) = (each for each in dry(tierwise, made, "--window-days", "14")["drafts"] if each["payload_type"] == "safe")
    assert draft["evidence"]["calls"] == pytest.approx(1500, abs=1)
    assert draft["calls_per_month"] == pytest.approx(3000 * 30 / 28, rel=0.01)


def test_published_moves_wait_for_review_and_change_nothing(tierwise: Tierwise, home: Home) -> None:
    config = home.root.parent / "routing.yaml"
    ended = tierwise("propose", "--as-of", AS_OF, "--home", home.root)
    assert ended.code == 0, ended.err
    desk = Desk(home, config, lambda: END_US)
    open_now = {entry.proposal.draft.payload_type for entry in desk.entries()}
    assert {"safe", "weak", "rare"} <= open_now
    assert config.read_text() == CONFIG
    run = desk.latest_run()
    assert run is not None
    assert {verdict.payload_type for verdict in run.verdicts if verdict.proposal_id} == open_now


def test_same_look_again_publishes_nothing_new(tierwise: Tierwise, home: Home) -> None:
    arguments = ("--as-of", AS_OF, "--home", home.root, "--json")
    first, second = (tierwise("propose", *arguments).json()["published"] for _ in range(2))
    assert (first["kept"], second["new"]) == ([], [])
    assert sorted(second["kept"]) == sorted(first["new"])


def test_every_published_change_can_be_made_and_gives_a_valid_config(made: Path) -> None:
    from router_core.control.changes import edited

    sheet = propose(Home(made / ".tierwise"), load(made / "routing.yaml"), now_us=END_US)
    assert {draft.kind for draft in sheet.drafts} == {"move", "evidence"}
    for draft in sheet.drafts:
        config = parse(edited(CONFIG.encode(), draft.edits), source="routing.yaml")
        rule = config.payload_types[draft.payload_type]
        if draft.kind == "move":
            assert tuple(step.tier for step in rule.path) == draft.path_proposed
        else:
            assert rule.shadow
            assert config.shadow_budget is not None


def test_table_says_what_each_verdict_rests_on(tierwise: Tierwise, made: Path) -> None:
    ended = tierwise(
        "propose", "--dry-run", "--as-of", AS_OF, "--home", made / ".tierwise", "--config", made / "routing.yaml"
    )
    assert ended.code == 0, ended.err
    assert "safe: mid to cheap saves $" in ended.out
    assert "All 2 moves together: net $" in ended.out
