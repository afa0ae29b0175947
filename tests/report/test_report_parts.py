"""The parts of the report: orientation, outlines, chosen cases, reasons, maps, wording."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from acinus.errors import DataError, GridError
from acinus.evaluate import Pair, score_cases
from acinus.progress import quiet
from acinus.report import ArmContent, ReportContent, style
from acinus.report.centres import OVERLAYS, SHIFT
from acinus.report.choose import (
    largest_underestimation,
    median_case,
    typical_cases,
    worst_case,
)
from acinus.report.figure import Folders
from acinus.report.flow import draw_flow
from acinus.report.inside import INSIDE, draw_inside
from acinus.report.maps import read_maps
from acinus.report.numbers import join_words, p_text, plural, seconds_text
from acinus.report.reasons import reason_for_case
from acinus.report.style import new_figure, report_style, save_figure
from acinus.report.views import (
    CaseView,
    Window,
    outline_segments,
    show_plane,
    spread_slices,
    view_case,
    whole_window,
    window_about,
)
from acinus.report.volumetry import BOUNDS, VOLUMES


def pixels(figure) -> np.ndarray:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].mean(axis=2)


def view_with_spot(index: tuple[int, int, int]) -> CaseView:
    """Black (S, A, R) volume in anisotropic voxels with one white voxel."""
    image = np.zeros((6, 10, 12))
    image[index] = 1.0
    return CaseView("spot", image, None, None, (3.5, 0.5, 0.5), (0.0, 1.0))


@pytest.mark.parametrize(
    ("plane", "spot", "column", "row"),
    [
        ("axial", (2, 8, 10), "left", "top"),  # patient right and anterior
        ("axial", (2, 1, 1), "right", "bottom"),
        ("coronal", (5, 4, 10), "left", "top"),  # patient right and superior
        ("coronal", (0, 4, 1), "right", "bottom"),
        ("sagittal", (5, 8, 6), "left", "top"),  # anterior and superior
        ("sagittal", (0, 1, 6), "right", "bottom"),
    ],
)
def test_planes_are_shown_the_radiological_way(plane, spot, column, row) -> None:
    view = view_with_spot(spot)
    figure = new_figure(2.0, 2.0)
    figure.set_facecolor("black")
    axes = figure.add_axes((0, 0, 1, 1))
    index = spot[("axial", "coronal", "sagittal").index(plane)]
    show_plane(axes, view, plane, index, whole_window(view))
    y, x = np.unravel_index(pixels(figure).argmax(), pixels(figure).shape)
    height, width = pixels(figure).shape
    assert ("left" if x < width / 2 else "right") == column
    assert ("top" if y < height / 2 else "bottom") == row


def test_a_flipped_file_is_shown_on_the_same_side(tmp_path: Path) -> None:
    array = np.zeros((12, 10, 6), np.float32)
    array[10, 8, 2] = 1.0
    affine = np.diag([0.5, 0.5, 3.5, 1.0])
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    flip[:2, 3] = [11, 9]
    for name, values, there in (("a", array, affine), ("b", array[::-1, ::-1], affine @ flip)):
        nib.save(nib.Nifti1Image(values, there), tmp_path / f"{name}.nii.gz")
    views = [
        view_case(ArmContent("arm", "data", {}, images={"c": [tmp_path / f"{n}.nii.gz"]}), "c")
        for n in "ab"
    ]
    assert np.array_equal(views[0].image, views[1].image)
    assert views[0].image[2, 8, 10] == 1.0


def test_outline_is_as_long_as_the_faces_of_the_pixels() -> None:
    mask = np.zeros((9, 9), dtype=bool)
    mask[2:5, 3:7] = True
    mask[3, 4] = False
    segments = outline_segments(mask, (2.0, 0.5))
    length = np.abs(np.diff(segments, axis=1)).sum()
    outer, hole = 2 * (3 * 2.0 + 4 * 0.5), 2 * (2.0 + 0.5)
    assert length == pytest.approx(outer + hole)
    assert segments[..., 0].min() == pytest.approx((3 - 0.5) * 0.5)
    assert segments[..., 1].max() == pytest.approx((4 + 0.5) * 2.0)
    assert not len(outline_segments(np.zeros((3, 3), bool), (1.0, 1.0)))


def test_outline_reaches_a_mask_at_the_border() -> None:
    segments = outline_segments(np.ones((2, 2), bool), (1.0, 1.0))
    assert np.abs(np.diff(segments, axis=1)).sum() == pytest.approx(8.0)


def test_spread_slices_follow_the_area_from_superior_to_inferior() -> None:
    mask = np.zeros((20, 4, 4), dtype=bool)
    mask[5:14] = True
    assert spread_slices(mask, 3) == [12, 9, 6]
    assert spread_slices(np.zeros((2, 3, 3), bool), 3) == [1, 0]
    single = np.zeros((9, 3, 3), dtype=bool)
    single[4] = True
    chosen = spread_slices(single, 3)
    assert 4 in chosen
    assert len(set(chosen)) == 3


def test_windows_stay_inside_and_centre_what_is_too_large() -> None:
    whole = Window((0, 0, 0), (10, 10, 10))
    moved = Window((-3, 4, 8), (1, 8, 12)).inside(whole)
    assert moved.low == (0, 4, 6)
    assert moved.high == (4, 8, 10)
    assert Window((0, 0, 0), (20, 2, 2)).inside(whole).low == (-5, 0, 0)
    view = view_with_spot((0, 0, 0))
    assert window_about(view, np.zeros_like(view.image, bool), margin_mm=3) == whole_window(view)


LABELS = {"gland_right": 1, "gland_left": 2}
SIDES = {"gland_right": "right", "gland_left": "left"}


def cohort(folder: Path, made: dict[str, tuple[np.ndarray, np.ndarray]]) -> ReportContent:
    images, references, predictions = {}, {}, {}
    for case, arrays in made.items():
        for kind, array, into in zip("rp", arrays, (references, predictions), strict=True):
            into[case] = folder / f"{case}_{kind}.nii.gz"
            nib.save(nib.Nifti1Image(array.astype(np.uint8).T, np.eye(4)), into[case])
        images[case] = [references[case]]
    pairs = [Pair(c, c, references[c], predictions[c]) for c in made]
    with quiet():
        scores = score_cases(pairs, LABELS, measures=("dice", "hausdorff_95_mm"), arm="arm",
                             model="final", part="holdout")  # fmt: skip
    arm = ArmContent("arm", "data", LABELS, sides=SIDES, images=images, references=references,
                     predictions=predictions, holdout_participants=tuple(made))  # fmt: skip
    return ReportContent("title", "study", "run", (arm,), scores)


def boxes(right: int = 4, left: int = 4) -> np.ndarray:
    array = np.zeros((8, 10, 30))
    array[2:6, 2:6, 20 : 20 + right] = 1
    array[2:6, 2:6, 4 : 4 + left] = 2
    return array


def test_cases_are_chosen_by_rule(tmp_path: Path) -> None:
    content = cohort(
        tmp_path,
        {
            "best": (boxes(), boxes()),
            "middle": (boxes(), boxes(right=3)),
            "worst": (boxes(left=6), boxes(left=2)),
        },
    )
    arm = content.arms[0]
    assert worst_case(content, arm) == "worst"
    assert median_case(content, arm) == "middle"
    assert largest_underestimation(content, arm) == ("worst", "gland_left")
    hidden = replace(arm, images={c: p for c, p in arm.images.items() if c != "worst"})
    assert worst_case(content, hidden) == "middle"


def test_typical_participant_is_one_that_all_arms_have(tmp_path: Path) -> None:
    content = cohort(tmp_path, {name: (boxes(), boxes()) for name in "abc"})
    arm = content.arms[0]
    other = replace(
        arm,
        name="other",
        images={"x1": arm.images["b"]},
        references={"x1": arm.references["b"]},
        case_participants={"x1": "b"},
    )
    both = replace(content, arms=(arm, other))
    assert typical_cases(both) == {"arm": "b", "other": "x1"}
    apart = replace(other, case_participants={"x1": "nobody"})
    assert typical_cases(replace(content, arms=(arm, apart))) == {"arm": "a", "other": "x1"}


def test_reasons_name_what_the_picture_shows(tmp_path: Path) -> None:
    swapped = boxes()
    swapped[swapped > 0] = 3 - swapped[swapped > 0]
    empty = boxes()
    empty[empty == 2] = 0
    made = {f"c{i}": (boxes(left=3 + i % 3), boxes(left=3 + i % 3)) for i in range(6)}
    content = cohort(
        tmp_path,
        {**made, "swapped": (boxes(), swapped), "empty": (boxes(), empty),
         "large": (boxes(left=14), boxes(left=3))},
    )  # fmt: skip
    arm = content.arms[0]
    said = {case: reason_for_case(content, arm, view_case(arm, case)) for case in arm.images}
    assert said["c0"] == ""
    assert "on the wrong side, on Left gland" in said["swapped"]
    assert said["empty"].startswith("Left gland (Dice 0.00): nothing was predicted")
    assert "predicted only 21% of the volume" in said["large"]
    assert "unusually large" in said["large"]


def test_image_and_label_on_two_grids_are_refused(tmp_path: Path) -> None:
    content = cohort(tmp_path, {"a": (boxes(), boxes())})
    arm = content.arms[0]
    nib.save(nib.Nifti1Image(np.zeros((3, 3, 3), np.uint8), np.eye(4)), tmp_path / "o.nii.gz")
    wrong = replace(arm, references={"a": tmp_path / "o.nii.gz"})
    with pytest.raises(GridError, match="case 'a' of arm 'arm': image and reference must share"):
        view_case(wrong, "a")
    with pytest.raises(DataError, match="case 'b' of arm 'arm': an image is needed"):
        view_case(arm, "b")


def test_maps_with_pickles_or_missing_arrays_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "maps.npz"
    np.savez(path, image=np.array([object()], dtype=object))
    with pytest.raises(DataError, match=r"maps\.npz: must be an \.npz file of plain arrays"):
        read_maps(path, ("image",))
    np.savez(path, image=np.zeros((4, 5)))
    with pytest.raises(DataError, match="must hold image, region; lacks region"):
        read_maps(path, ("image", "region"))
    np.savez(path, image=np.zeros((4, 5)), region=np.zeros((4, 4)))
    with pytest.raises(DataError, match=r"must have the plane \(4, 5\)"):
        read_maps(path, ("image", "region"))
    path.write_text("text")
    with pytest.raises(DataError, match="plain arrays"):
        read_maps(path, ("image",))
    with pytest.raises(DataError, match="no such file"):
        read_maps(tmp_path / "none.npz", ("image",))


def test_maps_turn_for_display_unless_they_are_turned(tmp_path: Path) -> None:
    image = np.arange(6.0).reshape(2, 3)
    np.savez(tmp_path / "a.npz", image=image, spacing_mm=[2.0, 1.0])
    np.savez(tmp_path / "b.npz", image=image[::-1, ::-1], display=True)
    canonical, shown = (read_maps(tmp_path / f"{n}.npz", ("image",)) for n in "ab")
    assert np.array_equal(canonical.picture("image"), shown.picture("image"))
    assert canonical.extent_mm == (0.0, 3.0, 0.0, 4.0)


def test_synthetic_mark_goes_under_the_figure(tmp_path: Path) -> None:
    from PIL import Image

    figure = new_figure(1.0, 3.0)
    plain = save_figure(figure, tmp_path / "a.png", synthetic=False)
    marked = save_figure(figure, tmp_path / "b.png", synthetic=True)
    with Image.open(plain) as a, Image.open(marked) as b:
        assert b.height > a.height
        assert np.asarray(a.convert("L")).min() == 255
        strip = np.asarray(b.convert("L"))[a.height :]
        assert strip.min() < 200


def test_style_returns_to_what_it_was() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    with report_style():
        assert matplotlib.rcParams["text.parse_math"] is False
    assert dict(matplotlib.rcParams) == before


def test_report_does_not_touch_pyplot() -> None:
    import subprocess
    import sys

    code = (
        "import sys, acinus.report; sys.exit('matplotlib' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_flow_stops_where_the_split_begins(tmp_path: Path) -> None:
    content = cohort(tmp_path, {"a": (boxes(), boxes())})
    flow = (("Assessed", 5, ""), ("Excluded", 1, "motion"), ("Kept for the hold-out test", 1, ""))
    arm = replace(content.arms[0], flow=flow, train_participants=("b", "c"))
    draw_flow(replace(content, arms=(arm,)), Folders(tmp_path))
    rows = pd.read_csv(tmp_path / "tables" / "figure-3.csv")
    assert list(rows["count"]) == [5, 1, 2, 1]
    assert "hold-out test: participants" in rows["text"].iloc[-1].lower()


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.0004, "p < 0.001"), (0.0042, "p = 0.004"), (0.29, "p = 0.29"), (None, "p not defined")],
)
def test_p_values_read_as_in_journals(p: float | None, text: str) -> None:
    assert p_text(p) == text


def test_no_two_figures_share_a_number() -> None:
    """They share the names of their files too."""
    others = (OVERLAYS, VOLUMES, SHIFT, BOUNDS, INSIDE)
    assert len({*range(1, 11), *others}) == 10 + len(others)


def test_words() -> None:
    assert seconds_text(59.6) == "1 min 00 s"
    assert seconds_text(7384) == "2 h 03 min"
    assert seconds_text(None) == "–"
    assert join_words(["a", "b", "c"]) == "a, b and c"
    assert plural(1, "case") == "1 case"
    assert plural(1200, "slice") == "1,200 slices"


def test_colours_of_reference_and_prediction_differ_for_the_colour_blind() -> None:
    """Deuteranopia keeps blue against orange: far apart in the blue channel and in brightness."""
    red_green_blue = [
        np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])
        for color in (style.REFERENCE, style.PREDICTION)
    ]
    assert abs(red_green_blue[0][2] - red_green_blue[1][2]) > 150


def test_a_prediction_everywhere_does_not_push_the_reference_out(tmp_path: Path) -> None:
    content = cohort(tmp_path, {"a": (boxes(), np.ones_like(boxes()))})
    view = view_case(content.arms[0], "a")
    assert view.reference is not None
    assert np.array_equal(view.structures(), view.reference > 0)
    assert set(spread_slices(view.structures(), 3)) <= {2, 3, 4, 5}


def test_each_arm_shows_what_lies_inside_its_labels_on_axes_of_one_range(tmp_path: Path) -> None:
    content = cohort(tmp_path, {"a": (boxes(), boxes())})
    first = content.arms[0]
    content = replace(content, arms=(first, replace(first, name="another")))
    row = {"participant": "p", "part": "holdout", "voxels": 9, "sd": 1.0}
    rows = [
        {**row, "arm": arm.name, "case": "c", "label": label, "role": role,
         "volume_ml": 0.5 + position, "mean": 100.0 * position}
        for position, arm in enumerate(content.arms)
        for label in LABELS
        for role in ("reference", "prediction")
    ]  # fmt: skip
    drawn: list[tuple[float, float]] = []

    def keep(figure, path: Path, *, synthetic: bool) -> Path:
        drawn.append(tuple(figure.axes[1].get_xlim()))
        return path

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("acinus.report.inside.save_figure", keep)
        view = draw_inside(replace(content, values=pd.DataFrame(rows)), Folders(tmp_path))
    assert [path.name for path in view.paths] == ["figure-15a.png", "figure-15b.png"]
    assert [re.split(r"[.,]", words)[0] for _, words in view.parts] == [
        arm.name for arm in content.arms
    ]
    assert drawn[0] == drawn[1] and drawn[0][0] < 0 and drawn[0][1] > 100
    one = replace(content, values=pd.DataFrame(rows[:4]))
    assert [path.name for path in draw_inside(one, Folders(tmp_path)).paths] == ["figure-15.png"]
