"""What a DICOM SEG or RTSTRUCT holds: named structures on the grid of a series, drawn on demand.

Enters: names, codes and a function that draws one mask. Leaves: segments, or one label map
through a table of names. Holding all masks at once was rejected: a whole body with a hundred
organs would need tens of gigabytes where one mask and a label map will do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from acinus.errors import DataError
from acinus.scans.coding import Code, Side, sides_of_codes
from acinus.scans.segments import (
    SEGMENT_COLORS,
    Color,
    Segment,
    merge_segments,
    require_names,
)
from acinus.scans.slices import dicom_faults, open_dicom
from acinus.scans.volume import Grid, Volume
from acinus.types import Mask


@dataclass(frozen=True)
class Structure:
    """One structure as its object describes it.

    Attributes:
        name: SegmentLabel or ROIName, without blanks around it.
        number: Its number in the object.
        color: Red, green, blue in [0, 1].
        code: What it is; None: the object does not say.
        sides: Sides of the patient that its codes tell; two: they contradict each other, or it
            lies on both.
    """

    name: str
    number: int
    color: Color = SEGMENT_COLORS[0]
    code: Code | None = None
    sides: tuple[Side, ...] = ()

    @property
    def side(self) -> Side | None:
        """Side of the patient; None: its codes tell none, or both."""
        return self.sides[0] if len(self.sides) == 1 else None


@dataclass(frozen=True, eq=False)
class DicomSegments:
    """The structures of a DICOM object.

    Attributes:
        path: The file.
        structures: In the order of the file.
        series_uid: SeriesInstanceUID of the images that were segmented; empty: not stated.
        grid: Where the masks lie.
        notes: Sentences about what a user of the masks must know, e.g. what was left out.
        draw: Mask, (Z, Y, X) bool on `grid`, of a structure.
        outlined: Numbers of structures that have closed contours, which may hold no voxel.
    """

    path: Path
    structures: tuple[Structure, ...]
    series_uid: str
    grid: Grid
    notes: tuple[str, ...]
    draw: Callable[[Structure], Mask]
    outlined: frozenset[int] = frozenset()

    @property
    def names(self) -> tuple[str, ...]:
        """Of all structures; a name may come twice."""
        return tuple(one.name for one in self.structures)

    @property
    def segments(self) -> list[Segment]:
        """All structures with their masks, drawn now."""
        return [self.segment(one) for one in self.structures]

    def segment(self, structure: Structure) -> Segment:
        """One structure with its mask.

        Raises:
            GridError: Some of it lies outside of the grid.
        """
        mask = Volume(self.draw(structure), self.grid.affine)
        return Segment(structure.name, mask, structure.color, None, structure.side, structure.code)

    def labelmap(
        self, names: Mapping[str, int], *, overlap: Literal["refuse", "order"] = "refuse"
    ) -> Volume:
        """One label map.

        Args:
            names: Name of a structure to its label. A name that the object lacks stays without
                voxels, unless the object has names that are not in the table: a misspelled
                structure must not look like a missed one.
            overlap: What happens to a voxel of two labels: refused, or painted in the order of
                `names`, later ones over earlier ones.

        Returns:
            Integers on `grid`; its ``meta`` tells ``unnamed``, the names that were left out.

        Raises:
            DataError: Structures overlap, or names are missing from the table.
            GridError: Some of a structure lies outside of the grid.
        """
        unnamed = require_names(self.path, names, self.names)
        order = list(names)
        wanted = sorted(
            (one for one in self.structures if one.name in names),
            key=lambda one: order.index(one.name),
        )
        merged = merge_segments(
            (self.segment(one) for one in wanted),
            [names[one.name] for one in wanted],
            self.grid,
            where=self.path,
            overlap=overlap,
        )
        meta = {
            "path": str(self.path),
            "format": "DICOM",
            "series_uid": self.series_uid,
            "unnamed": unnamed,
        }
        return Volume(merged.array, merged.affine, meta)


_CODES = (
    "SegmentedPropertyTypeCodeSequence",
    "RTROIIdentificationCodeSequence",
    "AnatomicRegionSequence",
    "PrimaryAnatomicStructureSequence",
)
_MODIFIERS = (
    "SegmentedPropertyTypeModifierCodeSequence",
    "AnatomicRegionModifierSequence",
    "PrimaryAnatomicStructureModifierSequence",
)
"""Where codes of a structure lie, and those that modify them, DICOM PS3.3 C.8.20.2, C.8.8.8 and
10.5."""


def structure_name(given: Any, number: int, kind: str, notes: list[str] | None = None) -> str:
    """Name of a structure without blanks around it; of one without a name, one by its number.

    Args:
        given: SegmentLabel or ROIName; None or empty: there is none.
        number: Its number in the object.
        kind: ``ROI`` or ``Segment``: a nameless third is called ``ROI_3``.
        notes: Gets a sentence about a structure without a name.
    """
    name = str(given or "").strip()
    if name:
        return name
    name = f"{kind}_{number}"
    if notes is not None:
        notes.append(f"{kind} number {number} has no name; it is called '{name}' here.")
    return name


def open_object(path: Path, sop_classes: Mapping[str, str], what: str) -> Any:
    """The pydicom dataset of a file that must be of one of some classes.

    Args:
        path: The file.
        sop_classes: SOPClassUID to its name.
        what: What is wanted, for messages.

    Raises:
        DataError: It is not there, no DICOM, damaged, or another kind of object.
    """
    if not path.is_file():
        raise DataError(f"{path}: must be a file with a {what}; there is none.")
    try:
        dataset = open_dicom(path)
        tags = list(dataset.keys())  # iterating over the dataset itself decodes every element
        cut = [tag for tag in tags if _is_cut(dataset.get_item(tag))]
        found = str(dataset.get("SOPClassUID", "") or "")
    except dicom_faults() as error:
        raise damaged(path, what, error) from error
    if found not in sop_classes:
        kind = getattr(dataset.get("SOPClassUID"), "name", "") or "no SOPClassUID"
        raise DataError(f"{path}: must be a {what}; found {kind}. Choose another file.")
    if cut:
        raise damaged(path, what, EOFError(f"it ends within element {cut[0]}"))
    return dataset


def _is_cut(element: Any) -> bool:
    """Whether a value is shorter than its header says; pydicom takes it as it is."""
    value = getattr(element, "value", None)
    length = getattr(element, "length", None)  # of elements that are not decoded yet
    return isinstance(value, bytes) and length not in (None, 0xFFFFFFFF) and len(value) < length


def damaged(path: Path, what: str, error: BaseException) -> DataError:
    """Error for a file whose content cannot be read.

    Args:
        path: The file.
        what: What it should be.
        error: What was raised.
    """
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return DataError(
        f"{path}: must be a whole {what}; it cannot be read ({reason}). Export it again."
    )


def first_code(item: Any, keyword: str) -> Code | None:
    """The first code of a sequence.

    Args:
        item: A pydicom dataset.
        keyword: Of a sequence of codes.
    """
    found = item.get(keyword)
    return _code(found[0]) if found else None


def coded_sides(item: Any) -> tuple[Side, ...]:
    """The sides that the codes of a structure tell, whichever of them are modified.

    Args:
        item: A pydicom dataset that describes a structure.
    """
    codes = [code for keyword in _CODES for code in item.get(keyword) or ()]
    modifiers = [one for code in codes for keyword in _MODIFIERS for one in code.get(keyword) or ()]
    return sides_of_codes(str(one.get("CodeValue", "")) for one in modifiers)


def _code(item: Any) -> Code:
    return Code(
        str(item.get("CodeValue", "")),
        str(item.get("CodeMeaning", "")),
        str(item.get("CodingSchemeDesignator", "")),
    )
