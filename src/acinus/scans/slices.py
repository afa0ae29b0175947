"""DICOM files and the image slices in them: one in a classic file, many in a multi-frame one.

Enters: a file, or a member of an archive. Leaves: slices with their place in
the LPS world, or in a few words why the file holds none. Only headers are read.
"""

from __future__ import annotations

import lzma
import os
import re
import struct
import sys
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from acinus.scans.content import describe_content
from acinus.scans.person import PERSON_TAGS
from acinus.scans.stored import is_member, open_stored

Kind = Literal["original", "derived", "localizer", "secondary capture"]
"""What an image is: as measured, computed from others, for planning, or a picture of a screen."""

MAX_SLICE_PIXELS = 2**28
"""Most pixels of one slice (16,384 squared): a header that claims more is not believed."""

MAX_DEFLATED_BYTES = 2**20
"""Most bytes of a file that is deflated as a whole; it may unpack to a thousand times as many.
The syntax is meant for reports."""

_DEFLATED = b"1.2.840.10008.1.2.1.99"
"""Deflated explicit VR little endian."""

_NO_PREAMBLE = re.compile(rb"\x08\x00|\x02\x00..[A-Z]{2}", re.DOTALL)
"""Begin of a DICOM file without preamble: group 0008, or the file meta information, which is
always explicit little endian."""

SPLIT_TAGS = (
    "StackID",
    "EchoTime",
    "EchoNumbers",
    "TemporalPositionIdentifier",
    "ImageType",
    "InversionTime",
    "TriggerTime",
    "AcquisitionNumber",
    "DiffusionBValue",
    "DiffusionGradientOrientation",
    "ConvolutionKernel",
    "SliceThickness",
    "TemporalPositionTimeOffset",
    "AcquisitionTime",
    "FrameAcquisitionDateTime",
)
"""What may tell apart images at one position, in this order."""

SINGLE_TAGS = (
    "EchoTime",
    "EchoNumbers",
    "InversionTime",
    "DiffusionBValue",
    "ConvolutionKernel",
    "SliceThickness",
)
"""What is the same in all slices of one stack: more values are several images in one series."""

NO_SCAN = (
    "not DICOM",
    "DICOM without an image",
    "DICOM images without",
    "colour pictures",
    "secondary captures",
)
"""How the reasons begin that are no faults: such files hold no slice of a scan."""

_TAGS = (
    "SpecificCharacterSet",
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "SeriesDescription",
    "SeriesNumber",
    "Modality",
    "StudyInstanceUID",
    "StudyDescription",
    "FrameOfReferenceUID",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SyntheticData",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "PixelSpacing",
    "SpacingBetweenSlices",
    "RescaleSlope",
    "RescaleIntercept",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    *PERSON_TAGS,
    *SPLIT_TAGS,
)
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")

_CAPTURES = "1.2.840.10008.5.1.4.1.1.7"
"""Begin of the classes of secondary captures, DICOM PS3.4 B.5."""

_NOT_IMAGES = (
    "1.2.840.10008.1.3.10",
    "1.2.840.10008.5.1.4.1.1.4.2",
    "1.2.840.10008.5.1.4.1.1.9.",
    "1.2.840.10008.5.1.4.1.1.11.",
    "1.2.840.10008.5.1.4.1.1.66",
    "1.2.840.10008.5.1.4.1.1.67",
    "1.2.840.10008.5.1.4.1.1.88",
    "1.2.840.10008.5.1.4.1.1.104",
    "1.2.840.10008.5.1.4.1.1.481.",
)
"""Begins of the classes of DICOMDIR, spectroscopy, waveforms, presentation states, raw data,
segmentations, value mappings, reports, documents and radiotherapy."""

