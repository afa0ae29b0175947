"""Which images an object was drawn on, and what of an export is lost: nothing goes silently."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import MultiFrameGrayscaleByteSecondaryCaptureImageStorage
from test_convert import GLANDS, MAPPING, RIGHT, convert, labels, mapped, mask_of

import acinus
from acinus.cli import main
from acinus.cohort.convert.choosing import placed_parts
from acinus.errors import DataError
from acinus.scans import list_export, list_series
from made_export import (
    AXIAL,
    CORNER,
    affine_of,
    ct_values,
    head,
    pixels,
    uid,
    write,
    write_enhanced,
    write_rtstruct,
    write_seg,
    write_series,
)


def changed(path: Path, change) -> None:
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)


def case(folder: Path) -> Path:
    """A CT and its structure set; the path of the latter."""
    write_series(folder / "ct", ct_values())
    write_rtstruct(folder / "rs", GLANDS, affine_of(AXIAL))
    return folder / "rs"


def test_structures_of_another_frame_of_reference_are_refused(tmp_path) -> None:
    path = case(tmp_path / "export")

    def other_frame(dataset: Dataset) -> None:
        own = uid("MRN123456", "head", "frame")
        for roi, frame in zip(dataset.StructureSetROISequence, (own, "1.2.3"), strict=True):
            roi.ReferencedFrameOfReferenceUID = frame

    changed(path, other_frame)
    outcome = convert(tmp_path)
    assert "'parotid_l' was drawn in another" in outcome.failed["P001_1"]
    shutil.rmtree(tmp_path / "dataset")
    only = {"parotid_right": MAPPING["labels"]["parotid_right"]}
    outcome = convert(tmp_path, mapping=mapped(tmp_path, labels=only, mirror_pairs=[]))
    assert outcome.failed == {}

    def named(dataset: Dataset) -> None:  # the images say more than the frame
        image = Dataset()
        image.ReferencedSOPInstanceUID = uid("MRN123456", "head", "AX", 1)
        for contour in dataset.ROIContourSequence[1].ContourSequence:
            contour.ContourImageSequence = [image]

    changed(path, named)
    shutil.rmtree(tmp_path / "dataset")
    assert convert(tmp_path).failed == {}


def test_a_ct_that_states_its_rescaling_on_some_slices_only_is_refused(tmp_path) -> None:
    def lost(z: int) -> dict:
        return {"RescaleSlope": None, "RescaleIntercept": None} if z in (2, 3) else {}

    write_series(tmp_path / "export", ct_values(), each=lost)
    (reason,) = convert(
        tmp_path, mapping=mapped(tmp_path, labels={}, mirror_pairs=[])
    ).failed.values()
    assert "every slice of a CT must state RescaleSlope" in reason and "2 of 6 do not" in reason


def test_two_modalities_under_one_series_are_two(tmp_path) -> None:
    write_series(
        tmp_path / "export", ct_values(), each=lambda z: {"Modality": "MR" if z > 2 else "CT"}
    )
    found = list_export(tmp_path / "export").series
    assert sorted((one.modality, one.n_slices) for one in found) == [("CT", 3), ("MR", 3)]


def on_frames(path: Path, image_uid: str, frames: list[int], *, is_whole: bool = False) -> None:
    """Let a structure set refer to frames of an enhanced object, in its list or its contours."""

    def change(dataset: Dataset) -> None:
        within = dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
        (series,) = within.RTReferencedSeriesSequence
        series.SeriesInstanceUID = uid("MRN123456", "head", "enhanced")
        images = []
        for frame in frames:
            image = Dataset()
            image.ReferencedSOPInstanceUID, image.ReferencedFrameNumber = image_uid, frame
            images.append(image)
        if not is_whole:
            series.ContourImageSequence = images
            return
        whole = Dataset()
        whole.ReferencedSOPInstanceUID = image_uid
        series.ContourImageSequence = [whole]
        for contour in dataset.ROIContourSequence[0].ContourSequence:
            contour.ContourImageSequence = images

    changed(path, change)


@pytest.mark.parametrize("is_whole", [False, True])
def test_what_was_drawn_on_a_time_point_belongs_to_it(is_whole, tmp_path) -> None:
    """Whether the list of images names frames or the file only, and each contour its frame."""
    write_enhanced(tmp_path / "mr", ct_values(), n_times=2)
    write_rtstruct(tmp_path / "rs", {"gland": RIGHT}, affine_of(AXIAL))
    parts = list_export(tmp_path).series
    assert len(parts) == 2
    for part in parts:
        frames = [item.frame + 1 for item in part.slices[1:4]]
        on_frames(tmp_path / "rs", uid(tmp_path / "mr"), frames, is_whole=is_whole)
        (one,) = list_export(tmp_path).segmentations
        assert placed_parts(one, parts) == ((one, (part,)),)


def test_images_as_measured_go_before_a_scout_of_the_same_series(tmp_path) -> None:
    def scout(z: int) -> dict:
        return {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]} if z < 2 else {}

    path = case(tmp_path / "export")
    write_series(tmp_path / "export" / "ct", ct_values(), each=scout)

    def silent(dataset: Dataset) -> None:
        within = dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
        del within.RTReferencedSeriesSequence[0].ContourImageSequence

    changed(path, silent)
    found = list_export(tmp_path / "export")
    ((_, (wanted,)),) = placed_parts(found.segmentations[0], found.series)
    assert wanted is not None and wanted.kind == "original"


def test_images_that_only_the_contours_name_are_enough(tmp_path) -> None:
    path = case(tmp_path / "export")

    def by_contours(dataset: Dataset) -> None:
        del dataset.ReferencedFrameOfReferenceSequence
        for roi in dataset.ROIContourSequence:
            for z, contour in enumerate(roi.ContourSequence, start=1):
                image = Dataset()
                image.ReferencedSOPInstanceUID = uid("MRN123456", "head", "AX", z)
                contour.ContourImageSequence = [image]

    changed(path, by_contours)
    assert convert(tmp_path).failed == {}
    np.testing.assert_array_equal(np.asarray(labels(tmp_path).dataobj).T == 1, mask_of(RIGHT))


@pytest.mark.parametrize(
    ("length", "name"), [(0, "IM999"), (60, "a.dcm"), (200, "IM999"), (300, "b.IMA")]
)
def test_a_file_that_was_cut_is_told(length, name, tmp_path, capfd) -> None:
    """The last slice of a stack leaves no gap by which its loss would show."""
    paths = write_series(tmp_path / "export", ct_values())
    data = paths[-1].read_bytes()
    paths[-1].unlink()
    (tmp_path / "export" / name).write_bytes(data[:length])
    (tmp_path / "export" / "readme.txt").write_text("no image")
    rules = mapped(tmp_path, labels={}, mirror_pairs=[])
    words = ["convert", str(tmp_path / "export"), str(tmp_path / "dataset"), "--map", str(rules)]
    assert main(words) == 3
    assert name in capfd.readouterr().err


def test_images_that_only_the_structures_tell_of_are_missed(tmp_path) -> None:
    case(tmp_path / "export")
    last = max(
        (tmp_path / "export" / "ct").iterdir(), key=lambda p: pydicom.dcmread(p).InstanceNumber
    )
    last.unlink()
    outcome = convert(tmp_path)
    assert outcome.failed == {}
    assert "refers to 1 images that the export lacks" in str(outcome)


def test_files_without_preamble_are_read(tmp_path) -> None:
    """What pydicom writes when nobody asked it for the standard's file format."""
    for number, path in enumerate(write_series(tmp_path / "export", ct_values())):
        dataset = pydicom.dcmread(path)
        dataset.preamble = None
        if number % 2:
            del dataset.file_meta
            dataset.save_as(path, implicit_vr=True, little_endian=True)
        else:
            dataset.save_as(path)
        assert path.read_bytes()[128:132] != b"DICM"
    (series,) = list_export(tmp_path / "export").series
    assert series.n_slices == 6


