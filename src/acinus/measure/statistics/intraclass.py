"""Intraclass correlation: how much of the variance of readings lies between subjects.

Enters: a table of readings, a row per subject and a column per reader. Leaves:
one of six coefficients, named in words, with its interval. A coefficient called
only "ICC" was rejected: on the table of Shrout and Fleiss the six run from 0.17
to 0.91.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import scipy
from numpy.typing import NDArray

from acinus.errors import ConfigError, DataError, unknown_name
from acinus.measure.statistics.bootstrap import (
    CLUSTER_BOOTSTRAP,
    CONFIDENCE,
    FEWEST_CLUSTERS,
    SEED,
    are_alone,
    cluster_codes,
    percentile_interval,
    resampled_sums,
)
from acinus.measure.statistics.values import Floats, is_constant, too_few, with_gaps

ICC_FORMS: Mapping[str, str] = MappingProxyType(
    {
        "ICC(1,1)": "one-way random, absolute agreement, single reading",
        "ICC(2,1)": "two-way random, absolute agreement, single reading",
        "ICC(3,1)": "two-way mixed, consistency, single reading",
        "ICC(1,k)": "one-way random, absolute agreement, mean of k readings",
        "ICC(2,k)": "two-way random, absolute agreement, mean of k readings",
        "ICC(3,k)": "two-way mixed, consistency, mean of k readings",
    }
)
"""Forms of Shrout and Fleiss and what they assume and judge.

