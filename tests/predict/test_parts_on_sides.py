"""Parts of a structure on the other side of the patient: reported always, renamed if asked."""

from __future__ import annotations

import numpy as np
import pytest

from acinus.cohort.check_side import midline_mm
from acinus.plan import Plan
from acinus.plan.plan import DatasetFacts
from acinus.predict import Located, examine, examine_located
from acinus.predict.locate import Piece, Place
from acinus.predict.located import box_rows
from acinus.predict.sides import (
    labels_of_box_part,
    labels_of_part,
    parts_of_boxes_on_wrong_side,
    parts_on_wrong_side,
    relabelled,
    relabelled_pieces,
    side_notes,
)
from acinus.scans import Volume
from acinus.scans.slabs import VolumeSlabs, overview
from made_located import located_plan
from made_plan import made_plan

SHAPE = (20, 60, 80)
AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])
RIGHT = (slice(8, 12), slice(20, 30), slice(60, 66))
LEFT = (slice(8, 12), slice(20, 30), slice(14, 20))
STRAY = (slice(6, 8), slice(40, 44), slice(16, 21))
"""Of the right gland, on the left."""


@pytest.fixture
def plan() -> Plan:
    return made_plan()


def body() -> Volume:
    """An elliptic cylinder in air; X grows towards the right, so its right half is at large x."""
    _, y, x = np.indices(SHAPE)
    inside = ((y - 30) / 26) ** 2 + ((x - 40) / 34) ** 2 < 1
    return Volume(np.where(inside, 100, 0).astype(np.int16), AFFINE)


def labels_with(*, right: bool = True, left: bool = True, stray: bool = True) -> Volume:
    array = np.zeros(SHAPE, np.uint8)
    if right:
        array[RIGHT] = 1
    if left:
        array[LEFT] = 2
    if stray:
        array[STRAY] = 1
    return Volume(array, AFFINE)


def warnings_of(labelmap: Volume, plan: Plan) -> dict[str, str]:
    return {one.label: "; ".join(one.warnings) for one in examine(labelmap, body(), plan)}


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("flips", [(), (0,), (1,), (2,), (0, 1, 2)])
def test_a_part_on_the_other_side_is_told_with_its_volume(
    plan: Plan, left: bool, flips: tuple[int, ...]
) -> None:
    """By its partner, or without one by the body; in whatever order the file holds its voxels."""
    affine = AFFINE.copy()
    for axis in flips:
        column = 2 - axis
        affine[:3, 3] += affine[:3, column] * (SHAPE[axis] - 1)
        affine[:3, column] *= -1
    labelmap, image = labels_with(left=left), body()
    (part,) = parts_on_wrong_side(
        [Volume(np.flip(labelmap.array, flips), affine)],
        Volume(np.flip(image.array, flips), affine),
        plan,
    )
    assert part.label == "gland_right"
    assert part.volume_ml == pytest.approx(2 * 4 * 5 * 2 / 1000)


def test_where_nothing_strays_nothing_is_said(plan: Plan) -> None:
    assert parts_on_wrong_side([labels_with(stray=False)], body(), plan) == []
    assert "wrong side" not in warnings_of(labels_with(stray=False), plan)["gland_right"]


def test_the_middle_of_two_glands_counts_and_not_that_of_a_body_with_a_raised_arm(
    plan: Plan,
) -> None:
    """An arm at the right moves the middle of the body beyond the right gland."""
    image = body()
    wide = np.zeros((*SHAPE[:2], 240), np.int16)
    wide[:, :, :80] = image.array
    wide[:, 20:40, 160:200] = 100
    labels = np.zeros(wide.shape, np.uint8)
    labels[:, :, :80] = labels_with(stray=False).array
    middle_mm, _, _ = midline_mm(Volume(wide, AFFINE), np.array([10.0, 25.0, 62.0]))
    assert middle_mm > 66
    assert parts_on_wrong_side([Volume(labels, AFFINE)], Volume(wide, AFFINE), plan) == []


def test_a_centroid_alone_would_not_have_told(plan: Plan) -> None:
    found = warnings_of(labels_with(), plan)
    assert "0.08 mL on the wrong side" in found["gland_right"]
    assert "wrong side" not in found["gland_left"]


