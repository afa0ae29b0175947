"""What a person wants from an export: which series become channels, which names labels.

Enters: ``mapping.yaml``. Leaves: frozen settings. A rule states what a series
must be; whatever it leaves open is not guessed: two series that fit are an
error. Choosing the last or the largest was rejected.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from acinus.cohort.convert.identities import participant_of
from acinus.config import Settings, read_yaml
from acinus.scans import Kind, Series
from acinus.scans.coding import Side
from acinus.types import IGNORE

MAX_LABELS = IGNORE - 1
"""Labels of one dataset: the values between those of the background, 0, and of ignored voxels."""

MODALITIES = ("CT", "MR", "PT", "NM")
"""Modalities whose series are volumes of a body."""


def _compiled(pattern: str | None) -> str | None:
    """The regular expression, if it is one, with letters composed."""
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise ValueError(
            f"must be a regular expression; {error}. Write \\( for a bracket."
        ) from None
    return None if pattern is None else _composed(pattern)


def _composed(text: str) -> str:
    """A text whose accented letters are one character each, as most programs write them."""
    return unicodedata.normalize("NFC", text)


class ChannelRule(Settings):
    """What a series must be to become a channel; every condition left out holds for all."""

    modality: str | None = None
    """Such as CT; without it CT, MR, PT or NM."""
    description: str | None = None
    """Regular expression, sought in the SeriesDescription, upper or lower case."""
    study: str | None = None
    """Regular expression, sought in the StudyDescription."""
    orientation: Literal["axial", "sagittal", "coronal"] | None = None
    """The closest one, of oblique series too."""
    slices: tuple[int, int] | None = None
    """Fewest and most slices."""
    kinds: tuple[Kind, ...] = ("original",)
    """What the images may be."""
    check_hu: bool = True
    """Refuse a CT whose values cannot be Hounsfield units."""

    _patterns = field_validator("description", "study")(_compiled)

    @field_validator("slices")
    @classmethod
    def _fewest_before_most(cls, given: tuple[int, int] | None) -> tuple[int, int] | None:
        if given is not None and not 1 <= given[0] <= given[1]:
            raise ValueError(
                f"must be the fewest slices, at least 1, then the most; got {list(given)}."
            )
        return given

    def fits(self, series: Series) -> bool:
        """Whether a series meets all conditions."""
        return (
            (
                series.modality in MODALITIES
                if self.modality is None
                else series.modality.upper() == self.modality.upper()
            )
            and _found(self.description, series.description)
            and _found(self.study, series.tags.get("StudyDescription", ""))
            and self.orientation in (None, series.plane)
            and (self.slices is None or self.slices[0] <= series.n_slices <= self.slices[1])
            and series.kind in self.kinds
        )


class LabelRule(Settings):
    """Which structures of RTSTRUCT and SEG objects become one label."""

    roi: tuple[str, ...] = ()
    """Names, upper or lower case; the third one that has none is called ROI_3 or Segment_3."""
    pattern: str | None = None
    """Regular expression for the whole name, upper or lower case."""
    side: Side | None = None
    """Of the patient."""

    _pattern = field_validator("pattern")(_compiled)

    @field_validator("roi", mode="before")
    @classmethod
    def _one_name_may_stand_alone(cls, given: object) -> object:
        return (given,) if isinstance(given, str) else given

    @model_validator(mode="after")
    def _names_something(self) -> LabelRule:
        if not self.roi and self.pattern is None:
            raise ValueError("must have 'roi' or 'pattern', to say which structures are meant.")
        return self

    def fits(self, name: str) -> bool:
        """Whether a structure of that name is meant."""
        plain = _composed(name).strip()
        return plain.casefold() in {_composed(one).strip().casefold() for one in self.roi} or (
            self.pattern is not None
            and re.fullmatch(self.pattern, plain, re.IGNORECASE) is not None
        )


class ExportMapping(Settings):
    """How an export becomes a dataset."""

    name: str = ""
    """Of the dataset; empty: that of its folder."""
    description: str = ""
    """Of the dataset."""
    prefix: str = Field("P", pattern=r"^[A-Za-z][A-Za-z0-9]*$")
    """Begin of the pseudonyms."""
    channels: dict[str, ChannelRule] = Field(default={"image": ChannelRule()}, min_length=1)
    """By name, in the order of the channel numbers."""
    labels: dict[str, LabelRule] = Field(default={})
    """By name, in the order of the label values 1, 2, …"""
    mirror_pairs: tuple[tuple[str, str], ...] = ()
    """Labels that swap when left and right swap."""
    structures: dict[str, tuple[str, ...]] = Field(default={})
    """Place to the labels that belong to it."""
    segmentation: str | None = None
    """Which RTSTRUCT or SEG, by its label, where several refer to one series."""
    missing: Literal["not_annotated", "absent"] = "not_annotated"
    """What it means that a label has no structure in a case."""
    align: bool = False
    """Resample further channels onto the grid of the first where theirs differs."""
    allow_missing_channels: bool = False
    """Convert studies that lack a channel."""
    exclude: tuple[str, ...] = ()
    """Participants or cases to leave out, by pseudonym."""

    _segmentation = field_validator("segmentation")(_compiled)

    @field_validator("labels")
    @classmethod
    def _labels_fit_into_a_byte(cls, labels: dict[str, LabelRule]) -> dict[str, LabelRule]:
        if len(labels) > MAX_LABELS:
            raise ValueError(
                f"a dataset can have {MAX_LABELS} labels; got {len(labels)}. Leave some out, or "
                "convert twice with a part of them each."
            )
        return labels

    @model_validator(mode="after")
    def _names_are_known(self) -> ExportMapping:
        for key, names in (
            ("mirror_pairs", [name for pair in self.mirror_pairs for name in pair]),
            ("structures", [name for place in self.structures.values() for name in place]),
        ):
            unknown = [name for name in names if name not in self.labels]
            if unknown:
                known = ", ".join(self.labels) or "none"
                raise ValueError(
                    f"'{key}' names '{unknown[0]}', which is no label. Known: {known}."
                )
        return self

    def excludes(self, case_id: str) -> bool:
        """Whether a case, or the participant that it belongs to, is to be left out."""
        return not {case_id, participant_of(case_id)}.isdisjoint(self.exclude)

    @property
    def values(self) -> dict[str, int]:
        """Label to its value in the label maps."""
        return {name: value for value, name in enumerate(self.labels, start=1)}

    @property
    def sides(self) -> dict[str, Side]:
        """Label to its side, where one is stated."""
        return {name: rule.side for name, rule in self.labels.items() if rule.side is not None}

    def is_wanted(self, label: str) -> bool:
        """Whether labels are drawn from an RTSTRUCT or SEG object with that label."""
        return _found(self.segmentation, label)

    def labels_of(self, names: Sequence[str]) -> dict[str, list[str]]:
        """For each structure's name the labels that it fits: none, one, or by mistake several."""
        return {
            name: [label for label, rule in self.labels.items() if rule.fits(name)]
            for name in names
        }


def read_mapping(path: Path | str | None) -> ExportMapping:
    """The mapping in a file; without one: one channel, any original series, no labels.

    Raises:
        ConfigError: The file is missing, or a key or value does not fit.
    """
    return ExportMapping() if path is None else read_yaml(path, ExportMapping)


def _found(pattern: str | None, text: str) -> bool:
    return pattern is None or re.search(pattern, _composed(text), re.IGNORECASE) is not None
