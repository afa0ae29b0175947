"""What a report says of trainings, volumes and sides: only what is so, and where it is read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from page_reader import Page

from acinus.report import ReportContent, write_report
from acinus.report.figure import Folders
from acinus.report.record import draft_decisions, draft_recipe, draft_trainings
from acinus.report.sampling import draw_sampling
from acinus.report.tables import compute_numbers, make_tables

CAVEAT = "Trained with plain mirroring: left and right may be confused."


def run_of(study: ReportContent, **changes: object) -> ReportContent:
    """A run of the study's first arm as the study module would hand it over."""
    arm = replace(study.arms[0], **changes)  # type: ignore[arg-type]
    scores = study.scores[study.scores["arm"] == arm.name]
    return replace(study, kind="run", arms=(arm,), scores=scores, variants=(), published=None,
                   departures=())  # fmt: skip


def side_rows(study: ReportContent, counts: dict[str, float]) -> pd.DataFrame:
    """Rows of side errors for every hold-out structure of a study; labels to count a case."""
    rows = study.scores[study.scores["metric"] == "dice"].copy()
    errors = rows.assign(metric="side_errors", unit="count", value=rows["label"].map(counts),
                         status="ok", reason="")  # fmt: skip
    volumes = errors.assign(metric="side_error_ml", unit="mL", value=errors["value"] * 0.25)
    return pd.concat([study.scores, errors, volumes], ignore_index=True)


TRAININGS = pd.DataFrame(
    [
        {"fold": 0, "train_cases": 132, "validation_cases": 34, "epochs": 20, "steps": 4000,
         "seconds": 754.0, "validation_dice": 0.871, "kept": "last", "lost": ""},
        {"fold": 1, "train_cases": 133, "validation_cases": 33, "epochs": 20, "steps": 4000,
         "seconds": 760.0, "validation_dice": np.nan, "kept": "best", "lost": "lacrimal_left"},
    ]
)  # fmt: skip


def test_notes_caveats_and_trainings_stand_where_they_are_read(
    study: ReportContent, tmp_path: Path
) -> None:
    content = run_of(
        study, notes=("Trained on the CPU.",), caveats=(CAVEAT,), trainings=TRAININGS,
        n_training_slices=None, n_dims=3, trained_folds=(0,),
    )  # fmt: skip
    page = Page(write_report(content, tmp_path))
    training = page.text.index('id="training"')
    results = page.text.index('id="results"')
    failures = page.text.index('id="failures"')
    assert training < page.text.index("Trained on the CPU.") < results
    assert page.text.index(CAVEAT) < page.text.index("<nav"), "in the summary too"
    assert results < page.text.rindex(CAVEAT) < failures
    assert "Of 2 folds by participant 1 was trained." in page.words
    assert "slices" not in page.words.split("Contents")[0]
    table = next(table for table in page.tables if "Labels lost" in table[0])
    assert table[1][-2:] == ["last", "none"]
    assert table[2][-3:] == ["–", "of the best look", "lacrimal_left"]


def test_a_run_has_no_section_of_variants_and_a_study_says_that_it_varied_nothing(
    study: ReportContent, tmp_path: Path
) -> None:
    run = run_of(study)
    assert 'id="variants"' not in write_report(run, tmp_path / "run").read_text("utf-8")
    one = write_report(replace(run, kind="study"), tmp_path / "study").read_text("utf-8")
    assert "Nothing was varied" in one


def test_variants_are_read_with_their_caveats(study: ReportContent, tmp_path: Path) -> None:
    sentence = "train.mirroring=plain: left and right may be confused."
    text = write_report(replace(study, variant_caveats=(sentence,)), tmp_path).read_text("utf-8")
    assert text.index('id="variants"') < text.index(sentence) < text.index('id="saliency"')


def test_side_errors_have_their_table_and_stand_beside_the_missed(
    study: ReportContent, tmp_path: Path
) -> None:
    scores = side_rows(study, {"lacrimal_right": 1.0, "lacrimal_left": 0.0})
    page = Page(write_report(replace(study, scores=scores), tmp_path))
    table = next(table for table in page.tables if "Cases with side errors" in table[0])
    n = len(study.arms[0].holdout_participants)
    column = table[0].index("Side errors")
    found = {(row[0], row[1]): row[column] for row in table[1:]}
    for arm in study.arms:
        assert found["Right lacrimal", arm.name] == str(n)
        assert found["Left lacrimal", arm.name] == "0"
    evaluation = next(table for table in page.tables if "Missed" in table[0])
    assert "Side errors" in evaluation[0]
    plain = Page(write_report(study, tmp_path / "plain"))
    assert not any("Side errors" in table[0] for table in plain.tables)


