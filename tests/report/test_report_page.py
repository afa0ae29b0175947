"""The page stands alone, says what it must, and has every number in a CSV."""

from __future__ import annotations

import base64
import csv
import re
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_content import made_content
from page_reader import Page
from PIL import Image

from acinus.report import ReportContent, write_report

MAX_BYTES = 8_000_000


@pytest.fixture(scope="module")
def page(report: Path) -> Page:
    return Page(report)


def test_page_is_self_contained(page: Page, report: Path) -> None:
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert page.sources
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert not re.search(r"https?://|@import|url\(", page.text)
    for link in page.links:
        assert link.startswith("#") or (report.parent / link).is_file(), link
    for anchor in (link[1:] for link in page.links if link.startswith("#")):
        assert f'id="{anchor}"' in page.text


def test_all_figures_are_there_and_are_the_files_beside(page: Page, report: Path) -> None:
    drawn = {int(re.match(r"Figure (\d+)", alt)[1]) for alt in page.alts}
    assert drawn == set(range(1, 11))
    inlined = {base64.b64decode(source.partition(",")[2]) for source in page.sources}
    beside = {path.read_bytes() for path in (report.parent / "figures").glob("*.png")}
    assert inlined == beside
    for data in inlined:
        with Image.open(BytesIO(data)) as picture:
            assert picture.format == "PNG"
            assert np.asarray(picture.convert("L")).std() > 5, "an empty picture"


def test_page_is_small_enough_to_mail(report: Path) -> None:
    assert report.stat().st_size < MAX_BYTES


def test_every_table_has_a_csv_with_the_same_cells(page: Page, report: Path) -> None:
    shown = sorted(
        (report.parent / "tables").glob("table-*-as-shown.csv"),
        key=lambda path: int(path.name.split("-")[1]),
    )
    assert len(page.tables) == len(shown) + 1, "all but 'At a glance' are numbered"
    by_header = {tuple(table[0]): table for table in page.tables}
    for path in shown:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = [list(row) for row in csv.reader(stream)]
        assert tuple(rows[0]) in by_header, path.name
        assert rows in page.tables, path.name
        assert (path.parent / path.name.replace("-as-shown", "")).is_file()


def test_numbers_of_the_evaluation_are_those_of_the_scores(
    page: Page, report: Path, study: ReportContent
) -> None:
    raw = pd.read_csv(report.parent / "tables" / "table-3.csv")
    scores = study.scores
    for row in raw[raw["label"] != "all"].to_dict("records"):
        values = scores[
            (scores["model"] == "final")
            & (scores["part"] == "holdout")
            & (scores["arm"] == row["arm"])
            & (scores["label"] == row["label"])
            & (scores["metric"] == row["metric"])
        ]["value"].dropna()
        assert row["n"] == len(values)
        assert row["mean"] == pytest.approx(values.mean())
        assert any(f"{values.mean():.2f} ± {values.std():.2f}" in c for t in page.tables for r in t
                   for c in r)  # fmt: skip


def test_tables_follow_the_numbering_of_the_paper(page: Page) -> None:
    titles = re.findall(r"<h3>(Table \d+\.[^<]*)</h3>", page.text)
    assert titles[0].startswith("Table 1. Baseline characteristics")
    assert titles[1].startswith("Table 2. Baseline characteristics")
    assert titles[2].startswith("Table 3. Evaluation metrics")
    numbers = [int(re.search(r"\d+", title)[0]) for title in titles]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))


def test_each_figure_and_table_names_its_csv(page: Page, report: Path) -> None:
    named = set(re.findall(r"tables/([\w.-]+\.csv)", page.words))
    for name in named:
        assert (report.parent / "tables" / name).is_file(), name
    for caption in page.captions:
        assert "tables/" in caption, caption


def test_synthetic_is_said_everywhere(page: Page) -> None:
    assert page.captions
    for caption in page.captions:
        assert caption.strip().startswith("SYNTHETIC"), caption
    assert page.text.count("SYNTHETIC IMAGES") >= 3, "banner, footer, printed page"
    assert "(synthetic images)</title>" in page.text


