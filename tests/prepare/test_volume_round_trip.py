"""Volumes resampled along all axes, cropped, silent in part: there and back to the voxel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from made_scans import OBLIQUE, ORIENTATIONS, dice, glands, most_probable, restored, stored
from scipy import ndimage

from acinus.errors import DataError, GridError, PlanError
from acinus.plan.settings import ChannelIntensity, PrepareSettings
from acinus.prepare import Geometry, native_maps, prepare_case, restore
from acinus.scans import Volume, axis_codes, oriented
from acinus.types import IGNORE

SPACING_MM = (2.0, 0.7, 0.9)
WAYS: dict[str, dict[str, Any]] = {
    "linear": {"spacing_mm": (1.0, 0.8, 0.8)},
    "cubic": {"spacing_mm": (1.0, 0.8, 0.8), "interpolation": "cubic"},
    "coarse axis apart": {"spacing_mm": (2.5, 0.8, 0.8), "interpolation": "cubic"},
    "rows only": {"spacing_mm": (None, 0.9, None)},
    "cropped": {"spacing_mm": (1.2, 0.8, 0.8), "crop_to_nonzero": True, "size_vox": (40, 44)},
}


def headed(native: Volume) -> Volume:
    """An image of a body in air of exactly 0 around the labels."""
    body = ndimage.binary_dilation(native.array > 0, iterations=2)
    noise = np.random.default_rng(0).normal(100, 9, native.shape)
    return native.with_array(np.where(body, noise, 0).astype(np.float32))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("turned", [None, OBLIQUE], ids=["straight", "oblique"])
def test_every_orientation_of_a_volume_returns(way: str, turned: np.ndarray | None) -> None:
    label = glands(SPACING_MM)
    settings = PrepareSettings(slice_axis="Z", **WAYS[way])
    first = None
    for order, flips in ORIENTATIONS:
        native = stored(label, SPACING_MM, order, flips, turned)
        case = prepare_case([headed(native)], settings, native)
        assert case.label is not None
        if first is None:
            first = case
        np.testing.assert_array_equal(case.label, first.label)
        back = restored(case)
        np.testing.assert_array_equal(back.affine, native.affine)
        worst = min(dice(native.array == n, back.array == n) for n in (1, 2))
        assert worst > 0.95, (order, flips, worst)


@pytest.mark.parametrize("orientation", ["as_stored", "canonical", "LPS", "PIR"])
def test_arrays_lie_as_the_plan_says_and_return(orientation: str) -> None:
    label = glands(SPACING_MM)
    settings = PrepareSettings(slice_axis="Z", orientation=orientation, spacing_mm=(1.5, 0.8, 0.8))
    for order, flips in ORIENTATIONS:
        native = stored(label, SPACING_MM, order, flips, OBLIQUE)
        case = prepare_case([headed(native)], settings, native)
        codes = {"canonical": "RAS", "as_stored": axis_codes(native.affine)}
        assert (
            case.geometry.scanned_vox == oriented(native, codes.get(orientation, orientation)).shape
        )
        back = restored(case)
        np.testing.assert_array_equal(back.affine, native.affine)
        assert min(dice(native.array == n, back.array == n) for n in (1, 2)) > 0.95


def test_codes_make_scans_of_every_orientation_alike_and_as_stored_does_not() -> None:
    image = headed(stored(glands(SPACING_MM), SPACING_MM))
    ways = [stored(image.array, SPACING_MM, order, flips) for order, flips in ORIENTATIONS]

    def prepared(scan: Volume, orientation: str) -> np.ndarray:
        settings = PrepareSettings(slice_axis="Z", normalisation="none", orientation=orientation)
        return prepare_case([scan], settings).image

    for orientation, n_kinds in (("LPS", 1), ("canonical", 1), ("as_stored", len(ways))):
        kinds = {(x.shape, x.tobytes()) for x in (prepared(way, orientation) for way in ways)}
        assert len(kinds) == n_kinds, orientation
    flipped = np.flip(prepared(image, "canonical"), (2, 3))
    np.testing.assert_array_equal(prepared(image, "LPS"), flipped)


def test_an_unknown_orientation_is_refused() -> None:
    with pytest.raises(ValueError, match="must be canonical, as_stored, or three letters such as"):
        PrepareSettings(orientation="axial")


@pytest.mark.parametrize("slice_axis", ["Z", "Y", "X"])
@pytest.mark.parametrize("changes", [{}, {"crop_to_nonzero": True}, {"interpolation": "cubic"}])
def test_without_resampling_the_label_returns_exactly(
    slice_axis: Any, changes: dict[str, Any]
) -> None:
    label = glands(SPACING_MM)
    spacing = {"Z": SPACING_MM, "Y": (0.7, 2.0, 0.9), "X": (0.9, 2.0, 0.7)}[slice_axis]
    for order, flips in ORIENTATIONS[::5]:
        native = stored(label, SPACING_MM, order, flips, OBLIQUE)
        settings = PrepareSettings(slice_axis=slice_axis, spacing_mm=spacing, **changes)
        case = prepare_case([headed(native)], settings, native)
        np.testing.assert_array_equal(restored(case).array, native.array)


def test_sizes_and_values_follow_the_spacing() -> None:
    # A ramp along each axis keeps its slope in mm at any spacing.
    z, y, x = np.indices((20, 30, 24)).astype(np.float32)
    native = Volume(4 * z + 3.2 * y + 3 * x, np.diag([0.75, 0.8, 2.0, 1.0]))
    for interpolation in ("linear", "cubic"):
        settings = PrepareSettings(
            normalisation="none",
            slice_axis="Z",
            spacing_mm=(1.0, 1.0, 0.5),
            interpolation=interpolation,  # type: ignore[arg-type]
        )
        case = prepare_case([native], settings)
        assert case.image.shape == (1, 40, 24, 36)
        assert case.geometry.resampled_mm == (1.0, 1.0, 0.5)
        image = case.image[0, 10:-10, 5:-5, 10:-10].astype(np.float64)
        for axis, slope in enumerate((2.0, 4.0, 2.0)):
            steps = np.diff(image, axis=axis)
            assert steps.mean() == pytest.approx(slope, rel=0.01)
            # Triangles of an uneven width are not centred to the last tenth of a voxel.
            np.testing.assert_allclose(steps, slope, rtol=0.07 if axis == 1 else 0.001)


@pytest.mark.parametrize("size", [(1, 20, 16), (12, 1, 16), (12, 20, 1), (1, 1, 1)])
@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
@pytest.mark.parametrize("spacing_mm", [None, (0.5, 0.5, 0.5), (9.0, 9.0, 9.0)])
def test_an_axis_of_one_voxel(
    size: tuple[int, int, int], interpolation: Any, spacing_mm: Any
) -> None:
    label = np.zeros(size, np.uint8)
    label[: (size[0] + 1) // 2] = 1
    native = Volume(label, np.diag([1.0, 1.0, 2.0, 1.0]))
    settings = PrepareSettings(
        slice_axis="Z", spacing_mm=spacing_mm, interpolation=interpolation, crop_to_nonzero=True
    )
    case = prepare_case([native.with_array(label.astype(np.float32) + 1)], settings, native)
    assert np.isfinite(case.image).all()
    assert min(case.image.shape) >= 1
    assert restored(case, 2).shape == size


def test_a_constant_image_is_zero_and_all_zero_is_not_cropped_away() -> None:
    for value in (0, 0.1, -1024):
        native = Volume(np.full((6, 9, 8), value, np.float32), np.diag([1.0, 1.0, 3.0, 1.0]))
        settings = PrepareSettings(
            slice_axis="Z",
            spacing_mm=(1.0, 0.7, 0.7),
            interpolation="cubic",
            crop_to_nonzero=True,
            normalise_nonzero=True,
        )
        case = prepare_case([native], settings)
        assert case.image.shape == (1, 18, 13, 11)
        assert not case.image.any()


def test_the_crop_is_the_box_of_all_channels_and_its_outside_comes_back_as_background() -> None:
    first, second = np.zeros((2, 10, 12, 14), np.float32)
    first[2:5, 3:6, 4:7], second[6:8, 8:10, 5:12] = 1, 2
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    label = np.ones((10, 12, 14), np.uint8)
    settings = PrepareSettings(normalisation="none", slice_axis="Z", crop_to_nonzero=True)
    case = prepare_case(
        [Volume(first, affine), Volume(second, affine)], settings, Volume(label, affine)
    )
    box = np.s_[2:8, 3:10, 4:12]
    assert case.geometry.crop_start_vox == (2, 3, 4)
    np.testing.assert_array_equal(case.image, [first[box], second[box]])
    expected = np.zeros_like(label)
    expected[box] = 1
    np.testing.assert_array_equal(restored(case, 2).array, expected)


def test_holes_belong_to_the_image_and_its_outside_does_not() -> None:
    # A shell with a cavity of zeros inside and a notch of zeros that is open to the border.
    image = np.zeros((9, 9, 9), np.float32)
    image[1:8, 1:8, 1:8] = np.random.default_rng(1).normal(50, 5, (7, 7, 7))
    image[4, 4, 4] = 0
    image[4, 1:3, 4] = 0
    inside = image != 0
    inside[4, 4, 4] = True
    settings = PrepareSettings(slice_axis="Z", normalise_nonzero=True)
    result = prepare_case([Volume(image, np.eye(4))], settings).image[0]
    values = image[inside].astype(np.float64)
    expected = np.where(inside, (image - values.mean()) / values.std(), 0)
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_ignored_voxels_become_255_and_stay_apart_when_resampled() -> None:
    label = np.zeros((6, 20, 20), np.uint8)
    label[:, 5:12, 5:12], label[:, 12:, :] = 1, 4
    native = Volume(label, np.diag([1.0, 1.0, 1.0, 1.0]))
    image = native.with_array(label.astype(np.float32))
    same = prepare_case([image], PrepareSettings(slice_axis="Z"), native, ignore_label=4).label
    np.testing.assert_array_equal(same, np.where(label == 4, IGNORE, label))
    for interpolation in ("linear", "cubic"):
        settings = PrepareSettings(
            slice_axis="Z",
            spacing_mm=(0.7, 0.7, 0.7),
            interpolation=interpolation,  # type: ignore[arg-type]
        )
        small = prepare_case([image], settings, native, ignore_label=4).label
        assert small is not None
        assert set(np.unique(small)) == {0, 1, IGNORE}
        assert (small == IGNORE).mean() == pytest.approx(8 / 20, abs=0.03)


def test_a_value_of_255_or_more_may_only_be_the_ignored_one() -> None:
    affine = np.eye(4)
    image = Volume(np.ones((2, 3, 4), np.float32), affine)
    for value, ignore, fits in (
        (254, None, True),
        (255, None, False),
        (300, 300, True),
        (-1, None, False),
        (255, 255, True),
        (255, 3, False),
    ):
        label = Volume(np.full((2, 3, 4), value, np.int16), affine)
        label.array[0, 0, 0] = 0
        settings = PrepareSettings(slice_axis="Z")
        if not fits:
            with pytest.raises(
                DataError, match=f"between 0 and 254; got .*{value}.*Number the labels"
            ):
                prepare_case([image], settings, label, ignore_label=ignore)
            continue
        prepared = prepare_case([image], settings, label, ignore_label=ignore).label
        assert prepared is not None
        assert prepared.max() == (IGNORE if ignore else value)


def test_settings_that_are_not_resolved_for_these_channels_are_refused() -> None:
    image = Volume(np.ones((2, 3, 4), np.float32), np.eye(4))
    one = ChannelIntensity(mean=1, sd=1, low=0, high=2)
    for changes, words in (
        ({"normalisation": "by_name"}, "still 'by_name'. Make the plan again"),
        ({"normalisation": ("z_score", "ct")}, r"each of the 1 channel\(s\); it has 2"),
        ({"normalisation": "ct", "intensity": (one, one)}, "prepare.intensity must have one entry"),
        ({"normalisation": "ct"}, "prepare.intensity must be given for 'ct'"),
    ):
        with pytest.raises(PlanError, match=words):
            prepare_case([image], PrepareSettings(slice_axis="Z", **changes))


def made_geometry(
    settings: PrepareSettings, shape: tuple[int, int, int] = (24, 40, 36)
) -> Geometry:
    native = Volume(np.ones(shape, np.float32), np.diag([0.7, 0.8, 1.5, 1.0]))
    return prepare_case([native], settings).geometry


def smooth_maps(rng: np.random.Generator, sizes: tuple[int, ...], n: int = 3) -> torch.Tensor:
    """(K, S, R, Q) probabilities of a few large regions, background around them."""
    noise = ndimage.gaussian_filter(rng.normal(size=(n, *sizes)), (0, 3, 3, 3))
    noise[0] += 0.4 * noise.std()
    return torch.from_numpy(np.exp(40 * noise)).float().softmax(dim=0)


@pytest.mark.parametrize("n_planes", [1, 2, 5, 100])
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (2.0, 0.8, 1.0), (None, 1.0, None)])
def test_planes_come_back_as_torch_resamples_the_whole(
    rng: np.random.Generator, spacing_mm: Any, n_planes: int
) -> None:
    # Plain linear interpolation is that of `cubic`; torch has it for three axes at once.
    settings = PrepareSettings(slice_axis="Z", spacing_mm=spacing_mm, interpolation="cubic")
    geometry = made_geometry(settings)
    maps = smooth_maps(rng, geometry.prepared_vox)
    whole = torch.nn.functional.interpolate(
        maps[None], geometry.native_shape, mode="trilinear", align_corners=False
    )[0]
    back = restore(maps.split(n_planes, dim=1), geometry, most_probable).array
    top = whole.topk(2, dim=0).values
    clear = (top[0] - top[1] > 1e-5).numpy()
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(back[clear], whole.argmax(dim=0).numpy()[clear])
    streamed = torch.cat(list(native_maps(maps.split(n_planes, dim=1), geometry, (1, 0, 0))), dim=1)
    torch.testing.assert_close(streamed, whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("slice_axis", ["Z", "Y", "X"])
def test_nearest_slices_may_skip_planes_between_slabs(slice_axis: Any) -> None:
    settings = PrepareSettings(
        slice_axis=slice_axis, spacing_mm=(0.4, 1.5, 1.5), interpolation="cubic"
    )
    native = Volume(np.ones((16, 16, 16), np.float32), np.diag([1.5, 1.5, 1.5, 1.0]))
    geometry = prepare_case([native], settings).geometry
    assert geometry.prepared_vox == (60, 16, 16)
    maps = torch.zeros(2, *geometry.prepared_vox)
    maps[1] = 1
    for n_planes in (1, 2, 3, 7):
        assert restore(maps.split(n_planes, dim=1), geometry, most_probable).array.all()
        assert (
            sum(m.shape[1] for m in native_maps(maps.split(n_planes, dim=1), geometry, (1, 0)))
            == 16
        )


def test_regions_may_be_decoded_by_thresholds(rng: np.random.Generator) -> None:
    geometry = made_geometry(PrepareSettings(slice_axis="Z", spacing_mm=(1.0, 1.0, 1.0)))
    maps = smooth_maps(rng, geometry.prepared_vox, n=2)[1:]

    def decode(maps: torch.Tensor) -> torch.Tensor:
        return (maps[:, 0] > 0.5).to(torch.uint8) * 9

    back = restore(maps.split(4, dim=1), geometry, decode).array
    whole = torch.cat(list(native_maps([maps], geometry, (0.0,))), dim=1)[0].numpy()
    clear = np.abs(whole - 0.5) > 1e-5
    np.testing.assert_array_equal(back[clear], np.where(whole > 0.5, 9, 0)[clear])
    assert set(np.unique(back)) == {0, 9}


@pytest.mark.parametrize("resampled", [True, False])
def test_never_all_classes_of_the_native_volume_at_once(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, resampled: bool
) -> None:
    monkeypatch.setattr("acinus.prepare.native.CHUNK_BYTES", 300_000)
    settings = PrepareSettings(slice_axis="Z", spacing_mm=(3.0, 1.4, 1.6) if resampled else None)
    geometry = made_geometry(settings, (48, 64, 64))
    n_classes, largest = 6, 0

    def slabs() -> Iterator[torch.Tensor]:
        _, rows, columns = geometry.prepared_vox
        for _ in range(geometry.prepared_vox[0]):
            yield torch.from_numpy(rng.random((n_classes, 1, rows, columns), dtype=np.float32))

    def decode(maps: torch.Tensor) -> torch.Tensor:
        nonlocal largest
        largest = max(largest, maps.numel() * 4)
        return most_probable(maps)

    restore(slabs(), geometry, decode)
    assert 0 < largest <= 300_000 < n_classes * 4 * 48 * 64 * 64 / 10


def test_what_is_background_all_around_is_not_resampled() -> None:
    geometry = made_geometry(
        PrepareSettings(slice_axis="Z", spacing_mm=(1.0, 0.6, 0.6)), (48, 64, 64)
    )
    maps = torch.zeros(3, *geometry.prepared_vox)
    maps[0] = 1
    maps[:, 20:24, 30:36, 40:47] = torch.tensor([0.0, 0, 1])[:, None, None, None]
    decoded = 0

    def decode(maps: torch.Tensor) -> torch.Tensor:
        nonlocal decoded
        decoded += maps[:, 0].numel()
        return most_probable(maps)

    back = restore(maps.split(8, dim=1), geometry, decode).array
    assert (back == 2).sum() == pytest.approx(
        4 * 6 * 7 * (1 / 1.5) * (0.6 / 0.8) * (0.6 / 0.7), rel=0.35
    )
    assert decoded < maps[0].numel() + 2000


def test_maps_of_another_case_are_refused() -> None:
    geometry = made_geometry(PrepareSettings(slice_axis="Z"))
    with pytest.raises(GridError, match=r"all 24 planes of the prepared array; got 20"):
        restore([torch.zeros(2, 20, 40, 36)], geometry, most_probable)
    for slabs, found in (
        ([torch.zeros(2, 25, 40, 36)], r"25, 40, 36\) after 0"),
        ([torch.zeros(2, 20, 40, 36)] * 2, r"20, 40, 36\) after 20"),
        ([torch.zeros(2, 24, 36, 40)], r"24, 36, 40\) after 0"),
    ):
        with pytest.raises(GridError, match=rf"\(K, s, 40, 36\), 24 planes in all; got .*{found}"):
            restore(slabs, geometry, most_probable)