def test_relabelled_parts_belong_to_the_partner_and_nothing_else_changes(plan: Plan) -> None:
    before = labels_with()
    parts = parts_on_wrong_side([before], body(), plan)
    after = relabelled(before, parts, plan)
    expected = before.array.copy()
    expected[STRAY] = 2
    np.testing.assert_array_equal(after.array, expected)
    np.testing.assert_array_equal(before.array, labels_with().array)
    assert parts_on_wrong_side([after], body(), plan) == []
    notes = side_notes(parts, plan, labels_of_part(after), are_relabelled=True)
    assert notes == {"gland_right": "0.08 mL on the wrong side, relabelled as gland_left"}


def test_exchanged_glands_are_exchanged_back(plan: Plan) -> None:
    exchanged = labels_with(stray=False)
    exchanged = exchanged.with_array(np.array([0, 2, 1], np.uint8)[exchanged.array])
    parts = parts_on_wrong_side([exchanged], body(), plan)
    back = relabelled(exchanged, parts, plan)
    np.testing.assert_array_equal(back.array, labels_with(stray=False).array)


def test_a_gland_called_right_and_left_in_halves_is_told_by_its_true_partner(plan: Plan) -> None:
    """The wrong half is the largest part of its name, and lies medially."""
    array = np.zeros(SHAPE, np.uint8)
    array[8:12, 20:30, 62:66] = 1  # the right gland, in part
    array[8:12, 20:30, 12:18] = 2
    array[8:12, 20:30, 18:28] = 1
    (part,) = parts_on_wrong_side([Volume(array, AFFINE)], body(), plan)
    assert part.volume_ml == pytest.approx(0.8)
    after = relabelled(Volume(array, AFFINE), [part], plan).array
    np.testing.assert_array_equal(after == 1, np.indices(SHAPE)[2] * (array == 1) > 40)


@pytest.mark.parametrize("gap", [0, 2])
def test_of_a_gland_in_halves_without_its_partner_the_body_tells(plan: Plan, gap: int) -> None:
    array = np.zeros(SHAPE, np.uint8)
    array[8:12, 20:30, 8:16] = 2
    array[8:12, 20:30, 16 + gap : 28] = 1
    (part,) = parts_on_wrong_side([Volume(array, AFFINE)], body(), plan)
    assert part.label == "gland_right" and part.is_sure


def test_a_turned_head_is_parted_along_itself(plan: Plan) -> None:
    """A piece in front of the right gland lies left of the middle in the world, and is right."""
    shape, turn = (20, 140, 140), np.deg2rad(35)
    z, y, x = np.indices(shape)
    u = (x - 70) * np.cos(turn) + (y - 70) * np.sin(turn)
    v = -(x - 70) * np.sin(turn) + (y - 70) * np.cos(turn)
    array, at_height = np.zeros(shape, np.uint8), (z >= 8) & (z < 12)
    array[at_height & (abs(u - 32) < 6) & (abs(v) < 8)] = 1
    array[at_height & (abs(u + 32) < 6) & (abs(v) < 8)] = 2
    array[at_height & (abs(u - 20) < 4) & (abs(v - 40) < 4)] = 1
    head = np.where((u / 42) ** 2 + (v / 52) ** 2 < 1, 100, 0).astype(np.int16)
    assert parts_on_wrong_side([Volume(array, AFFINE)], Volume(head, AFFINE), plan) == []


def test_of_a_crop_of_one_side_nothing_is_renamed(plan: Plan) -> None:
    """Tissue up to every edge: the middle of the image is not that of the patient."""
    crop = Volume(np.random.default_rng(0).normal(100, 10, SHAPE).astype(np.float32), AFFINE)
    array = np.zeros(SHAPE, np.uint8)
    array[8:12, 20:30, 8:14] = 1
    labelmap = Volume(array, AFFINE)
    parts = parts_on_wrong_side([labelmap], crop, plan)
    np.testing.assert_array_equal(relabelled(labelmap, parts, plan).array, array)
    now = labels_of_part(labelmap)
    said = side_notes(parts, plan, now, are_relabelled=True)["gland_right"]
    assert said.endswith("not relabelled: the image may show one side only")
    assert "relabelled" not in side_notes(parts, plan, now)["gland_right"]


