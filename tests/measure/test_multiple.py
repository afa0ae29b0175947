"""Corrections for many comparisons against statsmodels, by hand and by law."""

from __future__ import annotations

import math

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from acinus.errors import ConfigError, DataError
from acinus.measure.statistics import CORRECTIONS, adjusted_p

THEIRS = {"holm": "holm", "bonferroni": "bonferroni", "benjamini_hochberg": "fdr_bh"}


@pytest.mark.parametrize("method", CORRECTIONS)
@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_equals_statsmodels(rng, method, n):
    p = np.round(rng.beta(0.5, 3.0, n), 2)  # with ties, zeros and ones
    found = adjusted_p(p, method)
    np.testing.assert_allclose(found.p, multipletests(p, method=THEIRS[method])[1])
    assert (found.n, found.n_undefined, found.name) == (n, 0, CORRECTIONS[method])


def test_by_hand():
    p = [0.04, 0.01, 0.03]
    assert adjusted_p(p).method == "holm"
    assert adjusted_p(p).p == pytest.approx((0.06, 0.03, 0.06))
    assert adjusted_p(p, "bonferroni").p == pytest.approx((0.12, 0.03, 0.09))
    assert adjusted_p(p, "benjamini_hochberg").p == pytest.approx((0.04, 0.03, 0.04))


@pytest.mark.parametrize("method", CORRECTIONS)
def test_laws(rng, method):
    p = rng.beta(0.5, 3.0, 20)
    found = np.array(adjusted_p(p, method).p)
    assert (found >= p).all() and (found <= 1.0).all()
    order = rng.permutation(20)
    np.testing.assert_array_equal(adjusted_p(p[order], method).p, found[order])
    assert (np.diff(found[np.argsort(p)]) >= 0).all()
    assert (found <= np.array(adjusted_p(p, "bonferroni").p)).all()


def test_undefined_p_values_are_not_counted():
    found = adjusted_p([None, 0.01, math.nan, 0.03])
    assert (found.n, found.n_undefined, found.reason) == (2, 2, "")
    assert found.p[0] is found.p[2] is None
    assert (found.p[1], found.p[3]) == pytest.approx((0.02, 0.03))
    nothing = adjusted_p([None])
    assert (nothing.p, nothing.reason) == ((None,), "no p-value is defined")
    assert adjusted_p([]).p == ()


def test_wrong_use_is_refused():
    with pytest.raises(ConfigError, match=r"unknown correction 'homl'.*Did you mean 'holm'"):
        adjusted_p([0.1], "homl")
    with pytest.raises(DataError, match=r"\[0, 1\]; got 1.2"):
        adjusted_p([0.1, 1.2])
