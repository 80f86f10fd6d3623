"""``tierwise simulate policy`` on logs of real routers, against what a router under the other config did."""

from pathlib import Path
from typing import Any

import pytest

from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from router_core.testing import START_US, Reply
from router_core.types import Request, Usage
from tests.command_line import Tierwise
from tests.routers import ROUTING, SCHEMA, Bench, open_bench, reply

CALLS = 60
SHADOWED = ROUTING.replace(
    "path: [cheap, mid, top], error_cost_usd: 0.5",
    "path: [cheap, mid, top], error_cost_usd: 0.5, shadow: [{tier: mid, on: accepted, rate: 1.0}]",
) + "shadow_budget: {per: day, usd: 100}\n"  # fmt: skip
OTHER = ROUTING.replace("path: [cheap, mid, top]", "path: [mid, {tier: top, accept_at: 0.5}]")
WINDOW = ("--since", "2026-11-01", "--until", "2026-12-31")


def sized(request: Request) -> Reply:
    """Answers whose sizes and confidences differ from call to call."""
    number = int(str(request.messages[1]["content"]).rsplit(" ", 1)[1])
    unsure = number % (3 if request.model.endswith("small") else 7) == 0
    usage = Usage(input_tokens=100 + number % 7 * 40, output_tokens=10 + number % 5 * 9, cached_tokens=number % 4 * 20)
    return reply(confidence=0.2 if unsure else 0.9, usage=usage)


def run(folder: Path, routing: str, calls: int = CALLS) -> Bench:
    folder.mkdir()
    bench = open_bench(folder, dict.fromkeys(("a/small", "b/small", "a/medium", "b/large"), sized), routing)
    for number in range(calls):
        bench.clock.set(START_US + number * 60_000_000)
        messages = [{"role": "system", "content": "Extract."}, {"role": "user", "content": f"Document {number}"}]
        payload_type = "x.decide" if number % 10 == 0 else "x.extract"
        bench.router.complete(payload_type, messages=messages, response_format=SCHEMA)
    bench.router.close()
    ingest_once(Home(bench.home))
    return bench


def spent(bench: Bench) -> dict[str, float]:
    """USD of all calls without shadows, by payload type."""
    with reading(Home(bench.home)) as log:
        return dict(log.execute("SELECT payload_type, sum(cost_nusd) / 1e9 FROM calls GROUP BY 1").fetchall())


@pytest.fixture
def tierwise(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tierwise:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIERWISE_HOME", raising=False)
    return Tierwise(capsys)


def simulated(tierwise: Tierwise, bench: Bench, folder: Path, routing: str) -> dict[str, Any]:
    other = folder / "other.yaml"
    other.write_text(routing)
    return tierwise("simulate", "policy", other, "--home", bench.home, "--json", *WINDOW).json()


def test_what_is_at_hand_costs_and_escalates_as_a_real_router_did(tierwise: Tierwise, tmp_path: Path) -> None:
    made, lived = run(tmp_path / "made", SHADOWED), run(tmp_path / "lived", OTHER)
    found = simulated(tierwise, made, tmp_path, OTHER)
    types = {each["name"]: each for each in found["outcome"]["types"]}
    decide, extract = types["x.decide"], types["x.extract"]
    usd = spent(lived)["x.decide"]
    assert (decide["replayed"], decide["unknown"]) == (decide["calls"], 0)
    assert decide["then_usd"]["low"] == decide["then_usd"]["high"] == pytest.approx(usd)
    # a call whose mid answer is unsure goes on to top, which was asked only where it had gone up there by itself
    with reading(Home(made.home)) as log:
        row = log.execute("""
            SELECT count(*) FROM calls WHERE payload_type = 'x.extract' AND call_id NOT IN (
                SELECT call_id FROM attempts WHERE tier = 'mid' AND confidence < 0.8
                AND call_id NOT IN (SELECT call_id FROM attempts WHERE tier = 'top'))""").fetchone()
    assert row is not None
    assert extract["replayed"] == row[0] < extract["calls"]
    assert extract["unknown"] == extract["calls"] - extract["replayed"]
    assert extract["then_usd"] is None


def test_with_every_answer_at_hand_the_whole_log_costs_what_it_then_did(tierwise: Tierwise, tmp_path: Path) -> None:
    other = ROUTING.replace("path: [cheap, mid, top]", "path: [mid]")
    made, lived = run(tmp_path / "made", SHADOWED), run(tmp_path / "lived", other)
    found = simulated(tierwise, made, tmp_path, other)["outcome"]
    assert (found["replayed"], found["unknown"]) == (CALLS, 0)
    assert found["then_usd"]["mean"] == pytest.approx(sum(spent(lived).values()))
    assert found["cost_usd"] == pytest.approx(sum(spent(made).values()))


def test_a_person_sees_totals_baselines_and_what_is_not_known(tierwise: Tierwise, tmp_path: Path) -> None:
    made = run(tmp_path / "made", SHADOWED, 30)
    other = tmp_path / "other.yaml"
    other.write_text(OTHER.replace("  x.decide: {path: [top], critical: true, error_cost_usd: 5}\n", ""))
    ended = tierwise("simulate", "policy", other, "--home", made.home, *WINDOW)
    assert ended.code == 0
    out = " ".join(ended.out.split())
    assert "30 calls, compared with what happened" in out
    assert "everything on cheap (a/small)" in out
    assert "everything on top (b/large)" in out
    assert "This config does not name x.decide: it would refuse their calls." in out
    assert "not known" in out


def test_a_config_that_knows_none_of_the_models_knows_nothing(tierwise: Tierwise, tmp_path: Path) -> None:
    made = run(tmp_path / "made", ROUTING, 10)
    strange = ROUTING.replace("a/", "other/").replace("b/", "others/")
    found = simulated(tierwise, made, tmp_path, strange)["outcome"]
    assert (found["replayed"], found["unknown"], found["judged"]) == (0, 10, 0)
    assert found["known_cost_usd"] == 0


def test_bad_input_is_refused_and_an_empty_window_says_what_to_do(tierwise: Tierwise, tmp_path: Path) -> None:
    made = run(tmp_path / "made", ROUTING, 2)
    missing = tierwise("simulate", "policy", "nowhere.yaml", "--home", made.home)
    assert (missing.code, missing.out) == (2, "")
    assert "nowhere.yaml" in missing.err
    broken = tmp_path / "broken.yaml"
    broken.write_text("version: 1\ntiers: {}\n")
    assert tierwise("simulate", "policy", broken, "--home", made.home).code == 2
    good = tmp_path / "good.yaml"
    good.write_text(ROUTING)
    empty = tierwise("simulate", "policy", good, "--home", made.home, "--since", "2020-01-01", "--until", "2020-01-05")
    assert empty.code == 0
    assert "Try an earlier --since" in empty.out
