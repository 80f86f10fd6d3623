"""A model of one sum a day: level, slope and weekday, with what is not known of them drawn as well.

Dynamic linear models on z = log(y + offset) (West and Harrison, Bayesian Forecasting and Dynamic Models, 4.5)::

    z_t = level_t + away_t + weekday_t + e_t   e_t ~ sigma^2
    away_t = f away_t-1 + w_t                  w_t ~ q sigma^2
    level_t = level_t-1 + slope_t-1
    slope_t = 0.95 slope_t-1 + u_t             u_t ~ s sigma^2

With f = 1 the level drifts, with f < 1 it comes back. The states are filtered exactly, sigma^2 is integrated out with
its conjugate prior, and f, q and s over a grid by the likelihood of what came. So a quiet series gets narrow bands and
one whose level jumped gets wide ones, and the doubt about which of both it is goes into them. The shape of the noise is
that of the past.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln, ndtri

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_OFFSET_SHARE: Final = 0.05
"""The offset as a share of the mean of the first fortnight: keeps days without spend finite."""
_FORTNIGHT: Final = 14
_DAMPING: Final = 0.95
# f, q and s of each model
_MODELS: Final = np.array(
    [(1.0, q, s) for q in (0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0) for s in (0.0, 0.0003, 0.003)]
    + [(0.9, q, 0.0) for q in (0.03, 0.1, 0.3, 1.0)]
    + [(0.6, q, 0.0) for q in (0.1, 0.3, 1.0, 3.0)]
)
_RETURN, _DRIFT, _SLOPE = _MODELS.T
_PRIOR_DF: Final = 2.0
_PRIOR_SD: Final = 0.2
_FAR, _FARTHEST, _HIGHEST, _LEAST_SD = 2.5, 20.0, 30.0, 1e-3
# prior variances of the states, in units of sigma^2; a model without slope has none
_PRIOR_LEVEL, _PRIOR_SLOPE, _PRIOR_WEEKDAY = 1e4, 0.012, 100.0
# level, slope, away, and seven weekdays
_STATES: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Known:
    """What the models know after the last day; M is the number of models.

    Attributes:
        offset: Added before the logarithm.
        mean: Means of the states, ``(M, 10)``.
        spread: Their covariances in units of sigma^2, ``(M, 10, 10)``.
        scale: Estimate of sigma^2, ``(M,)``.
        df: Its degrees of freedom.
        weight: How likely each model is, ``(M,)``.
        shocks: Values with the shape of a day's noise, in units of sigma.
    """

    offset: float
    mean: Floats
    spread: Floats
    scale: Floats
    df: float
    weight: Floats
    shocks: Floats


def fit(values: Floats, weekday: Ints) -> Known:
    """Return what is known of a series of days.

    Args:
        values: Sum per day, none negative, shape ``(n_days,)``, at least one day.
        weekday: 0..6 of each day, same shape.
    """
    offset = _offset(values)
    z = np.log(values + offset)
    odd = _oddness(z, weekday)
    doubt = np.maximum((odd / _FAR) ** 2, 1.0)
    step = _steps()
    mean = np.zeros((len(_MODELS), _STATES))
    spread = np.zeros((len(_MODELS), _STATES, _STATES))
    mean[:, 0] = np.median(z[:7])
    spread[:, 0, 0] = _PRIOR_LEVEL
    spread[:, 1, 1] = np.where(_SLOPE > 0, _PRIOR_SLOPE, 0.0)
    spread[:, 2, 2] = np.where(_RETURN < 1, _DRIFT / np.maximum(1 - _RETURN**2, _LEAST_SD), 0.0)
    spread[:, range(3, _STATES), range(3, _STATES)] = _PRIOR_WEEKDAY
    scale, df = np.full(len(_MODELS), _PRIOR_SD**2), _PRIOR_DF
    # beforehand a slope, a drift and a level that comes back are as likely as each other
    log_weight = -np.log(_alike())
    for t, value in enumerate(z):
        mean = np.einsum("mij,mj->mi", step, mean)
        spread = step @ spread @ step.transpose(0, 2, 1)
        spread[:, 2, 2] += _DRIFT
        spread[:, 1, 1] += _SLOPE
        seen = _seen(int(weekday[t]))
        gain = spread @ seen
        variance = gain @ seen + doubt[t]
        miss = value - mean @ seen
        error = miss / np.sqrt(variance * scale)
        log_weight += _log_student(error, df) - 0.5 * np.log(variance * scale)
        mean += gain * (miss / variance)[:, None]
        spread -= gain[:, :, None] * gain[:, None, :] / variance[:, None, None]
        scale *= (df + error**2) / (df + 1.0)
        df += 1.0
    weight = np.exp(log_weight - log_weight.max())
    return Known(
        offset=offset,
        mean=mean,
        spread=spread,
        scale=scale,
        df=df,
        weight=weight / weight.sum(),
        shocks=_shape(odd),
    )


def draw_days(known: Known, weekday: Ints, n_draws: int, rng: np.random.Generator) -> Floats:
    """Return draws of the days that follow, shape ``(n_draws, n_ahead)``.

    Args:
        known: What is known.
        weekday: 0..6 of each day ahead.
        n_draws: How many.
        rng: Source of the draws.
    """
    model = rng.choice(len(_MODELS), size=n_draws, p=known.weight)
    sigma = np.sqrt(known.scale[model] * known.df / rng.chisquare(known.df, n_draws))
    noise = rng.standard_normal((n_draws, _STATES))
    state = known.mean[model] + sigma[:, None] * np.einsum("dij,dj->di", _root(known.spread)[model], noise)
    drift_sd, slope_sd = sigma * np.sqrt(_DRIFT[model]), sigma * np.sqrt(_SLOPE[model])
    out = np.empty((n_draws, weekday.size))
    for ahead, day in enumerate(weekday):
        state[:, 0] += state[:, 1]
        state[:, 1] = _DAMPING * state[:, 1] + slope_sd * rng.standard_normal(n_draws)
        state[:, 2] = _RETURN[model] * state[:, 2] + drift_sd * rng.standard_normal(n_draws)
        out[:, ahead] = state @ _seen(int(day)) + sigma * rng.choice(known.shocks, n_draws)
    # far beyond what was seen an exponential says nothing any more
    highest = np.log(known.offset) + _HIGHEST
    return np.maximum(np.exp(np.minimum(out, highest)) - known.offset, 0.0)


def _steps() -> Floats:
    """Return how each model's states go on from day to day, shape ``(M, 10, 10)``."""
    step = np.tile(np.eye(_STATES), (len(_MODELS), 1, 1))
    step[:, 0, 1], step[:, 1, 1], step[:, 2, 2] = 1.0, _DAMPING, _RETURN
    return step


