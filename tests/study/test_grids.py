"""What a grid keeps of references: laws of the way there and back."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from acinus.errors import DataError
from acinus.plan.settings import PrepareSettings
from acinus.prepare import PreparedCase, prepare_case
from acinus.scans import Volume
from acinus.scans.box import crop
from acinus.study.grids import grid_rows

REGIONS = {"large": (1,), "tiny": (2,)}


def reference() -> Volume:
    labels = np.zeros((12, 20, 24), np.uint8)
    labels[3:9, 5:15, 4:16] = 1
    labels[10, 17, 21] = 2
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[:3, 3] = -7, 11, 30
    return Volume(labels, affine)


def prepared(label: Volume, spacing_mm: float) -> PreparedCase:
    settings = PrepareSettings(
        normalisation="z_score", spacing_mm=(spacing_mm,) * 3, slice_axis="Z"
    )
    return prepare_case([label.with_array(label.array.astype(np.float32))], settings, label)


def store_of(
    sought: dict[str, tuple[str, ...]] | None = None, /, **cases: PreparedCase
) -> SimpleNamespace:
    """A store of these entries of case ``c``, some with the only labels that are sought there."""
    sought = sought or {}

    def facts(entry: str) -> SimpleNamespace:
        if entry not in cases:
            raise DataError(f"{entry}: not prepared")
        return SimpleNamespace(geometry=cases[entry].geometry, mirrored=False)

    return SimpleNamespace(
        labels_of_entries=lambda case: (
            {entry: sought.get(entry) for entry in cases} if case == "c" else {case: None}
        ),
        facts=facts,
        label=lambda entry: cases[entry].label,
    )


def rows_of(label: Volume, **cases: PreparedCase) -> dict[str, dict]:
    rows = grid_rows(store_of(**cases), "c", label, REGIONS, arm="a")
    assert all((row["arm"], row["case"]) == ("a", "c") for row in rows)
    return {row["label"]: row for row in rows}


def test_a_fine_grid_keeps_all_and_a_coarse_one_loses_what_is_small() -> None:
    drawn = reference()
    fine = rows_of(drawn, one=prepared(drawn, 1.0))
    assert fine["large"]["ceiling"] > 0.97
    assert fine["tiny"]["ceiling"] == 1.0
    coarse = rows_of(drawn, one=prepared(drawn, 6.0))
    assert (coarse["tiny"]["voxels"], coarse["tiny"]["ceiling"]) == (0, 0.0)
    assert 0.3 < coarse["large"]["ceiling"] < fine["large"]["ceiling"]


def test_boxes_are_put_where_they_were_cut_and_the_rest_is_lost() -> None:
    drawn = reference()
    left, right = (
        prepared(crop(drawn, (slice(2, 12), slice(3, 20), part)), 1.0)
        for part in (slice(2, 10), slice(10, 24))
    )
    both = rows_of(drawn, left=left, right=right)
    assert both["large"]["ceiling"] > 0.95
    assert both["tiny"]["ceiling"] == 1.0
    half = rows_of(drawn, left=left)
    assert half["large"]["ceiling"] == pytest.approx(2 / 3, abs=0.05)  # 6 of 12 columns: 2*6/(12+6)
    assert (half["tiny"]["voxels"], half["tiny"]["ceiling"]) == (0, 0.0)


def test_a_label_that_nobody_drew_has_no_ceiling_and_a_case_that_is_not_there_no_rows() -> None:
    empty = reference().with_array(np.zeros((12, 20, 24), np.uint8))
    rows = rows_of(empty, one=prepared(reference(), 2.0))
    assert rows["tiny"]["ceiling"] in (None, 0.0)
    blank = rows_of(empty, one=prepared(empty.with_array(empty.array), 2.0))
    assert blank["large"]["ceiling"] is None
    assert grid_rows(store_of(), "other", empty, REGIONS, arm="a") == []


def test_labels_in_overlapping_boxes_count_in_their_own_box() -> None:
    drawn = reference()
    both = {name: prepared(drawn, 1.0) for name in ("one", "two")}
    apart = {"one": ("large",), "two": ("tiny",)}
    rows = {
        row["label"]: row
        for row in grid_rows(store_of(apart, **both), "c", drawn, REGIONS, arm="a")
    }
    alone = rows_of(drawn, one=both["one"])
    assert {name: row["voxels"] for name, row in rows.items()} == {
        name: row["voxels"] for name, row in alone.items()
    }
    lost = grid_rows(store_of({"one": ("large",)}, one=both["one"]), "c", drawn, REGIONS, arm="a")
    assert [row["ceiling"] for row in lost if row["label"] == "tiny"] == [0.0]
