"""Segmentations of 3D Slicer: names, layers, crops, against files built by hand and SimpleITK."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from acinus.errors import DataError, GridError
from acinus.scans import (
    Grid,
    Segment,
    Volume,
    read_grid,
    read_labelmap,
    read_named_segments,
    read_segments,
    segments_of,
    write_segments,
    write_volume,
)

# The image that was segmented: 9 x 8 x 7 voxels (x, y, z), LPS directions (1,0,0) (0,1,0) (0,0,3).
IMAGE = Grid((7, 8, 9), np.array([[-1.0, 0, 0, 10], [0, -1, 0, 20], [0, 0, 3, -30], [0, 0, 0, 1]]))
OFFSET_XYZ = (2, 3, 1)
REFERENCE = (
    "Crop to reference image geometry|0|Crop.&Reference image geometry|"
    "-1;0;0;10;0;-1;0;20;0;0;3;-30;0;0;0;1;0;8;0;7;0;6;|Image geometry description.&"
)


def slicer_file(
    path: Path, layers: list[np.ndarray], segments: list[dict[str, object]], **keys: str
) -> Path:
    """A file as Slicer writes it: `layers` are (x, y, z) boxes at OFFSET_XYZ in the image."""
    many = len(layers) > 1
    sizes = " ".join(map(str, ([len(layers)] if many else []) + list(layers[0].shape)))
    origin = (-10 + OFFSET_XYZ[0], -20 + OFFSET_XYZ[1], -30 + 3 * OFFSET_XYZ[2])
    lines = [
        "NRRD0004",
        "# Complete NRRD file format specification at:",
        "# http://teem.sourceforge.net/nrrd/format.html",
        "type: unsigned char",
        f"dimension: {4 if many else 3}",
        "space: left-posterior-superior",
        f"sizes: {sizes}",
        f"space directions: {'none ' if many else ''}(1,0,0) (0,1,0) (0,0,3)",
        f"kinds: {'list ' if many else ''}domain domain domain",
        "encoding: gzip",
        f"space origin: ({origin[0]},{origin[1]},{origin[2]})",
    ]
    for number, segment in enumerate(segments):
        lines += [f"Segment{number}_{key}:={value}" for key, value in segment.items()]
    lines += [f"Segmentation_{key}:={value}" for key, value in keys.items()]
    voxels = np.stack(layers).astype(np.uint8).tobytes(order="F")
    path.write_bytes(("\n".join(lines) + "\n\n").encode() + gzip.compress(voxels))
    return path


def two_boxes() -> tuple[np.ndarray, np.ndarray]:
    """Masks (x, y, z) of 4 x 3 x 2 voxels that overlap in two voxels."""
    one, other = np.zeros((4, 3, 2)), np.zeros((4, 3, 2))
    one[:2, :, 0] = 1
    other[1, 1:, 0] = 1
    other[3, 2, 1] = 1
    return one, other


def on_image(box: np.ndarray) -> np.ndarray:
    """The (x, y, z) box put on the image by plain slicing, as (Z, Y, X)."""
    whole = np.zeros(IMAGE.shape[::-1], dtype=bool)
    x, y, z = OFFSET_XYZ
    whole[x : x + 4, y : y + 3, z : z + 2] = box > 0
    return whole.T


def overlapping(path: Path, **keys: str) -> Path:
    one, other = two_boxes()
    segments: list[dict[str, object]] = [
        {"ID": "a", "Name": "right gland", "LabelValue": 1, "Layer": 0, "Color": "0.5 0.25 1"},
        {"ID": "b", "Name": "left gland", "LabelValue": 1, "Layer": 1},
        {"ID": "c", "Name": "nothing", "LabelValue": 2, "Layer": 1, "Extent": "0 -1 0 -1 0 -1"},
    ]
    return slicer_file(path, [one, other], segments, **keys)


def test_overlapping_cropped_segments_lie_on_the_whole_image(tmp_path) -> None:
    path = overlapping(
        tmp_path / "a.seg.nrrd",
        ReferenceImageExtentOffset="2 3 1",
        ConversionParameters=REFERENCE,
    )
    segments = read_segments(path)
    assert [segment.name for segment in segments] == ["right gland", "left gland", "nothing"]
    assert segments[0].color == (0.5, 0.25, 1.0)
    for segment, box in zip(segments[:2], two_boxes(), strict=True):
        assert segment.mask.array.dtype == bool
        assert np.array_equal(segment.mask.array, on_image(box))
        assert segment.mask.grid.matches(IMAGE, 1e-9)
    assert not segments[2].mask.array.any()


def test_without_stated_geometry_the_offset_places_the_box(tmp_path) -> None:
    path = overlapping(tmp_path / "a.seg.nrrd", ReferenceImageExtentOffset="2 3 1")
    mask = read_segments(path)[0].mask
    assert mask.shape == (3, 6, 6)  # first image voxel to last stored one
    assert np.array_equal(mask.array, on_image(two_boxes()[0])[:3, :6, :6])
    np.testing.assert_allclose(mask.affine, IMAGE.affine)
    given = read_segments(path, grid=IMAGE)[0].mask
    assert np.array_equal(given.array, on_image(two_boxes()[0]))
    assert np.array_equal(given.affine, IMAGE.affine)


def test_the_images_grid_may_have_other_axes(tmp_path) -> None:
    path = overlapping(tmp_path / "a.seg.nrrd", ReferenceImageExtentOffset="2 3 1")
    flipped = IMAGE.affine.copy()
    flipped[:3, 0] *= -1
    flipped[:3, 3] += 8 * IMAGE.affine[:3, 0]
    mask = read_segments(path, grid=Grid(IMAGE.shape, flipped))[0].mask
    assert np.array_equal(mask.array, on_image(two_boxes()[0])[:, :, ::-1])


def test_a_stated_geometry_that_does_not_fit_is_not_believed(tmp_path) -> None:
    path = overlapping(
        tmp_path / "a.seg.nrrd",
        ReferenceImageExtentOffset="2 3 1",
        ConversionParameters=REFERENCE.replace("0;-1;0;20", "0;-1;0;20.4"),
    )
    assert read_segments(path)[0].mask.shape == (3, 6, 6)


def test_one_layer_with_several_values(tmp_path) -> None:
    one, other = two_boxes()
    merged = np.where(other > 0, 5, one * 3)
    segments: list[dict[str, object]] = [
        {"ID": "a", "Name": "a", "LabelValue": 3, "Layer": 0},
        {"ID": "b", "Name": "b", "LabelValue": 5, "Layer": 0},
    ]
    path = slicer_file(tmp_path / "m.seg.nrrd", [merged], segments, ConversionParameters=REFERENCE)
    found = read_segments(path)
    assert np.array_equal(found[0].mask.array, on_image(merged == 3))
    assert np.array_equal(found[1].mask.array, on_image(merged == 5))
    stored = read_labelmap(path)
    assert set(np.unique(stored.array)) == {0, 3, 5}
    named = read_labelmap(path, names={"b": 1, "a": 2})
    assert np.array_equal(named.array == 1, stored.array == 5)
    assert np.array_equal(named.array == 2, stored.array == 3)
    assert set(np.unique(read_labelmap(path, names={"b": 7}).array)) == {0, 7}
    assert read_grid(path).matches(IMAGE)


def test_files_of_older_slicers_have_a_layer_a_segment(tmp_path) -> None:
    one, other = two_boxes()
    path = slicer_file(
        tmp_path / "old.seg.nrrd", [one, other], [{"ID": "a", "Name": "a"}, {"ID": "b"}]
    )
    segments = read_segments(path, grid=IMAGE)
    assert [segment.name for segment in segments] == ["a", "b"]
    assert np.array_equal(segments[1].mask.array, on_image(other))


def test_overlap_is_an_error_in_a_label_map_and_names_the_segment(tmp_path) -> None:
    path = overlapping(tmp_path / "a.seg.nrrd", ConversionParameters=REFERENCE)
    with pytest.raises(DataError, match=r"must not overlap; 'left gland' shares 2 voxels"):
        read_labelmap(path, names={"right gland": 1, "left gland": 2})
    alone = read_labelmap(path, names={"left gland": 2})
    assert np.array_equal(alone.array == 2, on_image(two_boxes()[1]))
    with pytest.raises(DataError, match=r"unknown segment 'left glnd'.*Did you mean 'left gland'"):
        read_labelmap(path, names={"left glnd": 2})


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ([], "must describe its segments"),
        ([{"ID": "a", "LabelValue": "x"}], "Segment0 must have whole numbers"),
        ([{"ID": "a", "Name": "a", "Layer": 4}], "'a' must lie in one of the 1 layers.*Layer 4"),
        ([{"ID": "a", "Name": "a"}, {"ID": "b", "Name": "b"}], "'a', 'b' share value 1 in layer 0"),
    ],
)
def test_headers_that_contradict_themselves(segments, message, tmp_path) -> None:
    path = slicer_file(tmp_path / "bad.seg.nrrd", [two_boxes()[0]], segments)
    with pytest.raises(DataError, match=rf"bad\.seg\.nrrd: .*{message}"):
        read_segments(path)


def test_another_images_grid_is_refused(tmp_path) -> None:
    path = overlapping(tmp_path / "a.seg.nrrd")
    other = Grid(IMAGE.shape, IMAGE.affine @ np.diag([2.0, 2.0, 1.0, 1.0]))
    with pytest.raises(GridError, match=r"a\.seg\.nrrd: segment 'right gland': both grids"):
        read_segments(path, grid=other)


def test_written_segments_return_in_all_orientations(affines, rng, tmp_path) -> None:
    path = tmp_path / "out.seg.nrrd"
    for affine in affines:
        masks = [Volume(rng.random((4, 5, 6)) > 0.6, affine) for _ in range(3)]
        names = ["right gland", "Drüse = links: \\n", "third"]
        segments = [
            Segment(name, mask, (0.25, 0.5, 1.0)) for name, mask in zip(names, masks, strict=True)
        ]
        write_segments(segments, path)
        found = read_segments(path)
        assert [segment.name for segment in found] == names
        for segment, mask in zip(found, masks, strict=True):
            assert np.array_equal(segment.mask.array, mask.array)
            np.testing.assert_allclose(segment.mask.affine, affine, atol=1e-12)
            assert segment.color == (0.25, 0.5, 1.0)


def test_simpleitk_sees_the_written_layers_where_they_are(affines, tmp_path) -> None:
    array = np.zeros((4, 5, 6), dtype=bool)
    array[1, 2, 3] = True
    mask = Volume(array, affines[70])
    write_segments([Segment("a", mask), Segment("b", mask)], tmp_path / "a.seg.nrrd")
    image = sitk.ReadImage(str(tmp_path / "a.seg.nrrd"))
    assert image.GetNumberOfComponentsPerPixel() == 2
    assert image.GetMetaData("NRRD_kinds[pixel]") == "list"
    assert image.GetPixel(3, 2, 1) == (1, 1)
    left, back, up = image.TransformIndexToPhysicalPoint((3, 2, 1))
    np.testing.assert_allclose(mask.grid.world(np.array((1, 2, 3))), (-left, -back, up), atol=1e-9)
    assert image.GetMetaData("Segment1_Extent") == "3 3 2 2 1 1"
    assert image.GetMetaData("Segment1_Layer") == "1"


def test_segments_that_do_not_overlap_share_a_layer(tmp_path) -> None:
    array = np.zeros((4, 5, 6), dtype=np.int64)
    array[0], array[2] = 3, 300
    labelmap = Volume(array, np.diag([1.0, 1.0, 2.0, 1.0]))
    write_volume(labelmap, tmp_path / "a.seg.nrrd")
    assert sitk.ReadImage(str(tmp_path / "a.seg.nrrd")).GetNumberOfComponentsPerPixel() == 1
    assert np.array_equal(read_labelmap(tmp_path / "a.seg.nrrd").array, array)
    write_segments(segments_of(labelmap, {"one": 3, "two": 300}), tmp_path / "b.seg.nrrd")
    back = read_labelmap(tmp_path / "b.seg.nrrd", names={"one": 3, "two": 300})
    assert np.array_equal(back.array, array)


def test_an_empty_label_map_is_a_segmentation_too(tmp_path) -> None:
    empty = Volume(np.zeros((2, 3, 4), np.uint8), np.eye(4))
    write_segments(segments_of(empty, {"gland": 1}), tmp_path / "a.seg.nrrd")
    assert not read_labelmap(tmp_path / "a.seg.nrrd").array.any()
    write_volume(empty, tmp_path / "plain.seg.nrrd")
    assert read_labelmap(tmp_path / "plain.seg.nrrd").shape == (2, 3, 4)
    with pytest.raises(DataError, match="at least one segment"):
        write_segments([], tmp_path / "b.seg.nrrd")
    elsewhere = Segment("b", Volume(np.zeros((2, 3, 5), bool), np.eye(4)))
    with pytest.raises(GridError, match=r"'b' has shape \(2, 3, 5\)"):
        write_segments([*segments_of(empty, {"gland": 1}), elsewhere], tmp_path / "c.seg.nrrd")


def test_a_table_of_names_decides_and_not_the_order_of_drawing(tmp_path: Path) -> None:
    first, second = np.zeros((2, 4, 6, 6), bool)
    first[1, 1:3, 1:3] = True
    second[2, 3:5, 3:5] = True
    path = tmp_path / "drawn.seg.nrrd"
    segments = [Segment(name, Volume(mask, np.eye(4))) for name, mask in
                (("submandibular", first), ("parotid", second))]  # fmt: skip
    write_segments(segments, path)
    found = read_named_segments(path, {"parotid": 1, "submandibular": 2, "lacrimal": 3})
    assert (found.array[first] == 2).all() and (found.array[second] == 1).all()
    assert found.meta["unnamed"] == ()
    assert read_named_segments(path, {"parotid": 1}).meta["unnamed"] == ("submandibular",)
    with pytest.raises(DataError, match="'parotis' is not there, and 'parotid' has no label"):
        read_named_segments(path, {"parotis": 1, "submandibular": 2})
