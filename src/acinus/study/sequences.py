"""Which sequences are needed: subsets of a dataset's channels as the arms of a study.

Enters: the key ``sequences`` of a study. Leaves: names of sets with their channels, smallest
first; the last is the full set, which the others are compared with. Comparing with the best set
instead was rejected: which one is best is seen in the same data, and the best of many is
flattered by chance.
"""

from __future__ import annotations

import re
from itertools import combinations
from typing import Literal

from pydantic import Field, field_validator, model_validator

from acinus.config import Settings
from acinus.errors import unknown_name
from acinus.measure import MEASURES

LONGEST_NAME = 150
"""Characters of a set's name, which names a folder."""


class SequencesSettings(Settings):
    """Subsets of the channels of one dataset, each an arm: which of them are needed?"""

    dataset: str
    """Folder of the dataset, as `arms.*.dataset`."""
    channels: list[str] = Field(min_length=2)
    """Names as in ``dataset.json``. All of them together are the set that the others are compared
    with; it is always trained."""
    subsets: Literal["all"] | list[list[str]] = "all"
    """Sets of channels to train with, or all of them."""
    largest: int | None = Field(None, ge=1)
    """Most channels of a set where `subsets` is all; None: no limit."""
    margin: float = Field(gt=0)
    """Loss against the full set that would not matter, in the unit of `measure`. Must be chosen
    before the data are seen; there is no default."""
    measure: str = "dice"
    """What the sets are compared by."""
    factors: dict[str, list[str]] | None = None
    """Two properties of the single sequences, such as ``contrast_agent`` and ``fat_suppression``,
    each with the channels that have it. Every combination must be one channel. None: the effect
    of each is not estimated."""

    @field_validator("measure")
    @classmethod
    def _measure_is_known(cls, name: str) -> str:
        if name not in MEASURES:
            raise ValueError(unknown_name("measure", name, MEASURES.names()))
        return name

    @model_validator(mode="after")
    def _sets_can_be(self) -> SequencesSettings:
        stated = [] if self.subsets == "all" else self.subsets
        if self.largest is not None and self.subsets != "all":
            raise ValueError("sequences.largest goes with 'subsets: all'; leave one of them out")
        for where, names in (
            ("channels", self.channels),
            *(("subsets", subset) for subset in stated),
            *(("factors", some) for some in (self.factors or {}).values()),
        ):
            for name in names:
                if name not in self.channels:
                    text = unknown_name(f"channel in sequences.{where}", name, self.channels)
                    raise ValueError(text)
            if not names or len(set(names)) < len(names):
                raise ValueError(
                    f"sequences.{where} must name channels, each once; got "
                    f"{', '.join(names) or 'none'}"
                )
        folders = [name.casefold() for name in map(set_name, map(list, self._subsets()))]
        if len(set(folders)) < len(folders):
            twice = next(name for name in folders if folders.count(name) > 1)
            raise ValueError(
                f"sets of channels name folders and must differ in letters and digits; two are "
                f"'{twice}'. Rename channels in dataset.json"
            )
        if len(set_name(self.channels)) > LONGEST_NAME:
            raise ValueError(
                f"the names of all channels together must have at most {LONGEST_NAME} characters, "
                f"since they name a folder; they have {len(set_name(self.channels))}. Shorten them "
                "in dataset.json"
            )
        if self.factors is not None:
            self._refuse_half_a_factorial(self.factors)
        return self

    def _refuse_half_a_factorial(self, factors: dict[str, list[str]]) -> None:
        if len(factors) != 2:
            raise ValueError(f"sequences.factors must be two; got {', '.join(factors) or 'none'}")
        for one, names in factor_cells(self.channels, factors).items():
            if len(names) != 1:
                words = " and ".join(
                    f"{'with' if has else 'without'} {name}"
                    for name, has in zip(factors, one, strict=True)
                )
                raise ValueError(
                    f"sequences.factors must leave one channel {words}; got "
                    f"{', '.join(names) or 'none'}"
                )
            if (names[0],) not in self._subsets():
                raise ValueError(
                    f"sequences.factors compares single channels; add [{names[0]}] to subsets"
                )

    def sets(self) -> dict[str, tuple[str, ...]]:
        """Name of every set, in order of size, to its channels; the last is the full set."""
        return {set_name(list(channels)): channels for channels in self._subsets()}

    def _subsets(self) -> list[tuple[str, ...]]:
        """Sets of channels, each in the order of all channels."""
        everything = tuple(self.channels)
        if self.subsets == "all":
            largest = self.largest or len(everything)
            found = [s for n in range(1, largest + 1) for s in combinations(everything, n)]
        else:
            found = [tuple(n for n in everything if n in subset) for subset in self.subsets]
        order = {name: position for position, name in enumerate(everything)}
        return sorted(
            {*found, everything}, key=lambda one: (len(one), [order[name] for name in one])
        )


def set_name(channels: list[str]) -> str:
    """Name of a set of channels, fit for a folder: ``AX-T1+POST-AX-T1-FS``."""
    parts = [re.sub(r"[^\w.-]+", "_", name).strip(".") or "_" for name in channels]
    return "+".join(parts)


def factor_cells(
    channels: list[str], factors: dict[str, list[str]]
) -> dict[tuple[bool, bool], list[str]]:
    """Whether a channel has the first and the second factor, to the channels of which it is so."""
    first, second = factors.values()
    return {
        (a, b): [name for name in channels if (name in first, name in second) == (a, b)]
        for a in (False, True)
        for b in (False, True)
    }
