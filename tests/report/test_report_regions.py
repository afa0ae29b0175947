"""Regions and ignored voxels in the figures of a report."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from acinus.report.content import ArmContent
from acinus.report.contours import _numbers
from acinus.report.views import view_case
from acinus.scans import Volume, write_volume

AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])


def made_arm(folder: Path) -> ArmContent:
    """A core (2) of 8 voxels within a whole (1 and 2) of 27; the lowest slice is ignored (7)."""
    label = np.zeros((6, 12, 12), np.uint8)
    label[2:5, 3:6, 3:6] = 1
    label[2:4, 3:5, 3:5] = 2
    label[0] = 7
    image = np.random.default_rng(0).normal(size=label.shape).astype(np.float32)
    write_volume(Volume(image, AFFINE), folder / "image.nii.gz")
    write_volume(Volume(label, AFFINE), folder / "label.nii.gz")
    return ArmContent(
        name="A",
        dataset_name="A",
        labels={"whole": 1, "core": 2},
        regions={"whole": (1, 2), "core": (2,)},
        ignore_label=7,
        images={"c": [folder / "image.nii.gz"]},
        references={"c": folder / "label.nii.gz"},
    )


def test_a_region_is_shown_and_measured_by_all_its_values(tmp_path: Path) -> None:
    arm = made_arm(tmp_path)
    view = view_case(arm, "c")
    assert view.reference is not None
    assert arm.mask(view.reference, "whole").sum() == 27
    assert arm.mask(view.reference, "core").sum() == 8
    volumes = _numbers([(arm, view)]).set_index("label")["reference_volume_ml"]
    np.testing.assert_allclose(volumes[["whole", "core"]], [27 * 0.002, 8 * 0.002])


def test_ignored_voxels_are_no_structure(tmp_path: Path) -> None:
    view = view_case(made_arm(tmp_path), "c")
    assert view.drawn().sum() == 27
