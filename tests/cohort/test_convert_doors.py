"""What an export or a mapping gets wrong without looking wrong: persons, sides, stacks, files."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from test_convert import GLANDS, LEFT, MAPPING, RIGHT, convert, failure, mapped, mask_of, patient
from test_convert_references import changed

import acinus
from acinus.errors import ConfigError, DataError
from acinus.scans import list_export
from made_export import (
    AXIAL,
    affine_of,
    ct_values,
    uid,
    write_enhanced,
    write_rtstruct,
    write_seg,
    write_series,
)

PLAIN: dict[str, Any] = {"labels": {}, "mirror_pairs": []}
"""Changes to the mapping for images alone."""


@pytest.mark.parametrize(
    "text",
    ["my one precious line\n", '{"a": 1}\n', "participant_id\tage\n", ""],
)
def test_a_file_that_is_no_table_of_ids_is_never_replaced(text: str, tmp_path) -> None:
    write_series(tmp_path / "export", ct_values())
    note = tmp_path / "note"
    note.write_text(text)
    with pytest.raises(DataError, match="must be the table of ids of an earlier conversion"):
        convert(tmp_path, mapping=mapped(tmp_path, **PLAIN), ids=note)
    assert note.read_text() == text and not (tmp_path / "dataset").exists()


def test_a_folder_is_no_table_of_ids(tmp_path) -> None:
    write_series(tmp_path / "export", ct_values())
    (tmp_path / "who").mkdir()
    with pytest.raises(DataError, match=r"who: must be a file for the table of ids; found a fold"):
        convert(tmp_path, mapping=mapped(tmp_path, **PLAIN), ids=tmp_path / "who")


def test_persons_without_any_id_are_never_one(tmp_path) -> None:
    """Neither PatientID nor StudyInstanceUID: a CT and an MR would make one case of two persons."""
    nobody = {"PatientID": None, "StudyInstanceUID": None}
    for name, modality in (("Alpha", "CT"), ("Beta", "MR")):
        write_series(
            tmp_path / "export" / name,
            ct_values(),
            series=name,
            modality=modality,
            PatientName=name,
            **nobody,
        )
    channels = {"CT": {"modality": "CT"}, "MR": {"modality": "MR"}}
    mapping = mapped(tmp_path, channels=channels, allow_missing_channels=True, **PLAIN)
    assert convert(tmp_path, mapping=mapping).written == ("P001_1", "P002_1")


def test_ids_and_dates_of_visits_are_hidden(tmp_path) -> None:
    request, scheduled = Dataset(), "SPS778899"
    request.ScheduledProcedureStepID, request.RequestedProcedureID = scheduled, "RQ5566"
    told = {
        "AdmissionID": "ADM4711",
        "MedicalRecordLocator": "MRL-998",
        "PatientTelephoneNumbers": "0301234567",
        "PatientAddress": "Lindenstrasse 5, Musterstadt",
        "ScheduledPerformingPhysicianName": "Quincy^Jack",
        "AcquisitionDateTime": "20210506071122.5",
        "PerformedProcedureStepStartDate": "20210507",
    }
    words = [
        *("ADM4711", "MRL-998", "0301234567", "Lindenstrasse", "Musterstadt", "Quincy"),
        *("2021-05-06", "7.5.2021", scheduled, "RQ5566"),
    ]
    series = " ".join(["neck", *words])
    write_series(
        tmp_path / "export",
        ct_values(),
        SeriesDescription=series,
        RequestAttributesSequence=[request],
        **told,
    )
    listed = json.dumps(acinus.list_scans(tmp_path / "export").as_json())
    outcome = convert(tmp_path, mapping=mapped(tmp_path, **PLAIN))
    record = (tmp_path / "dataset" / "convert" / f"{outcome.written[0]}.json").read_text()
    for text in (listed, record):
        assert "neck ***" in text
        assert [word for word in words if word in text] == []


@pytest.mark.parametrize("name", ["P1", "P099", "P001_7"])
def test_an_excluded_person_whom_nobody_knows_is_refused(name: str, tmp_path) -> None:
    patient(tmp_path / "export")
    with pytest.raises(ConfigError, match=f"nobody is called '{name}'. Known: P001, P001_1"):
        convert(tmp_path, mapping=mapped(tmp_path, exclude=[name]))
    assert not (tmp_path / "dataset").exists()


def other_frame(dataset: Dataset) -> None:
    dataset.FrameOfReferenceUID = "1.2.3.4"


def test_a_seg_of_another_frame_of_reference_is_refused_or_told(tmp_path) -> None:
    write_series(tmp_path / "export" / "ct", ct_values())
    path = tmp_path / "export" / "seg"
    write_seg(path, {"Parotid_R": mask_of(RIGHT)})
    changed(path, other_frame)
    assert "SEG 'GLANDS': must lie in the frame of reference of 'AX', or name its images" in (
        failure(tmp_path)
    )

    def named(dataset: Dataset) -> None:
        image = Dataset()
        image.ReferencedSOPInstanceUID = uid("MRN123456", "head", "AX", 1)
        dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence = [image]

    changed(path, named)
    outcome = convert(tmp_path)
    assert outcome.failed == {}
    assert "lies in another frame of reference than the images" in str(outcome.notes)


def test_channels_of_different_frames_of_reference_are_told_on_one_grid(tmp_path) -> None:
    write_series(tmp_path / "export" / "ct", ct_values(), series="CT")
    write_series(
        tmp_path / "export" / "mr",
        ct_values(),
        series="MR",
        modality="MR",
        FrameOfReferenceUID="1.2.3.4",
    )
    channels = {"CT": {"modality": "CT"}, "MR": {"modality": "MR"}}
    outcome = convert(tmp_path, mapping=mapped(tmp_path, channels=channels, **PLAIN))
    assert "channel 'MR': in another frame of reference" in str(outcome.notes)


def code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return item


LEFT_CODE, RIGHT_CODE = ("7771000", "Left"), ("24028007", "Right")


def in_anatomy(dataset: Dataset) -> None:
    gland = code("45289007", "Parotid")
    gland.PrimaryAnatomicStructureModifierSequence = [code(*LEFT_CODE)]
    dataset.SegmentSequence[0].PrimaryAnatomicStructureSequence = [gland]


def in_frames(dataset: Dataset) -> None:
    anatomy = Dataset()
    anatomy.FrameLaterality = "L"
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        frame.FrameAnatomySequence = [anatomy]


def in_two_codes(dataset: Dataset) -> None:
    gland, region = code("45289007", "Parotid"), code("69536005", "Head")
    gland.SegmentedPropertyTypeModifierCodeSequence = [code(*RIGHT_CODE)]
    region.AnatomicRegionModifierSequence = [code(*LEFT_CODE)]
    dataset.SegmentSequence[0].SegmentedPropertyTypeCodeSequence = [gland]
    dataset.SegmentSequence[0].AnatomicRegionSequence = [region]


@pytest.mark.parametrize("coded", [in_anatomy, in_frames, in_two_codes])
def test_whatever_codes_the_other_side_in_a_seg_is_refused(coded, tmp_path) -> None:
    write_series(tmp_path / "export" / "ct", ct_values())
    write_seg(tmp_path / "export" / "seg", {"Parotid_R": mask_of(RIGHT)})
    changed(tmp_path / "export" / "seg", coded)
    both = "right and left" if coded is in_two_codes else "left"
    reason = failure(tmp_path)
    assert f"'Parotid_R' is coded as {both}; its label 'parotid_right' is stated" in reason


def test_a_side_that_an_rtstruct_codes_by_its_anatomy_is_refused(tmp_path) -> None:
    write_series(tmp_path / "export" / "ct", ct_values())
    write_rtstruct(tmp_path / "export" / "rs", GLANDS, affine_of(AXIAL))

    def coded(dataset: Dataset) -> None:
        observed, gland = Dataset(), code("45289007", "Parotid")
        gland.PrimaryAnatomicStructureModifierSequence = [code(*LEFT_CODE)]
        observed.ReferencedROINumber = dataset.StructureSetROISequence[0].ROINumber
        observed.RTROIIdentificationCodeSequence = [gland]
        dataset.RTROIObservationsSequence = [observed]

    changed(tmp_path / "export" / "rs", coded)
    assert "'Parotid_R' is coded as left" in failure(tmp_path)


def test_two_codes_without_a_stated_side_are_told(tmp_path) -> None:
    write_series(tmp_path / "export" / "ct", ct_values())
    write_seg(tmp_path / "export" / "seg", {"gland": mask_of(RIGHT)})
    changed(tmp_path / "export" / "seg", in_two_codes)
    rules = mapped(tmp_path, labels={"gland": {"roi": "gland"}}, mirror_pairs=[])
    told = str(convert(tmp_path, mapping=rules).notes)
    assert "structure 'gland' is coded as right and left: its side is not checked" in told


def enhanced(path: Path, change, *, n_times: int = 1, n_slices: int = 6) -> None:
    """An enhanced MR whose frames, first slice first, are given to `change` with their number."""
    write_enhanced(path, ct_values((n_slices, 10, 12)), n_times=n_times)
    dataset = pydicom.dcmread(path)
    frames = dataset.PerFrameFunctionalGroupsSequence
    for number, frame in enumerate(frames):
        del frame.FrameContentSequence[0].TemporalPositionIndex
        time, z = divmod(number, n_slices)
        change(frame, time, n_slices - 1 - z)
    dataset.save_as(path)


@pytest.mark.parametrize("apart_mm", [9.0, 200.0])
def test_stacks_of_one_object_are_series_of_their_own(apart_mm: float, tmp_path) -> None:
    """However near: what lies between two stacks was never measured, and nothing is made there."""

    def stacked(frame: Dataset, _: int, z: int) -> None:
        frame.FrameContentSequence[0].StackID = "1" if z < 3 else "2"
        if z >= 3:
            plane = frame.PlanePositionSequence[0]
            x, y, along = plane.ImagePositionPatient
            plane.ImagePositionPatient = [x, y, float(along) + apart_mm - 3]

    enhanced(tmp_path / "mr", stacked)
    found = list_export(tmp_path).series
    assert [(one.description, one.n_slices, one.faults) for one in found] == [
        ("enhanced [StackID 1]", 3, ()),
        ("enhanced [StackID 2]", 3, ()),
    ]


def timed(frame: Dataset, time: int, _: int) -> None:
    offset = Dataset()
    offset.TemporalPositionTimeOffset = 30.0 * time
    frame.TemporalPositionSequence = [offset]


def by_the_clock(frame: Dataset, time: int, _: int) -> None:
    frame.FrameContentSequence[0].FrameAcquisitionDateTime = f"2024030110{time:02d}00"


def directed(frame: Dataset, time: int, _: int) -> None:
    diffusion, direction = Dataset(), Dataset()
    diffusion.DiffusionBValue = 1000.0
    direction.DiffusionGradientOrientation = [float(time == axis) for axis in range(3)]
    diffusion.DiffusionGradientDirectionSequence = [direction]
    frame.MRDiffusionSequence = [diffusion]


@pytest.mark.parametrize("told", [timed, by_the_clock, directed])
def test_time_points_and_directions_are_series_of_their_own(told, tmp_path) -> None:
    enhanced(tmp_path / "mr", told, n_times=3)
    found = list_export(tmp_path).series
    assert [(one.n_slices, one.faults) for one in found] == [(6, ())] * 3
    assert len({one.description for one in found}) == 3


def test_other_labels_may_follow_a_conversion_in_which_all_failed(tmp_path) -> None:
    """The gap fails the only case: nothing was converted, so nothing can contradict."""
    write_series(
        tmp_path / "export" / "ct",
        ct_values(),
        positions=lambda z: (-20.0, -15.0, 40.0 + 3 * (z + (z > 2))),
    )
    first = convert(tmp_path, mapping=mapped(tmp_path))
    assert first.written == () and "1 missing there" in first.failed["P001_1"]
    outcome = convert(tmp_path, mapping=mapped(tmp_path, **PLAIN), repair=True)
    assert outcome.written == ("P001_1",)


def test_names_fit_in_whatever_form_their_letters_are_stored(tmp_path) -> None:
    write_series(tmp_path / "export" / "ct", ct_values())
    path = tmp_path / "export" / "rs"
    names = ("Drüse rechts", "Drüse links")
    apart = dict(zip((unicodedata.normalize("NFD", n) for n in names), (RIGHT, LEFT), strict=True))
    write_rtstruct(path, {"a": RIGHT, "b": LEFT}, affine_of(AXIAL))

    def renamed(dataset: Dataset) -> None:
        dataset.SpecificCharacterSet = "ISO_IR 192"
        for roi, name in zip(dataset.StructureSetROISequence, apart, strict=True):
            roi.ROIName = name

    changed(path, renamed)
    rules = {
        "right": {"roi": [names[0]], "side": "right"},
        "left": {"pattern": f"{names[1]}|x", "side": "left"},
    }
    mapping = mapped(tmp_path, labels=rules, mirror_pairs=[["right", "left"]])
    assert convert(tmp_path, mapping=mapping).failed == {}
    found = nibabel.load(tmp_path / "dataset" / "labelsTr" / "P001_1.nii.gz")
    wanted = mask_of(RIGHT) + 2 * mask_of(LEFT).astype(int)
    np.testing.assert_array_equal(np.asarray(found.dataobj).T, wanted)


def test_names_of_an_object_that_no_label_fits_are_told(tmp_path) -> None:
    patient(tmp_path / "export")
    rules = {"gland": {"roi": ["Glandula"]}}
    outcome = convert(tmp_path, mapping=mapped(tmp_path, labels=rules, mirror_pairs=[]))
    (told,) = [text for text in outcome.left_out if "no label names a structure" in text]
    assert told.endswith("RTSTRUCT 'glands': Parotid_R, parotid_l")


@pytest.mark.parametrize("slices", [[100, 20], [0, 3]])
def test_a_range_of_slices_that_nothing_fits_is_refused(slices: list[int], tmp_path) -> None:
    patient(tmp_path / "export")
    channels = {"CT": {"modality": "CT", "slices": slices}}
    with pytest.raises(ConfigError, match="must be the fewest slices, at least 1, then the most"):
        convert(tmp_path, mapping=mapped(tmp_path, channels=channels))


def test_one_name_may_stand_without_brackets(tmp_path) -> None:
    patient(tmp_path / "export")
    labels = {**MAPPING["labels"], "parotid_right": {"roi": "PAROTID_R", "side": "right"}}
    assert convert(tmp_path, mapping=mapped(tmp_path, labels=labels)).failed == {}


def test_a_seg_of_coarser_pixels_is_told_from_one_of_another_plane(tmp_path) -> None:
    write_series(tmp_path / "export" / "ct", ct_values())
    path = tmp_path / "export" / "seg"
    write_seg(path, {"Parotid_R": mask_of(RIGHT)[:, :5, :6] | True})

    def coarser(dataset: Dataset) -> None:
        measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        measures.PixelSpacing = [2 * float(value) for value in measures.PixelSpacing]

    changed(path, coarser)
    assert "it lies in their plane with pixels of 2 by 2 voxels" in failure(tmp_path)
