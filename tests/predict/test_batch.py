"""Many scans at once: what may be pointed at, what is written, and what one bad case does."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from made_dicom import write_series
from PIL import Image

import acinus.predict.batch as batch_module
from acinus import progress
from acinus.cli import main
from acinus.errors import AcinusError, ConfigError, DataError
from acinus.predict import ALL_SERIES, Model, predict_paths
from acinus.predict.source import Scan
from acinus.scans import Volume
from made_series import write_series as write_ct
from tiny_cohort import affine_of, dice, head, save, train_model

COLUMNS = "case,part,model,label,volume_ml,components,seconds,warnings,missing_channels"


@pytest.fixture(autouse=True)
def _without_progress() -> object:
    with progress.quiet():
        yield


def a_scan(path: Path, seed: int = 7) -> tuple[Path, np.ndarray]:
    image, label = head(np.random.default_rng(seed))
    return save(image, affine_of(), path), label


def labels_of(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj).T


def table_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_one_file_to_a_folder(model_folder: Path, tmp_path: Path) -> None:
    scan, label = a_scan(tmp_path / "scan.nii.gz")
    image = nib.load(scan)
    image.set_sform(image.affine, code=4)
    image.set_qform(image.affine, code=1)
    nib.save(image, scan)
    outcome = predict_paths(model_folder, scan, tmp_path / "out")
    assert outcome.written == (tmp_path / "out" / "scan.nii.gz",)
    header = nib.load(outcome.written[0]).header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (4, 1)
    assert outcome.failed == {}
    assert dice(labels_of(outcome.written[0]) > 0, label > 0) > 0.8
    np.testing.assert_array_equal(nib.load(outcome.written[0]).affine, nib.load(scan).affine)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "predictions.csv",
        "scan.nii.gz",
    ]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_one_file_to_a_file_of_any_format(model_folder: Path, tmp_path: Path, suffix: str) -> None:
    scan, label = a_scan(tmp_path / "scan.nii.gz")
    target = tmp_path / "out" / f"labels{suffix}"
    outcome = predict_paths(model_folder, scan, target)
    assert outcome.written == (target,)
    written, read = sitk.ReadImage(str(target)), sitk.ReadImage(str(scan))
    assert written.GetSize() == read.GetSize()
    np.testing.assert_allclose(written.GetOrigin(), read.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(written.GetSpacing(), read.GetSpacing(), atol=1e-5)
    np.testing.assert_allclose(written.GetDirection(), read.GetDirection(), atol=1e-6)
    assert dice(sitk.GetArrayFromImage(written) > 0, label > 0) > 0.8


def test_a_folder_of_files(model_folder: Path, tmp_path: Path) -> None:
    for name in ("b.nii.gz", "a.nii"):
        a_scan(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("not a scan")
    outcome = predict_paths(model_folder, tmp_path / "in", tmp_path / "out")
    assert [path.name for path in outcome.written] == ["a.nii.gz", "b.nii.gz"]


def test_an_images_folder(model_folder: Path, tmp_path: Path) -> None:
    for seed, case in enumerate(("p_01", "p_02")):
        a_scan(tmp_path / "imagesTs" / f"{case}_0000.nii.gz", seed)
    predict_paths(model_folder, tmp_path / "imagesTs", tmp_path / "out")
    table = table_of(tmp_path / "out")
    assert [(row["case"], row["label"]) for row in table] == [
        (case, label) for case in ("p_01", "p_02") for label in ("gland_right", "gland_left")
    ]
    assert (tmp_path / "out" / "p_02.nii.gz").is_file()


def test_the_table_says_what_was_found(model_folder: Path, tmp_path: Path) -> None:
    scan, _ = a_scan(tmp_path / "scan.nii.gz")
    predict_paths(model_folder, scan, tmp_path / "out")
    text = (tmp_path / "out" / "predictions.csv").read_text()
    assert text.splitlines()[0] == COLUMNS
    written = labels_of(tmp_path / "out" / "scan.nii.gz")
    for value, row in enumerate(table_of(tmp_path / "out"), start=1):
        assert float(row["volume_ml"]) == pytest.approx((written == value).sum() * 3e-3, abs=1e-3)
        assert int(row["components"]) >= 1
        assert float(row["seconds"]) > 0
        assert row["part"] == "new"


def test_an_overlay_shows_the_labels(model_folder: Path, tmp_path: Path) -> None:
    scan, _ = a_scan(tmp_path / "scan.nii.gz")
    predict_paths(model_folder, scan, tmp_path / "out", overlay=True)
    shown = np.asarray(Image.open(tmp_path / "out" / "scan.png").convert("RGB")).astype(int)
    coloured = np.abs(shown[..., 0] - shown[..., 2]) > 40
    # Contours of both colours: orange has more red than blue, sky blue the reverse.
    assert (coloured & (shown[..., 0] > shown[..., 2])).sum() > 50
    assert (coloured & (shown[..., 0] < shown[..., 2])).sum() > 50
    # Radiological view: the right gland, the first label, lies on the left of each picture.
    _, columns = np.nonzero(coloured & (shown[..., 0] > shown[..., 2]))
    width = 2 * 48
    assert (columns % width < width / 2).all()


def test_an_overlay_without_labels_is_grey(model_folder: Path, tmp_path: Path) -> None:
    flat = np.random.default_rng(0).normal(0, 1, (10, 48, 48)).astype(np.float32)
    scan = save(flat, affine_of(), tmp_path / "flat.nii.gz")
    outcome = predict_paths(model_folder, scan, tmp_path / "out", overlay=True)
    shown = np.asarray(Image.open(tmp_path / "out" / "flat.png").convert("RGB")).astype(int)
    is_empty = not labels_of(outcome.written[0]).any()
    assert is_empty == bool((shown.max(axis=-1) == shown.min(axis=-1)).all())


def damaged(folder: Path) -> None:
    """Three files that cannot be read, in three ways."""
    scan, _ = a_scan(folder / "tmp.nii.gz")
    (folder / "cut.nii.gz").write_bytes(scan.read_bytes()[:4000])
    scan.unlink()
    (folder / "text.nii.gz").write_text("hello\n")
    (folder / "void.nii.gz").write_bytes(b"")


def test_one_bad_case_does_not_stop_the_others(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged(tmp_path / "in")
    a_scan(tmp_path / "in" / "a.nii.gz")
    a_scan(tmp_path / "in" / "z.nii.gz")
    status = main(["predict", str(model_folder), str(tmp_path / "in"), str(tmp_path / "out")])
    shown = capsys.readouterr()
    assert status == 3
    assert "2 label maps" in shown.out
    assert {row["case"] for row in table_of(tmp_path / "out")} == {"a", "z"}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a.nii.gz",
        "predictions.csv",
        "z.nii.gz",
    ]
    failed = [line for line in shown.err.splitlines() if line.startswith("failed: ")]
    assert [line.split(": ")[1] for line in failed] == ["cut", "text", "void"]
    for line, name in zip(failed, ("cut.nii.gz", "text.nii.gz", "void.nii.gz"), strict=True):
        assert str(tmp_path / "in" / name) in line
        assert "must be a whole NIfTI image" in line
        assert "Export or copy the scan again" in line
    assert "Traceback" not in shown.err


def test_when_all_fail_the_status_is_2(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged(tmp_path / "in")
    status = main(["predict", str(model_folder), str(tmp_path / "in"), str(tmp_path / "out")])
    assert status == 2
    assert capsys.readouterr().err.count("failed: ") == 3
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["predictions.csv"]


def test_voxels_that_are_not_finite_fail_with_the_name_of_the_file(
    model_folder: Path, tmp_path: Path
) -> None:
    array = np.full((10, 48, 48), np.nan, np.float32)
    scan = save(array, affine_of(), tmp_path / "nan.nii.gz")
    outcome = predict_paths(model_folder, scan, tmp_path / "out")
    assert str(scan) in outcome.failed["nan"]
    assert "must be finite" in outcome.failed["nan"]


def test_a_scan_is_never_overwritten(model_folder: Path, tmp_path: Path) -> None:
    scan, _ = a_scan(tmp_path / "in" / "scan.nii.gz")
    before = scan.read_bytes()
    for out in (scan, scan.parent, tmp_path / "in" / ".." / "in"):
        with pytest.raises(DataError, match="must not replace the scan"):
            predict_paths(model_folder, scan, out)
    assert scan.read_bytes() == before
    assert [path.name for path in scan.parent.iterdir()] == ["scan.nii.gz"]


def test_two_scans_of_one_name_are_refused(model_folder: Path, tmp_path: Path) -> None:
    for name in ("scan.nii.gz", "scan.nii"):
        a_scan(tmp_path / "in" / name)
    with pytest.raises(DataError, match=r"scan.nii and scan.nii.gz would both be written as scan"):
        predict_paths(model_folder, tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_channels_beyond_those_of_the_model_are_refused(model_folder: Path, tmp_path: Path) -> None:
    for channel in range(2):
        a_scan(tmp_path / "in" / f"p_{channel:04d}.nii.gz")
    with pytest.raises(DataError, match=r"p_0001.nii.gz: channels must be numbered 0000 to 0000"):
        predict_paths(model_folder, tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "words"),
    [("nothing", "no such file or folder"), ("empty", "it is empty"), ("texts", "found")],
)
def test_a_source_without_scans_is_refused(
    model_folder: Path, tmp_path: Path, name: str, words: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a")
    with pytest.raises(AcinusError) as caught:
        predict_paths(model_folder, tmp_path / name, tmp_path / "out")
    assert str(tmp_path / name) in str(caught.value)
    assert words in str(caught.value)


def test_an_output_that_cannot_hold_the_labels_is_refused(
    model_folder: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        a_scan(tmp_path / "in" / f"{name}.nii.gz")
    with pytest.raises(DataError, match="2 scans need a folder"):
        predict_paths(model_folder, tmp_path / "in", tmp_path / "out.nii.gz")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"notes.txt: must be a folder"):
        predict_paths(model_folder, tmp_path / "in", tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_dicom_series_keeps_its_oblique_grid(model_folder: Path, tmp_path: Path) -> None:
    image, label = head(np.random.default_rng(7))
    # DICOM rows run from right to left and columns from front to back; ours the other way.
    folder = write_series(
        tmp_path / "dicom", image[:, ::-1, ::-1], description="AX T1 made", seed=1
    )
    outcome = predict_paths(model_folder, folder, tmp_path / "out")
    assert [path.name for path in outcome.written] == ["AX_T1_made.nii.gz"]
    written = sitk.ReadImage(str(outcome.written[0]))
    same_grid(written, read_series(folder))
    shown = sitk.GetArrayFromImage(
        sitk.Resample(written, read_series(folder), sitk.Transform(), sitk.sitkNearestNeighbor)
    )
    assert dice(shown == 1, label[:, ::-1, ::-1] == 1) > 0.8
    assert dice(shown == 2, label[:, ::-1, ::-1] == 2) > 0.8


def test_of_several_series_one_is_chosen(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, _ = head(np.random.default_rng(7))
    for seed, description in ((1, "AX T1"), (2, "AX FLAIR")):
        write_series(tmp_path / "d" / str(seed), image, description=description, seed=seed)
    words = ["predict", str(model_folder), str(tmp_path / "d"), str(tmp_path / "out")]
    assert main(words) == 2
    shown = capsys.readouterr().err
    assert "exactly one DICOM series must be chosen" in shown
    assert "--series" in shown
    for description in ("AX T1", "AX FLAIR"):
        assert description in shown
    assert not (tmp_path / "out").exists()
    assert main([*words, "--series", "flair"]) == 0
    assert (tmp_path / "out" / "AX_FLAIR.nii.gz").is_file()
    assert main([*words, "--series", "T2"]) == 2
    assert "'T2'" in capsys.readouterr().err


def test_all_series_of_a_folder_are_scans_of_their_own(model_folder: Path, tmp_path: Path) -> None:
    image, _ = head(np.random.default_rng(7))
    for seed, description in ((1, "AX T1"), (2, "AX T1"), (3, "AX FLAIR")):
        write_series(tmp_path / "d" / str(seed), image, description=description, seed=seed)
    outcome = predict_paths(model_folder, tmp_path / "d", tmp_path / "out", series=ALL_SERIES)
    assert not outcome.failed
    names = sorted(path.name for path in outcome.written)
    assert len(names) == 3 and "AX_FLAIR.nii.gz" in names, "series of one name do not meet"
    one = predict_paths(model_folder, tmp_path / "d", tmp_path / "one", series="flair")
    assert nib.load(one.written[0]).get_fdata().tolist() == (
        nib.load(tmp_path / "out" / "AX_FLAIR.nii.gz").get_fdata().tolist()
    )


def test_a_series_is_chosen_among_dicom_only(model_folder: Path, tmp_path: Path) -> None:
    scan, _ = a_scan(tmp_path / "in" / "scan.nii.gz")
    for source in (scan, scan.parent):
        with pytest.raises(ConfigError, match="--series chooses among the DICOM series"):
            predict_paths(model_folder, source, tmp_path / "out", series="1")


def test_a_model_of_synthetic_images_warns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = train_model(tmp_path, synthetic=True)
    scan, _ = a_scan(tmp_path / "scan.nii.gz")
    status = main(["predict", str(model), str(scan), str(tmp_path / "out")])
    assert status == 0
    for row in table_of(tmp_path / "out"):
        assert "model learned from synthetic images" in row["warnings"]
    image, _ = head(np.random.default_rng(7))
    write_ct(tmp_path / "ct", image[:, ::-1, ::-1], spacing_mm=(3, 1, 1))
    words = ["predict", str(model), str(tmp_path / "ct"), str(tmp_path / "dicom")]
    assert main([*words, "--format", "dicom-seg"]) == 0
    header = pydicom.dcmread(tmp_path / "dicom" / "made_axial.dcm")
    assert "synthetic images only" in header.SegmentSequence[0].SegmentDescription
    assert "synthetic" in header.ContentDescription


def read_series(folder: Path) -> sitk.Image:
    """A series by SimpleITK, independently of our reader."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def corners(image: sitk.Image) -> np.ndarray:
    """(8, 3) physical points of the corner voxels, LPS mm, sorted."""
    ends = [(0, size - 1) for size in image.GetSize()]
    points = [
        image.TransformIndexToPhysicalPoint((x, y, z))
        for x in ends[0]
        for y in ends[1]
        for z in ends[2]
    ]
    order = np.lexsort(np.round(points, 2).T)
    return np.array(points)[order]