def test_trainings_come_second_but_for_a_paper_whose_numbers_are_kept(
    study: ReportContent, tmp_path: Path
) -> None:
    run = run_of(study, trainings=TRAININGS)
    for published, second, third in (
        (None, "trainings", "evaluation"),
        (study.published, "evaluation", "agreement"),
    ):
        content = replace(run, published=published)
        views = make_tables(content, compute_numbers(content), Folders(tmp_path / second))
        numbered = {view.title.split(".")[0]: view.key for view in views}
        assert numbered["Table 1"] == "characteristics"
        assert (numbered["Table 2"], numbered["Table 3"]) == (second, third)
        assert "trainings" in numbered.values()


def test_decisions_of_the_run_are_apart_from_what_the_recipe_states(study: ReportContent) -> None:
    decisions = pd.DataFrame(
        [
            ("train.patch_vox", "patch, voxels", "8, 16, 16", "the median image", "data", "size 9"),
            ("train.lr", "learning rate", "0.1", "recipe auto", "user", ""),
            ("train.momentum", "", "0.99", "recipe auto", "ours", ""),
            ("loss.name", "loss", "dice", "recipe auto", "paper", ""),
        ],
        columns=["name", "words", "value", "rule", "source", "facts"],
    )
    content = run_of(study, decisions=decisions)
    shown = draft_decisions(content)[3]
    assert shown["Decision"].tolist() == [
        "patch, voxels\ntrain.patch_vox", "learning rate\ntrain.lr"
    ]  # fmt: skip
    assert shown["Why"].tolist() == ["the median image", "asked for"]
    stated = draft_recipe(content)[3]
    assert stated["Setting"].tolist() == ["train.momentum", "loss"]
    assert stated["Source"].tolist() == ["our choice", "published"]
    nothing = run_of(study, decisions=pd.DataFrame())
    assert draft_decisions(nothing)[2] is None and draft_recipe(nothing)[2] is None
    assert draft_trainings(nothing)[2] is None


def test_warnings_are_cut_to_the_weightiest(study: ReportContent, tmp_path: Path) -> None:
    arm = study.arms[0]
    rows = [
        {"case": f"c{i:02d}", "part": "holdout", "model": "final", "label": "lacrimal_left",
         "volume_ml": 0.5, "components": 1, "seconds": 1.0, "warnings": "touches the border"}
        for i in range(30)
    ]  # fmt: skip
    rows[29]["warnings"], rows[28]["warnings"] = "wrong side", "empty"
    content = run_of(study, predictions_table=pd.DataFrame(rows))
    views = make_tables(content, compute_numbers(content), Folders(tmp_path))
    view = next(view for view in views if view.key == "warnings")
    assert [row[0] for row in view.rows[:3]] == ["c29", "c28", "c00"]
    assert len(view.rows) == 20 and "The first 20 of 30" in view.caption
    assert len(pd.read_csv(tmp_path / "tables" / view.csv)) == 30
    assert arm.name in view.rows[0]


@pytest.mark.parametrize(("used", "n_panels"), [("region", 3), ("rarity", 4), ("oversample", 4)])
def test_the_sampling_that_was_used_is_drawn_and_named(
    study: ReportContent, tmp_path: Path, used: str, n_panels: int
) -> None:
    content = run_of(study, settings={"sampling": used})
    view = draw_sampling(content, Folders(tmp_path))
    caption = view.parts[0][1]
    assert caption.count("(i") + caption.count("(v") == n_panels
    assert used in caption
    assert "axial slice" in caption
    assert "so large" not in caption
    whole = content.arms[0].sampling.assign(share_with_foreground=1.0)
    content = run_of(study, settings={"sampling": used}, sampling=whole)
    assert "each sampling shows the structures" in draw_sampling(content, Folders(tmp_path)).parts[
        0
    ][1]  # fmt: skip
