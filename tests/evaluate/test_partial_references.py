"""Scores where the reference says little: regions, ignored voxels, labels not annotated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist

from acinus import progress
from acinus.evaluate import NOT_ANNOTATED, Pair, score_cases, score_labelmaps
from acinus.evaluate.structures import structures
from acinus.evaluate.tables import (
    arm_comparison,
    display_evaluation,
    evaluation_table,
    note,
    variant_comparison,
    volume_agreement,
    worst_cases,
)
from acinus.measure import MEASURES, measure_case
from acinus.scans import Volume, write_volume

SPACING = (3.0, 1.0, 0.5)
AFFINE = np.diag([SPACING[2], SPACING[1], SPACING[0], 1.0])
TUMOUR = {"whole": 1, "core": 2, "enhancing": 3}
REGIONS = {"whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)}
IGNORED = 7
MEASURED = ["dice", "hausdorff_95_mm"]
GLANDS = {"right": 1, "left": 2}


@pytest.fixture(autouse=True)
def without_progress():
    with progress.quiet():
        yield


def random_map(rng: np.random.Generator, highest: int, shape=(7, 12, 14)) -> np.ndarray:
    """Blocks of random labels, so that masks have insides."""
    coarse = rng.integers(0, highest + 1, size=[-(-size // 3) for size in shape])
    fine = coarse.repeat(3, 0).repeat(3, 1).repeat(3, 2)
    return fine[tuple(slice(size) for size in shape)].astype(np.uint8)


# Regions --------------------------------------------------------------------------------------


def test_a_region_is_judged_by_all_values_that_it_unites(rng):
    reference, prediction = random_map(rng, 3), random_map(rng, 3)
    found = score_labelmaps(
        Volume(reference, AFFINE),
        Volume(prediction, AFFINE),
        TUMOUR,
        MEASURES.names(),
        regions=REGIONS,
    )
    for name, values in REGIONS.items():
        masks = np.isin(reference, values), np.isin(prediction, values)
        expected = measure_case(*masks, SPACING, MEASURES.names())
        for measure, score in expected.items():
            assert found[name][measure].value == pytest.approx(score.value)


def test_a_label_without_region_stands_for_its_own_value(rng):
    reference, prediction = random_map(rng, 3), random_map(rng, 3)
    volumes = Volume(reference, AFFINE), Volume(prediction, AFFINE)
    assert (
        score_labelmaps(*volumes, TUMOUR, ["dice"], regions={"core": (2, 3)})["enhancing"]
        == (score_labelmaps(*volumes, TUMOUR, ["dice"])["enhancing"])
    )


# Ignored voxels -------------------------------------------------------------------------------


def slow_borders(mask: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """Indices of voxels with a judged neighbour outside the mask, or none beyond the image."""
    found = []
    for index in np.argwhere(mask & ~ignored):
        for axis in range(3):
            for step in (-1, 1):
                other = index.copy()
                other[axis] += step
                beyond = not 0 <= other[axis] < mask.shape[axis]
                if beyond or not (mask[tuple(other)] or ignored[tuple(other)]):
                    found.append(tuple(index))
    return np.array(sorted(set(found)), float).reshape(-1, 3)


def test_ignored_voxels_are_in_neither_mask_and_cut_no_surface(rng):
    """Against loops over voxels; the ignored ones touch both masks."""
    for _ in range(8):
        drawn, predicted = random_map(rng, 1), random_map(rng, 1)
        ignored = random_map(rng, 3) == 3
        reference = np.where(ignored, IGNORED, drawn).astype(np.uint8)
        found = score_labelmaps(
            Volume(reference, AFFINE),
            Volume(predicted, AFFINE),
            {"gland": 1},
            MEASURES.names(),
            ignore_label=IGNORED,
        )["gland"]
        a, b = (drawn == 1) & ~ignored, (predicted == 1) & ~ignored
        assert found["dice"].value == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
        assert found["reference_volume_ml"].value == pytest.approx(a.sum() * 1.5 / 1000)
        first, second = (slow_borders(mask == 1, ignored) * SPACING for mask in (drawn, predicted))
        apart = cdist(first, second)
        there, back = apart.min(1), apart.min(0)
        assert found["hausdorff_mm"].value == pytest.approx(max(there.max(), back.max()))
        expected = max(np.percentile(there, 95), np.percentile(back, 95))
        assert found["hausdorff_95_mm"].value == pytest.approx(expected)


def test_a_label_map_without_ignored_voxels_scores_as_before(rng):
    volumes = Volume(random_map(rng, 2), AFFINE), Volume(random_map(rng, 2), AFFINE)
    plain = score_labelmaps(*volumes, GLANDS, MEASURES.names())
    assert score_labelmaps(*volumes, GLANDS, MEASURES.names(), ignore_label=IGNORED) == plain


def test_what_is_predicted_among_ignored_voxels_does_not_matter(rng):
    drawn, ignored = random_map(rng, 2), random_map(rng, 3) == 3
    reference = Volume(np.where(ignored, IGNORED, drawn).astype(np.uint8), AFFINE)
    one, other = random_map(rng, 2), random_map(rng, 2)
    other = np.where(ignored, other, one)
    scores = [
        score_labelmaps(
            reference, Volume(predicted, AFFINE), GLANDS, MEASURES.names(), ignore_label=IGNORED
        )
        for predicted in (one, other)
    ]
    assert scores[0] == scores[1]


def test_slices_drawn_one_here_one_there_are_measured_in_their_planes():
    """Sparse annotation: a square of 4 against one of 4 shifted by 2 voxels, in one slice."""
    reference = np.full((5, 10, 12), IGNORED, np.uint8)
    reference[2] = 0
    reference[2, 3:7, 3:7] = 1
    prediction = np.zeros_like(reference)
    prediction[:, 3:7, 5:9] = 1
    found = score_labelmaps(
        Volume(reference, AFFINE),
        Volume(prediction, AFFINE),
        {"gland": 1},
        MEASURES.names(),
        ignore_label=IGNORED,
    )["gland"]
    assert found["dice"].value == pytest.approx(0.5)
    # Of 12 outline voxels each, 4 lie 2 columns of 0.5 mm from the other outline.
    assert found["hausdorff_mm"].value == pytest.approx(1.0)


def test_a_mask_hidden_behind_ignored_voxels_has_no_surface():
    reference = np.full((5, 5, 5), IGNORED, np.uint8)
    reference[2, 2, 2] = 1
    prediction = np.ones((5, 5, 5), np.uint8)
    found = score_labelmaps(
        Volume(reference, AFFINE),
        Volume(prediction, AFFINE),
        {"gland": 1},
        MEASURES.names(),
        ignore_label=IGNORED,
    )["gland"]
    assert found["dice"].value == 1.0
    assert found["hausdorff_95_mm"].reason == "no surface outside ignored voxels"
    everything = np.full((5, 5, 5), IGNORED, np.uint8)
    nothing = score_labelmaps(
        Volume(everything, AFFINE),
        Volume(prediction, AFFINE),
        {"gland": 1},
        ["dice"],
        ignore_label=IGNORED,
    )["gland"]["dice"]
    assert nothing.reason == "both masks empty"


# Labels that were not annotated ---------------------------------------------------------------


def scored(tmp_path: Path, rng: np.random.Generator, arm: str = "A", model: str = "final"):
    """Six cases of six participants; the left gland was drawn in the first four of them."""
    pairs = []
    for number in range(6):
        case = f"p{number}"
        drawn, predicted = random_map(rng, 2), random_map(rng, 2)
        if number >= 4:
            drawn[drawn == 2] = 0
        paths = tmp_path / arm / "drawn" / f"{case}.nii.gz", tmp_path / arm / model / f"{case}.nii"
        for array, path in zip((drawn, predicted), paths, strict=True):
            write_volume(Volume(array, AFFINE), path)
        pairs.append(Pair(case, case, *paths))
    return score_cases(
        pairs,
        GLANDS,
        measures=MEASURED,
        arm=arm,
        model=model,
        part="holdout",
        annotated={"p4": ["right"], "p5": ("right",)},
    )


def test_labels_not_annotated_are_undefined_with_the_reason(tmp_path, rng):
    table = scored(tmp_path, rng)
    hidden = table[table["reason"] == NOT_ANNOTATED]
    assert len(table) == 6 * 2 * 4
    assert set(hidden["case"]) == {"p4", "p5"} and set(hidden["label"]) == {"left"}
    assert set(hidden["status"]) == {"undefined"} and hidden["value"].isna().all()
    assert len(hidden) == 2 * 4
    assert (table[table["label"] == "right"]["status"] == "ok").all()


def test_tables_count_them_and_judge_by_the_others(tmp_path, rng):
    table = scored(tmp_path, rng)
    known = table[table["reason"] != NOT_ANNOTATED]
    full, cut = evaluation_table(table, with_all=True), evaluation_table(known, with_all=True)
    left = full[(full["label"] == "left") & (full["metric"] == "dice")].iloc[0]
    assert (left["n"], left["n_undefined"], left["n_not_annotated"]) == (4, 0, 2)
    assert set(full[full["label"] == "right"]["n_not_annotated"]) == {0}
    assert full.drop(columns="n_not_annotated").equals(cut.drop(columns="n_not_annotated"))
    assert "2 structures that were not annotated in their case are not judged" in note(
        "evaluation_table", full
    )
    assert "not annotated" not in note("evaluation_table", cut)
    assert list(display_evaluation(full)["n"]) == ["6", "4", "10"]
    assert len(structures(table)) == 10
    for make in (worst_cases, volume_agreement, variant_comparison):
        assert make(table).equals(make(known))


def test_comparisons_leave_them_out(tmp_path, rng):

    both = pd.concat([scored(tmp_path, rng, "A"), scored(tmp_path, rng, "B")], ignore_index=True)
    known = both[both["reason"] != NOT_ANNOTATED]
    assert arm_comparison(both, "A", "B").equals(arm_comparison(known, "A", "B"))
    assert set(arm_comparison(both, "A", "B")["n_undefined"]) == {0}


def test_a_label_that_no_case_has_annotated_is_a_row_without_values(tmp_path, rng):
    table = scored(tmp_path, rng)
    only = table[table["case"].isin(["p4", "p5"])]
    row = evaluation_table(only, metrics=["dice"]).set_index("label").loc["left"]
    assert (row["n"], row["n_not_annotated"]) == (0, 2)
    assert np.isnan(row["mean"])


def test_a_failed_case_fails_for_all_labels(tmp_path):
    pair = Pair("p1", "p1", tmp_path / "no.nii.gz", tmp_path / "no.nii.gz")
    table = score_cases(
        [pair],
        GLANDS,
        measures=["dice"],
        arm="A",
        model="m",
        part="holdout",
        annotated={"p1": ["right"]},
    )
    assert set(table["status"]) == {"failed"} and set(table["label"]) == {"right", "left"}


@pytest.mark.slow
def test_two_processes_give_the_same_table(tmp_path, rng):
    pairs = []
    for number in range(3):
        path = tmp_path / f"p{number}.nii.gz"
        write_volume(Volume(random_map(rng, 3), AFFINE), path)
        pairs.append(Pair(f"p{number}", f"p{number}", path, path))
    settings = {
        "measures": ["dice"],
        "arm": "A",
        "model": "m",
        "part": "holdout",
        "regions": REGIONS,
        "ignore_label": 3,
        "annotated": {"p1": ["whole"]},
    }
    one = score_cases(pairs, TUMOUR, **settings)
    assert one.equals(score_cases(pairs, TUMOUR, jobs=2, **settings))
