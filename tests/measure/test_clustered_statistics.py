"""Statistics of patients with several values: laws of copies, plain resampling, statsmodels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from acinus.errors import DataError
from acinus.measure.statistics import (
    clustered_pearson,
    concordance,
    intraclass_correlation,
    limits_of_agreement,
    paired_difference,
    summarise,
    unpaired_difference,
    volume_comparison,
)
from acinus.measure.statistics.bootstrap import SEED, resample_counts

N_PATIENTS = 150


def ends(found, low="low", high="high"):
    return getattr(found, low), getattr(found, high)


INTERVALS = {
    "mean": lambda x, y, of: ends(summarise(x, cluster=of)),
    "paired difference": lambda x, y, of: ends(paired_difference(x, y, of)),
    "paired t": lambda x, y, of: ends(paired_difference(x, y, of), "t_low", "t_high"),
    "effect": lambda x, y, of: ends(paired_difference(x, y, of).effect),
    "unpaired difference": lambda x, y, of: ends(unpaired_difference(x, y, of, of)),
    "drop": lambda x, y, of: ends(unpaired_difference(x, y, of, of), "drop_low", "drop_high"),
    "correlation": lambda x, y, of: ends(clustered_pearson(x, y, of)),
    "bias": lambda x, y, of: ends(limits_of_agreement(x, y, of), "bias_low", "bias_high"),
    "lower limit": lambda x, y, of: ends(limits_of_agreement(x, y, of), "lower_low", "lower_high"),
    "upper limit": lambda x, y, of: ends(limits_of_agreement(x, y, of), "upper_low", "upper_high"),
    "concordance": lambda x, y, of: ends(concordance(x, y, of)),
    "slope": lambda x, y, of: ends(volume_comparison(x, y, of), "slope_low", "slope_high"),
    "intercept": lambda x, y, of: ends(
        volume_comparison(x, y, of), "intercept_low_ml", "intercept_high_ml"
    ),
} | {
    form: lambda x, y, of, form=form: ends(
        intraclass_correlation(list(zip(x, y, strict=True)), form, of)
    )
    for form in ("ICC(1,1)", "ICC(2,1)", "ICC(3,1)", "ICC(2,k)")
}


def volumes(rng, n, m=1):
    """First and second volume of `m` structures of each of `n` patients, and the patient."""
    size = np.repeat(rng.normal(30.0, 6.0, n), m) + rng.normal(0.0, 2.0, n * m)
    shift = np.repeat(rng.normal(1.0, 2.0, n), m)
    return size, size + shift + rng.normal(0.0, 1.0, n * m), np.repeat(np.arange(n), m)


@pytest.mark.parametrize("name", INTERVALS)
def test_copies_of_a_patients_values_never_narrow_an_interval(rng, name):
    size = rng.normal(30.0, 6.0, N_PATIENTS)
    x, y = (size + rng.normal(0.0, 3.0, N_PATIENTS) for _ in range(2))
    interval = INTERVALS[name]

    def width(copies, is_clustered):
        many = [np.repeat(one, copies).tolist() for one in (x, y)]
        of = np.repeat(np.arange(N_PATIENTS), copies if is_clustered else 1).tolist()
        return np.ptp(interval(*many, of if is_clustered else list(range(len(many[0])))))

    alone, twice, often = (width(copies, True) for copies in (1, 2, 5))
    assert often >= twice * 0.999
    assert often > 1.4 * width(5, False)  # as independent ones they would narrow it 2.2 times
    # One value a patient has the formula for independent ones; resampling comes out alike. That of
    # the second form of the intraclass correlation speaks of other readers as well.
    if not name.startswith("ICC(2"):
        assert twice == pytest.approx(alone, rel=0.15)


def test_a_patient_with_several_values_does_not_change_what_is_estimated(rng):
    x, y, of = volumes(rng, 20, m=2)
    pairs = list(zip(x, y, strict=True))
    for form in ("ICC(1,1)", "ICC(2,1)", "ICC(3,k)"):
        alone, clustered = (intraclass_correlation(pairs, form, by) for by in (None, of))
        assert clustered.value == alone.value
        assert (clustered.n, clustered.n_clusters) == (40, 20)
        assert clustered.interval != alone.interval
        assert clustered.low < clustered.value < clustered.high
    assert concordance(x, y, of).value == concordance(x, y).value
    assert volume_comparison(x, y, of).slope == volume_comparison(x, y).slope


def icc_21(table):
    """ICC(2,1) by the sums of squares of a two-way table."""
    n, k = table.shape
    rows, columns, mean = table.mean(1), table.mean(0), table.mean()
    msr = k * ((rows - mean) ** 2).sum() / (n - 1)
    msc = n * ((columns - mean) ** 2).sum() / (k - 1)
    rest = table - rows[:, None] - columns + mean
    mse = (rest**2).sum() / ((n - 1) * (k - 1))
    return (msr - mse) / (msr + (k - 1) * mse + k * (msc - mse) / n)


def test_bootstraps_equal_resampling_the_rows_of_patients(rng):
    x, y, of = volumes(rng, 12, m=3)
    keep = np.sort(rng.permutation(36)[:25])  # patients with one, two and three structures
    x, y, of = x[keep], y[keep], np.unique(of[keep], return_inverse=True)[1]
    n = of.max() + 1
    members = [np.flatnonzero(of == patient) for patient in range(n)]
    iccs, slopes, concordances = [], [], []
    for counts in resample_counts(n, seed=SEED).astype(int)[:2000]:
        rows = np.concatenate([np.tile(members[p], times) for p, times in enumerate(counts)])
        a, b = x[rows], y[rows]
        covariance = np.cov(a, b, bias=True)
        iccs.append(icc_21(np.stack([a, b], 1)))
        slopes.append(covariance[0, 1] / covariance[0, 0])
        below = covariance[0, 0] + covariance[1, 1] + (a.mean() - b.mean()) ** 2
        concordances.append(2 * covariance[0, 1] / below)
    found = intraclass_correlation(list(zip(x, y, strict=True)), "ICC(2,1)", of)
    line = volume_comparison(x, y, of)
    for (low, high), plain in (
        (ends(found), iccs),
        (ends(line, "slope_low", "slope_high"), slopes),
        (ends(concordance(x, y, of)), concordances),
    ):
        assert (low, high) == pytest.approx(np.percentile(plain, [2.5, 97.5]), rel=0.02)


def test_limits_have_the_components_of_variance_of_statsmodels(rng):
    x, y, of = volumes(rng, 15, m=3)
    found = limits_of_agreement(x, y, of)
    frame = pd.DataFrame({"d": x - y, "patient": of})
    squares = anova_lm(ols("d ~ C(patient)", frame).fit())["mean_sq"]
    between = (squares["C(patient)"] - squares["Residual"]) / 3
    assert found.sd**2 == pytest.approx(between + squares["Residual"])
    means = frame.groupby("patient")["d"].mean()
    t = scipy.stats.ttest_1samp(means, 0.0).confidence_interval(0.95)
    assert (found.bias_low, found.bias_high) == pytest.approx((t.low, t.high))
    assert (found.n, found.n_clusters) == (45, 15)
    assert "Zou" in found.method and "exact" in limits_of_agreement(x, y).method


def test_interval_of_a_clustered_limit_covers_it():
    rng = np.random.default_rng(7)
    truth = 1.0 + 1.96 * np.sqrt(2.0**2 + 1.0)
    covered = []
    for _ in range(300):
        d = np.repeat(rng.normal(1.0, 2.0, 12), 2) + rng.normal(0.0, 1.0, 24)
        found = limits_of_agreement(d, np.zeros(24), np.repeat(np.arange(12), 2))
        covered.append(found.upper_low <= truth <= found.upper_high)
    assert 0.92 <= np.mean(covered) <= 0.99


def test_normality_is_tested_on_one_value_a_patient(rng):
    values, _, of = volumes(rng, 20, m=2)
    w, p = scipy.stats.shapiro(values.reshape(20, 2).mean(1))
    found = summarise(values, cluster=of)
    assert (found.shapiro_w, found.shapiro_p) == pytest.approx((w, p))


def test_few_patients_have_a_value_and_no_clustered_interval():
    x, y, of = [1.0, 2.0, 3.0, 5.0], [1.5, 2.0, 3.5, 4.0], [0, 0, 1, 2]
    icc = intraclass_correlation(list(zip(x, y, strict=True)), "ICC(2,1)", of)
    line, lin = volume_comparison(x, y, of), concordance(x, y, of)
    assert icc.value is not None and icc.low is None and lin.low is None
    assert line.slope is not None and line.slope_low is None
    for reason in (icc.reason, lin.reason, line.reasons["slope_low"]):
        assert reason == "an interval needs at least 4 patients; got 3"
    alone = limits_of_agreement(x[:2], y[:2], of[:2])
    assert alone.bias == -0.25 and alone.reason == "needs at least 2 patients; got 1"


def test_percentages_leave_out_the_clusters_of_empty_pairs():
    found = limits_of_agreement([0, 2, 4, 6], [0, 1, 3, 3], [9, 1, 1, 2], is_percent=True)
    assert (found.n, found.n_mean_zero, found.n_clusters) == (3, 1, 2)


def test_clusters_must_be_as_many_as_values():
    for use in (limits_of_agreement, concordance, volume_comparison):
        with pytest.raises((DataError, ValueError)):
            use([1.0, 2.0, 3.0], [1.0, 2.0, 4.0], [0, 1])
