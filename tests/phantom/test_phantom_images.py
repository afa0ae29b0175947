"""Laws of painting and acquiring: partial volume, interpolation, contrast, artefacts."""

from __future__ import annotations

import numpy as np
import pytest

from acinus.cohort.phantom.acquisition import acquire, draw_scanner
from acinus.cohort.phantom.anatomy import Head, draw_head
from acinus.cohort.phantom.geometry import Position, ScanPlan, draw_position, plan_scan, rotation
from acinus.cohort.phantom.painting import paint_slices, refine, sub_slices
from acinus.cohort.phantom.readers import READER_ERRORS, draw_reading, seen_share
from acinus.cohort.phantom.shapes import capsule, ellipsoid, sphere
from acinus.cohort.phantom.tissues import SEQUENCES
from acinus.types import Array


@pytest.fixture(scope="module")
def head() -> Head:
    return draw_head(np.random.default_rng(4), age=50, sex="F", condition="normal")


@pytest.fixture(scope="module")
def plan() -> ScanPlan:
    """Few, thick slices through the glands at 256 pixels."""
    rng = np.random.default_rng(8)
    position = Position((4.0, 2.0, -3.0), (1.0, 2.0, 3.0), (3.0, 1.0, 2.0), 256, 176.0, 4.0, 0.1, 8)
    return plan_scan(rng, position)


def _image(head: Head, plan: ScanPlan, name: str, seed: int = 2, **state: object) -> Array:
    rng = np.random.default_rng(seed)
    sequence = SEQUENCES[name]
    scanner = draw_scanner(rng, 1.5, **state)  # type: ignore[arg-type]
    return acquire(paint_slices(head, plan, sequence, 1.5), plan, sequence, scanner, rng)


def test_each_slice_is_a_weighted_mean_of_planes() -> None:
    planes, weights = sub_slices(5, slice_mm=3.6, thickness_mm=3.0)
    assert weights.shape == (5, planes.size)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    np.testing.assert_allclose(weights @ planes, np.arange(5), atol=1e-9)
    # Nothing comes from further away than the slice and its flanks.
    away_mm = np.abs(planes[None] - np.arange(5)[:, None]) * 3.6
    assert weights[away_mm > 0.5 * 3.0 + 0.5 * 0.25 * 3.0 + 1e-6].max() == 0.0


def test_partial_volume_is_conserved(head: Head, plan: ScanPlan) -> None:
    rng = np.random.default_rng(0)
    # Slices without gaps cover the gland: shares times voxel volume give its volume.
    touching = ScanPlan(
        plan.shape, plan.affine, plan.body_from_world, plan.n_acquired, plan.slice_mm
    )
    voxel_ml = abs(np.linalg.det(plan.affine[:3, :3])) / 1000.0
    for gland, volume_ml in zip(head.glands, head.volumes_ml, strict=True):
        _, share = seen_share(gland, touching, None, rng)
        assert share.sum() * voxel_ml == pytest.approx(volume_ml, rel=0.04)
        assert ((share > 0.05) & (share < 0.95)).sum() > 20


def test_refine_is_exact_for_linear_fields() -> None:
    rows, columns = np.meshgrid(np.arange(5) * 4, np.arange(7) * 4, indexing="ij")
    lattice = (2.0 * rows - 3.0 * columns + 1.0).astype(np.float32)
    fine = refine(lattice, 4)
    r, c = np.meshgrid(np.arange(16), np.arange(24), indexing="ij")
    np.testing.assert_allclose(fine, 2.0 * r - 3.0 * c + 1.0, atol=1e-4)


def test_distances_of_simple_bodies() -> None:
    x, y, z = np.array([5.0]), np.array([0.0]), np.array([0.0])
    assert sphere(x, y, z, (0, 0, 0), 2.0)[0] == pytest.approx(3.0)
    assert ellipsoid(x, y, z, (0, 0, 0), (2.0, 2.0, 2.0))[0] == pytest.approx(3.0)
    assert capsule(x, y, z, (0, -9, 0), (0, 9, 0), (1.0, 3.0))[0] == pytest.approx(3.0)