def test_pictures_of_many_frames_are_no_fault(tmp_path) -> None:
    case(tmp_path / "export")
    screen = head("MRN123456", "head", "screen", "OT")
    screen.NumberOfFrames = 3
    pixels(screen, np.zeros((3, 10, 12), np.int16))
    kind = MultiFrameGrayscaleByteSecondaryCaptureImageStorage
    write(tmp_path / "export" / "screen", screen, str(kind), uid("screen"))
    (skipped,) = list_export(tmp_path / "export").skipped
    assert not skipped.is_fault and "screenshots" in skipped.reason


def test_what_headers_of_faulty_files_say_does_not_leak(tmp_path, capfd) -> None:
    case(tmp_path / "export")
    place = tmp_path / "export" / "Doe_Jane_PAT778899_17.4.1950_Muster_03-Mar-2021"
    bad = write_series(place, ct_values(), patient="PAT778899", PixelSpacing=None)[0]

    def names(dataset: Dataset) -> None:
        dataset.PatientName = "Doe^Jane"
        dataset.OtherPatientIDs = ["PAT778899", "ALSO4711"]
        dataset.OperatorsName = "Muster-Mann^X"
        dataset.AcquisitionDate = "20210303"

    changed(bad, names)
    words = ["convert", str(tmp_path / "export"), str(tmp_path / "dataset")]
    assert main([*words, "--map", str(mapped(tmp_path))]) == 3
    assert main(["convert", str(tmp_path / "export"), "--list"]) in (0, 3)
    told = "".join(capfd.readouterr()).replace(str(tmp_path), "").lower()
    for secret in ("doe", "jane", "778899", "17.4.1950", "muster", "mar-2021"):
        assert secret not in told


