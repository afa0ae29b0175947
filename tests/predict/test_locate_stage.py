"""Boxes are segmented inside, grow where a mask touches them, and say what they cut off."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import grey_dilation

from acinus.errors import DataError, GridError, MemoryLimitError
from acinus.plan import Plan
from acinus.predict import Cleaning, KnownPlaces, Located, Member, Model, boxes_of, examine_located
from acinus.predict.locate import MaskLocator, Place, clipping, segment_places, stage
from acinus.predict.model import assembled
from acinus.scans import Grid, Volume, write_volume
from acinus.scans.box import Box, Slices, box_of_voxels
from acinus.scans.slabs import SlabReader, VolumeSlabs, overview
from made_located import located_plan
from made_plan import made_fingerprint, made_plan, unread_dataset

SHAPE = (30, 40, 40)

GROWN_MM = 2.0
"""By how much the labels of a coarse network were grown."""


@pytest.fixture
def scan() -> tuple[Volume, np.ndarray]:
    """A scan whose values are its labels: right 1 at x above 24, left 2 below 16."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[10:20, 15:25, 28:34] = 1
    labels[12:18, 15:22, 5:11] = 2
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[:3, 3] = -20, -20, -30
    return Volume(labels.astype(np.int16), affine), labels


@pytest.fixture
def plan() -> Plan:
    return located_plan({"margin_mm": 4.0, "growths": 3})


def by_value(_place: Place, channels: Sequence[Volume | None]) -> Volume:
    """The segment stage of these tests: the values are the labels."""
    (image,) = channels
    assert image is not None
    return image.with_array(image.array.astype(np.uint8))


