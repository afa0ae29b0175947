"""What a test of two groups of patients can find at all, before it is made.

Enters: numbers of patients. Leaves: the least p-value and the least difference. Few patients make
"no difference was found" say nothing, and a report must say so.
"""

from __future__ import annotations

import math
from statistics import NormalDist

ALPHA = 0.05
"""Probability of a false alarm that tests are made for."""


def least_rank_p(n: int, m: int) -> float:
    """Least two-tailed p-value of a Mann-Whitney test: all of one group beyond the other.

    Args:
        n: Patients of one group, >= 1.
        m: Of the other, >= 1.
    """
    return min(1.0, 2.0 / math.comb(n + m, n))


def detectable_difference(n: int, m: int, *, power: float = 0.8) -> float:
    """Least difference that a Mann-Whitney test at `ALPHA` finds, in standard deviations.

    Args:
        n: Patients of one group, >= 1.
        m: Of the other, >= 1.
        power: Probability with which it is found.

    Returns:
        For normal distributions, by the relative efficiency 3/pi of ranks against the t-test
        (Lehmann 1975, Nonparametrics, section 2.4); too small for groups of a few patients.
    """
    normal = NormalDist()
    reach = normal.inv_cdf(1 - ALPHA / 2) + normal.inv_cdf(power)
    return reach * math.sqrt((1 / n + 1 / m) * math.pi / 3)