def test_all_faults_of_a_stack_are_told_and_what_mends_them(tmp_path) -> None:
    paths = write_series(tmp_path / "export", ct_values())
    (tmp_path / "export" / "copy").write_bytes(paths[1].read_bytes())
    paths[3].unlink()
    plain = mapped(tmp_path, labels={}, mirror_pairs=[])
    (reason,) = convert(tmp_path, mapping=plain).failed.values()
    assert "1 repeated" in reason and "1 missing there" in reason and "--repair" in reason
    assert convert(tmp_path, mapping=plain, repair=True).failed == {}


def told_of_faults(folder: Path) -> tuple[str, str]:
    """What the list says of the only series, and why it cannot be converted."""
    ((fault,),) = (one.faults for one in acinus.list_scans(folder / "export").series)
    plain = mapped(folder, labels={}, mirror_pairs=[])
    (reason,) = convert(folder, mapping=plain).failed.values()
    return fault, reason


def test_no_repair_is_promised_that_is_refused(tmp_path) -> None:
    def at(z: int) -> np.ndarray:
        return np.add(CORNER, (0, 0, 3.0 * z + (30 if z > 2 else 0)))

    write_series(tmp_path / "export", ct_values(), positions=at)
    assert not any("--repair" in text for text in told_of_faults(tmp_path))


@pytest.mark.parametrize("is_alike", [True, False])
def test_a_copy_under_a_new_uid_is_mended_if_its_pixels_are_the_same(is_alike, tmp_path) -> None:
    paths = write_series(tmp_path / "export", ct_values())
    dataset = pydicom.dcmread(paths[1])
    dataset.SOPInstanceUID = "1.2.3.99"
    if not is_alike:
        dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.save_as(tmp_path / "export" / "copy")
    fault, reason = told_of_faults(tmp_path)
    assert fault.endswith(
        "two images of different UIDs; --repair leaves one out if their pixels are the same"
    )
    assert "Or let --repair mend it, if images at one position have the same pixels." in reason
    plain = mapped(tmp_path, labels={}, mirror_pairs=[])
    failed = convert(tmp_path, mapping=plain, repair=True).failed
    assert not failed if is_alike else "this cannot be repaired" in str(failed)


def test_names_of_who_drew_do_not_leak(tmp_path, capfd) -> None:
    path = case(tmp_path / "export")

    def drawn_by(dataset: Dataset) -> None:
        dataset.ReviewerName = "Reviewer^Rita"
        one, other = Dataset(), Dataset()
        one.ReferencedROINumber, one.ROIInterpreter = 1, "Interpret^Ida"
        other.ReferencedROINumber = 2
        dataset.RTROIObservationsSequence = [one, other]
        dataset.StructureSetROISequence[1].ROIName = "tumour reviewer ida"

    changed(path, drawn_by)
    masks = {"by Quacksalber": mask_of(RIGHT)}
    write_seg(tmp_path / "export" / "seg", masks)
    changed(
        tmp_path / "export" / "seg", lambda d: setattr(d, "ContentCreatorName", "Quacksalber^Otto")
    )
    rules = {"parotid": {"roi": ["Parotid_R"]}, "other": {"pattern": "by .*"}}
    plain = mapped(tmp_path, labels=rules, mirror_pairs=[])
    words = ["convert", str(tmp_path / "export")]
    assert main([*words, "--list"]) == 0
    main([*words, str(tmp_path / "dataset"), "--map", str(plain)])
    told = "".join(capfd.readouterr()).lower()
    for secret in ("quacksalber", "reviewer", "ida"):
        assert secret not in told, secret
    assert "tumour *** ***" in told and "by ***" in told


def test_an_export_of_structures_alone_says_what_it_holds(tmp_path) -> None:
    write_rtstruct(tmp_path / "export" / "rs", GLANDS, affine_of(AXIAL))
    with pytest.raises(DataError, match="1 RTSTRUCT without images"):
        list_series(tmp_path / "export")


