"""World-space resampling against SimpleITK and by laws; components against hand-drawn masks."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from acinus.scans import (
    Grid,
    Volume,
    canonical,
    component_volumes_ml,
    label_components,
    largest_component,
    resample_onto,
)

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def to_itk(volume: Volume) -> sitk.Image:
    image = sitk.GetImageFromArray(volume.array)
    lps = LPS_TO_RAS @ volume.affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image


@pytest.mark.parametrize(
    ("order", "interpolator"), [(0, sitk.sitkNearestNeighbor), (1, sitk.sitkLinear)]
)
def test_oblique_resampling_agrees_with_itk(order, interpolator, affines, rng) -> None:
    volume = Volume(rng.normal(size=(7, 20, 24)), affines[50])
    target = Grid((9, 15, 14), canonical(volume).affine @ np.diag([1.37, 1.21, 0.83, 1.0]))
    ours = resample_onto(volume, target, order=order, fill=-5.0)
    reference = to_itk(Volume(np.zeros(target.shape), target.affine))
    theirs = sitk.GetArrayFromImage(
        sitk.Resample(to_itk(volume), reference, sitk.Transform(), interpolator, -5.0)
    )
    both = (ours.array != -5) & (theirs != -5)
    assert both.mean() > 0.3
    np.testing.assert_allclose(ours.array[both], theirs[both], atol=1e-6)
    assert np.mean((ours.array == -5) != (theirs == -5)) < 0.02
    assert np.array_equal(ours.affine, target.affine)


@pytest.mark.parametrize("order", [0, 1, 3])
def test_a_straight_ramp_keeps_its_values_in_the_world(order, affines) -> None:
    source = Grid((30, 30, 30), np.diag([1.0, 1.0, 1.0, 1.0]))
    index = np.stack(np.indices(source.shape), axis=-1)
    ramp = source.world(index) @ np.array([1.0, 2.0, -3.0])
    inside = np.eye(4)
    inside[:3, :3] = affines[70][:3, :3] / np.linalg.norm(affines[70][:3, :3], axis=0)
    inside[:3, 3] = np.array([15.0, 15.0, 15.0]) - inside[:3, :3] @ np.array([5.0, 5.0, 5.0])
    target = Grid((10, 10, 10), inside)
    values = resample_onto(Volume(ramp, source.affine), target, order=order).array
    points = target.world(np.stack(np.indices(target.shape), axis=-1))
    expected = points @ np.array([1.0, 2.0, -3.0])
    np.testing.assert_allclose(values, expected, atol={0: 3.0, 1: 1e-9, 3: 5e-3}[order])


def test_resampling_onto_the_same_voxels_is_exact(affines, rng) -> None:
    for affine in affines:
        labels = Volume(rng.integers(0, 5, (3, 4, 5)).astype(np.uint8), affine)
        turned = canonical(labels)
        back = resample_onto(turned, labels.grid, order=0)
        assert np.array_equal(back.array, labels.array) and back.array.dtype == np.uint8


def test_finer_and_back_returns_the_labels(rng) -> None:
    labels = Volume(rng.integers(0, 5, (3, 4, 5)).astype(np.uint8), np.diag([2.0, 2.0, 2.0, 1.0]))
    fine = np.diag([1.0, 1.0, 1.0, 1.0])
    fine[:3, 3] = -0.5  # the same box of space: voxel edges coincide
    finer = resample_onto(labels, Grid((6, 8, 10), fine), order=0, fill=9)
    expected = labels.array.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    assert np.array_equal(finer.array, expected)
    assert np.array_equal(resample_onto(finer, labels.grid, order=0).array, labels.array)


def test_outside_stands_the_fill_value() -> None:
    volume = Volume(np.ones((4, 4, 4)), np.eye(4))
    far = np.eye(4)
    far[:3, 3] = 100
    assert np.all(resample_onto(volume, Grid((2, 2, 2), far), order=1, fill=7).array == 7)


def two_corners() -> np.ndarray:
    """A bar of 5 voxels, one voxel touching it by a corner, one apart."""
    mask = np.zeros((5, 6, 7), dtype=bool)
    mask[2, 2, 1:6] = True
    mask[3, 3, 6] = True
    mask[0, 5, 0] = True
    return mask


@pytest.mark.parametrize(("connectivity", "sizes"), [(6, (5, 1, 1)), (18, (5, 1, 1)), (26, (6, 1))])
def test_components_by_neighbourhood(connectivity, sizes) -> None:
    grid = Grid((5, 6, 7), np.diag([0.5, 0.5, 4.0, 1.0]))
    labels, n_components = label_components(two_corners(), connectivity)
    assert n_components == len(sizes)
    assert np.array_equal(labels > 0, two_corners())
    volumes = component_volumes_ml(two_corners(), grid, connectivity)
    np.testing.assert_allclose(volumes, [n * 0.001 for n in sizes])
    assert largest_component(two_corners(), connectivity).sum() == sizes[0]


def test_an_empty_mask_has_no_components() -> None:
    empty = np.zeros((3, 4, 5), dtype=bool)
    assert label_components(empty)[1] == 0
    assert not largest_component(empty).any()
    assert component_volumes_ml(empty, Grid((3, 4, 5), np.eye(4))) == ()
