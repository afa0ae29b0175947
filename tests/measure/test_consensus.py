"""Consensus of readers against ITK's STAPLE, the majority and known truth."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from acinus.errors import ConfigError, DataError, GridError
from acinus.measure import majority_vote, staple


def ellipsoid(center=(6.0, 10.0, 9.0), radii=(4.0, 6.0, 5.0), shape=(12, 20, 22)):
    grid = np.moveaxis(np.indices(shape), 0, -1)
    return (((grid - center) / radii) ** 2).sum(axis=-1) < 1.0


def careless(rng, truth, sensitivity, specificity):
    """A reader who errs at random, voxel by voxel."""
    draws = rng.random(truth.shape)
    return np.where(truth, draws < sensitivity, draws > specificity)


def outlines():
    """Four readers who draw the same organ a little larger, shifted or too small."""
    return [
        ellipsoid(),
        ellipsoid(radii=(4.5, 6.5, 5.5)),
        ellipsoid(center=(6.5, 10.5, 8.5)),
        ellipsoid(radii=(3.0, 5.0, 4.0)),
    ]


def itk_staple(masks):
    images = [sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in masks]
    staple_filter = sitk.STAPLEImageFilter()
    staple_filter.SetForegroundValue(1)
    staple_filter.SetMaximumIterations(10_000)
    probability = sitk.GetArrayFromImage(staple_filter.Execute(images))
    return probability, staple_filter.GetSensitivity(), staple_filter.GetSpecificity()


def agree_with_itk(masks):
    found = staple(masks, region=np.ones_like(masks[0]))
    probability, sensitivity, specificity = itk_staple(masks)
    assert found.has_converged
    np.testing.assert_allclose(found.probability, probability, atol=1e-4)
    np.testing.assert_allclose(found.sensitivity, sensitivity, atol=1e-5)
    np.testing.assert_allclose(found.specificity, specificity, atol=1e-5)
    assert found.prior == pytest.approx(np.mean(masks))


@pytest.mark.parametrize(
    "performance",
    [[(0.9, 0.95), (0.8, 0.99), (0.7, 0.9)], [(0.6, 0.9)] * 5, [(0.99, 0.9), (0.5, 0.99)] * 2],
)
def test_random_readers_equal_itk(rng, performance):
    truth = ellipsoid()
    agree_with_itk([careless(rng, truth, *one) for one in performance])


def test_outlines_equal_itk():
    agree_with_itk(outlines())


def test_steps_that_do_not_settle_say_so(rng):
    """In pure noise there is no structure to find; the estimate creeps on."""
    masks = list(rng.random((3, 4, 9, 7)) < 0.4)
    found = staple(masks, max_iterations=50)
    assert (found.n_iterations, found.has_converged) == (50, False)
    assert np.isfinite(found.probability).all()


def test_performance_and_truth_are_recovered(rng):
    truth = ellipsoid(shape=(24, 40, 40), center=(12, 20, 20), radii=(8, 12, 12))
    performance = [(0.95, 0.97), (0.9, 0.99), (0.8, 0.98), (0.7, 0.95)]
    masks = [careless(rng, truth, *one) for one in performance]
    found = staple(masks)
    np.testing.assert_allclose(found.sensitivity, [p for p, _ in performance], atol=0.02)
    np.testing.assert_allclose(found.specificity, [q for _, q in performance], atol=0.01)
    errors = np.count_nonzero(found.mask != truth)
    assert errors < np.count_nonzero(majority_vote(masks) != truth)


def test_the_default_does_not_depend_on_how_much_was_scanned():
    near = staple(outlines())
    far = staple([np.pad(mask, ((0, 5), (30, 30), (9, 40))) for mask in outlines()])
    np.testing.assert_allclose(far.probability[:-5, 30:-30, 9:-40], near.probability)
    assert far.probability[:, :30].max() == 0.0
    assert (far.sensitivity, far.specificity) == (near.sensitivity, near.specificity)
    assert (far.prior, far.n_voxels) == (near.prior, near.n_voxels)


def test_region_is_the_box_of_disagreement():
    a = np.zeros((4, 6, 8), dtype=bool)
    a[1:3, 1:5, 2:6] = True
    b = a.copy()
    b[1, 1, 2:4] = False
    b[2, 2, 5] = False
    found = staple([a, b, a])
    assert found.n_voxels == 2 * 2 * 4
    assert found.prior == pytest.approx((16 + 16 + 13) / 48)
    outside = a.copy()
    outside[1:3, 1:3, 2:6] = False
    assert (found.probability[outside] == 1.0).all()
    assert (found.probability[~a] == 0.0).all()


def test_disagreement_outside_a_given_region_is_a_share():
    masks = outlines()
    region = np.zeros_like(masks[0])
    region[:6] = True
    found = staple(masks, region=region)
    np.testing.assert_array_equal(found.probability[6:], np.mean(masks, axis=0)[6:])
    assert found.n_voxels == region.sum()


def test_a_larger_prior_never_lowers_a_probability_of_one_step():
    masks = outlines()
    low, high = (staple(masks, prior=p, max_iterations=1) for p in (0.1, 0.6))
    assert (low.probability <= high.probability).all()
    assert (low.prior, low.n_iterations, low.has_converged) == (0.1, 1, False)


def test_order_of_readers_does_not_matter():
    masks = outlines()
    found, turned = staple(masks), staple(masks[::-1])
    np.testing.assert_allclose(turned.probability, found.probability, atol=1e-7)
    assert turned.sensitivity == pytest.approx(found.sensitivity[::-1])


@pytest.mark.parametrize("n_readers", [1, 2, 3])
def test_readers_who_agree(n_readers):
    mask = ellipsoid()
    found = staple([mask] * n_readers)
    np.testing.assert_array_equal(found.mask, majority_vote([mask] * n_readers))
    np.testing.assert_array_equal(found.mask, mask)
    assert (found.n_iterations, found.n_voxels, found.prior) == (0, 0, None)
    assert found.sensitivity == found.specificity == (1.0,) * n_readers


def test_nobody_marked_anything():
    nothing = np.zeros((2, 3, 4), dtype=bool)
    found = staple([nothing, nothing])
    assert not found.mask.any()
    assert (found.sensitivity, found.specificity) == ((None, None), (1.0, 1.0))
    everything = staple([~nothing, ~nothing])
    assert (everything.sensitivity, everything.specificity) == ((1.0, 1.0), (None, None))


def test_two_alike_outvote_a_third():
    a, b = ellipsoid(), ellipsoid(center=(6.0, 12.0, 9.0))
    found = staple([a, b, a])
    np.testing.assert_array_equal(found.mask, a)
    np.testing.assert_array_equal(majority_vote([a, b, a]), a)
    assert found.sensitivity[0] == pytest.approx(1.0) and found.sensitivity[1] < 0.95


def test_majority_by_hand():
    answers = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]], dtype=bool)
    masks = list(answers.reshape(4, 1, 1, 4))
    assert majority_vote(masks).ravel().tolist() == [True, False, False, False]
    assert majority_vote(masks[:3]).ravel().tolist() == [True, True, False, False]


def test_masks_are_not_changed():
    masks = outlines()
    before = [mask.copy() for mask in masks]
    staple(masks)
    majority_vote(masks)
    np.testing.assert_array_equal(masks, before)


def test_wrong_use_is_refused():
    mask = ellipsoid()
    with pytest.raises(DataError, match="1 to 63 masks; got 0"):
        majority_vote([])
    with pytest.raises(DataError, match="mask of reader 2 must be a bool mask"):
        staple([mask, mask.astype(np.uint8)])
    with pytest.raises(GridError, match=r"mask of reader 2 must share the grid.*\(11, 20, 22\)"):
        staple([mask, mask[1:]])
    with pytest.raises(GridError, match="region must share"):
        staple([mask, mask], region=mask[1:])
    with pytest.raises(ConfigError, match="between 0 and 1; got 1"):
        staple([mask, mask], prior=1.0)
    with pytest.raises(ConfigError, match="at least 1; got 0"):
        staple([mask, mask], max_iterations=0)