def same_grid(written: sitk.Image, reference: sitk.Image) -> None:
    assert sorted(written.GetSize()) == sorted(reference.GetSize())
    np.testing.assert_allclose(corners(written), corners(reference), atol=1e-3)


@pytest.mark.real_data
def test_a_real_series_lies_where_another_reader_puts_it(
    model_folder: Path, tmp_path: Path, real_data: Path
) -> None:
    folder = real_data / "dicom" / "PGBM-003"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    with pytest.raises(DataError) as caught:
        predict_paths(model_folder, folder, tmp_path / "out")
    for words in ("4 series", "T1post", "FLAIR", "T2", "22 slices", "--series"):
        assert words in str(caught.value)
    outcome = predict_paths(model_folder, folder, tmp_path / "out", series="T1post")
    assert outcome.failed == {}
    [series] = [one for one in folder.iterdir() if "T1post" in one.name]
    same_grid(sitk.ReadImage(str(outcome.written[0])), read_series(series))


def test_folds_are_chosen(model_folder: Path, tmp_path: Path) -> None:
    scan, _ = a_scan(tmp_path / "scan.nii.gz")
    out, model = str(tmp_path / "out"), str(model_folder)
    assert main(["predict", model, str(scan), out, "--folds", "1"]) == 0  # as the report counts
    assert main(["predict", model, str(scan), out, "--folds", "2"]) == 2
    assert main(["predict", model, str(scan), out, "--folds", "0"]) == 2