def test_not_for_clinical_use_is_said(page: Page) -> None:
    assert page.words.count("not for clinical use") >= 2


def test_summary_gives_means_with_n(page: Page, report: Path) -> None:
    summary = pd.read_csv(report.parent / "tables" / "summary.csv")
    for row in summary.to_dict("records"):
        assert f"{row['arm']}: mean Dice {row['dice_mean']:.2f} on the hold-out" in page.words
        assert f"n = {row['n_structures']} structures in {row['n_participants']} part" in page.words
    notes = pd.read_csv(report.parent / "tables" / "notes.csv")
    for text in notes["text"]:
        assert text in page.words


def test_at_a_glance_has_a_column_for_what_was_measured_only(page: Page, report: Path) -> None:
    summary = pd.read_csv(report.parent / "tables" / "summary.csv")
    table = next(table for table in page.tables if "Structures in participants" in table[0])
    titles = {
        "iou_mean": "IoU, mean",
        "hausdorff_95_mm_median": "HD95, median (mm)",
        "volume_r": "Volumes, Pearson r",
    }
    for column, title in titles.items():
        assert (title in table[0]) == summary[column].notna().any(), column
    for title, cells in zip(table[0], zip(*table[1:], strict=True), strict=True):
        assert any(cell != "–" for cell in cells), title


def test_published_figures_stand_beside_ours(page: Page, study: ReportContent) -> None:
    assert study.published is not None
    assert study.published["source"] in page.words
    table = next(table for table in page.tables if "Published" in table[0])
    cells = {(row[0], row[1]): row[2:] for row in table[1:]}
    assert cells[("AX-T1", "Pearson r of volumes")][0] == "0.71"
    assert cells[("AX-T1", "Training slices")] == ["1,307", str(study.arms[1].n_training_slices)]
    assert cells[("AX-T1", "Dice score, Right lacrimal")][0] == "0.67 ± 0.17 (0.58 to 0.79)"


def test_how_to_repeat_it_is_told(page: Page, study: ReportContent) -> None:
    facts = study.provenance
    assert facts["command"] in page.words
    assert facts["hashes"]["plan"] in page.words
    assert "2.13.0" in page.words
    assert "5 min 12 s" in page.words


@pytest.mark.slow
def test_same_content_gives_the_same_bytes(study: ReportContent, tmp_path: Path) -> None:
    small = replace(study, arms=study.arms[:1], kind="run")
    one, other = (write_report(small, tmp_path / name) for name in "ab")
    assert one.read_bytes() == other.read_bytes()


def test_hostile_names_are_text(tmp_path: Path) -> None:
    content = made_content(tmp_path / "data", arms=("A&B <script>alert(1)</script>",), n_cases=4,
                           n_holdout=2, shape=(6, 40, 40))  # fmt: skip
    arm = content.arms[0]
    evil = '"><img src=x onerror=alert(2)>'
    label = "$x_{1}$<b>left</b>"
    arm = replace(
        arm,
        labels={label: 1, "lacrimal_left": 2},
        sides={},
        decisions=arm.decisions.assign(facts=evil),
    )
    scores = content.scores.replace({"label": {"lacrimal_right": label}})
    scores = scores.replace({"case": {"orbit_001": evil}})
    hostile = replace(content, arms=(arm,), scores=scores, title=evil, failures=(evil,),
                      provenance={"command": evil})  # fmt: skip
    page = Page(write_report(hostile, tmp_path / "out"))
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert all(source.startswith("data:image/png") for source in page.sources)
    assert evil in page.words


def test_content_without_synthetic_arm_is_not_marked(tmp_path: Path) -> None:
    content = made_content(tmp_path / "data", arms=("T1",), n_cases=4, n_holdout=2,
                           shape=(6, 40, 40), synthetic=False)  # fmt: skip
    page = Page(write_report(content, tmp_path / "out"))
    assert "SYNTHETIC" not in page.words
