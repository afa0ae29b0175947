"""The spacing that rules compare is that of the file, as nnU-Net reads it."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from acinus.plan.settings import PrepareSettings
from acinus.prepare.geometry import make_geometry
from acinus.prepare.resample import coarse_axis
from acinus.scans import Grid, read_grid

PIXELS_MM = [round(0.2 + 0.01 * n, 2) for n in range(181)]


def turned(pixel_mm: float, slice_mm: float, degrees: float = 0.0) -> np.ndarray:
    """(4, 4) affine of slices that are tilted about the X axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine = np.eye(4)
    affine[:3, :3] = [[1, 0, 0], [0, c, -s], [0, s, c]] @ np.diag([pixel_mm, pixel_mm, slice_mm])
    return affine


def single(value: float) -> float:
    return float(np.float32(value))


@pytest.mark.parametrize("degrees", [0.0, 7.0])
@pytest.mark.parametrize("is_single", [True, False], ids=["NIfTI", "double"])
def test_slices_three_times_as_thick_go_where_the_file_has_them(
    is_single: bool, degrees: float
) -> None:
    """Of NIfTI nnU-Net reads numbers of single precision: there 2.4 mm are more than 3 * 0.8 mm."""
    kept = single if is_single else float
    apart = set()
    for pixel in PIXELS_MM:
        thick = round(3 * pixel, 2)
        affine = turned(pixel, thick, degrees)
        affine = affine.astype(np.float32).astype(float) if is_single else affine
        grid = Grid((9, 20, 20), affine)
        stated = (kept(thick), kept(pixel), kept(pixel))
        assert grid.stored_spacing_mm == stated
        settings = PrepareSettings(spacing_mm=(kept(2.5 * pixel), stated[1], stated[2]))
        geometry = make_geometry(grid, grid, settings, None)
        wanted = 0 if stated[0] / stated[1] > 3 else None
        assert coarse_axis(geometry.scanned_mm, geometry.resampled_mm) == wanted
        apart.add(wanted)
    assert apart == {0, None}  # it is not the same for all


@pytest.mark.parametrize("pixel_mm", [1 / 3, 120 / 288, 500 / 512, 240 / 416])
def test_pixels_of_many_digits_keep_them(pixel_mm: float, tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((4, 5, 6), np.float32), turned(pixel_mm, 1.25))
    nib.save(image, tmp_path / "a.nii.gz")
    stored = single(pixel_mm)
    assert read_grid(tmp_path / "a.nii.gz").stored_spacing_mm == (1.25, stored, stored)
    assert Grid((3, 4, 5), turned(pixel_mm, 1.25)).stored_spacing_mm == (1.25, pixel_mm, pixel_mm)
