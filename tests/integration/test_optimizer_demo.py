"""The demo's planted findings, each where its marker says it is: does a look at the log find them?"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dashboard.demo import make_demo
from optimizer.propose import Sheet, newest_us, propose
from router_core.call_log.home import CONFIG_NAME, Home
from router_core.control.config_file import load
from router_core.control.records import Draft
from router_core.watch import ensure_ingested
from tests.builders import DEMO_LAST_DAY

pytestmark = pytest.mark.slow

# the first is the demo as a newcomer gets it, which other tests look at too: it comes last, when it may be there
SEEDS = (2, 3, 4, 5, 1)
# half of the others' days are enough to find what is planted, and take half as long to simulate
DAYS = 30


@dataclass(frozen=True)
class Look:
    """A demo's planted findings and what the optimizer says of its log."""

    planted: dict[str, Any]
    sheet: Sheet

    def verdict(self, finding: str) -> str:
        return next(each.verdict for each in self.sheet.verdicts if each.payload_type == self.planted[finding])

    def draft(self, finding: str) -> Draft:
        return next(each for each in self.sheet.drafts if each.payload_type == self.planted[finding])


@pytest.fixture(scope="module", params=SEEDS, ids=lambda seed: f"seed {seed}")
def look(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Look:
    if request.param == 1:
        home: Home = request.getfixturevalue("demo_home")
        return _look(home)
    root: Path = tmp_path_factory.mktemp("demos")
    figures: dict[str, Any] = request.getfixturevalue("demo_figures")
    home = make_demo(root, figures, seed=request.param, last_day=DEMO_LAST_DAY, days=DAYS).home
    ensure_ingested(home)
    found = _look(home)
    shutil.rmtree(root)
    return found


def _look(home: Home) -> Look:
    end_us = newest_us(home)
    assert end_us is not None
    sheet = propose(home, load(home.root / CONFIG_NAME), now_us=end_us)
    return Look(json.loads(home.demo_marker.read_text())["planted"], sheet)


def test_type_for_which_cheap_is_as_good_moves_down(look: Look) -> None:
    draft = look.draft("safe_down")
    assert (look.verdict("safe_down"), draft.kind, draft.direction) == ("move", "move", "down")
    assert (draft.path_now[0], draft.path_proposed[0]) == ("mid", "cheap")
    assert draft.saving_usd_month.low > 0


def test_type_whose_mistakes_cost_more_than_a_better_tier_moves_up(look: Look) -> None:
    draft = look.draft("pays_up")
    assert (look.verdict("pays_up"), draft.kind, draft.direction) == ("move", "move", "up")
    assert (draft.path_now, draft.path_proposed) == (("cheap",), ("mid",))
    assert draft.wrong_rate_change.high < 0


def test_no_move_for_a_tie(look: Look) -> None:
    assert look.verdict("tie") in ("hold", "not_enough_evidence")
    assert not [
        draft for draft in look.sheet.drafts if draft.payload_type == look.planted["tie"] and draft.kind == "move"
    ]


def test_type_without_labels_is_told_what_finding_out_costs(look: Look) -> None:
    assert look.verdict("no_evidence") == "not_enough_evidence"
    (text,) = (each.text for each in look.sheet.verdicts if each.payload_type == look.planted["no_evidence"])
    assert "shadow calls" in text
    assert "about $" in text
    assert "labels are needed too" in text
