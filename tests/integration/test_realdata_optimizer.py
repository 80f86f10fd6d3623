"""A public evaluation, imported as a user would: are the moves right, and are the promises kept on unseen queries?"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import numpy as np
import pytest

from optimizer.propose import Sheet, propose
from router_core.call_log.home import Home
from router_core.call_log.importers.outcomes import import_outcomes
from router_core.call_log.ingest import ingest_once
from router_core.config import RoutingConfig, parse

pytestmark = [pytest.mark.realdata, pytest.mark.slow]

FILE = "outcomes_bfcl_2024-07-06.parquet"
MODELS = {
    "cheap": "gemini-1.5-flash-preview-0514",
    "mid": "claude-3-5-sonnet-20240620",
    "top": "gpt-4-0125-preview",
}
ERROR_COST_USD = 0.05
NOW_US = 1_795_000_000_000_000
HALVES = 20
# enough that no move is too small to be worth a click; the promises are asked for at other volumes anyway
CALLS_PER_MONTH = 170_000

Query = tuple[str, str]


@dataclass
class Tally:
    """What the queries of one payload type cost and got wrong on each tier; costs of the few unpriced rows are means.

    Attributes:
        queries: How many.
        wrong: Wrong answers by tier.
        cost_usd: Cost by tier.
    """

    queries: int = 0
    wrong: dict[str, float] = field(default_factory=dict)
    cost_usd: dict[str, float] = field(default_factory=dict)

    def total_usd(self, tier: str) -> float:
        return self.cost_usd[tier] + ERROR_COST_USD * self.wrong[tier]

    def gain_usd(self, tier: str) -> float:
        return self.total_usd("top") - self.total_usd(tier)

    def best_gain_usd(self) -> float:
        return max(self.gain_usd(tier) for tier in MODELS)


@dataclass(frozen=True)
class Evaluation:
    """The rows of three models."""

    con: duckdb.DuckDBPyConnection
    queries: tuple[Query, ...]
    config: RoutingConfig

    def sheet(self, folder: Path, queries: Sequence[Query], calls_per_month: int, seed: int = 0) -> Sheet:
        """Return what the optimizer says after an import of some queries."""
        self._choose(queries)
        folder.mkdir()
        part = folder / "part.parquet"
        self.con.execute(f"COPY (FROM rows SEMI JOIN chosen USING (payload_type, query_id)) TO '{part}'")
        home = Home(folder / "home")
        import_outcomes(
            home, part, tiers=MODELS, calls_per_month=calls_per_month, now_us=NOW_US, catch_up=lambda _: None
        )
        ingest_once(home)
        return propose(home, self.config, now_us=NOW_US, seed=seed)

    def tally(self, queries: Sequence[Query]) -> dict[str, Tally]:
        """Return what some queries cost and got wrong, by payload type."""
        self._choose(queries)
        found: dict[str, Tally] = {}
        rows = self.con.execute(
            "SELECT payload_type, model, count(*), sum(1 - correct), avg(cost_usd) * count(*)"
            " FROM rows SEMI JOIN chosen USING (payload_type, query_id) GROUP BY ALL"
        ).fetchall()
        tiers = {model: tier for tier, model in MODELS.items()}
        for kind, model, queries_of_type, wrong, cost in rows:
            tally = found.setdefault(kind, Tally())
            tally.queries = queries_of_type
            tally.wrong[tiers[model]], tally.cost_usd[tiers[model]] = wrong, cost
        return found

    def _choose(self, queries: Sequence[Query]) -> None:
        kinds, ids = zip(*queries, strict=True)
        self.con.execute("CREATE OR REPLACE TABLE chosen (payload_type VARCHAR, query_id VARCHAR)")
        self.con.execute("INSERT INTO chosen SELECT unnest($kinds), unnest($ids)", {"kinds": kinds, "ids": ids})


@pytest.fixture(scope="module")
def evaluation(data_dir: Path) -> Evaluation:
    con = duckdb.connect()
    models = tuple(MODELS.values())
    con.execute(f"CREATE TABLE rows AS FROM read_parquet('{data_dir / FILE}') WHERE model IN {models}")
    queries = con.execute("SELECT DISTINCT payload_type, query_id FROM rows ORDER BY ALL").fetchall()
    lines = ["version: 1", "tiers:", *(f"  {tier}: [{{model: {model}}}]" for tier, model in MODELS.items())]
    lines.append("payload_types:")
    lines += [
        f"  {kind}: {{path: [top], error_cost_usd: {ERROR_COST_USD}}}" for kind in sorted({kind for kind, _ in queries})
    ]
    config = parse("\n".join(lines).encode(), source="routing.yaml")
    return Evaluation(con, tuple((kind, query) for kind, query in queries), config)


def moves(sheet: Sheet) -> Mapping[str, str]:
    """Payload type → tier it is moved to."""
    return {draft.payload_type: draft.path_proposed[0] for draft in sheet.drafts if draft.kind == "move"}


def test_moves_come_close_to_an_oracle_that_knows_all_data(evaluation: Evaluation, tmp_path: Path) -> None:
    truth = evaluation.tally(evaluation.queries)
    moved = moves(evaluation.sheet(tmp_path / "all", evaluation.queries, CALLS_PER_MONTH))
    oracle = sum(tally.best_gain_usd() for tally in truth.values())
    ours = sum(truth[kind].gain_usd(tier) for kind, tier in moved.items())
    unproven = sum(tally.best_gain_usd() for tally in truth.values() if tally.queries < 100)
    print(f"oracle {oracle:.2f} USD per 1,700 queries, ours {ours:.2f}, regret {1 - ours / oracle:.1%} of its gain;")
    print(f"{unproven / oracle:.1%} of it lies in five types with fewer than the 100 pairs that a move needs")
    # 5 of 12 types have 40 to 70 queries: no move of theirs may be proposed, and they hold 16 % of the oracle's gain.
    # Of what can be proposed, at most 2 % may be missed: less than a wrong tier in any one type would cost, apart from
    # `simple`, where two tiers are worth the same.
    assert (oracle - unproven - ours) / oracle <= 0.02
    assert 1 - ours / oracle <= 0.18


def test_no_move_loses_money_on_all_data(evaluation: Evaluation, tmp_path: Path) -> None:
    truth = evaluation.tally(evaluation.queries)
    moved = moves(evaluation.sheet(tmp_path / "all", evaluation.queries, CALLS_PER_MONTH))
    assert moved
    assert all(truth[kind].gain_usd(tier) > 0 for kind, tier in moved.items())


def kept(evaluation: Evaluation, folder: Path, seeds: Iterable[int]) -> tuple[int, int, int, int]:
    """In how many unseen halves saving and change of accuracy lay in their intervals; moves, and those with more impact
    than promised at worst."""
    saving_held = accuracy_held = n_moves = above = 0
    for seed in seeds:
        order = np.random.default_rng(seed).permutation(len(evaluation.queries))
        middle = order.size // 2
        seen = [evaluation.queries[place] for place in order[:middle]]
        unseen = evaluation.tally([evaluation.queries[place] for place in order[middle:]])
        sheet = evaluation.sheet(folder / f"half{seed}", seen, CALLS_PER_MONTH // 2, seed)
        moved = moves(sheet)
        assert moved
        # a promise holds for a volume; the unseen half's own one is given
        volumes = {kind: float(tally.queries) for kind, tally in unseen.items()}
        promise = sheet.portfolio(volumes=volumes)
        saving = sum(unseen[kind].cost_usd["top"] - unseen[kind].cost_usd[tier] for kind, tier in moved.items())
        more_wrong = {kind: unseen[kind].wrong[tier] - unseen[kind].wrong["top"] for kind, tier in moved.items()}
        saving_held += promise.saving_usd.low <= saving <= promise.saving_usd.high
        change = sum(more_wrong.values()) / promise.calls
        accuracy_held += promise.wrong_rate_change.low <= change <= promise.wrong_rate_change.high
        n_moves += len(moved)
        for draft in sheet.drafts:
            if draft.payload_type in moved:
                alone = sheet.portfolio([draft], volumes)
                above += ERROR_COST_USD * more_wrong[draft.payload_type] > alone.impact_usd.high
    return saving_held, accuracy_held, n_moves, above


def test_promises_hold_on_the_unseen_half_of_the_queries(evaluation: Evaluation, tmp_path: Path) -> None:
    saving, accuracy, _, _ = kept(evaluation, tmp_path, range(HALVES))
    print(f"kept on {HALVES} unseen halves: saving {saving}, change of accuracy {accuracy}")
    assert saving >= 15
    assert accuracy >= 15