def _alike() -> Floats:
    """Return how many models are of each one's kind: with a slope, drifting, coming back."""
    kind = np.where(_RETURN < 1, 0, np.where(_SLOPE > 0, 1, 2))
    return np.bincount(kind)[kind].astype(np.float64)


def _oddness(z: Floats, weekday: Ints) -> Floats:
    """Return how far off each day is, in robust standard deviations; 0 for all below a fortnight.

    From the median of the week around it and from what is usual for its weekday (a Hampel filter), so that one odd day
    moves neither the level nor its weekday. A new level is one once it has been there for most of a week.
    """
    if z.size < _FORTNIGHT:
        return np.zeros(z.size)
    padded = np.concatenate([np.full(3, np.nan), z, np.full(3, np.nan)])
    rest = z - np.nanmedian(np.lib.stride_tricks.sliding_window_view(padded, 7), axis=1)
    for day in np.unique(weekday):
        rest[weekday == day] -= np.median(rest[weekday == day])
    spread = float(np.median(np.abs(rest))) / 0.6745
    return rest / max(spread, _LEAST_SD)


def _offset(values: Floats) -> float:
    spent = values[values > 0][:_FORTNIGHT]
    return _OFFSET_SHARE * float(spent.mean()) if spent.size else 1.0


def _seen(weekday: int) -> Floats:
    """Return what a day's value takes of the states: weekdays as their distance from the mean weekday."""
    seen = np.zeros(_STATES)
    seen[0] = seen[2] = 1.0
    seen[3:] = -1.0 / 7.0
    seen[3 + weekday] += 1.0
    return seen


def _shape(odd: Floats) -> Floats:
    """Return values with the shape of past noise, in standard deviations, and some normal ones among them."""
    scores = ndtri((np.arange(_FORTNIGHT) + 0.5) / _FORTNIGHT)
    return np.concatenate([np.clip(odd, -_FARTHEST, _FARTHEST), scores]) if odd.any() else scores


def _root(covariance: Floats) -> Floats:
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]


def _log_student(x: Floats, df: float) -> Floats:
    constant = gammaln((df + 1) / 2) - gammaln(df / 2) - 0.5 * np.log(df * np.pi)
    return constant - (df + 1) / 2 * np.log1p(x**2 / df)
