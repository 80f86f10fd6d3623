"""What calls that were measured on two targets say of the others: cost there over what repriced tokens say of it.

Such a ratio takes in how the target counts tokens and how much it writes (verbosity). It is a ratio of sums over pairs,
and its spread that of a ratio estimator (Cochran, Sampling Techniques, 6.4).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from optimizer.simulate.caps import Flags, Ints
from optimizer.simulate.harm import Floats

FEWEST_PAIRS: Final = 30
"""Calls measured on both targets from which their cost ratio is used."""
USUAL_SPREAD: Final = 0.25
"""How far off repriced tokens are, as a share of the cost, where no log says so."""
_FEWEST_GROUPS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ratios:
    """Ratios of groups of calls.

    Attributes:
        ratio: Measured cost over repriced cost, shape ``(n_groups,)``; NaN where there are too few pairs.
        spread: Its standard deviation as a share of it, same shape; 0 where there is no ratio.
        scatter: How far off one call is, as a share of the mean cost, same shape; 0 where there is no ratio.
        unmeasured: How far off repriced tokens are where there is none: the root mean square of the logarithms of all
            ratios there are, ``USUAL_SPREAD`` with fewer than three.
    """

    ratio: Floats
    spread: Floats
    scatter: Floats
    unmeasured: float


def ratios_of(group: Ints, pair: Flags, own: Ints, repriced: Ints, n_groups: int) -> Ratios:
    """Return the ratios of groups of calls.

    Args:
        group: Index of each call's group, shape ``(n_calls,)``.
        pair: Whether a call was measured on both targets; where not, ``own`` is of no account.
        own: What it did cost on the other target, nano-dollars.
        repriced: What its tokens cost there, above 0 for pairs.
        n_groups: Number of groups.
    """
    group, measured, computed = group[pair], own[pair].astype(np.float64), repriced[pair].astype(np.float64)
    pairs = np.bincount(group, minlength=n_groups)
    whole = np.bincount(group, computed, n_groups)
    enough = (pairs >= FEWEST_PAIRS) & (whole > 0)
    ratio = np.full(n_groups, np.nan)
    np.divide(np.bincount(group, measured, n_groups), whole, out=ratio, where=enough)
    off = np.bincount(group, (measured - np.nan_to_num(ratio)[group] * computed) ** 2, n_groups)
    spread = np.zeros(n_groups)
    np.divide(np.sqrt(off * pairs / np.maximum(pairs - 1, 1)), whole * ratio, out=spread, where=enough & (ratio > 0))
    logs = np.log(ratio[enough & (ratio > 0)])
    unmeasured = float(np.sqrt(np.mean(logs**2))) if logs.size >= _FEWEST_GROUPS else USUAL_SPREAD
    return Ratios(ratio=ratio, spread=spread, scatter=spread * np.sqrt(pairs), unmeasured=unmeasured)