def test_predicting_again_gives_the_same_bytes(model_folder: Path, tmp_path: Path) -> None:
    scan, _ = a_scan(tmp_path / "scan.nii.gz")
    first = predict_paths(model_folder, scan, tmp_path / "one").written[0].read_bytes()
    shutil.rmtree(tmp_path / "one")
    assert predict_paths(model_folder, scan, tmp_path / "one").written[0].read_bytes() == first


def test_a_scan_that_needs_more_than_the_ceiling_is_refused_before_it_is_predicted(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan, _ = a_scan(tmp_path / "scan.nii.gz")
    arguments = ["predict", str(model_folder), str(scan), str(tmp_path / "out")]
    assert main([*arguments, "--memory", "50MB"]) == 2
    said = capsys.readouterr().err
    assert "failed: scan: case 'scan': predicting it must stay below --memory 50 MB" in said
    assert not (tmp_path / "out" / "scan.nii.gz").exists()
    assert main([*arguments, "--memory", "8GB", "--device", "cpu"]) == 0
    assert main([*arguments, "--memory", "much"]) == 2
    assert "--memory must be a size such as 4GB" in capsys.readouterr().err


def test_results_do_not_depend_on_what_is_read_ahead(model_folder: Path, tmp_path: Path) -> None:
    for seed in range(4):
        a_scan(tmp_path / "in" / f"s{seed}.nii.gz", seed)
    together = predict_paths(model_folder, tmp_path / "in", tmp_path / "together")
    one_by_one = predict_paths(model_folder, tmp_path / "in", tmp_path / "apart", memory="8GB")
    for ours, theirs in zip(together.written, one_by_one.written, strict=True):
        np.testing.assert_array_equal(labels_of(ours), labels_of(theirs))
    rows = [
        [{**row, "seconds": ""} for row in table_of(tmp_path / name)]
        for name in ("together", "apart")
    ]
    assert rows[0] == rows[1]
    assert [row["case"] for row in rows[0]] == [f"s{n}" for n in range(4) for _ in range(2)]


def test_what_was_done_before_an_interruption_is_in_the_table(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(3):
        a_scan(tmp_path / "in" / f"s{seed}.nii.gz", seed)
    real = batch_module._Job.segment

    def segment(job: Any, scan: Any, read: Any) -> Any:
        if scan.case == "s2":
            raise KeyboardInterrupt
        return real(job, scan, read)

    monkeypatch.setattr(batch_module._Job, "segment", segment)
    with pytest.raises(KeyboardInterrupt):
        predict_paths(model_folder, tmp_path / "in", tmp_path / "out")
    assert {row["case"] for row in table_of(tmp_path / "out")} == {"s0"}  # s1 was being written


@pytest.mark.parametrize("fault", [MemoryError(), OSError(5, "Input/output error")])
def test_memory_or_a_disk_that_fails_one_scan_stops_no_other(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    for seed in range(2):
        a_scan(tmp_path / "in" / f"s{seed}.nii.gz", seed)
    real = batch_module._Job.read

    def read(job: Any, scan: Any) -> Any:
        if scan.case == "s0":
            raise fault
        return real(job, scan)

    monkeypatch.setattr(batch_module._Job, "read", read)
    outcome = predict_paths(model_folder, tmp_path / "in", tmp_path / "out")
    assert "it must be readable, and fit into memory" in outcome.failed["s0"]
    assert {row["case"] for row in table_of(tmp_path / "out")} == {"s1"}


def test_a_scan_too_large_for_the_ceiling_is_not_even_read(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan, _ = a_scan(tmp_path / "scan.nii.gz")

    def read(_scan: Any) -> Any:
        raise AssertionError("it was read")

    monkeypatch.setattr(Scan, "read", read)
    outcome = predict_paths(model_folder, scan, tmp_path / "out", memory="50MB")
    assert "must stay below --memory 50 MB" in outcome.failed["scan"]


def test_parts_on_the_wrong_side_are_renamed_only_if_asked(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that finds a part of the right gland on the left."""
    scan, _ = a_scan(tmp_path / "scan.nii.gz")
    real = Model.predict_prepared

    def predict(model: Model, *prepared: Any, **options: Any) -> Volume:
        found = real(model, *prepared, **options)
        array = np.zeros_like(found.array)
        middle = [n // 2 for n in array.shape]
        array[middle[0], middle[1], 3:6] = 1
        array[middle[0], middle[1], -7:-3] = 1  # the wrong one is the larger
        return found.with_array(array)

    monkeypatch.setattr(Model, "predict_prepared", predict)
    told = {}
    for asked in (False, True):
        out = tmp_path / str(asked)
        words = ["predict", str(model_folder), str(scan), str(out)]
        assert main([*words, "--relabel-sides"] if asked else words) == 0
        told[asked] = table_of(out)[0]["warnings"]
        assert set(np.unique(labels_of(out / "scan.nii.gz"))) == ({0, 1, 2} if asked else {0, 1})
    assert "on the wrong side" in told[False] and "relabelled" not in told[False]
    assert "on the wrong side, relabelled as gland_left" in told[True]
    # Sides before components: the largest one of the right gland lies on the left.
    out = tmp_path / "cleaned"
    words = ["predict", str(model_folder), str(scan), str(out), "--relabel-sides"]
    assert main([*words, "--postprocess", "largest_component"]) == 0
    found = labels_of(out / "scan.nii.gz")
    assert {int(value) for value in np.unique(found)} == {0, 1, 2}
