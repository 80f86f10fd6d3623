"""How often a forecast's bands hold on series of known pattern and on demos, beside two usual ways. Prints figures."""

import datetime as dt
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dashboard.demo import make_demo
from optimizer.simulate.daily import Floats, draw_days, fit
from optimizer.simulate.forecast import AHEAD, FEWEST_DAYS, backtest, forecast
from optimizer.traffic.spend_days import read_spend_days
from router_core.call_log.read import reading
from router_core.control.config_file import config_of
from router_core.decide.compile import compile_plans
from router_core.decide.guard import Limit
from router_core.types import NANO
from router_core.watch import ensure_ingested
from tests.builders import DEMO_LAST_DAY
from tests.spending import PATTERNS, make_history, make_spend

pytestmark = pytest.mark.bench

_SERIES, _DAYS, _DRAWS = 40, 90, 600
Draw = Callable[[Floats, int, np.random.Generator], Floats]


def _ours(usd: Floats, ahead: int, rng: np.random.Generator) -> Floats:
    days = np.arange(len(usd) + ahead) % 7
    return draw_days(fit(usd, days[: len(usd)]), days[len(usd) :], _DRAWS, rng)


def _holt_winters(usd: Floats, ahead: int, rng: np.random.Generator) -> Floats:
    from statsmodels.tsa.holtwinters import ExponentialSmoothing

    logged = np.log(usd + 0.05 * usd.mean())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted: Any = ExponentialSmoothing(
            logged, trend="add", damped_trend=True, seasonal="add", seasonal_periods=7
        ).fit()
        drawn = np.asarray(fitted.simulate(ahead, repetitions=_DRAWS, random_state=rng, error="add"))
    return np.maximum(np.exp(drawn.T) - 0.05 * usd.mean(), 0.0)


def _same_weekday(usd: Floats, ahead: int, rng: np.random.Generator) -> Floats:
    days = np.arange(len(usd) + ahead) % 7
    return np.column_stack([rng.choice(usd[days[: len(usd)] == day], _DRAWS) for day in days[len(usd) :]])


def _held(draw: Draw, pattern: str, n_series: int) -> tuple[float, float, float]:
    """Return how often bands of 80 and 95 % hold a day of the next 28, and that of 80 % their sum."""
    rng = np.random.default_rng(11)
    in_80, in_95, sums = (list[float]() for _ in range(3))
    for _ in range(n_series):
        usd = make_spend(pattern, rng, _DAYS)
        for origin in range(21, _DAYS - AHEAD + 1, 7):
            drawn, came = draw(usd[:origin], AHEAD, rng), usd[origin : origin + AHEAD]
            low_95, low, high, high_95 = np.quantile(drawn, (0.025, 0.1, 0.9, 0.975), axis=0)
            in_80.append(float(((low <= came) & (came <= high)).mean()))
            in_95.append(float(((low_95 <= came) & (came <= high_95)).mean()))
            low, high = np.quantile(drawn.sum(axis=1), (0.1, 0.9))
            sums.append(float(low <= came.sum() <= high))
    return float(np.mean(in_80)), float(np.mean(in_95)), float(np.mean(sums))


def test_bands_on_series_of_known_pattern() -> None:
    print(f"\n  {_SERIES} series of {_DAYS} days each, 28 days from every seventh day on; band of 80 % (95 %): sum")
    ways: dict[str, tuple[Draw, int]] = {
        "ours": (_ours, _SERIES), "Holt-Winters": (_holt_winters, 6), "same weekday": (_same_weekday, _SERIES)
    }  # fmt: skip
    for pattern in PATTERNS:
        cells: list[str] = []
        for name, (draw, n_series) in ways.items():
            day, day_95, total = _held(draw, pattern, n_series)
            cells.append(f"{name} {day:.0%} ({day_95:.0%}): {total:.0%}")
        print(f"  {pattern:<16} {'   '.join(cells)}")


def test_trips_on_series_of_known_pattern() -> None:
    rng = np.random.default_rng(5)
    for pattern in PATTERNS:
        ours, usual = list[float](), list[float]()
        for _ in range(10):
            usd = make_spend(pattern, rng, 60)
            found = backtest(make_history(usd), _limit(float(np.quantile(usd, 0.8))), rng)
            assert found is not None
            ours.append(found.brier or 0.0)
            usual.append(found.brier_climatology or 0.0)
        print(f"  {pattern:<16} Brier {np.mean(ours):.3f}, of the share of days before {np.mean(usual):.3f}")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_bands_on_a_demo(tmp_path: Path, demo_figures: dict[str, Any], seed: int) -> None:
    home = make_demo(tmp_path, demo_figures, seed=seed, last_day=DEMO_LAST_DAY).home
    ensure_ingested(home)
    config = config_of(home)
    assert config is not None
    now = dt.datetime.combine(DEMO_LAST_DAY, dt.time(23), dt.UTC)
    with reading(home) as log:
        history = read_spend_days(log, config, DEMO_LAST_DAY - dt.timedelta(120), now).history
    assert len(history.days) >= FEWEST_DAYS
    limit = compile_plans(config).limit
    for bound in (limit, _limit(float(np.quantile(history.demand_nusd, 0.6)) / NANO)):
        before = time.perf_counter()
        outlook = forecast(history, np.random.default_rng(0), limit=bound)
        took = time.perf_counter() - before
        found = outlook.backtest
        assert found is not None
        print(
            f"  demo {seed}: days in 80 % {found.in_80:.0%}, in 95 % {found.in_95:.0%}, {found.trips} trips, "
            f"Brier {found.brier:.3f} / {found.brier_climatology:.3f}, {took:.1f} s"
        )


def _limit(usd: float) -> Limit:
    return Limit(name="daily", limit_nusd=round(usd * NANO))
