"""Measures against hand-drawn cases, an independent slow implementation and MedPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from slow_distances import CASES, DISTANCES, EXACT_MM, SPACINGS, SURFACE_SHARES, slow_distances

from acinus.errors import ConfigError, DataError, GridError
from acinus.measure import MEASURES, MaskPair, measure_case
from acinus.measure.pair import nearest_by_transform, nearest_by_tree
from acinus.scans.components import bounding_box


@pytest.mark.parametrize("spacing_mm", SPACINGS)
@pytest.mark.parametrize("name", CASES)
def test_distances_equal_all_pairs(name, spacing_mm):
    reference, prediction = CASES[name]
    expected = slow_distances(reference, prediction, spacing_mm)
    found = measure_case(reference, prediction, spacing_mm, DISTANCES)
    for measure in DISTANCES:
        assert found[measure].value == pytest.approx(expected[measure], abs=EXACT_MM)
        assert found[measure].unit == ("1" if measure in SURFACE_SHARES else "mm")


@pytest.mark.parametrize("spacing_mm", SPACINGS)
@pytest.mark.parametrize("name", CASES)
def test_distances_equal_medpy(name, spacing_mm):
    binary = pytest.importorskip("medpy.metric.binary")
    reference, prediction = CASES[name]
    found = measure_case(reference, prediction, spacing_mm, DISTANCES)
    hd = binary.hd(prediction, reference, voxelspacing=spacing_mm)
    hd95 = binary.hd95(prediction, reference, voxelspacing=spacing_mm)
    assd = binary.assd(prediction, reference, voxelspacing=spacing_mm)
    asd = binary.asd(prediction, reference, voxelspacing=spacing_mm)
    assert found["hausdorff_mm"].value == pytest.approx(hd, abs=EXACT_MM)
    assert found["hausdorff_95_pooled_mm"].value == pytest.approx(hd95, abs=EXACT_MM)
    assert found["assd_mm"].value == pytest.approx(assd, abs=EXACT_MM)
    assert found["asd_prediction_mm"].value == pytest.approx(asd, abs=EXACT_MM)


@given(
    masks=st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(1, 7)).flatmap(
        lambda shape: st.tuples(*[arrays.arrays(np.bool_, shape) for _ in range(2)])
    ),
    spacing_mm=st.tuples(*[st.floats(0.1, 5.0) for _ in range(3)]),
)
@settings(max_examples=60, deadline=None)
def test_random_masks_obey_the_definitions(masks, spacing_mm):
    reference, prediction = masks
    names = [*MEASURES.names(), *(name for name in DISTANCES if name not in MEASURES.names())]
    scores = measure_case(reference, prediction, spacing_mm, names)
    overlap, size = (reference & prediction).sum(), reference.sum() + prediction.sum()
    if size == 0:
        assert scores["dice"].reason == scores["iou"].reason == "both masks empty"
    else:
        dice, iou = scores["dice"].value, scores["iou"].value
        assert dice == pytest.approx(2 * overlap / size)
        assert iou == pytest.approx(dice / (2 - dice))
    if reference.any() and prediction.any():
        expected = slow_distances(reference, prediction, spacing_mm)
        for name in DISTANCES:
            assert scores[name].value == pytest.approx(expected[name], abs=EXACT_MM)
        harmonic = 2 * overlap / (prediction.sum() + reference.sum())
        assert scores["dice"].value == pytest.approx(harmonic)
    else:
        either = reference.any() or prediction.any()
        for name in DISTANCES:
            if name in SURFACE_SHARES and either:
                assert scores[name].value == 0
            else:
                assert not scores[name].is_defined and scores[name].reason
    error = scores["prediction_volume_ml"].value - scores["reference_volume_ml"].value
    assert scores["volume_error_ml"].value == pytest.approx(error, abs=1e-12)


@given(masks=arrays.arrays(np.bool_, (2, 4, 6, 5)))
@settings(max_examples=40, deadline=None)
def test_tree_and_transform_agree(masks):
    sources, targets = masks
    if not targets.any():
        return
    spacing_mm = (3.3, 0.47, 0.61)
    a = nearest_by_transform(sources, targets, spacing_mm)
    b = nearest_by_tree(sources, targets, spacing_mm)
    np.testing.assert_allclose(a, b, atol=1e-9)


def test_two_voxels_apart_by_hand():
    reference, prediction = np.zeros((2, 3, 6, 6), bool)
    reference[0, 1, 1] = True
    prediction[2, 1, 4] = True
    found = measure_case(reference, prediction, (3.0, 0.5, 0.4), ["hausdorff_mm", "dice"])
    assert found["hausdorff_mm"].value == pytest.approx(np.hypot(2 * 3.0, 3 * 0.4))
    assert found["dice"].value == 0.0


def test_the_two_kinds_of_hd95_differ():
    reference, prediction = np.zeros((2, 1, 1, 60), bool)
    reference[0, 0, :20] = True
    prediction[0, 0, :23] = True
    found = measure_case(reference, prediction, (1.0, 1.0, 1.0), DISTANCES)
    back = [0.0] * 20 + [1.0, 2.0, 3.0]
    assert found["hausdorff_95_mm"].value == pytest.approx(np.percentile(back, 95))
    assert found["hausdorff_95_pooled_mm"].value == pytest.approx(
        np.percentile([0.0] * 20 + back, 95)
    )
    assert found["hausdorff_95_mm"].value > found["hausdorff_95_pooled_mm"].value
    assert found["hausdorff_mm"].value == 3.0


@pytest.mark.parametrize(
    ("drawn", "predicted", "reason"),
    [
        (False, False, "both masks empty"),
        (True, False, "prediction empty"),
        (False, True, "reference empty"),
    ],
)
def test_empty_masks_give_a_reason_not_a_number(drawn, predicted, reason):
    reference, prediction = np.zeros((2, 3, 4, 5), bool)
    reference[1, 1, 1] = drawn
    prediction[1, 1, 1] = predicted
    names = [*MEASURES.names(), *(name for name in DISTANCES if name not in MEASURES.names())]
    scores = measure_case(reference, prediction, (3.0, 1.0, 1.0), names)
    for name in DISTANCES:
        if name in SURFACE_SHARES and (drawn or predicted):
            assert scores[name].value == 0
        else:
            assert (scores[name].value, scores[name].reason) == (None, reason)
    if drawn or predicted:
        assert scores["dice"].value == scores["iou"].value == 0.0
    else:
        assert scores["dice"].reason == scores["iou"].reason == reason
    precision, recall = scores["precision"], scores["recall"]
    assert precision.value == (0.0 if predicted else None)
    assert recall.value == (0.0 if drawn else None)
    assert scores["reference_volume_ml"].value == pytest.approx(0.003 * drawn)
    assert scores["volume_error_ml"].value == pytest.approx(0.003 * (predicted - drawn))


EXAMPLES = [family.form.format(f"{family.example:g}") for family in MEASURES.families]
ENTRIES = [*MEASURES, *(MEASURES[name] for name in EXAMPLES)]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_measure_keeps_its_contract(entry, rng):
    reference, prediction, partner = rng.random((3, 6, 9, 8)) < 0.3
    before = reference.copy(), prediction.copy(), partner.copy()
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    score = entry.factory(reference, prediction, (3.0, 0.5, 0.5), partner=partner)
    alone = measure_case(reference, prediction, (3.0, 0.5, 0.5), [entry.name], partner=partner)[
        entry.name
    ]
    assert score == alone
    assert isinstance(score.value, float)
    assert score.unit == entry.factory.unit
    assert entry.factory.name == entry.name
    assert entry.summary and entry.factory.title
    masks = (reference, prediction, partner)
    for change in (
        lambda mask: np.pad(mask, ((1, 2), (3, 0), (0, 4))),
        lambda mask: mask[:, :, ::-1],
    ):
        a, b, c = map(change, masks)
        assert entry.factory(a, b, (3.0, 0.5, 0.5), partner=c).value == pytest.approx(score.value)
    undefined = entry.factory.undefined("why")
    assert (undefined.value, undefined.unit, undefined.reason) == (None, score.unit, "why")
    np.testing.assert_array_equal(before, masks)
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_a_perfect_prediction_is_best(better, rng):
    mask = rng.random((4, 7, 7)) < 0.4
    best = {"higher": 1.0, "lower": 0.0}[better]
    for entry in ENTRIES:
        if entry.factory.better == better:
            found = entry.factory(mask, mask, (3.0, 0.5, 0.5), partner=mask[:, :, ::-1] & ~mask)
            assert found.value == best


def test_volume_of_a_sheared_voxel_can_be_given():
    mask = np.ones((1, 2, 5), bool)
    found = measure_case(mask, mask, (1.0, 1.0, 1.0), ["reference_volume_ml"], voxel_volume_ml=0.5)
    assert found["reference_volume_ml"].value == 5.0


def test_bounding_box_is_tight(rng):
    mask = rng.random((6, 8, 9)) < 0.02
    mask[2, 3, 4] = True
    box = bounding_box(mask)
    where = np.argwhere(mask)
    assert [(s.start, s.stop) for s in box] == [
        (low, high + 1) for low, high in zip(where.min(0), where.max(0), strict=True)
    ]
    assert bounding_box(np.zeros((2, 3, 4), bool)) is None


def test_wrong_input_is_explained():
    mask = np.zeros((2, 3, 4), bool)
    with pytest.raises(GridError, match=r"share a grid; got shapes \(2, 3, 4\) and \(2, 3, 5\)"):
        MaskPair(mask, np.zeros((2, 3, 5), bool), (1, 1, 1))
    with pytest.raises(DataError, match=r"prediction must be a bool mask .*; got uint8.*== 1"):
        MaskPair(mask, mask.astype(np.uint8), (1, 1, 1))
    with pytest.raises(GridError, match=r"reference must have three axes .*\(4,\)"):
        MaskPair(mask[0, 0], mask[0, 0], (1,))
    with pytest.raises(DataError, match=r"must be 2 distances above 0 mm.*got \(1.0, 1.0, 1.0\)"):
        MaskPair(mask[0], mask[0], (1, 1, 1))
    with pytest.raises(DataError, match=r"above 0 mm, in the order .* got \(1.0, 0.0, 1.0\)"):
        MaskPair(mask, mask, (1, 0, 1))
    with pytest.raises(ConfigError, match=r"unknown measure 'dise'.*Did you mean 'dice'"):
        measure_case(mask, mask, (1, 1, 1), ["dise"])


def test_a_name_holds_the_number_of_its_measure():
    assert MEASURES["surface_dice_0.5mm"].factory.title == "Surface Dice at 0.5 mm"
    assert "hausdorff_97.5_mm" in MEASURES and "hausdorff_95_mm" in MEASURES.names()
    for name, fault in (
        ("hausdorff_100_mm", r"percentile must lie between 0 and 100; got 100\."),
        ("hausdorff_0_mm", r"percentile must lie between 0 and 100; got 0\."),
        ("surface_dice_1.0mm", r"unknown measure 'surface_dice_1\.0mm'"),
        ("surface_dice", r"Known: .*surface_dice_\{tolerance\}mm"),
        ("kappa_-3mm", r"unknown measure"),
    ):
        assert name not in MEASURES
        with pytest.raises(ConfigError, match=fault):
            MEASURES[name]


@pytest.mark.parametrize("percentile", [95])
def test_the_family_agrees_with_the_named_ones(percentile, rng):
    reference, prediction = rng.random((2, 4, 9, 8)) < 0.2
    for kind in ("hausdorff_{}_mm", "hausdorff_{}_pooled_mm"):
        named = measure_case(reference, prediction, (3, 1, 1), [kind.format(percentile)])
        family = next(one for one in MEASURES.families if one.form == kind)
        pair = MaskPair(reference, prediction, (3, 1, 1))
        assert family.make(percentile).of(pair) == named[kind.format(percentile)]


@given(masks=arrays.arrays(np.bool_, (2, 9, 11)), spacing_mm=st.tuples(*[st.floats(0.2, 4)] * 2))
@settings(max_examples=40, deadline=None)
def test_a_slice_is_judged_in_its_plane(masks, spacing_mm):
    """Like a volume in which the slice goes on without an end."""
    volumes = np.repeat(masks[:, None], 41, axis=1)
    names = ("dice", "f_2", "precision", "average_hausdorff_mm", "lesion_f1_iou50")
    flat = measure_case(*masks, spacing_mm, [*names, *DISTANCES, "reference_volume_ml"])
    deep = measure_case(*volumes, (100.0, *spacing_mm), names)
    for name in names:
        assert flat[name].value == pytest.approx(deep[name].value)
    assert flat["reference_volume_ml"].reason == "a slice has no volume"
    if masks.any(axis=(1, 2)).all():
        grids = [np.argwhere(np.pad(m, 1) & ~eroded(np.pad(m, 1))) * spacing_mm for m in masks]
        apart = np.linalg.norm(grids[0][:, None] - grids[1][None], axis=2)
        expected = max(apart.min(0).max(), apart.min(1).max())
        assert flat["hausdorff_mm"].value == pytest.approx(expected)


def eroded(mask):
    kept = mask.copy()
    for axis in range(2):
        for step in (-1, 1):
            kept &= np.roll(mask, step, axis)
    return kept
