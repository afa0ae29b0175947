"""A report is written from whatever there is, and says what it lacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from page_reader import Page

from acinus.evaluate import Pair, score_cases
from acinus.progress import quiet
from acinus.report import ArmContent, ReportContent, write_report

Change = Callable[[ReportContent], ReportContent]


def first_arm(content: ReportContent, **changes: object) -> ReportContent:
    return replace(content, arms=(replace(content.arms[0], **changes), *content.arms[1:]))


def one_arm(content: ReportContent) -> ReportContent:
    scores = content.scores[content.scores["arm"] == content.arms[0].name]
    return replace(content, arms=content.arms[:1], kind="run", scores=scores, variants=())


CHANGES: dict[str, tuple[Change, str]] = {
    "no participants table": (
        lambda c: first_arm(one_arm(c), participants=None),
        "the dataset has no table of participants",
    ),
    "no predictions in one arm": (
        lambda c: replace(
            first_arm(c, predictions={}),
            scores=c.scores[
                (c.scores["arm"] != c.arms[0].name) | (c.scores["part"] == "validation")
            ],
        ),
        "POST-AX-T1-FS: no prediction of the hold-out could be scored",
    ),
    "nothing scored": (
        lambda c: replace(
            first_arm(one_arm(c), predictions={}), scores=pd.DataFrame(), variants=()
        ),
        "No prediction of the hold-out was scored",
    ),
    "no saliency, sampling, history": (
        lambda c: first_arm(
            one_arm(c), gradcam=None, sampling=pd.DataFrame(), sampling_maps=None,
            history=pd.DataFrame(), decisions=pd.DataFrame(), predictions_table=pd.DataFrame(),
        ),
        "Grad-CAM was not computed",
    ),
    "nothing published, nothing varied": (
        lambda c: replace(one_arm(c), kind="study", published=None, departures=()),
        "Nothing was varied",
    ),
    "no images on disk": (
        lambda c: first_arm(one_arm(c), images={}, references={}),
        "no case has both image and reference",
    ),
    "no flow, split or provenance": (
        lambda c: replace(first_arm(one_arm(c), flow=()), split={}, provenance={}, pipeline=()),
        "The split was not recorded",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_report_says_what_it_lacks(name: str, study: ReportContent, tmp_path: Path) -> None:
    change, words = CHANGES[name]
    page = Page(write_report(change(study), tmp_path))
    assert words in page.words


def test_unreadable_image_is_named_in_the_figure_that_lacks_it(
    study: ReportContent, tmp_path: Path
) -> None:
    arm = study.arms[0]
    broken = tmp_path / "broken.nii.gz"
    broken.write_text("no image")
    content = first_arm(one_arm(study), images={case: [broken] for case in arm.images})
    page = Page(write_report(content, tmp_path / "out"))
    assert "broken.nii.gz" in page.words
    assert "Figure 1. Reference contours in three planes: not drawn" in page.words


def test_prediction_on_another_grid_is_named(study: ReportContent, tmp_path: Path) -> None:
    arm = study.arms[0]
    other = tmp_path / "other.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4)), other)
    content = first_arm(one_arm(study), predictions=dict.fromkeys(arm.predictions, other))
    page = Page(write_report(content, tmp_path / "out"))
    assert "image and prediction must share a grid" in page.words


def test_failed_case_is_told_with_its_reason(study: ReportContent, tmp_path: Path) -> None:
    case = study.arms[0].holdout_participants[1]
    scores = study.scores.copy()
    rows = (scores["case"] == case) & (scores["arm"] == study.arms[0].name)
    scores.loc[rows, ["value", "status", "reason"]] = [np.nan, "failed", "the file is truncated"]
    page = Page(write_report(replace(one_arm(study), scores=scores), tmp_path))
    assert "could not be judged; the file is truncated" in page.words
    assert "2 structures could not be judged" in page.words


def hippocampus(folder: Path, n: int) -> ReportContent:
    """Tiny 3D crops of two adjacent labels without sides, 35 x 50 x 36 mm."""
    rng = np.random.default_rng(5)
    z, y, x = np.meshgrid(*[np.arange(k) for k in (36, 50, 35)], indexing="ij")
    images, references, predictions = {}, {}, {}
    labels = {"Anterior": 1, "Posterior": 2}
    for i in range(n):
        body = ((z - 18) / 8) ** 2 + ((y - 25) / 20) ** 2 + ((x - 17) / 7) ** 2 < 1
        reference = np.where(body, np.where(y > 26, 1, 2), 0).astype(np.uint8)
        shifted = np.roll(reference, 1 + i % 2, axis=2)
        image = (100 + 60 * body + rng.normal(0, 8, body.shape)).astype(np.float32)
        for kind, array, into in (
            ("i", image, images), ("r", reference, references), ("p", shifted, predictions),
        ):  # fmt: skip
            path = folder / f"{kind}{i}.nii.gz"
            nib.save(nib.Nifti1Image(array.transpose(2, 1, 0), np.eye(4)), path)
            into[f"hippocampus_{i}"] = [path] if kind == "i" else path
    pairs = [Pair(case, case, references[case], path) for case, path in predictions.items()]
    with quiet():
        scores = score_cases(pairs, labels, measures=("dice", "iou", "hausdorff_95_mm"), arm="MRI",
                             model="final", part="holdout")  # fmt: skip
    arm = ArmContent("MRI", "Hippocampus", labels, images=images, references=references,
                     predictions=predictions, holdout_participants=tuple(images))  # fmt: skip
    return ReportContent("Hippocampus", "hippocampus-2d", "run", (arm,), scores)


@pytest.mark.parametrize("n", [1, 2])
def test_small_crops_with_labels_without_sides(n: int, tmp_path: Path) -> None:
    page = Page(write_report(hippocampus(tmp_path, n), tmp_path / "out"))
    assert "anterior and posterior" in page.words
    for word in ("gland", "lacrimal", "orbit", "SYNTHETIC"):
        assert word.lower() not in page.words.lower(), word
    for alt in ("Figure 1.", "Figure 3.", "Figure 5.", "Figure 6.", "Figure 9."):
        assert any(one.startswith(alt) for one in page.alts), alt


def test_single_label_needs_no_row_over_all(tmp_path: Path) -> None:
    content = hippocampus(tmp_path, 2)
    arm = replace(content.arms[0], labels={"Anterior": 1})
    scores = content.scores[content.scores["label"] == "Anterior"]
    page = Page(write_report(replace(content, arms=(arm,), scores=scores), tmp_path / "out"))
    assert "All structures" not in page.words


def test_tables_and_figures_of_an_earlier_report_do_not_stay(
    study: ReportContent, tmp_path: Path
) -> None:
    write_report(study, tmp_path)
    left = [
        tmp_path / "tables" / "table-99.csv",
        tmp_path / "tables" / "table-99-as-shown.csv",
        tmp_path / "figures" / "figure-77a.png",
    ]
    kept = tmp_path / "tables" / "my-notes.csv"
    for path in [*left, kept]:
        path.write_text("old", encoding="utf-8")
    before = {path.name for path in tmp_path.rglob("*") if path not in left}
    write_report(study, tmp_path)
    assert {path.name for path in tmp_path.rglob("*")} == before