def test_exchanged_glands_are_told_where_the_body_fills_the_image(plan: Plan) -> None:
    everywhere = Volume(np.random.default_rng(0).normal(100, 10, SHAPE).astype(np.float32), AFFINE)
    array = np.zeros(SHAPE, np.uint8)
    array[8:12, 20:30, 50:54], array[8:12, 20:30, 26:30] = 2, 1
    labelmap = Volume(array, AFFINE)
    parts = parts_on_wrong_side([labelmap], everywhere, plan)
    back = relabelled(labelmap, parts, plan)
    np.testing.assert_array_equal(back.array, np.array([0, 2, 1], np.uint8)[array])


def test_in_boxes_a_part_keeps_its_place_and_changes_its_name() -> None:
    plan, whole = located_plan({}), labels_with()
    box = (slice(4, 14), slice(10, 50), slice(10, 70))  # holds both sides
    piece_map = Volume(np.where(whole.array[box] == 1, 1, 0).astype(np.uint8), AFFINE.copy())
    piece_map.affine[:3, 3] = AFFINE[:3, :3] @ [10, 10, 4]
    pieces = (Piece(Place("right", ("gland_right",), None), box, piece_map),)
    located = Located(whole.grid, pieces, overview(VolumeSlabs(body()), 2.0), 0.0, 0.0)
    (finding,) = examine_located(located, plan)
    assert "0.08 mL on the wrong side" in finding.warnings
    parts = parts_on_wrong_side([piece_map], located.overview, plan, [("gland_right",)])
    done = relabelled_pieces(located, parts, plan)
    shown = np.zeros(SHAPE, np.uint8)
    for part, array in done.parts():
        shown[part] = np.maximum(shown[part], array)
    expected = np.zeros(SHAPE, np.uint8)
    expected[RIGHT], expected[STRAY] = 1, 2
    np.testing.assert_array_equal(shown, expected)
    volumes = {one.label: one.volume_ml for one in examine_located(done, plan)}
    assert volumes == pytest.approx({"gland_right": 0.48, "gland_left": 0.08})


def test_in_its_box_a_gland_may_bear_its_partners_name() -> None:
    """Of the right gland's box the network called half left: told, and given back if asked."""
    plan = located_plan({})
    box = (slice(4, 14), slice(15, 40), slice(50, 75))
    found = np.zeros(SHAPE, np.uint8)
    found[RIGHT] = 1
    found[RIGHT][:, 5:] = 2
    affine = AFFINE.copy()
    affine[:3, 3] = AFFINE[:3, :3] @ [50, 15, 4]
    own, astray = (
        Volume(np.where(found[box] == value, value, 0).astype(np.uint8), affine) for value in (1, 2)
    )
    place = Place("right", ("gland_right",), None)
    piece = Piece(place, box, own, others=("gland_left",), astray=astray)
    whole = Volume(found, AFFINE)
    located = Located(whole.grid, (piece,), overview(VolumeSlabs(body()), 2.0), 0.0, 0.0)
    parts = parts_of_boxes_on_wrong_side(located, plan)
    said = "0.24 mL on the wrong side, left out of the label map"
    assert side_notes(parts, plan, labels_of_box_part(located, located)) == {"gland_left": said}
    shown = np.zeros(SHAPE, np.uint8)
    for part, array in relabelled_pieces(located, parts, plan).parts():
        shown[part] = np.maximum(shown[part], array)
    np.testing.assert_array_equal(shown == 1, found > 0)
    kept = np.zeros(SHAPE, np.uint8)  # not asked: nothing of the other place is written
    for part, array in located.parts():
        kept[part] = np.maximum(kept[part], array)
    np.testing.assert_array_equal(kept, np.where(found == 1, 1, 0))


def boxed(found: np.ndarray, box: tuple[slice, slice, slice], value: int) -> Volume:
    """One label of a whole map in a box."""
    affine = AFFINE.copy()
    affine[:3, 3] = AFFINE[:3, :3] @ [edge.start for edge in box[::-1]]
    return Volume(np.where(found[box] == value, value, 0).astype(np.uint8), affine)


