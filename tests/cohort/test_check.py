"""`check_dataset`: each fault alone, all faults at once, and no false alarm."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from small_dataset import SHAPE_XYZ, centred_affine, write_nifti

from acinus.cohort import CODES, CheckReport, Finding, check_dataset, open_dataset
from acinus.cohort.check_case import canonical_spacing, count_values
from acinus.cohort.check_cohort import robust_z
from acinus.cohort.side_names import pairs_by_name, suggested_side
from acinus.errors import DataError
from acinus.scans import Grid

IDS = [f"p{number:02d}" for number in range(8)]


def image_of(folder: Path, case_id: str, channel: int = 0) -> Path:
    return folder / "imagesTr" / f"{case_id}_{channel:04d}.nii.gz"


def label_of(folder: Path, case_id: str) -> Path:
    return folder / "labelsTr" / f"{case_id}.nii.gz"


def rewrite(
    path: Path,
    change: Callable[[np.ndarray], np.ndarray] | None = None,
    affine: np.ndarray | None = None,
) -> None:
    """Change the (x, y, z) array or the affine of a NIfTI file."""
    image = nib.load(path)
    array = np.asanyarray(image.dataobj)
    array = change(array.copy()) if change else array
    write_nifti(path, array, image.affine if affine is None else affine)


def the_only(report: CheckReport, code: str) -> Finding:
    """The one finding there is, after making sure that it has this code."""
    assert [finding.code for finding in report.findings] == [code]
    return report.findings[0]


def put(index: tuple, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array[index] = value
        return array

    return change


def test_a_faultless_dataset_has_no_findings(make_dataset):
    table = "participant_id\tage\tsex\n" + "".join(f"{p}\t{40 + n}\tF\n" for n, p in enumerate(IDS))
    report = check_dataset(make_dataset(case_ids=IDS, n_channels=2, participants=table))
    assert report.findings == ()
    assert report.n_cases == 8
    assert not report.has_errors and report.as_rows() == []


def test_no_dataset_at_all_is_an_exception(tmp_path: Path, make_dataset):
    with pytest.raises(DataError, match="no such folder"):
        check_dataset(tmp_path / "absent")
    folder = make_dataset()
    (folder / "dataset.json").write_text("{broken")
    with pytest.raises(DataError, match="must be a readable JSON file"):
        check_dataset(folder)


def test_faults_of_dataset_json_do_not_hide_faults_of_files(make_dataset):
    folder = make_dataset(
        case_ids=IDS, labels=None, file_ending=None, channel_names=None, sides=None, mirror_pairs=[]
    )
    label_of(folder, "p03").write_bytes(b"")
    report = check_dataset(folder)
    assert [f.code for f in report.findings] == ["dataset-json"] * 3 + ["unreadable"]
    assert "'file_ending' must be one of" in report.findings[2].found
    assert report.n_cases == 8


# Files ------------------------------------------------------------------------------------


def test_label_without_image(make_dataset):
    folder = make_dataset(case_ids=IDS)
    image_of(folder, "p02").unlink()
    report = check_dataset(folder)
    assert [(f.code, f.case, f.severity) for f in report.findings] == [
        ("case-count", "", "warning"),
        ("image-missing", "p02", "error"),
    ]
    assert "labelsTr/p02.nii.gz has no image" in report.findings[1].found
    assert "'numTraining' 8; on disk are 7" in report.findings[0].found


def test_image_without_label_is_a_warning(make_dataset):
    folder = make_dataset(case_ids=IDS)
    label_of(folder, "p02").unlink()
    finding = the_only(check_dataset(folder), "label-missing")
    assert (finding.severity, finding.case) == ("warning", "p02")


def test_a_label_named_like_a_channel_gets_the_right_advice(make_dataset):
    folder = make_dataset(case_ids=IDS)
    label_of(folder, "p02").rename(label_of(folder, "p02_0000"))
    found = {f.code: f for f in check_dataset(folder).findings}
    assert set(found) == {"image-missing", "label-missing"}
    assert "Name it p02.nii.gz" in found["image-missing"].remedy


def test_a_dangling_link_is_an_unreadable_file(make_dataset):
    folder = make_dataset(case_ids=IDS)
    path = image_of(folder, "p02")
    path.unlink()
    path.symlink_to(folder / "elsewhere.nii.gz")
    (folder / "imagesTr" / "other").symlink_to(folder / "elsewhere")
    assert {(f.code, f.case) for f in check_dataset(folder).findings} == {
        ("unreadable", "p02"),
        ("unknown-file", ""),
    }
    with pytest.raises(DataError, match=r"p02_0000.*found a link to a file that is not there"):
        open_dataset(folder)


def test_many_images_without_label_are_told_in_one_finding(make_dataset):
    folder = make_dataset(case_ids=IDS)
    for case_id in IDS[:7]:
        label_of(folder, case_id).unlink()
    finding = the_only(check_dataset(folder), "label-missing")
    assert finding.case == "" and finding.found.startswith("7 cases have no file in labelsTr")


def test_missing_channel_unless_allowed_and_extra_channel(make_dataset):
    folder = make_dataset(case_ids=IDS, n_channels=2)
    image_of(folder, "p04", 1).rename(image_of(folder, "p04", 7))
    found = {f.code: f for f in check_dataset(folder).findings}
    assert set(found) == {"channel-missing", "channel-extra"}
    assert "channel 1 (T2) is missing: no file imagesTr/p04_0001.nii.gz" in (
        found["channel-missing"].found
    )
    assert "p04_0007.nii.gz is channel 7" in found["channel-extra"].found
    image_of(folder, "p04", 7).unlink()
    header = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**header, "allow_missing_channels": True}))
    assert check_dataset(folder).findings == ()


def test_unknown_files_and_exclusions(make_dataset):
    folder = make_dataset(case_ids=IDS, exclude={"p07": "motion", "p99": "gone"}, numTraining=7)
    image_of(folder, "p07").write_bytes(b"excluded files are not opened")
    (folder / "imagesTr" / "notes.txt").write_text("hello")
    (folder / "imagesTr" / ".DS_Store").write_text("hidden")
    (folder / "labelsTr" / "old").mkdir()
    report = check_dataset(folder)
    assert report.n_cases == 7
    assert not report.has_errors
    found = [(f.code, f.found) for f in report.findings]
    assert [code for code, _ in found] == ["exclude-unknown", "unknown-file", "unknown-file"]
    assert "'exclude' names 'p99'" in found[0][1]
    assert "imagesTr/notes.txt (5 bytes)" in found[1][1]
    assert "labelsTr/old (a folder)" in found[2][1]


def test_a_dataset_without_any_pair(make_dataset):
    folder = make_dataset(case_ids=IDS[:2], numTraining=0)
    for case_id in IDS[:2]:
        label_of(folder, case_id).unlink()
    codes = [f.code for f in check_dataset(folder).findings]
    assert codes == ["no-cases", "label-missing", "label-missing"]


# One case -----------------------------------------------------------------------------------


def text_named_nifti(path: Path) -> None:
    path.write_text("this is no image")


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def truncated_inside(path: Path) -> None:
    """A sound gzip file of a NIfTI file that lacks its last voxels."""
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-400]))


def four_dimensional(path: Path) -> None:
    rewrite(path, lambda array: np.stack([array, array], axis=-1))


def plain_slice(path: Path) -> None:
    path.write_bytes(b"")


def raw_affine(matrix: np.ndarray) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        data = bytearray(gzip.decompress(path.read_bytes()))
        data[252:256] = np.array([0, 1], "<i2").tobytes()  # qform_code, sform_code
        data[280:328] = matrix[:3].astype("<f4").tobytes()  # srow_x, srow_y, srow_z
        path.write_bytes(gzip.compress(bytes(data)))

    return change


@pytest.mark.parametrize("where", [image_of, label_of])
@pytest.mark.parametrize(
    ("damage", "code", "words"),
    [
        (text_named_nifti, "unreadable", "a text file that begins 'this is no image'"),
        (truncated, "unreadable", "truncated"),
        (truncated_inside, "unreadable", "p05"),
        (plain_slice, "unreadable", "an empty file"),
        (four_dimensional, "not-3d", "4 axes"),
        (raw_affine(np.zeros((4, 4))), "affine", "a zero affine"),
        (raw_affine(np.diag([2.0, 2.0, 0.0, 1.0])), "affine", "a singular affine"),
        (raw_affine(np.full((4, 4), np.nan)), "affine", "not finite"),
    ],
)
def test_files_that_cannot_be_read(make_dataset, where, damage, code, words):
    folder = make_dataset(case_ids=IDS)
    damage(where(folder, "p05"))
    finding = the_only(check_dataset(folder), code)
    assert (finding.severity, finding.case) == ("error", "p05")
    assert words in finding.found
    assert where(folder, "p05").name in finding.found
    assert str(folder) not in finding.found and finding.remedy.endswith(".")


def test_a_shifted_label_tells_the_distance_and_the_tolerance(make_dataset):
    folder = make_dataset(case_ids=IDS)
    affine = centred_affine()
    affine[:3, 3] += (0, 0.3, 0.4)
    rewrite(label_of(folder, "p01"), affine=affine)
    finding = the_only(check_dataset(folder), "grid")
    assert (finding.severity, finding.case) == ("error", "p01")
    assert "p01.nii.gz lies up to 0.5 mm from p01_0000.nii.gz" in finding.found
    assert "GRID_TOLERANCE_MM is 0.01" in finding.found


def test_a_difference_below_the_tolerance_is_none(make_dataset):
    folder = make_dataset(case_ids=IDS)
    affine = centred_affine()
    affine[1, 3] += 0.009
    rewrite(label_of(folder, "p01"), affine=affine)
    assert check_dataset(folder).findings == ()


def test_another_shape_of_label_and_another_spacing_of_channel(make_dataset):
    folder = make_dataset(case_ids=IDS, n_channels=2)
    rewrite(label_of(folder, "p01"), lambda array: array[:, :, :-1])
    rewrite(image_of(folder, "p02", 1), affine=centred_affine(spacing_xyz=(2.0, 2.0, 3.3)))
    shape, spacing = check_dataset(folder).findings
    assert (shape.code, shape.case) == (spacing.code, "p01") == ("grid", "p01")
    assert "shape (Z, Y, X) (12, 20, 24) of p01_0000.nii.gz, but (11, 20, 24)" in shape.found
    assert "lies up to 1.65 mm" in spacing.found
    assert "spacing (3, 2, 2) and (3.3, 2, 2) mm" in spacing.found


def test_a_flipped_label_header_names_the_axes(make_dataset):
    folder = make_dataset(case_ids=IDS, sides={}, labels={"background": 0, "a": 1, "b": 2})
    rewrite(label_of(folder, "p01"), affine=np.diag([-1.0, 1, 1, 1]) @ centred_affine())
    header = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**header, "mirror_pairs": []}))
    finding = the_only(check_dataset(folder), "grid")
    assert "axes RAS and LAS" in finding.found


def test_values_that_are_not_finite(make_dataset):
    folder = make_dataset(case_ids=IDS)
    rewrite(image_of(folder, "p01"), put((slice(0, 3), 0, 0), np.nan))
    rewrite(image_of(folder, "p02"), put((0, 0, 0), -np.inf))
    first, second = check_dataset(folder).findings
    assert first.code == second.code == "not-finite"
    assert f"3 voxels are NaN and 0 infinite, of {np.prod(SHAPE_XYZ)}" in first.found
    assert "0 voxels are NaN and 1 infinite" in second.found


def test_constant_image(make_dataset):
    folder = make_dataset(case_ids=IDS)
    for case_id in ("p01", "p02"):
        rewrite(image_of(folder, case_id), lambda array: np.full_like(array, 7))
    first, second = check_dataset(folder).findings
    assert first.code == second.code == "constant-image"
    assert "all 5760 voxels are 7" in first.found


def test_label_values(make_dataset):
    folder = make_dataset(case_ids=IDS)
    rewrite(label_of(folder, "p01"), put((0, 0, slice(0, 2)), 9))
    rewrite(label_of(folder, "p02"), lambda array: array.astype(np.float32) + 0.25)
    rewrite(label_of(folder, "p03"), lambda array: array * 0)
    rewrite(label_of(folder, "p04"), lambda array: put((0, 0, 0), np.nan)(array.astype(np.float32)))
    rewrite(label_of(folder, "p05"), lambda array: array.astype(np.float64))  # whole numbers: fine
    found = {f.case: f for f in check_dataset(folder).findings}
    assert {case: f.code for case, f in found.items()} == {
        "p01": "label-values",
        "p02": "label-not-integer",
        "p03": "label-empty",
        "p04": "not-finite",
    }
    assert "9 (2 voxels); it names 0, 1, 2" in found["p01"].found
    assert "5760 voxels are not whole numbers, e.g. 0.25" in found["p02"].found
    assert found["p03"].severity == "warning"


# Sides ----------------------------------------------------------------------------------------


def swap(array: np.ndarray) -> np.ndarray:
    return np.array([0, 2, 1], array.dtype)[array]


def test_swapped_partners_are_an_error(make_dataset):
    folder = make_dataset(case_ids=IDS)
    rewrite(label_of(folder, "p06"), swap)
    finding = the_only(check_dataset(folder), "wrong-side")
    assert (finding.severity, finding.case) == ("error", "p06")
    assert "'gland_right' must lie right of 'gland_left'" in finding.found


def test_sides_are_told_in_the_world_and_not_in_the_array(make_dataset):
    """The same patient stored as LAS is right; the same array said to be LAS is swapped."""
    folder = make_dataset(case_ids=IDS)
    mirrored = np.diag([-1.0, 1, 1, 1]) @ centred_affine()
    for path in (image_of(folder, "p01"), label_of(folder, "p01")):
        rewrite(path, lambda array: array[::-1], affine=mirrored)
    assert check_dataset(folder).findings == ()
    for path in (image_of(folder, "p02"), label_of(folder, "p02")):
        rewrite(path, affine=mirrored)
    assert the_only(check_dataset(folder), "wrong-side").case == "p02"


def test_one_structure_alone_is_judged_by_the_midline(make_dataset):
    """An error where the head is seen whole, a warning in a crop, nothing near the middle."""
    folder = make_dataset(case_ids=IDS)
    x = np.arange(SHAPE_XYZ[0])[:, None, None]

    def only_left_gland_as_right(array: np.ndarray) -> np.ndarray:
        return np.where(array == 2, 1, 0).astype(np.uint8)

    for case_id in ("p01", "p02"):
        rewrite(label_of(folder, case_id), only_left_gland_as_right)
    rewrite(image_of(folder, "p01"), lambda a: np.where((x > 3) & (x < 20), a, a / 50))
    rewrite(label_of(folder, "p03"), lambda a: put((slice(10, 12), 10, 5), 1)(a * 0))
    whole, crop = (f for f in check_dataset(folder).findings if f.code == "wrong-side")
    assert (whole.case, whole.severity) == ("p01", "error")
    assert "left of the middle of the body at its height" in whole.found
    assert (crop.case, crop.severity) == ("p02", "warning")
    assert "the field of view" in crop.found


def test_an_arm_that_widens_the_body_is_no_error(make_dataset):
    """The partner lies on the other side, far enough for the true midline to be between."""
    folder = make_dataset(case_ids=IDS)
    x = np.arange(SHAPE_XYZ[0])[:, None, None]
    rewrite(image_of(folder, "p01"), lambda a: np.where((x > 0) & (x < 23), a, a / 50))
    rewrite(
        label_of(folder, "p01"),
        lambda a: put((slice(8, 10), 12, 5), 1)(put((slice(1, 2), 12, 5), 2)(a * 0)),
    )
    (finding,) = (f for f in check_dataset(folder).findings if f.code == "wrong-side")
    assert finding.severity == "warning"
    assert "Nothing, if an arm or a couch" in finding.remedy


def test_both_partners_on_one_side(make_dataset):
    folder = make_dataset(case_ids=IDS)
    x = np.arange(SHAPE_XYZ[0])[:, None, None]
    rewrite(image_of(folder, "p01"), lambda a: np.where((x > 2) & (x < 21), a, a / 50))
    rewrite(
        label_of(folder, "p01"),
        lambda a: put((slice(18, 20), 12, 5), 1)(put((slice(14, 17), 12, 5), 2)(a * 0)),
    )
    (finding,) = (f for f in check_dataset(folder).findings if f.code == "wrong-side")
    assert finding.severity == "error"
    assert "'gland_left' is stated to be left" in finding.found


def in_air(array: np.ndarray) -> np.ndarray:
    """The head with air on both sides, so that it is seen whole."""
    x = np.arange(SHAPE_XYZ[0])[:, None, None]
    return np.where((x > 1) & (x < 22), array, array / 50)


def all_right(array: np.ndarray) -> np.ndarray:
    return (array > 0).astype(np.uint8)


def half_right(array: np.ndarray) -> np.ndarray:
    """The outer half of the left gland bears the name of the right one."""
    array[:5][array[:5] == 2] = 1
    return array


def test_a_gland_that_bears_its_partners_name_is_an_error(make_dataset):
    """One part on either side: the centroid of both lies in the middle and says nothing."""
    folder = make_dataset(case_ids=IDS)
    for case_id, change in (("p01", all_right), ("p02", half_right)):
        rewrite(image_of(folder, case_id), in_air)
        rewrite(label_of(folder, case_id), change)
    whole, half = (f for f in check_dataset(folder).findings if f.code == "wrong-side")
    assert (whole.case, whole.severity) == ("p01", "error")
    assert "'gland_right' must lie on the right" in whole.found
    assert (half.case, half.severity) == ("p02", "error")
    assert "lie on the left, in 1 part" in half.found
    assert "Give what lies on the left to its partner" in half.remedy


def test_a_slip_of_the_pen_on_the_other_side_is_a_warning(make_dataset):
    folder = make_dataset(case_ids=IDS)
    rewrite(image_of(folder, "p01"), in_air)
    rewrite(label_of(folder, "p01"), put((5, 4, 4), 1))
    finding = the_only(check_dataset(folder), "wrong-side")
    assert (finding.severity, finding.case) == ("warning", "p01")
    assert "0.012 mL of it" in finding.found


def test_pairs_of_different_organs_are_told(make_dataset):
    folder = make_dataset(case_ids=IDS, labels={"background": 0, "lac_right": 1, "lac_left": 2,
        "par_right": 3, "par_left": 4}, sides={"lac_right": "right", "lac_left": "left",
        "par_right": "right", "par_left": "left"},
        mirror_pairs=[["lac_right", "par_left"], ["par_right", "lac_left"]])  # fmt: skip
    (told,) = (f for f in check_dataset(folder).findings if f.code == "pair-not-stated")
    assert "lac_right and lac_left seem to be partners (and 1 more pairs)" in told.found
    assert told.found.endswith("does not state; it states lac_right and par_left")


def test_a_label_of_two_places_is_refused(make_dataset):
    folder = make_dataset(
        case_ids=IDS, structures={"a": ["gland_right"], "b": ["gland_right", "gland_left"]}
    )
    with pytest.raises(DataError, match="must belong to one place; 'gland_right' is in a and b"):
        open_dataset(folder)


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("lacrimal_right", "right"),
        ("Left Kidney", "left"),
        ("kidneyRight", "right"),
        ("parotid_l", "left"),
        ("R-lung", "right"),
        ("bright spot", None),
        ("L1", None),
        ("LEFT2", "left"),
        ("cleft", None),
        ("left and right", None),
        ("Anterior", None),
    ],
)
def test_names_suggest_sides_by_whole_words(name, side):
    assert suggested_side(name) == side


def test_a_side_that_only_names_tell(make_dataset):
    folder = make_dataset(case_ids=IDS, sides={"gland_left": "left"}, mirror_pairs=[])
    finding = the_only(check_dataset(folder), "side-not-stated")
    assert finding.severity == "warning"
    assert "gland_right" in finding.found and "gland_left" not in finding.found
    assert '{"gland_left": "left", "gland_right": "right"}' in finding.remedy


def test_a_side_that_contradicts_the_name(make_dataset):
    sides = {"gland_left": "right", "gland_right": "left"}
    codes = [f.code for f in check_dataset(make_dataset(case_ids=IDS, sides=sides)).findings]
    assert codes.count("side-not-stated") == 2 and codes.count("wrong-side") == 8


# Between cases --------------------------------------------------------------------------------


def test_two_identical_images_and_labels(make_dataset):
    folder = make_dataset(case_ids=IDS)
    rewrite(
        image_of(folder, "p06"), lambda a: np.asanyarray(nib.load(image_of(folder, "p02")).dataobj)
    )
    label_of(folder, "p05").write_bytes(label_of(folder, "p01").read_bytes())
    found = {f.code: f for f in check_dataset(folder).findings}
    image = found["identical-images"]
    assert (image.severity, image.case) == ("error", "p06")
    assert "p06_0000.nii.gz has the same voxels as p02_0000.nii.gz (case 'p02')" in image.found


def test_a_structure_that_no_case_has(make_dataset):
    labels = {"background": 0, "gland_right": 1, "gland_left": 2, "lens": 3}
    finding = the_only(check_dataset(make_dataset(case_ids=IDS, labels=labels)), "label-in-no-case")
    assert (finding.severity, finding.case) == ("error", "")
    assert "'lens' (value 3) is in none of the 8 label maps read" in finding.found


def test_spacing_far_from_the_others_and_beyond_all_reason(make_dataset):
    folder = make_dataset(case_ids=IDS)
    for path in (image_of(folder, "p03"), label_of(folder, "p03")):
        rewrite(path, affine=centred_affine(spacing_xyz=(2.0, 2.0, 6.0)))
    finding = the_only(check_dataset(folder), "spacing")
    assert (finding.case, finding.severity) == ("p03", "warning")
    assert "spacing along Z (superior) is 6 mm; the median of 8 cases is 3 mm" in finding.found
    for path in (image_of(folder, "p03"), label_of(folder, "p03")):
        rewrite(path, affine=centred_affine(spacing_xyz=(0.002, 0.002, 0.003)))
    report = check_dataset(folder)
    assert {f.code for f in report.findings} == {"spacing", "volume"}
    assert any("plausible is 0.02 to 30" in f.found for f in report.findings)


def test_a_volume_far_from_the_others(make_dataset):
    folder = make_dataset(case_ids=IDS)
    rewrite(label_of(folder, "p03"), put((slice(14, 22), slice(2, 18), slice(1, 11)), 1))
    finding = the_only(check_dataset(folder), "volume")
    assert (finding.case, finding.severity) == ("p03", "warning")
    voxel_ml = 0.012
    assert f"volume of 'gland_right' is {8 * 16 * 10 * voxel_ml:.3g} mL" in finding.found


def test_intensities_on_another_scale(make_dataset):
    folder = make_dataset(case_ids=IDS)
    rewrite(image_of(folder, "p04"), lambda array: array * 1000)
    finding = the_only(check_dataset(folder), "intensity")
    assert (finding.case, finding.severity) == ("p04", "warning")


def test_few_cases_have_no_outliers(make_dataset):
    folder = make_dataset(case_ids=IDS[:5])
    rewrite(image_of(folder, "p04"), lambda array: array * 1000)
    assert check_dataset(folder).findings == ()


def test_robust_z_by_hand():
    values = np.exp([0.0, 0.1, 0.2, 0.3, 5.0])
    # median 0.2, deviations 0.2, 0.1, 0, 0.1, 4.8: MAD 0.1
    np.testing.assert_allclose(robust_z(values, 0.01)[[0, 4]], [-0.2 / 0.14826, 4.8 / 0.14826])
    np.testing.assert_allclose(robust_z(values, 0.5)[4], 9.6)


# Participants ---------------------------------------------------------------------------------


def test_faults_of_the_participants(make_dataset):
    rows = [f"{p}\t40\tF" for p in IDS[:6]]
    rows += ["p06\t212\tM", "p00\t40\tF", "p90\tforty\tx", "p91\tn/a\t"]
    table = "participant_id\tage\tsex\n" + "\n".join(rows) + "\n"
    report = check_dataset(make_dataset(case_ids=IDS, participants=table))
    assert sorted((f.code, f.severity) for f in report.findings) == [
        ("participant-duplicate", "error"),
        ("participant-missing", "warning"),
        ("participant-value", "warning"),
        ("participant-value", "warning"),
        ("participant-value", "warning"),
        ("participant-without-case", "warning"),
    ]
    text = "\n".join(f.found for f in report.findings)
    assert "'p00' has 2 rows" in text
    assert "participant 'p06' has age '212'" in text
    assert "participant 'p90' has age 'forty'" in text
    assert "participant 'p90' has sex 'x'" in text
    assert "no row 'p07'" in text
    assert "2 of 9 participants have no case here: p90, p91" in text


def test_an_unreadable_table_of_participants_is_a_finding(make_dataset):
    report = check_dataset(make_dataset(case_ids=IDS, participants="name,age\nx,1\n"))
    finding = the_only(report, "participants-table")
    assert finding.severity == "error" and "participants.tsv: must have a column" in finding.found


def test_a_case_of_two_participants_is_one_finding_among_others(make_dataset):
    table = "participant_id\tcases\tage\n" + "".join(f"{one}\tn/a\t60\n" for one in IDS[:-1])
    folder = make_dataset(case_ids=IDS, participants=table + f"x\t{IDS[0]}\t60\ny\t{IDS[0]}\t1\n")
    (folder / "labelsTr" / f"{IDS[1]}.nii.gz").unlink()
    codes = {finding.code for finding in check_dataset(folder).findings}
    assert {"participants-table", "label-missing"} <= codes


def test_fields_beyond_the_head_of_a_table_are_refused(make_dataset):
    table = "participant_id\tage\n" + "".join(f"{one}\t{n}\t\n" for n, one in enumerate(IDS, 50))
    finding = the_only(
        check_dataset(make_dataset(case_ids=IDS, participants=table)), "participants-table"
    )
    assert "every line must have as many fields as the first" in finding.found


def test_an_image_without_a_finite_voxel_is_a_finding_and_no_crash(make_dataset):
    folder = make_dataset(case_ids=IDS)
    path = folder / "imagesTr" / f"{IDS[0]}_0000.nii.gz"
    image = nib.load(path)
    broken = nib.Nifti1Image(np.full(image.shape, np.nan, np.float32), image.affine)
    nib.save(broken, path)
    found = {(f.case, f.severity) for f in check_dataset(folder).findings}
    assert (IDS[0], "error") in found


# All at once ------------------------------------------------------------------------------------


def faulty_dataset(make_dataset: Callable[..., Path]) -> Path:
    """A dataset in which 26 cases have every fault there is."""
    ids = [f"p{number:02d}" for number in range(26)]
    rows = "\n".join(f"{p}\t40" for p in [*ids[:-1], "p00", "gone"])
    folder = make_dataset(
        case_ids=ids,
        n_channels=2,
        participants=f"participant_id\tage\n{rows}\nold\t300\n",
        labels={"background": 0, "gland_right": 1, "gland_left": 2, "lens": 3, "nerve_l": 4},
        numTraining=99,
        synthetic="no",
        exclude={"nobody": "?"},
    )
    image_of(folder, "p00").unlink()
    image_of(folder, "p00", 1).unlink()
    label_of(folder, "p01").unlink()
    image_of(folder, "p02", 1).rename(image_of(folder, "p02", 2))
    (folder / "labelsTr" / "thumbs.db").write_text("x")
    text_named_nifti(image_of(folder, "p03"))
    truncated(label_of(folder, "p04"))
    four_dimensional(image_of(folder, "p05"))
    raw_affine(np.zeros((4, 4)))(image_of(folder, "p06"))
    raw_affine(np.diag([1.0, 1, 0, 1]))(label_of(folder, "p07"))
    rewrite(label_of(folder, "p08"), lambda array: array[1:])
    rewrite(image_of(folder, "p09", 1), affine=centred_affine(spacing_xyz=(2.0, 2.1, 3.0)))
    rewrite(image_of(folder, "p10"), put((0, 0, 0), np.nan))
    rewrite(image_of(folder, "p11", 1), lambda array: array * 0)
    rewrite(label_of(folder, "p12"), put((0, 0, 0), 77))
    rewrite(label_of(folder, "p13"), lambda array: array * 0)
    rewrite(label_of(folder, "p14"), lambda array: array * np.float32(0.5))
    rewrite(label_of(folder, "p15"), swap)
    image_of(folder, "p16").write_bytes(image_of(folder, "p17").read_bytes())
    for channel in (0, 1):
        rewrite(image_of(folder, "p18", channel), affine=centred_affine(spacing_xyz=(9.0, 2, 3)))
    rewrite(label_of(folder, "p18"), affine=centred_affine(spacing_xyz=(9.0, 2, 3)))
    rewrite(label_of(folder, "p19"), put((slice(14, 22), slice(2, 18), slice(1, 11)), 1))
    rewrite(image_of(folder, "p20"), lambda array: array * 500)
    return folder


EXPECTED = {
    ("dataset-json", ""),
    ("case-count", ""),
    ("exclude-unknown", ""),
    ("unknown-file", ""),
    ("participant-duplicate", ""),
    ("participant-missing", "p25"),
    ("participant-without-case", ""),
    ("participant-value", ""),
    ("side-not-stated", ""),
    ("label-in-no-case", ""),
    ("image-missing", "p00"),
    ("label-missing", "p01"),
    ("channel-missing", "p02"),
    ("channel-extra", "p02"),
    ("unreadable", "p03"),
    ("unreadable", "p04"),
    ("not-3d", "p05"),
    ("affine", "p06"),
    ("affine", "p07"),
    ("grid", "p08"),
    ("grid", "p09"),
    ("not-finite", "p10"),
    ("constant-image", "p11"),
    ("label-values", "p12"),
    ("label-empty", "p13"),
    ("label-not-integer", "p14"),
    ("wrong-side", "p15"),
    ("identical-images", "p17"),
    ("spacing", "p18"),
    ("volume", "p19"),
    ("intensity", "p20"),
}


def test_all_faults_at_once_are_all_reported(make_dataset):
    report = check_dataset(faulty_dataset(make_dataset))
    found = {(f.code, f.case) for f in report.findings}
    assert found - {("identical-labels", case) for _, case in found} >= EXPECTED
    others = {code for code, _ in found - EXPECTED}
    assert others <= {"identical-labels", "volume"}  # p18: wider voxels, larger volumes
    assert report.has_errors and report.n_cases == 26
    assert {f.code for f in report.findings} <= set(CODES)
    assert all(f.found and f.remedy.endswith(".") for f in report.findings)
    json.dumps(report.as_rows())


def test_a_dying_worker_leaves_no_case_out(make_dataset, monkeypatch):
    class DyingPool:
        def __init__(self, *_, **__):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def map(self, function, work):
            yield function(work[0])
            raise BrokenProcessPool

    folder = make_dataset(case_ids=IDS)
    truncated(image_of(folder, "p07"))
    monkeypatch.setattr("acinus.cohort.check.ProcessPoolExecutor", DyingPool)
    assert the_only(check_dataset(folder, jobs=2), "unreadable").case == "p07"


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".mhd", ".nii"])
def test_other_formats(make_dataset, ending):
    folder = make_dataset(case_ids=IDS, file_ending=ending)
    for path in [*folder.glob("*Tr/*.nii.gz")]:
        image = SimpleITK.ReadImage(path)
        SimpleITK.WriteImage(image, path.with_name(path.name.replace(".nii.gz", ending)))
        path.unlink()
    assert check_dataset(folder).findings == ()
    label = folder / "labelsTr" / f"p03{ending}"
    label.write_bytes(label.read_bytes()[:100])
    image = folder / "imagesTr" / f"p04_0000{ending}"
    SimpleITK.WriteImage(SimpleITK.Image([4, 4, 4, 2], SimpleITK.sitkUInt8), image)
    found = [(f.case, f.code) for f in check_dataset(folder).findings]
    assert found == [("p03", "unreadable"), ("p04", "not-3d")]


@pytest.mark.slow
def test_processes_find_the_same(make_dataset):
    folder = faulty_dataset(make_dataset)
    assert check_dataset(folder, jobs=2) == check_dataset(folder, jobs=1)


def test_a_dataset_that_passes_opens(make_dataset):
    folder = make_dataset(case_ids=IDS)
    assert not check_dataset(folder).has_errors
    assert len(open_dataset(folder).cases) == 8


def test_canonical_spacing_of_a_sagittal_stack():
    # Array x runs towards superior, y towards anterior, z towards the left.
    affine = np.array([[0, 0, -3.0, 0], [0, 2.0, 0, 0], [1.0, 0, 0, 0], [0, 0, 0, 1]])
    assert canonical_spacing(Grid((5, 6, 7), affine)) == (1.0, 2.0, 3.0)


@pytest.mark.parametrize("offset", [0, -3, 70_000])
def test_values_are_counted(rng, offset):
    array = rng.integers(0, 5, (4, 6, 7)) + offset
    values, counts = np.unique(array, return_counts=True)
    assert count_values(array) == dict(zip(values.tolist(), counts.tolist(), strict=True))


def test_real_hippocampus_has_only_the_known_intensity_scales(real_data):
    finding = the_only(check_dataset(real_data / "Dataset004_Hippocampus"), "intensity")
    assert finding.severity == "warning"
    assert "far above the median 874 in 27 of 208 cases" in finding.found


def test_partners_that_nobody_stated_are_told_and_compared(make_dataset):
    """Exchanged labels are found though 'mirror_pairs' is missing."""
    stated = {"gland_right": "right", "gland_left": "left"}
    folder = make_dataset(case_ids=IDS, sides=stated, mirror_pairs=[])
    finding = the_only(check_dataset(folder), "pair-not-stated")
    assert "gland_right and gland_left" in finding.found
    exchanged = make_dataset(
        case_ids=IDS,
        sides={"gland_right": "left", "gland_left": "right"},
        mirror_pairs=[],
    )
    assert "wrong-side" in {one.code for one in check_dataset(exchanged).findings}


def test_pairs_by_name_are_made_of_names_that_differ_by_their_side_alone():
    sides = {"Parotid_R": "right", "parotid_l": "left", "eye_right": "right", "lung_left": "left"}
    assert pairs_by_name(sides) == (("Parotid_R", "parotid_l"),)
    assert pairs_by_name(sides, [("Parotid_R", "parotid_l")]) == ()
    assert pairs_by_name({"a": "right", "b": "left"}) == (("a", "b"),)
    assert pairs_by_name({"a": "right", "b": "left", "c": "left"}) == ()
    assert pairs_by_name({"kidney_right": "right", "lung_left": "left"}) == ()
