"""A model of one sum a day: level, slope and weekday, with what is not known of them drawn as well.

Dynamic linear models on z = log(y + offset) (West and Harrison, Bayesian Forecasting and Dynamic Models, 4.5)::

    z_t = level_t + weekday_t + e_t            e_t ~ sigma^2
    level_t = level_t-1 + slope_t-1 + w_t      w_t ~ q sigma^2
    slope_t = 0.95 slope_t-1 + u_t             u_t ~ s sigma^2

Level, slope and weekdays are filtered exactly, sigma^2 is integrated out with its conjugate prior, and q and s over a
grid by the likelihood of what came. So a quiet series gets narrow bands and one whose level jumped gets wide ones, and
the doubt about which of both it is goes into them. The shape of the noise is that of the past one-day errors.
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
_LEVEL: Final = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_SLOPE: Final = (0.0, 0.0003, 0.003)
_PRIOR_DF: Final = 2.0
_PRIOR_SD: Final = 0.2
_FAR, _FARTHEST, _HIGHEST, _LEAST_SD = 2.5, 20.0, 30.0, 1e-3
# prior variances of the states, in units of sigma^2; a model without slope has none
_PRIOR_LEVEL, _PRIOR_SLOPE, _PRIOR_WEEKDAY = 1e4, 0.012, 100.0
_STATES: Final = 9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Known:
    """What the models know after the last day; M is the number of models.

    Attributes:
        offset: Added before the logarithm.
        mean: Means of the states, ``(M, 9)``.
        spread: Their covariances in units of sigma^2, ``(M, 9, 9)``.
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
    level, slope = _models()
    odd = _oddness(z, weekday)
    doubt = np.maximum((odd / _FAR) ** 2, 1.0)
    step = np.eye(_STATES)
    step[0, 1], step[1, 1] = 1.0, _DAMPING
    mean = np.zeros((level.size, _STATES))
    spread = np.zeros((level.size, _STATES, _STATES))
    mean[:, 0] = np.median(z[:7])
    spread[:, 0, 0] = _PRIOR_LEVEL
    spread[:, 1, 1] = np.where(slope > 0, _PRIOR_SLOPE, 0.0)
    spread[:, range(2, _STATES), range(2, _STATES)] = _PRIOR_WEEKDAY
    scale, df = np.full(level.size, _PRIOR_SD**2), _PRIOR_DF
    # half of what is likely beforehand has no slope
    log_weight = np.where(slope > 0, 0.0, np.log(len(_SLOPE) - 1.0))
    for t, value in enumerate(z):
        mean = mean @ step.T
        spread = step @ spread @ step.T
        spread[:, 0, 0] += level
        spread[:, 1, 1] += slope
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
    level, slope = _models()
    model = rng.choice(level.size, size=n_draws, p=known.weight)
    sigma = np.sqrt(known.scale[model] * known.df / rng.chisquare(known.df, n_draws))
    noise = rng.standard_normal((n_draws, _STATES))
    state = known.mean[model] + sigma[:, None] * np.einsum("dij,dj->di", _root(known.spread)[model], noise)
    level_sd, slope_sd = sigma * np.sqrt(level[model]), sigma * np.sqrt(slope[model])
    out = np.empty((n_draws, weekday.size))
    for ahead, day in enumerate(weekday):
        state[:, 0] += state[:, 1] + level_sd * rng.standard_normal(n_draws)
        state[:, 1] = _DAMPING * state[:, 1] + slope_sd * rng.standard_normal(n_draws)
        out[:, ahead] = state @ _seen(int(day)) + sigma * rng.choice(known.shocks, n_draws)
    # far beyond what was seen an exponential says nothing any more
    highest = np.log(known.offset) + _HIGHEST
    return np.maximum(np.exp(np.minimum(out, highest)) - known.offset, 0.0)


def _models() -> tuple[Floats, Floats]:
    """Return the variances of level and slope of each model, in units of sigma^2."""
    level, slope = np.meshgrid(_LEVEL, _SLOPE)
    return level.ravel(), slope.ravel()


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
    seen[0] = 1.0
    seen[2:] = -1.0 / 7.0
    seen[2 + weekday] += 1.0
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