def test_what_another_box_shows_is_not_left_out() -> None:
    """Boxes that overlap: of what the right one has no place for, the left one shows a part."""
    plan = located_plan({})
    right_box = (slice(4, 14), slice(10, 50), slice(30, 75))
    left_box = (slice(4, 14), slice(10, 50), slice(5, 63))
    found = np.zeros(SHAPE, np.uint8)
    found[RIGHT] = 2  # 6 columns of the right gland under its partner's name, 3 in both boxes
    found[LEFT] = 2
    pieces = (
        Piece(
            Place("right", ("gland_right",), None),
            right_box,
            boxed(found, right_box, 1),
            astray=boxed(found, right_box, 2),
        ),
        Piece(Place("left", ("gland_left",), None), left_box, boxed(found, left_box, 2)),
    )
    located = Located(Volume(found, AFFINE).grid, pieces, overview(VolumeSlabs(body()), 2.0), 0, 0)
    parts = parts_of_boxes_on_wrong_side(located, plan)
    said = side_notes(parts, plan, labels_of_box_part(located, located))["gland_left"]
    assert "0.24 mL on the wrong side, left out of the label map" in said
    assert "0.24 mL on the wrong side;" in said + ";"


def test_what_postprocessing_removes_is_not_said_to_be_there(plan: Plan) -> None:
    before = labels_with()
    parts = parts_on_wrong_side([before], body(), plan)
    array = before.array.copy()
    array[STRAY] = 0
    now = labels_of_part(before.with_array(array))
    said = {"gland_right": "0.08 mL on the wrong side, left out of the label map"}
    assert side_notes(parts, plan, now) == said
    assert side_notes(parts, plan, now, are_relabelled=True) == said


def test_a_box_of_both_partners_stays_one_and_others_get_no_row() -> None:
    """A part of a box that holds its partner is renamed there; else it is no place of its own."""
    whole = labels_with()
    box = (slice(4, 14), slice(10, 50), slice(10, 70))
    plan, right = located_plan({}), boxed(whole.array, box, 1)
    both = right.with_array(whole.array[box])
    for labels, shows, n_pieces in (
        (("gland_right", "gland_left"), both, 1),
        (("gland_right",), right, 2),
    ):
        piece = Piece(Place("head", labels, None), box, shows)
        located = Located(whole.grid, (piece,), overview(VolumeSlabs(body()), 2.0), 0.0, 0.0)
        done = relabelled_pieces(located, parts_of_boxes_on_wrong_side(located, plan), plan)
        assert len(done.pieces) == n_pieces
        assert [row["place"] for row in box_rows(done, "a")] == ["head"]
        shown = np.zeros(SHAPE, np.uint8)
        for part, array in done.parts():
            shown[part] = np.maximum(shown[part], array)
        expected = np.where(np.isin(whole.array, shows.array), whole.array, 0)
        expected[STRAY] = 2
        np.testing.assert_array_equal(shown, expected)


def test_a_tumour_within_a_kidney_changes_sides_once() -> None:
    plan = made_plan()
    names = {
        "kidney_right": (1, 2),
        "tumour_right": (2,),
        "kidney_left": (3, 4),
        "tumour_left": (4,),
    }
    facts = plan.dataset.model_dump() | {
        "labels": {name: values[0] for name, values in names.items()},
        "regions": names,
        "sides": {name: name.split("_")[1] for name in names},
        "mirror_pairs": (("kidney_right", "kidney_left"), ("tumour_right", "tumour_left")),
    }
    plan = plan.model_copy(update={"dataset": DatasetFacts(**facts)})
    array = np.zeros(SHAPE, np.uint8)
    array[LEFT] = 1
    array[LEFT][1:3, 2:6, 2:4] = 2
    parts = parts_on_wrong_side([Volume(array, AFFINE)], body(), plan)
    assert {one.label for one in parts} == {"kidney_right", "tumour_right"}
    moved = relabelled(Volume(array, AFFINE), parts, plan).array
    np.testing.assert_array_equal(moved, np.array([0, 3, 4], np.uint8)[array])