def test_contours_that_name_only_their_world_belong_to_what_lies_in_it(tmp_path) -> None:
    path = case(tmp_path / "export")

    def only_frame(dataset: Dataset) -> None:
        del dataset.ReferencedFrameOfReferenceSequence
        for roi in dataset.StructureSetROISequence:
            roi.ReferencedFrameOfReferenceUID = uid("MRN123456", "head", "frame")

    changed(path, only_frame)
    outcome = convert(tmp_path)
    assert outcome.failed == {}
    np.testing.assert_array_equal(np.asarray(labels(tmp_path).dataobj).T == 1, mask_of(RIGHT))
    assert any("names no series; taken as drawn on" in text for text in outcome.left_out)
    # A second series of another grid in the same world: nobody can tell.
    write_series(tmp_path / "export" / "fine", ct_values((5, 10, 12)), series="COR")
    shutil.rmtree(tmp_path / "dataset")
    rule = {"CT": {"description": "AX"}}
    (reason,) = convert(tmp_path, mapping=mapped(tmp_path, channels=rule)).failed.values()
    assert "must say on which of 2 series it was drawn" in reason and "'COR'" in reason


def studies_alike(folder: Path, *, study: str, names_series: bool) -> None:
    """Two studies of one patient in one world, and structures that name no image, of a study."""
    world, series = uid("world"), uid("series")
    for one in ("first", "second"):
        for path in write_series(folder / one, ct_values(), study=one, FrameOfReferenceUID=world):
            changed(path, lambda d: setattr(d, "SeriesInstanceUID", series))
    write_rtstruct(folder / "rs", GLANDS, affine_of(AXIAL), study=study)

    def silent(dataset: Dataset) -> None:
        (frame,) = dataset.ReferencedFrameOfReferenceSequence
        within = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
        within.SeriesInstanceUID = series
        del within.ContourImageSequence
        if not names_series:
            del frame.RTReferencedStudySequence
        dataset.FrameOfReferenceUID = frame.FrameOfReferenceUID = world

    changed(folder / "rs", silent)


@pytest.mark.parametrize("names_series", [True, False])
@pytest.mark.parametrize("study", ["first", "second"])
def test_structures_that_name_no_image_belong_to_their_own_study(
    study, names_series, tmp_path
) -> None:
    studies_alike(tmp_path / "export", study=study, names_series=names_series)
    assert convert(tmp_path).failed == {}
    (drawn,) = (tmp_path / "dataset" / "labelsTr").iterdir()
    row = next(
        line
        for line in (tmp_path / "dataset-ids.tsv").read_text().splitlines()
        if uid("MRN123456", study) in line
    )
    assert drawn.name == f"{row.split()[0]}.nii.gz"


@pytest.mark.parametrize("names_series", [True, False])
def test_structures_that_fit_two_studies_alike_are_refused(names_series, tmp_path) -> None:
    studies_alike(tmp_path / "export", study="third", names_series=names_series)
    (reason,) = convert(tmp_path).failed.values()
    assert "must say in which of 2 studies it was drawn; series of P001_1 and P001_2" in reason
    assert not (tmp_path / "dataset" / "labelsTr").exists()


@pytest.mark.parametrize("echo", [10, 80])
def test_structures_on_a_series_of_two_echoes_go_to_the_one_that_is_chosen(echo, tmp_path) -> None:
    """Both echoes have one grid; the object names the series and no image."""
    path = case(tmp_path / "export")
    shutil.rmtree(tmp_path / "export" / "ct")
    for value in (10, 80):
        for file in write_series(tmp_path / "export" / f"{value}", ct_values(), EchoTime=value):
            changed(file, lambda d, v=value: setattr(d, "SOPInstanceUID", f"{d.SOPInstanceUID}{v}"))

    def silent(dataset: Dataset) -> None:
        within = dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
        del within.RTReferencedSeriesSequence[0].ContourImageSequence

    changed(path, silent)
    rule = {"CT": {"description": f"EchoTime {echo}"}}
    outcome = convert(tmp_path, mapping=mapped(tmp_path, channels=rule))
    assert outcome.failed == {} and not any("no channel" in text for text in outcome.left_out)
    np.testing.assert_array_equal(np.asarray(labels(tmp_path).dataobj).T == 1, mask_of(RIGHT))


