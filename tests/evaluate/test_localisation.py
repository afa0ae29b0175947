"""Boxes against references: what is found, cut, missed, and the table of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from acinus.evaluate import judge_boxes
from acinus.evaluate.localisation import CORNERS, LOCALISATION_COLUMNS
from acinus.evaluate.tables import display, localisation_table, note
from acinus.predict.locate import Piece, Place
from acinus.predict.located import box_rows
from acinus.scans import Grid, Volume, write_volume
from acinus.scans.box import Box, box_of_voxels, voxels_in

VALUES = {"right": (1,), "left": (2,)}

AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])
AFFINE[:3, 3] = 0.5, 0.5, 1.0  # so that faces lie at whole mm


def box_row(place: str, corners: tuple[float, ...] | None, **changes: Any) -> dict[str, Any]:
    """A row of boxes.csv; the last box is the one found, unless `last` says otherwise."""
    last = changes.pop("last", corners)
    row: dict[str, Any] = {
        "case": "p1", "place": place, "labels": place, "growths": 0, "cut": "",
        "locate_seconds": 2.0, "segment_seconds": 3.0, "reason": "",
    }  # fmt: skip
    for prefix, values in (("", corners), ("last_", last)):
        row |= {f"{prefix}{name}": "" if values is None else values[i]
                for i, name in enumerate(CORNERS)}  # fmt: skip
    grid = Grid((10, 8, 12), AFFINE)
    part = None if last is None else voxels_in(grid, Box(last[:3], last[3:]))
    row["last_voxels"] = " ".join(f"{edge.start}:{edge.stop}" for edge in part or ())
    return {**row, **changes}


@pytest.fixture
def reference(tmp_path: Path) -> dict[str, Path]:
    """Voxels of 1 x 1 x 2 mm: right fills x 6-8, y 2-5, z 4-12 mm; left is not drawn."""
    labels = np.zeros((10, 8, 12), np.uint8)
    labels[2:6, 2:5, 6:8] = 1
    write_volume(Volume(labels, AFFINE), tmp_path / "p1.nii.gz")
    return {"p1": tmp_path / "p1.nii.gz"}


def judge(rows: list[dict[str, Any]], reference: dict[str, Path]) -> pd.DataFrame:
    return judge_boxes(pd.DataFrame(rows), reference, VALUES)


def test_a_box_around_the_reference_is_tight_by_its_margin(reference: dict[str, Path]) -> None:
    found = judge([box_row("right", (4, 1, 2, 10, 6, 14))], reference)
    assert list(found.columns) == list(LOCALISATION_COLUMNS)
    row = found.iloc[0]
    assert row["outcome"] == "found"
    assert row["share_inside"] == 1
    assert row["margin_mm"] == pytest.approx(1)
    assert row["filled"] == pytest.approx((2 * 3 * 8) / (6 * 5 * 12))
    assert row["box_ml"] == pytest.approx(0.36)
    assert row["reference_ml"] == pytest.approx(0.048)


def test_a_box_that_cuts_and_one_that_grew(reference: dict[str, Path]) -> None:
    half = (4, 1, 2, 7, 6, 14)
    cut, grown = judge(
        [box_row("right", half), box_row("right", half, last=(4, 1, 2, 9, 6, 14), growths=1)],
        reference,
    ).to_dict("records")
    assert (cut["outcome"], cut["share_inside"], cut["margin_mm"]) == ("cut", 0.5, -1)
    assert (grown["outcome"], grown["share_inside"], grown["share_inside_last"]) == (
        "found",
        0.5,
        1,
    )


def test_missed_false_and_absent_places(reference: dict[str, Path]) -> None:
    found = judge(
        [
            box_row("right", None, reason="nothing of right was found"),
            box_row("right", (100, 100, 100, 110, 110, 110)),
            box_row("left", (0, 0, 0, 2, 2, 2)),
            box_row("left", None),
        ],
        reference,
    )
    assert list(found["outcome"]) == ["missed", "missed", "false box", "absent"]
    assert list(found["share_inside"][:2]) == [0, 0]
    assert found["share_inside"][2:].isna().all()


def test_places_that_nobody_drew_are_left_out(reference: dict[str, Path]) -> None:
    rows = [box_row("left", (0, 0, 0, 2, 2, 2)), box_row("right", (4, 1, 2, 10, 6, 14))]
    found = judge_boxes(pd.DataFrame(rows), reference, VALUES, {"p1": ("right",)})
    assert list(found["place"]) == ["right"]
    assert judge_boxes(pd.DataFrame(rows), {}, VALUES).empty


def test_the_table_counts_a_missed_box_as_nothing_inside(reference: dict[str, Path]) -> None:
    found = judge(
        [box_row("right", (4, 1, 2, 10, 6, 14)), box_row("right", None), box_row("left", None)],
        reference,
    ).assign(arm="CT", part="holdout")
    numbers = localisation_table(found)
    right = numbers[numbers["place"] == "right"].iloc[0]
    assert (right["n"], right["n_found"], right["n_missed"]) == (2, 1, 1)
    assert right["share_inside"] == 0.5
    assert right["margin_mm"] == pytest.approx(1)
    shown = display("localisation_table", numbers)
    assert list(shown["Whole inside the box"]) == ["1 (50%) of 2", "–"]
    assert "Cut or missed: 1." in note("localisation_table", numbers)
    assert localisation_table(found, part="validation").empty


def test_what_was_segmented_counts_and_not_the_box_around_it(tmp_path: Path) -> None:
    """On a grid turned by 30 degrees the box in the world holds what was never segmented."""
    turned = AFFINE.copy()
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    turned[:2, :2] = [[c, -s], [s, c]]
    labels = np.zeros((10, 8, 12), np.uint8)
    labels[2:6, 2:5, 4:8] = 1
    write_volume(Volume(labels, turned), tmp_path / "p1.nii.gz")
    segmented = (slice(2, 6), slice(2, 5), slice(4, 7))
    box = box_of_voxels(Grid((10, 8, 12), turned), segmented)
    row = box_row("right", (*box.low_mm, *box.high_mm), last_voxels="2:6 2:5 4:7")
    found = judge([row], {"p1": tmp_path / "p1.nii.gz"}).iloc[0]
    assert found["share_inside"] == 1
    assert found["share_inside_last"] == pytest.approx(0.75)
    assert found["outcome"] == "cut"


def test_boxes_on_faces_of_voxels_take_no_layer_in(tmp_path: Path) -> None:
    """Of a grid with an origin that two decimals do not tell: what is written is judged alike."""
    affine = np.diag([0.977, 0.977, 2.5, 1.0])
    affine[:3, 3] = -31.2345678, 17.6543219, 4.4449876
    labels = np.zeros((10, 8, 12), np.uint8)
    labels[2:8, 2:6, 3:9] = 1
    volume = Volume(labels, affine)
    write_volume(volume, tmp_path / "p1.nii.gz")
    part = (slice(4, 8), slice(3, 6), slice(5, 9))
    place = Place("right", ("right",), box_of_voxels(volume.grid, part))
    located = SimpleNamespace(
        pieces=(Piece(place, part, volume),), grid=volume.grid, locate_s=1.0, segment_s=1.0
    )
    rows = pd.DataFrame(box_rows(located, "p1"))
    (found,) = judge_boxes(rows, {"p1": tmp_path / "p1.nii.gz"}, VALUES).to_dict("records")
    wanted = labels[part].sum() / labels.sum()
    assert found["share_inside"] == found["share_inside_last"] == wanted
    tight = box_of_voxels(volume.grid, (slice(2, 8), slice(2, 6), slice(3, 9)))
    rows.loc[0, list(CORNERS)] = [*tight.low_mm, *tight.high_mm]
    (found,) = judge_boxes(rows, {"p1": tmp_path / "p1.nii.gz"}, VALUES).to_dict("records")
    assert str(found["margin_mm"]) == "0.0"