def test_rotation_is_orthogonal_and_right_handed() -> None:
    turned = rotation(5.0, -3.0, 2.0)
    np.testing.assert_allclose(turned @ turned.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turned) == pytest.approx(1.0)
    # A positive yaw turns the right towards the anterior.
    np.testing.assert_allclose(rotation(0, 0, 90) @ [1, 0, 0], [0, 1, 0], atol=1e-12)


def test_grids_lie_in_the_range_of_the_study() -> None:
    rng = np.random.default_rng(5)
    slices = []
    for _ in range(60):
        position = draw_position(rng, None)
        scan = plan_scan(rng, position)
        assert scan.shape[1] in (256, 512)
        assert 0.3 <= scan.pixel_mm <= 0.705
        assert 2.999 <= scan.slice_mm <= 4.81 and 3.0 <= scan.thickness_mm <= 4.0
        slices.append(scan.shape[0])
        axes = scan.affine[:3, :3] / np.linalg.norm(scan.affine[:3, :3], axis=0)
        assert (np.diag(axes) * [-1, -1, 1] > 0.9).all()
        assert np.abs(axes - np.diag(np.diag(axes))).max() > 1e-3
    assert 17.5 < np.mean(slices) < 21.0


def test_gland_contrast_in_the_images(head: Head, plan: ScanPlan) -> None:
    rng = np.random.default_rng(3)
    core = np.zeros(plan.shape, bool)
    around = np.zeros(plan.shape, bool)
    for gland in head.glands:
        window, share = seen_share(gland, plan, None, rng)
        core[window] |= share > 0.95
    globe = np.asarray(head.globe(1))
    index = np.linalg.inv(plan.body_from_index) @ [globe[0] - 9, -22.0, 0.0, 1.0]
    i, j, k = np.rint(index[:3]).astype(int)
    around[k, j - 2 : j + 3, i - 2 : i + 3] = True
    assert core.sum() > 30
    plain, post = (_image(head, plan, name) for name in ("AX-T1", "POST-AX-T1-FS"))
    assert plain[core].mean() < 0.75 * np.median(plain[around])
    assert post[core].mean() > 1.5 * np.median(post[around])
    assert plain.dtype == np.int16 and plain.min() >= 0
    background = plain[:, :6, :6]
    assert 0 < background.mean() < 0.1 * plain.max()


def test_artefacts_change_the_image_everywhere_they_should(head: Head, plan: ScanPlan) -> None:
    clean = _image(head, plan, "AX-T1").astype(float)
    air = (slice(None), slice(0, 12), slice(0, 40))
    for artefact in ("motion", "spike"):
        spoilt = _image(head, plan, "AX-T1", artefact=artefact).astype(float)
        assert spoilt[air].mean() > 1.5 * clean[air].mean(), artefact
    metal = _image(head, plan, "AX-T1", artefact="metal").astype(float)
    lost = (clean > 0.4 * clean.max()) & (metal < 0.2 * clean)
    assert lost.sum() > 200


def test_reading_errors_have_the_size_of_real_readers(plan: ScanPlan) -> None:
    second, repeat, true = [], [], []
    rng = np.random.default_rng(11)
    for seed in range(5):
        head = draw_head(np.random.default_rng(seed), age=50, sex="", condition="normal")
        drawn = {name: draw_reading(head, plan, e, rng) for name, e in READER_ERRORS.items()}
        for value, gland in zip((1, 2), head.glands, strict=True):
            window, share = seen_share(gland, plan, None, rng)
            reference = drawn["reference"] == value
            second.append(_dice(reference, drawn["second"] == value))
            repeat.append(_dice(reference, drawn["repeat"] == value))
            true.append(_dice(reference[window], share > 0.45))
    # Two real readers: 0.69, sd 0.11 (Nikolov et al. 2021, 42 lacrimal glands).
    assert 0.60 < np.mean(second) < 0.76
    assert 0.70 < np.mean(repeat) < 0.84
    assert np.mean(second) < np.mean(repeat) < np.mean(true)
    assert np.mean(true) > 0.86


def test_global_random_state_is_untouched(head: Head, plan: ScanPlan) -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    draw_head(np.random.default_rng(1), age=40, sex="M", condition="enlarged")
    draw_reading(head, plan, READER_ERRORS["second"], np.random.default_rng(1))
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def _dice(a: Array, b: Array) -> float:
    return float(2.0 * (a & b).sum() / (a.sum() + b.sum()))
