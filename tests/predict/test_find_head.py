"""The head on a CT by rules, on synthetic bodies whose head is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acinus import progress
from acinus.cohort import open_dataset
from acinus.cohort.phantom import make_headneck_cohort
from acinus.errors import DataError
from acinus.predict import find_head
from acinus.predict.locate.locators import HEAD_OVERVIEW_MM
from acinus.scans import Volume, oriented, read_labelmap, read_volume, write_series
from acinus.scans.box import Box, voxels_in
from acinus.scans.components import bounding_box
from acinus.scans.slabs import VolumeSlabs, overview
from made_body import body

BELOW_MM, AROUND_MM = 150.0, (60.0, 80.0, 70.0)
"""Chin below the brain's centre; what must be inside to the sides, front and back, and above."""


def holds(box: Box, centre: np.ndarray, top_mm: float) -> bool:
    """Whether a box holds brain, face and chin, as far as the scan goes."""
    low = centre - (AROUND_MM[0], AROUND_MM[1], BELOW_MM)
    high = centre + AROUND_MM
    high[2] = min(high[2], top_mm)
    return bool((np.array(box.low_mm) <= low).all() and (np.array(box.high_mm) >= high).all())


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"arms_up": False},
        {"couch": False},
        {"above_vertex_mm": -30.0},
        {"below_head_mm": 170.0, "arms_up": False},
    ],
    ids=["whole", "arms down", "no couch", "vertex missing", "head only"],
)
def test_the_head_is_found_whatever_lies_around_it(given: dict[str, Any]) -> None:
    scan, centre = body(**given)
    box = find_head(scan)
    assert holds(box, centre, top_mm=scan.grid.world(np.array([scan.shape[0] - 0.5, 0, 0]))[2])
    right, anterior, superior = box.size_mm
    assert right < 230  # arms and couch stay outside
    assert anterior < 290
    assert superior < 320


@pytest.mark.parametrize("codes", ["LPI", "SAR", "PIL"])
def test_the_order_of_the_voxels_does_not_matter(codes: str) -> None:
    scan, _ = body(height_mm=500)
    turned = find_head(oriented(scan, codes))
    here = find_head(scan)
    np.testing.assert_allclose(turned.low_mm, here.low_mm)
    np.testing.assert_allclose(turned.high_mm, here.high_mm)


@pytest.mark.parametrize("position", ["HFS", "FFS"])
def test_a_patient_may_lie_head_first_or_feet_first(position: str, tmp_path: Path) -> None:
    """What is stored is where the voxels lie in the patient, whichever end went in first."""
    scan, _ = body(height_mm=400, width_mm=300, arms_up=False)
    first = scan if position == "HFS" else oriented(scan, "RAI")
    folder = write_series(
        first, tmp_path / "ct", modality="CT", patient_id="P", tags={"PatientPosition": position}
    )
    found, known = find_head(read_volume(folder)), find_head(scan)
    np.testing.assert_allclose(found.low_mm, known.low_mm, atol=0.01)
    np.testing.assert_allclose(found.high_mm, known.high_mm, atol=0.01)


def test_coarse_scans_will_do() -> None:
    scan, centre = body(height_mm=500)
    box = find_head(overview(VolumeSlabs(scan), 10.0))
    assert holds(box, centre, top_mm=500)


@pytest.mark.parametrize("raised", [False, True])
def test_a_body_without_a_head_has_none(raised: bool) -> None:
    scan, _ = body(head=False, arms_up=raised)
    with pytest.raises(DataError, match="no head was found: no room of soft tissue"):
        find_head(scan)


@pytest.mark.parametrize(
    ("slope", "intercept", "cause"),
    [(0.05, 50, "lost"), (1, 1024, "intercept lost"), (1, -1024, "applied twice")],
)
def test_values_that_are_no_hu_are_named(slope: float, intercept: float, cause: str) -> None:
    scan, _ = body(height_mm=400)
    wrong = Volume((scan.array * slope + intercept).astype(np.int16), scan.affine)
    with pytest.raises(DataError, match=rf"values run from .*{cause}.* Check that the scan is a"):
        find_head(wrong)


def test_the_box_holds_the_glands_of_heads_whose_floor_is_open(tmp_path: Path) -> None:
    """Synthetic skulls, in some of which bone encloses no slice below the roof of the orbits."""
    with progress.quiet():
        (folder,) = make_headneck_cohort(
            tmp_path, patients=2, seed=2024, size="small", contrasts=["ct"]
        )
    cases = open_dataset(folder).cases
    assert len(cases) == 2
    for case in cases:
        label = read_labelmap(case.label)
        scan = read_volume(case.images[0])
        glands = bounding_box(label.array > 0)
        box = voxels_in(label.grid, find_head(overview(VolumeSlabs(scan), HEAD_OVERVIEW_MM)))
        assert glands is not None and box is not None
        for gland, found in zip(glands, box, strict=True):
            assert found.start <= gland.start and gland.stop <= found.stop


@pytest.mark.parametrize("hole_mm", [10.0, 40.0])
def test_a_hole_in_the_skull_cuts_nothing_off(hole_mm: float) -> None:
    """It opens the slices that show it: the room above lies apart then."""
    scan, centre = body(below_head_mm=170.0, arms_up=False)
    array = np.array(scan.array)
    z, y, x = np.indices(array.shape, sparse=True)
    at = scan.grid.world(np.zeros(3))
    x_mm, z_mm = at[0] + x * scan.spacing_mm[2], at[2] + z * scan.spacing_mm[0]
    hole = (x_mm > centre[0]) & (abs(z_mm - centre[2]) < hole_mm / 2 + 2.5) & (array > 200)
    array[hole & (abs(y - array.shape[1] // 2) < 3)] = 35
    box, intact = find_head(scan.with_array(array)), find_head(scan)
    assert box.high_mm[2] == intact.high_mm[2]
    assert holds(box, centre, top_mm=scan.grid.world(np.array([scan.shape[0] - 0.5, 0, 0]))[2])


def test_values_that_are_missing_are_called_so() -> None:
    scan, _ = body(height_mm=400)
    array = np.array(scan.array, dtype=np.float32)
    array[0, 0, 0] = np.nan
    with pytest.raises(DataError, match="voxel values must be finite"):
        find_head(scan.with_array(array))