def test_every_damaged_file_is_told_with_the_case_that_it_lies_beside(tmp_path) -> None:
    for number in (1, 2, 3):
        paths = write_series(
            tmp_path / "export" / f"{number}", ct_values(), patient=f"MRN12345{number}"
        )
        paths[-1].write_bytes(paths[-1].read_bytes()[:300])
    plain = mapped(tmp_path, labels={}, mirror_pairs=[])
    for _ in range(2):  # the second time from its records
        outcome = convert(tmp_path, mapping=plain)
        assert len(outcome.written) == 3 and len(outcome.failed) == 3
        note = "1 damaged file beside its slices: some may be lost"
        assert outcome.notes == {f"P00{n}_1": (note,) for n in (1, 2, 3)}


def test_failures_that_are_called_alike_when_censored_are_all_told(tmp_path) -> None:
    case(tmp_path / "export")
    for name in ("Doe_John", "Roe_Jane"):
        place = tmp_path / "export" / name / "rs"
        write_rtstruct(place, GLANDS, affine_of(AXIAL), patient=f"X{name}", study="other")
        changed(place, lambda d, n=name: setattr(d, "PatientName", n.replace("_", "^")))
    failed = convert(tmp_path).failed
    assert sorted(failed) == [
        "RTSTRUCT 'glands' (***_***/rs)",
        "RTSTRUCT 'glands' (***_***/rs) (2)",
    ]


def test_names_of_files_that_are_uids_do_not_leak(tmp_path, capfd) -> None:
    paths = write_series(
        tmp_path / "export",
        ct_values(),
        names=lambda z: f"CT.{uid('MRN123456', 'head', 'AX', z)}.dcm",
    )
    paths[3].unlink()
    plain = mapped(tmp_path, labels={}, mirror_pairs=[])
    words = ["convert", str(tmp_path / "export"), str(tmp_path / "dataset"), "--map", str(plain)]
    assert main(words) == 2
    assert main(["convert", str(tmp_path / "export"), "--list"]) == 0
    told = "".join(capfd.readouterr())
    assert uid("MRN123456", "head", "AX", 2)[:20] not in told
    assert "between slices 3 and 4 of 5, CT.***.dcm and CT.***.dcm" in told


def test_what_is_passed_over_is_told(tmp_path, capfd) -> None:
    case(tmp_path / "export")
    (tmp_path / "export" / "readme.txt").write_text("hello")
    (tmp_path / "export" / "series.tar").write_bytes(b"anything")
    (tmp_path / "export" / "IM001.dcm.gz").write_bytes(b"anything")
    (tmp_path / "export" / "unnamed").write_bytes(b"PK\x03\x04 and more")
    rules = mapped(tmp_path)
    words = ["convert", str(tmp_path / "export"), str(tmp_path / "dataset"), "--map", str(rules)]
    assert main(words) == 3
    told = capfd.readouterr().err
    assert "passed over: 1 file: not DICOM (a text file)" in told
    assert told.count("an archive or compressed file that is not looked into") == 3


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]}, "Siemens mosaic"),
        ({"RescaleSlope": 0}, "RescaleSlope is 0"),
    ],
)
def test_slices_that_cannot_be_what_they_say_are_faults(tags, reason, tmp_path) -> None:
    write_series(tmp_path / "export", ct_values(), modality="MR", **tags)
    (first, *_) = list_export(tmp_path / "export").skipped
    assert first.is_fault and reason in first.reason


@pytest.mark.parametrize(
    ("shift", "reason"),
    [(0, ""), (-1024, "applied twice"), (1024, "intercept lost")],
)
def test_hounsfield_units_are_told_from_what_is_none(shift, reason, tmp_path) -> None:
    """Air with its noise, fat, soft tissue and some bone."""
    rng = np.random.default_rng(3)
    shape = (6, 40, 40)
    values = rng.normal(-1000, 20, shape)
    values[:, 8:32, 8:32] = rng.normal(-90, 25, (6, 24, 24))
    values[:, 12:28, 12:28] = rng.normal(45, 25, (6, 16, 16))
    values[:, 18:22, 18:22] = 900
    write_series(tmp_path / "export", np.rint(values + shift), rescale=(1.0, -3000.0))
    failed = convert(tmp_path, mapping=mapped(tmp_path, labels={}, mirror_pairs=[])).failed
    assert (reason in failed["P001_1"]) if reason else failed == {}


def test_frames_of_reference_that_differ_are_told(tmp_path) -> None:
    """As where an anonymiser gives every slice one of its own."""
    write_series(
        tmp_path, ct_values(), each=lambda z: {"FrameOfReferenceUID": f"1.2.3.{z // 3 + 1}"}
    )
    told = [one.description for one in list_series(tmp_path)]
    assert told == ["AX [frame of reference 1]", "AX [frame of reference 2]"]
