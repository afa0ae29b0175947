"""Differences between two groups of different patients: a mean, or shares of categories.

Enters: values or counts of both groups. Leaves: test results with their numbers
and, where a test cannot be computed, the reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy

from acinus.errors import DataError
from acinus.measure.statistics.values import defined, too_few

NO_SPREAD = "all values of both groups are equal within their group"


@dataclass(frozen=True)
class TwoSampleT:
    """Two-tailed unpaired t-test of two groups, both ways.

    Attributes:
        n_a: Defined values of the first group.
        n_b: Defined values of the second.
        mean_a: Mean of the first; None without values.
        mean_b: Mean of the second.
        sd_a: Sample standard deviation (n - 1) of the first; None below 2 values.
        sd_b: Of the second.
        student_t: Statistic with one common variance (Student).
        student_df: Its degrees of freedom, n_a + n_b - 2.
        student_p: Its two-tailed p-value.
        welch_t: Statistic with a variance for each group (Welch).
        welch_df: Its degrees of freedom (Satterthwaite).
        welch_p: Its two-tailed p-value.
        reason: Why the tests are undefined; empty if they are defined.
    """

    n_a: int
    n_b: int
    mean_a: float | None = None
    mean_b: float | None = None
    sd_a: float | None = None
    sd_b: float | None = None
    student_t: float | None = None
    student_df: float | None = None
    student_p: float | None = None
    welch_t: float | None = None
    welch_df: float | None = None
    welch_p: float | None = None
    reason: str = ""

    @property
    def n(self) -> int:
        """Defined values of both groups."""
        return self.n_a + self.n_b


@dataclass(frozen=True)
class ChiSquared:
    """Pearson's chi-squared test of independence in a table of counts.

    Attributes:
        n: Observations in the table.
        statistic: Chi-squared; None if undefined.
        df: Degrees of freedom.
        p: Probability of a larger statistic if rows and columns were independent.
        is_yates_corrected: Whether Yates' correction was applied (2 by 2 tables).
        smallest_expected: Smallest expected count; below 5 the p-value is rough.
        reason: Why the test is undefined; empty if it is defined.
    """

    n: int
    statistic: float | None = None
    df: int | None = None
    p: float | None = None
    is_yates_corrected: bool = False
    smallest_expected: float | None = None
    reason: str = ""


def two_sample_t(a: Iterable[float | None], b: Iterable[float | None]) -> TwoSampleT:
    """Two-tailed unpaired t-test of the defined values of two groups.

    Student's test (one common variance) is what "unpaired t-test" means in the
    lacrimal study and in SciPy's default; Welch's does not assume it.

    Raises:
        DataError: A value is infinite.
    """
    left, right = defined(a), defined(b)
    moments = [
        (float(one.mean()) if one.size else None, float(one.std(ddof=1)) if one.size > 1 else None)
        for one in (left, right)
    ]
    return t_from_summaries(
        (moments[0][0], moments[0][1], int(left.size)),
        (moments[1][0], moments[1][1], int(right.size)),
    )


def t_from_summaries(
    a: tuple[float | None, float | None, int], b: tuple[float | None, float | None, int]
) -> TwoSampleT:
    """The same test from mean, sample standard deviation (n - 1) and number of each group.

    Args:
        a: Mean, sd and n of the first group; mean or sd None where undefined.
        b: Of the second.
    """
    (mean_a, sd_a, n_a), (mean_b, sd_b, n_b) = a, b
    known = TwoSampleT(n_a, n_b, mean_a, mean_b, sd_a, sd_b)
    if mean_a is None or mean_b is None or sd_a is None or sd_b is None or min(n_a, n_b) < 2:
        return replace(known, reason=too_few(2, min(n_a, n_b), "values in each group"))
    scale = max(1.0, abs(mean_a), abs(mean_b))
    if max(sd_a, sd_b) <= 1e-12 * scale:
        return replace(known, reason=NO_SPREAD)
    student = scipy.stats.ttest_ind_from_stats(mean_a, sd_a, n_a, mean_b, sd_b, n_b, equal_var=True)
    welch = scipy.stats.ttest_ind_from_stats(mean_a, sd_a, n_a, mean_b, sd_b, n_b, equal_var=False)
    var_a, var_b = sd_a**2 / n_a, sd_b**2 / n_b
    return replace(
        known,
        student_t=float(student.statistic),
        student_df=float(n_a + n_b - 2),
        student_p=float(student.pvalue),
        welch_t=float(welch.statistic),
        welch_df=(var_a + var_b) ** 2 / (var_a**2 / (n_a - 1) + var_b**2 / (n_b - 1)),
        welch_p=float(welch.pvalue),
    )


def chi_squared(counts: Sequence[Sequence[int]]) -> ChiSquared:
    """Chi-squared test of independence; rows and columns without counts are left out.

    In a 2 by 2 table Yates' correction is applied, SciPy's default and thereby
    the lacrimal study's.

    Args:
        counts: Rows of a table of counts, >= 0, e.g. sexes by train and test.

    Raises:
        DataError: The rows differ in length or a count is negative or no whole number.
    """
    table = _checked_counts(counts)
    n = int(table.sum())
    table = table[table.sum(axis=1) > 0]
    table = table[:, table.sum(axis=0) > 0]
    if n == 0:
        return ChiSquared(0, reason="no observations")
    if min(table.shape) < 2:
        what = "category" if table.shape[0] < 2 else "group"
        return ChiSquared(n, reason=f"only one {what} has observations")
    is_corrected = table.shape == (2, 2)
    result = scipy.stats.chi2_contingency(table, correction=is_corrected)
    return ChiSquared(
        n=n,
        statistic=float(result.statistic),
        df=int(result.dof),
        p=float(result.pvalue),
        is_yates_corrected=is_corrected,
        smallest_expected=float(result.expected_freq.min()),
    )


def _checked_counts(counts: Sequence[Sequence[int]]) -> np.ndarray:
    if len({len(row) for row in counts}) > 1:
        raise DataError(
            "a table of counts must have rows of one length; "
            f"got lengths {[len(row) for row in counts]}."
        )
    flat = [count for row in counts for count in row]
    wrong = [one for one in flat if not math.isfinite(one) or one < 0 or one != int(one)]
    if wrong:
        raise DataError(f"counts must be whole numbers of at least 0; got {wrong[0]}.")
    n_columns = len(counts[0]) if len(counts) else 0
    return np.array(flat, dtype=np.int64).reshape(len(counts), n_columns)