One-way: each subject has other readers. Two-way random: the same readers, a
sample of those who might read. Two-way mixed: these readers and no others;
a constant difference between them does not count as disagreement.
"""

INTERVALS: Mapping[str, str] = MappingProxyType(
    {
        "1": "F, exact for normal readings (Shrout and Fleiss 1979)",
        "2": "F, Satterthwaite (McGraw and Wong 1996)",
        "3": "F, exact for normal readings (Shrout and Fleiss 1979)",
    }
)
"""How the interval of each form is made where subjects are independent."""

NO_SPREAD = "all subjects have the same mean reading"
NO_INTERVAL = "too few subjects for the approximate degrees of freedom of the interval"
ROUNDING = 1e-12
"""Mean squares up to this share of the mean square between subjects count as 0."""


@dataclass(frozen=True)
class IntraclassCorrelation:
    """One form of the intraclass correlation.

    Attributes:
        form: Key of `ICC_FORMS`, e.g. ``"ICC(2,1)"``.
        name: The same in words.
        n: Subjects with all readings; all figures are over these.
        n_undefined: Subjects left out because a reading is undefined.
        n_clusters: Patients that the subjects are of; as many as subjects where nothing else is
            said.
        k: Readers.
        interval: How the interval is made, in words.
        value: At most 1. Below 0 the readings of one subject differ more than those
            of two; there is no lower end that holds for all forms. None if undefined.
        low: Lower end of the 95% interval.
        high: Upper end.
        reason: Why a figure is None; empty if none is.
    """

    form: str
    name: str
    n: int
    n_undefined: int
    n_clusters: int
    k: int
    interval: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class _MeanSquares:
    """Analysis of variance of an (n, k) table without gaps."""

    n: int
    k: int
    subjects: float
    readers: float
    within: float
    residual: float


def intraclass_correlation(
    readings: Sequence[Sequence[float | None]],
    form: str = "ICC(2,1)",
    cluster: Sequence[Hashable] | None = None,
    *,
    seed: int = SEED,
) -> IntraclassCorrelation:
    """Intraclass correlation of the subjects with all readings, with a 95% interval.

    With the mean squares MSR between subjects, MSC between readers, MSW within
    subjects and MSE of the residual:

    - ICC(1,1) = (MSR - MSW) / (MSR + (k-1) MSW)
    - ICC(2,1) = (MSR - MSE) / (MSR + (k-1) MSE + k (MSC - MSE) / n)
    - ICC(3,1) = (MSR - MSE) / (MSR + (k-1) MSE)
    - ICC(·,k) = k ICC(·,1) / (1 + (k-1) ICC(·,1)), Spearman and Brown

    The interval is exact for forms 1 and 3 with normal readings (F). That of
    form 2 is approximate (F with Satterthwaite's degrees of freedom) and left out
    where it does not hold the value, as happens with two subjects. Where a patient has several
    subjects, such as both glands, the value is that of all subjects and the interval comes from
    resampling patients. It speaks of these readers: that of form 2 above also of others like them,
    and may be wider for fewer subjects.

    Args:
        readings: (n, k) rows are subjects, columns readers; None or NaN where a
            reading is undefined, which leaves the subject out.
        form: Key of `ICC_FORMS`.
        cluster: Patient of each subject, where one patient has several. By default each subject
            is its own.
        seed: Of the bootstrap.

    Returns:
        Undefined with fewer than 2 subjects or readers, or if all subjects have
        the same mean; no interval of clustered subjects below `FEWEST_CLUSTERS` patients.

    Raises:
        ConfigError: The form is not known.
        DataError: The rows differ in length, or a value is infinite.

    Source: Shrout and Fleiss 1979, Psychological Bulletin 86(2):420-428; the
    interval of form 2: McGraw and Wong 1996, Psychological Methods 1(1):30-46,
    Table 7, ICC(A,1).
    """
    if form not in ICC_FORMS:
        raise ConfigError(unknown_name("form of intraclass correlation", form, ICC_FORMS))
    table, complete = _complete_rows(readings)
    n, k = table.shape
    members = None if cluster is None else [c for c, w in zip(cluster, complete, strict=True) if w]
    codes, n_clusters = cluster_codes(members, n)
    is_clustered = not are_alone(codes, n_clusters)
    known = IntraclassCorrelation(
        form,
        ICC_FORMS[form],
        n,
        len(readings) - n,
        n_clusters,
        k,
        f"{CLUSTER_BOOTSTRAP}, for these readers" if is_clustered else INTERVALS[form[4]],
    )
    if n < 2:
        return replace(known, reason=too_few(2, n, "subjects with all readings"))
    if k < 2:
        return replace(known, reason=too_few(2, k, "readers"))
    if is_constant(table.mean(axis=1)):
        return replace(known, reason=NO_SPREAD)
    squares = _mean_squares(table)
    single = {"1": _one_way, "2": _two_way_random, "3": _two_way_mixed}[form[4]]
    value, low, high = single(squares)
    if form.endswith("k)"):
        value, low, high = (_of_mean(one, k) for one in (value, low, high))
    if not math.isfinite(value):
        return replace(known, reason="the readings of a subject differ more than the subjects")
    if is_clustered:
        if n_clusters < FEWEST_CLUSTERS:
            why = "an interval " + too_few(FEWEST_CLUSTERS, n_clusters, "patients")
            return replace(known, value=value, reason=why)
        low, high = _cluster_interval(table, form, codes, n_clusters, seed)
    if not low <= value <= high:  # or not finite
        return replace(known, value=value, reason=NO_INTERVAL)
    return replace(known, value=value, low=low, high=high)


def _complete_rows(
    readings: Sequence[Sequence[float | None]],
) -> tuple[Floats, NDArray[np.bool_]]:
    """Rows without gaps, (n, k), and which of those given they are."""
    lengths = {len(row) for row in readings}
    if len(lengths) > 1:
        raise DataError(
            "each subject must have a value or a gap (None) for each reader; "
            f"got rows of lengths {sorted(lengths)}."
        )
    k = lengths.pop() if lengths else 0
    table = with_gaps(value for row in readings for value in row).reshape(len(readings), k)
    complete = np.asarray(~np.isnan(table).any(axis=1))
    return table[complete], complete


def _mean_squares(table: Floats) -> _MeanSquares:
    n, k = table.shape
    mean, rows, columns = table.mean(), table.mean(axis=1), table.mean(axis=0)
    subjects = k * float(((rows - mean) ** 2).sum()) / (n - 1)
    readers = n * float(((columns - mean) ** 2).sum()) / (k - 1)
    within = float(((table - rows[:, None]) ** 2).sum()) / (n * (k - 1))
    rest = table - rows[:, None] - columns + mean
    residual = float((rest**2).sum()) / ((n - 1) * (k - 1))
    rounding = ROUNDING * subjects
    readers, within, residual = (
        0.0 if one <= rounding else one for one in (readers, within, residual)
    )
    return _MeanSquares(n, k, subjects, readers, within, residual)


def _one_way(of: _MeanSquares) -> tuple[float, float, float]:
    return _by_ratio(of, of.within, of.n * (of.k - 1))


def _two_way_mixed(of: _MeanSquares) -> tuple[float, float, float]:
    return _by_ratio(of, of.residual, (of.n - 1) * (of.k - 1))


def _by_ratio(of: _MeanSquares, error: float, df: int) -> tuple[float, float, float]:
    """Value and interval from F = MSR / `error`, which has n - 1 and `df` degrees of freedom."""
    if error == 0.0:
        return 1.0, 1.0, 1.0
    ratio, tail = of.subjects / error, (1.0 + CONFIDENCE) / 2.0
    lower = ratio / scipy.stats.f.ppf(tail, of.n - 1, df)
    upper = ratio * scipy.stats.f.ppf(tail, df, of.n - 1)
    value, low, high = (float((f - 1.0) / (f + of.k - 1.0)) for f in (ratio, lower, upper))
    return value, low, high


def _two_way_random(of: _MeanSquares) -> tuple[float, float, float]:
    n, k, msr, msc, mse = of.n, of.k, of.subjects, of.readers, of.residual
    value = (msr - mse) / (msr + (k - 1) * mse + k * (msc - mse) / n)
    if msc == mse == 0.0:
        return 1.0, 1.0, 1.0
    a = k * value / (n * (1.0 - value))
    b = 1.0 + k * value * (n - 1) / (n * (1.0 - value))
    spread = (a * msc) ** 2 / (k - 1) + (b * mse) ** 2 / ((n - 1) * (k - 1))
    if spread == 0.0:
        return value, math.nan, math.nan
    df = (a * msc + b * mse) ** 2 / spread
    tail = (1.0 + CONFIDENCE) / 2.0
    down = scipy.stats.f.ppf(tail, n - 1, df)
    up = scipy.stats.f.ppf(tail, df, n - 1)
    common = k * msc + (k * n - k - n) * mse
    low = n * (msr - down * mse) / (down * common + n * msr)
    high = n * (up * msr - mse) / (common + n * up * msr)
    return value, float(low), float(high)


def _of_mean(single: float, k: int) -> float:
    """Coefficient of the mean of k readings from that of one; NaN where it has none."""
    below = 1.0 + (k - 1) * single
    return k * single / below if below > 1e-12 else math.nan


def _cluster_interval(
    table: Floats, form: str, codes: NDArray[np.intp], n_clusters: int, seed: int
) -> tuple[float, float]:
    """Percentile interval when whole patients are resampled; those without value are left out."""
    k = table.shape[1]
    x = (table - table.mean()) / table.std()
    terms = np.column_stack([np.ones(len(x)), x, k * x.mean(axis=1) ** 2, (x**2).sum(axis=1)])
    n, *columns, rows, squares = resampled_sums(terms, codes, n_clusters, seed=seed)
    totals = np.stack(columns)
    about_mean = totals.sum(axis=0) ** 2 / (n * k)
    readers = np.maximum(0.0, (totals**2).sum(axis=0) / n - about_mean)
    between, within = rows - about_mean, np.maximum(0.0, squares - rows)
    msr, msc, msw = between / (n - 1), readers / (k - 1), within / (n * (k - 1))
    mse = np.maximum(0.0, within - readers) / ((n - 1) * (k - 1))
    error = msw if form[4] == "1" else mse
    below = msr + (k - 1) * error + (k * (msc - mse) / n if form[4] == "2" else 0.0)
    usable = (between > ROUNDING * squares) & (below > 0.0)
    values = (msr - error)[usable] / below[usable]
    if form.endswith("k)"):
        room = 1.0 + (k - 1) * values
        values = k * values[room > ROUNDING] / room[room > ROUNDING]
    return percentile_interval(values) if values.size else (math.nan, math.nan)