_SCANS = tuple(f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2", "2.1", "4", "4.1", "128"))
"""Classes of CT, MR and PET images, classic and enhanced."""

_PLANNING = ("LOCALIZER", "SCOUT", "TOPOGRAM")
"""Words of ImageType of images for planning."""

_IMAGE_SUFFIXES = ("", ".dcm", ".ima", ".img")
"""Of files that were images if they are empty."""

_DICOM_SUFFIXES = (".dcm", ".ima")
"""Of files that nobody names so who does not mean DICOM."""

_PACKED_SUFFIXES = (".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar", ".zst")
"""Of archives and compressed files that are not looked into."""

_ZIP_BEGIN = b"PK\x03\x04"

_FRAME_VALUES = (
    ("ImagePositionPatient", "PlanePositionSequence", "ImagePositionPatient"),
    ("ImageOrientationPatient", "PlaneOrientationSequence", "ImageOrientationPatient"),
    ("PixelSpacing", "PixelMeasuresSequence", "PixelSpacing"),
    ("SliceThickness", "PixelMeasuresSequence", "SliceThickness"),
    ("SpacingBetweenSlices", "PixelMeasuresSequence", "SpacingBetweenSlices"),
    ("RescaleSlope", "PixelValueTransformationSequence", "RescaleSlope"),
    ("RescaleIntercept", "PixelValueTransformationSequence", "RescaleIntercept"),
    ("EchoTime", "MREchoSequence", "EffectiveEchoTime"),
    ("StackID", "FrameContentSequence", "StackID"),
    ("TemporalPositionIdentifier", "FrameContentSequence", "TemporalPositionIndex"),
    ("TemporalPositionTimeOffset", "TemporalPositionSequence", "TemporalPositionTimeOffset"),
    ("FrameAcquisitionDateTime", "FrameContentSequence", "FrameAcquisitionDateTime"),
    ("AcquisitionNumber", "FrameContentSequence", "FrameAcquisitionNumber"),
    ("TriggerTime", "CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
    ("ConvolutionKernel", "CTReconstructionSequence", "ConvolutionKernel"),
    ("DiffusionBValue", "MRDiffusionSequence", "DiffusionBValue"),
    ("DiffusionGradientOrientation", "MRDiffusionSequence", "DiffusionGradientDirectionSequence"),
    ("ImageType", "MRImageFrameTypeSequence", "FrameType"),
    ("ImageType", "CTImageFrameTypeSequence", "FrameType"),
)
"""Our name of a value, and the functional group and attribute that hold it for a frame,
DICOM PS3.3 C.7.6.16."""


@dataclass(frozen=True, eq=False)
class Slice:
    """One image and where it lies, in the LPS world of DICOM.

    Attributes:
        path: The file, or the member of an archive.
        orientation: (2, 3) unit directions of increasing column and row index, LPS.
        position: (3,) centre of the first pixel, LPS, mm.
        pixel_mm: Distance between rows and between columns, mm.
        n_rows: Height in pixels.
        n_columns: Width in pixels.
        thickness_mm: Spacing or thickness that the header states; None if neither.
        tags: Further values by DICOM keyword, as text.
        frame: Index in a multi-frame file; None in a classic one.
        slope: By which stored values are multiplied.
        intercept: What is then added.
        is_rescaled: Whether the header states both; else they are 1 and 0.
    """

    path: Path
    orientation: np.ndarray
    position: np.ndarray
    pixel_mm: tuple[float, float]
    n_rows: int
    n_columns: int
    thickness_mm: float | None
    tags: Mapping[str, str]
    frame: int | None = None
    slope: float = 1.0
    intercept: float = 0.0
    is_rescaled: bool = True

    @cached_property
    def normal(self) -> np.ndarray:
        """(3,) unit direction across the slice, LPS."""
        (a, b, c), (d, e, f) = self.orientation.tolist()
        return np.array([b * f - c * e, c * d - a * f, a * e - b * d])

    @property
    def along_mm(self) -> float:
        """Position along the slice's own normal, mm."""
        return float(self.position @ self.normal)

    @property
    def name(self) -> str:
        """The file's name, with the number of the frame (from 1) where it holds several."""
        return self.path.name if self.frame is None else f"{self.path.name} frame {self.frame + 1}"

    @property
    def kind(self) -> Kind:
        """What the image is by SOP class and ImageType."""
        types = self.tags.get("ImageType", "").upper()
        if any(word in types for word in _PLANNING):
            return "localizer"
        if self.tags.get("SOPClassUID", "").startswith(_CAPTURES):
            return "secondary capture"
        return "derived" if "DERIVED" in types else "original"


def dicom_faults() -> tuple[type[Exception], ...]:
    """What pydicom raises on damaged files, early or when a value is first looked at."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (
        InvalidDicomError,
        BytesLengthException,
        OSError,
        EOFError,
        ValueError,
        TypeError,
        AttributeError,
        KeyError,
        IndexError,
        NotImplementedError,
        OverflowError,
        RuntimeError,
        struct.error,
        zlib.error,
        lzma.LZMAError,
        zipfile.BadZipFile,
    )


def open_dicom(path: Path, **options: Any) -> Any:
    """The pydicom dataset of a file, with or without the preamble that the standard asks for.

    Args:
        path: The file, or a member of an archive.
        **options: Handed to ``pydicom.dcmread``.

    Raises:
        pydicom.errors.InvalidDicomError: The file is not DICOM.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    # Its warnings would print identifiers, one line a file, and name no file.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    with open_stored(path) as stream, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pydicom")
        try:
            header = pydicom.dcmread(stream, **options)
        except InvalidDicomError:
            stream.seek(0)
            if not _NO_PREAMBLE.match(stream.read(6)):
                raise
            stream.seek(0)
            header = pydicom.dcmread(stream, force=True, **options)
    if "TransferSyntaxUID" not in header.file_meta:
        implicit = header.original_encoding[0]
        header.file_meta.TransferSyntaxUID = (
            ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        )
    return header


def read_header(path: Path) -> Any | str:
    """The part of a file's header that places its images, or why there is none in a few words."""
    from pydicom.errors import InvalidDicomError

    try:
        if _could_inflate(path):
            return f"deflated DICOM of more than {MAX_DEFLATED_BYTES >> 20} MiB"
        return open_dicom(path, stop_before_pixels=True, specific_tags=[*_TAGS, *_GROUPS])
    except InvalidDicomError:
        if _is_empty(path) and path.suffix.lower() in _IMAGE_SUFFIXES:
            return "empty file"
        if _is_packed(path):
            return "an archive or compressed file that is not looked into (unpack it first)"
        found = "a member of an archive" if is_member(path) else describe_content(path)
        if path.suffix.lower() in _DICOM_SUFFIXES and not path.name.startswith("._"):
            return f"damaged DICOM, by its name ({found.split(' that begin')[0]})"
        return f"not DICOM ({found.split(' that begin')[0]})"
    except PermissionError:
        return "not readable (no permission)"
    except dicom_faults():
        return "damaged DICOM"


def _is_packed(path: Path) -> bool:
    """Whether scans may lie in a file that is neither DICOM nor called a zip archive."""
    name = path.name.lower()
    if name.endswith(_PACKED_SUFFIXES):
        return not name.endswith(".nii.gz")
    if path.suffix:
        return False  # documents and programs are zip archives, too
    with open_stored(path) as stream:
        return stream.read(len(_ZIP_BEGIN)) == _ZIP_BEGIN


def _is_empty(path: Path) -> bool:
    with open_stored(path) as stream:
        return not stream.read(1)


def _could_inflate(path: Path) -> bool:
    """Whether a file is deflated as a whole and could fill the memory when it is opened."""
    with open_stored(path) as stream:
        if _DEFLATED not in stream.read(1024):
            return False
        stream.seek(0, os.SEEK_END)
        return stream.tell() > MAX_DEFLATED_BYTES


def person_of(header: Any) -> dict[str, str]:
    """What a pydicom dataset says about the person, by keyword; nothing where it is damaged."""
    found = {}
    for tag in PERSON_TAGS:
        try:
            found[tag] = _text(header.get(tag, ""))
        except dicom_faults():
            continue
    return found


def slices_of(header: Any, path: Path) -> list[Slice] | str:
    """The slices that a pydicom dataset describes, or in a few words why it describes none."""
    try:
        return _slices_of(header, path)
    except dicom_faults():
        return "damaged DICOM"


def _slices_of(header: Any, path: Path) -> list[Slice] | str:
    reason = _no_image(header)
    if reason:
        return reason
    common = {element.keyword: element.value for element in header}
    shared, frames = (common.pop(name, None) for name in _GROUPS)
    tags = {keyword: sys.intern(_text(value)) for keyword, value in common.items()}
    if frames is None:
        if int(header.get("NumberOfFrames") or 1) > 1:
            if tags.get("SOPClassUID", "").startswith(_CAPTURES):
                return "secondary captures (screenshots)"
            if tags.get("SOPClassUID", "") not in _SCANS:
                return "DICOM images without places of their frames"
            return "multi-frame DICOM that does not say where each frame lies"
        return _single(common.get, tags, path, None)
    if len(frames) != int(header.get("NumberOfFrames") or 1):
        return "multi-frame DICOM whose number of frames contradicts itself"
    found = []
    for number, frame in enumerate(frames):
        values = _frame_values(frame, shared[0] if shared else None)
        texts = {key: sys.intern(_text(value)) for key, value in values.items()}
        made = _single({**common, **values}.get, {**tags, **texts}, path, number)
        if isinstance(made, str):
            return made
        found += made
    return found


def _no_image(header: Any) -> str:
    """Why a header describes no grey image of this person's body, or an empty string."""
    meta = getattr(header, "file_meta", None) or {}
    sop_class = str(header.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID", ""))
    if not sop_class:
        return "damaged DICOM, without SOPClassUID"
    has_size = bool(header.get("Rows") and header.get("Columns"))
    if not has_size and sop_class in _SCANS:
        return f"damaged DICOM, a {_class_name(sop_class)} without rows and columns"
    if sop_class.startswith(_NOT_IMAGES) or not has_size:
        return f"DICOM without an image ({_class_name(sop_class)})"
    if int(header.Rows) * int(header.Columns) > MAX_SLICE_PIXELS:
        return f"DICOM images of {header.Rows} x {header.Columns} pixels"
    palette = "PALETTE" in str(header.get("PhotometricInterpretation", ""))
    if int(header.get("SamplesPerPixel") or 1) != 1 or palette:
        return "colour pictures"
    bits, high = header.get("BitsStored"), header.get("HighBit")
    if bits is not None and high is not None and int(high) != int(bits) - 1:
        return (
            f"DICOM images whose HighBit, {high}, is not one less than their BitsStored, {bits}: "
            "where in a pixel its value lies cannot be told"
        )
    if not header.get("SeriesInstanceUID"):
        if sop_class in _SCANS:
            return f"damaged DICOM, a {_class_name(sop_class)} without SeriesInstanceUID"
        return "DICOM images without SeriesInstanceUID"
    return ""


def _class_name(sop_class: str) -> str:
    from pydicom.uid import UID

    name = UID(sop_class).name if sop_class else ""
    return name.removesuffix(" Storage") if name and name != sop_class else "of unknown class"


def _frame_values(frame: Any, shared: Any) -> dict[str, Any]:
    """Values of one frame by keyword; those of the frame go before those that all share."""
    values: dict[str, Any] = {}
    for groups in (shared, frame):
        for keyword, group, attribute in _FRAME_VALUES:
            sequence = groups.get(group) if groups is not None else None
            if sequence and attribute in sequence[0]:
                value = sequence[0][attribute].value
                # A direction lies in a sequence of its own.
                in_item = attribute.endswith("Sequence") and value
                values[keyword] = value[0].get(keyword) if in_item else value
    return values


def _single(
    value: Callable[[str], Any], tags: Mapping[str, str], path: Path, frame: int | None
) -> list[Slice] | str:
    """The slice that values by keyword describe; a list of one."""
    cosines, position = value("ImageOrientationPatient"), value("ImagePositionPatient")
    pixel_mm = value("PixelSpacing")
    if not cosines or not position or not pixel_mm:
        if tags.get("SOPClassUID", "").startswith(_CAPTURES):
            return "secondary captures (screenshots)"
        sop_class, types = tags.get("SOPClassUID", ""), tags.get("ImageType", "").upper()
        is_body = tags.get("Modality", "").upper() in ("CT", "MR", "PT")
        if is_body and sop_class in _SCANS and not any(word in types for word in _PLANNING):
            what = _class_name(sop_class)
            return f"damaged DICOM, a {what} without orientation, position or pixel spacing"
        return "DICOM images without orientation, position or pixel spacing"
    directions = np.array([float(number) for number in cosines]).reshape(2, 3)
    corner = np.array([float(number) for number in position]).reshape(3)
    if not (np.all(np.isfinite(corner)) and np.all(np.isfinite(directions))):
        return "DICOM images whose position or orientation is not finite"
    lengths = np.linalg.norm(directions, axis=1)
    if np.any(np.abs(lengths - 1) > 0.01) or abs(directions[0] @ directions[1]) > 0.01:
        return "DICOM images whose orientation is no pair of perpendicular directions"
    if "MOSAIC" in tags.get("ImageType", "").upper().split("\\"):
        return (
            "DICOM images with many slices in one picture (Siemens mosaic), which say not where "
            "each lies; export them as single slices or as enhanced objects"
        )
    thickness = value("SpacingBetweenSlices") or value("SliceThickness")
    slope, intercept = value("RescaleSlope"), value("RescaleIntercept")
    if slope not in (None, "") and float(slope) == 0:
        return "DICOM images whose RescaleSlope is 0"
    if not np.isfinite([float(slope or 1.0), float(intercept or 0.0)]).all():
        return "DICOM images whose RescaleSlope or RescaleIntercept is not finite"
    made = Slice(
        path=path,
        orientation=directions / lengths[:, np.newaxis],
        position=corner,
        pixel_mm=(float(pixel_mm[0]), float(pixel_mm[1])),
        n_rows=int(value("Rows")),
        n_columns=int(value("Columns")),
        thickness_mm=abs(float(thickness)) if thickness else None,
        tags=tags,
        frame=frame,
        slope=float(slope) if slope not in (None, "") else 1.0,
        intercept=float(intercept or 0.0),
        is_rescaled=slope not in (None, "") and intercept not in (None, ""),
    )
    if not all(length > 0 and np.isfinite(length) for length in made.pixel_mm):
        return "DICOM images whose pixel spacing is not above 0"
    return [made]


def _text(value: Any) -> str:
    """A value as text; items of a sequence stand for what they say about the person."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return "\\".join(text for one in value for text in _texts(one))
    return str(value)


def _texts(item: Any) -> Iterator[str]:
    if not hasattr(item, "get"):
        yield str(item)
        return
    yield from (str(item[tag].value) for tag in PERSON_TAGS if tag in item)


def sort_slices(slices: Sequence[Slice]) -> list[Slice]:
    """Slices by position along the first one's normal; equal positions by file name and frame."""
    normal = slices[0].normal
    return sorted(
        slices,
        key=lambda item: (round(float(item.position @ normal), 4), item.path, item.frame or 0),
    )