def as_found(labels: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Labels as a coarse network that is always right draws them: grown."""
    rim_vox = np.floor(GROWN_MM / np.array(spacing_mm)).astype(int)
    return np.asarray(grey_dilation(labels, size=tuple(2 * rim_vox + 1)))


def around(scan: Volume, part: tuple[slice, slice, slice], name: str, label: str) -> Place:
    return Place(name, (label,), box_of_voxels(scan.grid, part))


def test_a_box_that_holds_its_structure_is_segmented_once(
    scan: tuple[Volume, np.ndarray], plan: Plan
) -> None:
    image, labels = scan
    places = [
        around(image, (slice(8, 22), slice(12, 28), slice(25, 36)), "right", "gland_right"),
        around(image, (slice(9, 20), slice(12, 25), slice(2, 14)), "left", "gland_left"),
    ]
    pieces = segment_places([VolumeSlabs(image)], places, by_value, plan)
    assert [(piece.n_growths, piece.cut) for piece in pieces] == [(0, ()), (0, ())]
    located = Located(image.grid, tuple(pieces), overview(VolumeSlabs(image), 2.0), 0.0, 0.0)
    np.testing.assert_array_equal(assembled(located).array, labels)


def test_a_box_grows_where_it_is_touched_and_nowhere_else(
    scan: tuple[Volume, np.ndarray], plan: Plan
) -> None:
    image, labels = scan
    tight = (slice(8, 22), slice(12, 20), slice(25, 36))  # cuts the structure towards anterior
    (piece,) = segment_places(
        [VolumeSlabs(image)], [around(image, tight, "right", "gland_right")], by_value, plan
    )
    assert piece.n_growths == 2  # to 24, which touches still, then to 28
    assert piece.part == (slice(8, 22), slice(12, 28), slice(25, 36))
    assert piece.cut == ()
    assert piece.labelmap is not None
    assert (piece.labelmap.array == 1).sum() == (labels == 1).sum()


def test_a_grown_box_beyond_the_memory_is_given_up_and_flagged(
    scan: tuple[Volume, np.ndarray], plan: Plan
) -> None:
    """The left one fits; the right one fits as found, grown it does not."""
    image, labels = scan
    tight = (slice(8, 22), slice(12, 20), slice(25, 36))
    places = [
        around(image, tight, "right", "gland_right"),
        around(image, (slice(9, 20), slice(12, 25), slice(2, 14)), "left", "gland_left"),
    ]

    def watch(grids: Sequence[Grid]) -> None:
        if sum(int(np.prod(grid.shape)) for grid in grids) > 1750:
            raise MemoryLimitError("too large")

    right, left = segment_places([VolumeSlabs(image)], places, by_value, plan, watch)
    assert (right.part, right.cut, right.n_growths) == (tight, ("gland_right",), 0)
    assert right.labelmap is not None and left.labelmap is not None
    np.testing.assert_array_equal(right.labelmap.array, labels[tight])
    assert (left.labelmap.array == 2).sum() == (labels == 2).sum()

    def refuse(_place: Place, channels: Sequence[Volume | None]) -> Volume:
        (part,) = channels
        if part is not None and part.array.size > 1500:
            raise MemoryLimitError("too large")
        return by_value(_place, channels)

    (again,) = segment_places([VolumeSlabs(image)], places[:1], refuse, plan)
    assert (again.part, again.cut) == (tight, ("gland_right",))


def test_what_is_too_large_as_found_is_refused_before_it_is_read(
    scan: tuple[Volume, np.ndarray], plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, _ = scan
    read: list[int] = []
    monkeypatch.setattr(stage, "read_parts", lambda *given: read.append(1))
    whole = (slice(0, 30), slice(0, 40), slice(0, 40))

    def watch(grids: Sequence[Grid]) -> None:
        raise MemoryLimitError("too large")

    with pytest.raises(MemoryLimitError):
        segment_places(
            [VolumeSlabs(image)],
            [around(image, whole, "right", "gland_right")],
            by_value,
            plan,
            watch,
        )
    assert not read


def test_what_is_cut_off_at_last_is_flagged(
    scan: tuple[Volume, np.ndarray],
) -> None:
    image, _labels = scan
    plan = located_plan({"margin_mm": 2.0, "growths": 1})
    tight = (slice(8, 22), slice(12, 17), slice(25, 36))
    pieces = segment_places(
        [VolumeSlabs(image)],
        [
            around(image, tight, "right", "gland_right"),
            Place("left", ("gland_left",), None, "nothing of left was found"),
        ],
        by_value,
        plan,
    )
    assert pieces[0].n_growths == 1
    assert pieces[0].cut == ("gland_right",)
    located = Located(image.grid, tuple(pieces), overview(VolumeSlabs(image), 2.0), 0.0, 0.0)
    findings = {one.label: one for one in examine_located(located, plan)}
    assert "cut off by its box" in findings["gland_right"].warnings
    assert findings["gland_left"].warnings == ("empty", "nothing of left was found")
    assert findings["gland_right"].volume_ml == pytest.approx(10 * 4 * 6 * 2 / 1000)


def test_a_mask_that_ends_with_the_scan_does_not_grow(plan: Plan) -> None:
    labels = np.zeros(SHAPE, np.int16)
    labels[20:, 15:25, 28:34] = 1
    image = Volume(labels, np.eye(4))
    part = (slice(15, 30), slice(10, 30), slice(25, 38))
    (piece,) = segment_places(
        [VolumeSlabs(image)], [around(image, part, "right", "gland_right")], by_value, plan
    )
    assert (piece.n_growths, piece.cut) == (0, ())
    located = Located(image.grid, (piece,), overview(VolumeSlabs(image), 2.0), 0.0, 0.0)
    assert "touches the border" in examine_located(located, plan)[0].warnings


def test_a_box_keeps_the_labels_of_its_own_place_only(
    scan: tuple[Volume, np.ndarray], plan: Plan
) -> None:
    image, _ = scan
    whole = tuple(slice(0, n) for n in SHAPE)
    (piece,) = segment_places(
        [VolumeSlabs(image)], [around(image, whole, "left", "gland_left")], by_value, plan
    )
    assert piece.labelmap is not None
    assert set(np.unique(piece.labelmap.array)) == {0, 2}


def test_a_gland_on_the_other_side_of_the_body_is_still_noticed() -> None:
    plan = located_plan({}, one_label=True)
    _z, y, x = np.indices(SHAPE)
    body = ((y - 20) / 15) ** 2 + ((x - 20) / 15) ** 2 < 1
    labels = np.zeros(SHAPE, np.uint8)
    labels[10:20, 18:23, 8:12] = 1
    affine = np.eye(4)
    image = Volume(np.where(body, 100, 0).astype(np.int16), affine)
    part = (slice(8, 22), slice(15, 26), slice(5, 15))
    piece_map = Volume(labels[part], affine)
    pieces = segment_places(
        [VolumeSlabs(image)],
        [around(image, part, "right", "gland_right")],
        lambda _place, channels: channels[0].with_array(piece_map.array),  # type: ignore[union-attr]
        plan,
    )
    located = Located(image.grid, tuple(pieces), overview(VolumeSlabs(image), 1.0), 0.0, 0.0)
    assert "wrong side" in examine_located(located, plan)[0].warnings


def test_no_more_is_taken_off_than_the_margin_gives_back() -> None:
    """Beside another label a label could not grow, and its box must hold it all the same."""
    plan = located_plan({"margin_mm": 1.0})
    labels = np.zeros(SHAPE, np.uint8)
    labels[10:16, 10:20, 30:36] = 1
    right, _left = boxes_of(Volume(labels, np.eye(4)), plan, GROWN_MM)
    assert right.box == box_of_voxels(
        Volume(labels, np.eye(4)).grid, (slice(10, 16), slice(10, 20), slice(30, 36))
    )


def test_less_than_the_rim_is_boxed_about_its_middle() -> None:
    plan = located_plan({"margin_mm": 4.0})
    labels = np.zeros(SHAPE, np.uint8)
    labels[10, 20, 30] = 1
    right, _left = boxes_of(Volume(labels, np.eye(4)), plan, GROWN_MM)
    assert right.box == Box((26.0, 16.0, 6.0), (34.0, 24.0, 14.0))


def test_boxes_of_one_size_stand_about_what_was_found(
    scan: tuple[Volume, np.ndarray], tmp_path: Path
) -> None:
    volume, labels = scan
    plan = located_plan({"margin_mm": 4.0, "box_mm": (20.0, 16.0, 12.0)})
    right, left = boxes_of(volume.with_array(labels), plan, 0.0)
    for place, value in ((right, 1), (left, 2)):
        assert place.box is not None
        np.testing.assert_allclose(place.box.size_mm, (12, 16, 20))
        drawn = volume.grid.world(np.argwhere(labels == value))
        middle = (drawn.min(axis=0) + drawn.max(axis=0)) / 2
        np.testing.assert_allclose((np.array(place.box.low_mm) + place.box.high_mm) / 2, middle)
    write_volume(volume.with_array((labels == 2).astype(np.uint8)), tmp_path / "mask.nii.gz")
    (place,) = MaskLocator(tmp_path / "mask.nii.gz", plan).find([volume])
    assert place.box is not None and left.box is not None
    np.testing.assert_allclose(place.box.low_mm, left.box.low_mm)


@pytest.mark.parametrize(("shift_mm", "found"), [(5000.0, "outside"), (34.0, "told"), (0.0, "")])
def test_a_mask_of_another_scan_is_noticed(
    shift_mm: float,
    found: str,
    scan: tuple[Volume, np.ndarray],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    volume, labels = scan
    affine = volume.affine.copy()
    affine[2, 3] += shift_mm
    write_volume(Volume((labels > 0).astype(np.uint8), affine), tmp_path / "mask.nii.gz")
    locator = MaskLocator(tmp_path / "mask.nii.gz", located_plan({"margin_mm": 4.0}))
    (place,) = locator.find([volume])
    said = capsys.readouterr().err
    assert (place.box is None) == (found == "outside")
    if found == "outside":
        assert "mask.nii.gz lies at R -16 to 14, A -6 to 4, S 4989 to 5009 mm, the scan" in (
            place.reason
        )
    assert ("only 30% of its box lie in the scan" in said) == (found == "told")


def test_a_box_outside_of_the_scan_is_not_segmented(
    scan: tuple[Volume, np.ndarray], plan: Plan
) -> None:
    image, _ = scan
    place = Place("right", ("gland_right",), Box((900, 0, 0), (950, 10, 10)))
    (piece,) = segment_places([VolumeSlabs(image)], [place], by_value, plan)
    assert piece.part is None
    assert piece.place.reason == "the box lies outside of the scan"


def test_channels_on_different_grids_are_refused(
    scan: tuple[Volume, np.ndarray], plan: Plan
) -> None:
    image, _ = scan
    other = Volume(image.array, np.diag([1.0, 1.0, 2.5, 1.0]))
    with pytest.raises(GridError, match="channels of a case must share a grid"):
        segment_places([VolumeSlabs(image), VolumeSlabs(other)], [], by_value, plan)


def test_far_chance_finds_do_not_widen_a_box(scan: tuple[Volume, np.ndarray], plan: Plan) -> None:
    image, labels = scan
    stray = labels.copy()
    stray[0, 0, 0] = 1
    right, left = boxes_of(Volume(as_found(stray, (2.0, 1.0, 1.0)), image.affine), plan, GROWN_MM)
    assert (right.name, left.name) == ("right", "left")
    assert right.box == box_of_voxels(
        image.grid, (slice(10, 20), slice(15, 25), slice(28, 34))
    ).grown(4.0, 4.0)
    assert left.box is not None
    assert right.box is not None
    assert right.box.common_ml(left.box) == 0  # kept apart


def test_boxes_are_read_in_groups_so_that_memory_does_not_grow_with_their_number(
    scan: tuple[Volume, np.ndarray], plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, _labels = scan
    part = (slice(8, 22), slice(12, 28), slice(25, 36))
    other = (slice(9, 20), slice(12, 25), slice(2, 14))
    places = [
        around(image, part, "right", "gland_right"),
        around(image, other, "left", "gland_left"),
        around(image, part, "again", "gland_right"),
    ]
    held: list[int] = []
    reading = stage.read_parts

    def watched(source: SlabReader, parts: Sequence[Slices]) -> list[Volume]:
        held.append(len(parts))
        return reading(source, parts)

    monkeypatch.setattr(stage, "read_parts", watched)
    together = segment_places([VolumeSlabs(image)], places, by_value, plan)
    monkeypatch.setattr(stage, "GROUP_VOX", 14 * 16 * 11 + 100)
    apart = segment_places([VolumeSlabs(image)], places, by_value, plan)
    assert held == [3, 1, 1, 1]
    for one, two in zip(together, apart, strict=True):
        assert one.part == two.part
        assert one.labelmap is not None and two.labelmap is not None
        np.testing.assert_array_equal(one.labelmap.array, two.labelmap.array)


def test_a_box_that_shows_the_partner_only_says_so(plan: Plan) -> None:
    labels = np.zeros(SHAPE, np.int16)
    labels[10:20, 15:25, 28:34] = 2  # the network takes the right gland for the left one
    image = Volume(labels, np.eye(4))
    part = (slice(8, 22), slice(12, 28), slice(25, 36))
    pieces = segment_places(
        [VolumeSlabs(image)], [around(image, part, "right", "gland_right")], by_value, plan
    )
    located = Located(image.grid, tuple(pieces), overview(VolumeSlabs(image), 2.0), 0.0, 0.0)
    (finding,) = examine_located(located, plan)
    assert finding.warnings == ("empty", "its box shows gland_left instead")


def test_one_label_for_both_sides_is_boxed_on_both(tmp_path: Path) -> None:
    """Two large parts make one box; a stray voxel far away does not make it larger."""
    plan = located_plan({"margin_mm": 3.0}, one_label=True)
    labels = np.zeros(SHAPE, np.uint8)
    labels[10:16, 10:20, 4:10] = 1
    labels[10:16, 10:20, 30:34] = 1
    labels[28, 38, 38] = 1
    (place,) = boxes_of(Volume(as_found(labels, (1.0, 1.0, 1.0)), np.eye(4)), plan, GROWN_MM)
    assert place.box == box_of_voxels(
        Volume(labels, np.eye(4)).grid, (slice(10, 16), slice(10, 20), slice(4, 34))
    ).grown(3.0, 3.0)


def test_a_coarse_network_sees_means_of_clipped_values(plan: Plan) -> None:
    """As it learned from: a block of half air is not darker than half of the darkest tissue."""
    image = Volume(np.full((4, 4, 4), 40, np.int16), np.eye(4))
    image.array[:, :, ::2] = -1000
    limits = (-120.0, 180.0)
    np.testing.assert_allclose(overview(VolumeSlabs(image), 2.0, limits).array, (40 - 120) / 2)
    coarse = made_plan(
        {
            "prepare": {
                "normalisation": ["ct", "z_score"],
                "intensity": [{"mean": 0, "sd": 1, "low": -120, "high": 180}] * 2,
            }
        },
        dataset=unread_dataset(channel_names=("CT", "T1")),
        fingerprint=made_fingerprint().model_copy(update={"channel_names": ("CT", "T1")}),
    )
    assert clipping(coarse) == [limits, None]


def test_what_is_cut_off_grows_its_box_before_it_is_cleaned_away(
    scan: tuple[Volume, np.ndarray],
) -> None:
    """A small part in a tight box would be removed as too small, and the gland be lost."""
    image, labels = scan
    plan = located_plan({"margin_mm": 8.0, "growths": 3})
    tight = (slice(8, 22), slice(12, 17), slice(25, 36))
    places = [around(image, tight, "right", "gland_right")]
    model = Model(
        (Member(plan, ()),),
        postprocess={"gland_right": Cleaning(smallest_ml=0.9, rule="made")},
        locator=KnownPlaces(places),
    )
    part_ml = (labels[tight] == 1).sum() * image.grid.voxel_volume_ml
    whole_ml = (labels == 1).sum() * image.grid.voxel_volume_ml
    assert part_ml < 0.9 < whole_ml

    def segment(channels: Sequence[Volume | None], postprocess: str, watch: object) -> Volume:
        return model.clean(by_value(places[0], channels), postprocess)  # type: ignore[arg-type]

    object.__setattr__(model, "_segment", segment)
    object.__setattr__(model, "_refuse_wrong_number", lambda n: None)
    object.__setattr__(model, "channels", lambda given: list(given))
    located = model.predict_located([VolumeSlabs(image)])
    assert (assembled(located).array == 1).sum() == (labels == 1).sum()


def test_a_scan_in_which_no_place_was_found_is_an_error_in_python_too(
    scan: tuple[Volume, np.ndarray], plan: Plan
) -> None:
    image, _labels = scan
    nothing = Place("right", ("gland_right",), None, "nothing of right was found")
    model = Model((Member(plan, ()),), locator=KnownPlaces([nothing]))
    with pytest.raises(DataError, match="nothing of right was found"):
        model.predict(image)
    assert not model.predict(image, allow_nothing=True).array.any()
