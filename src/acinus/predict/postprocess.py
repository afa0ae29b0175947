"""What is removed from a label after the network: chosen where validation gains by it.

Enters: label maps, and for the choice the references of the validation cases. Leaves: cleaned
label maps, and one `Cleaning` a label with the facts it rests on. Two ways are known: only the
largest component stays, or components below a volume go.

The lacrimal study keeps the largest region of every prediction. On thick slices that can cut
off a palpebral lobe that touches the orbital lobe in no voxel, so elsewhere the choice is made
on validation. Rejected: choosing by components in the references, which says what is true, not
what the network gets wrong; and nnU-Net's largest component of all labels together, which
takes the second of two glands away.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from pydantic import Field

from acinus.config import Settings
from acinus.errors import DataError, GridError
from acinus.scans import Volume, label_components
from acinus.scans.components import bounding_box
from acinus.types import Array, Labelmap

CONNECTIVITY: Final = 26
"""Voxels that share a face, edge or corner belong together: thin glands on thick slices shift
in plane from slice to slice and would fall apart under 6."""

SHARES: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Volumes that are tried as the smallest one to stay, as shares of the median volume of the
label in the references."""

RULE: Final = (
    "taken where the mean validation Dice rises most, if no more cases lose by it than gain"
)


class Cleaning(Settings):
    """What is removed of one label, and why; nothing by default."""

    keep_largest: bool = False
    """Only the largest component stays."""
    smallest_ml: float | None = Field(None, gt=0)
    """Components of less volume go, mL; None: all stay."""
    rule: str = "nothing is removed"
    facts: dict[str, float | int | None] = Field(default_factory=dict)

    @property
    def removes(self) -> bool:
        """Whether anything can be removed."""
        return self.keep_largest or self.smallest_ml is not None


def clean(labelmap: Volume, cleanings: Mapping[int, Cleaning]) -> Volume:
    """Label map without the components that the cleanings remove.

    Args:
        labelmap: Integer labels; they are not changed.
        cleanings: Label value to what is removed of it; others stay. An absent one is no fault.

    Returns:
        The same grid and type; the input itself if nothing can be removed. What is removed
        becomes background; of equally large components the first in (Z, Y, X) order stays.
    """
    wanted = {value: one for value, one in cleanings.items() if one.removes}
    if not wanted:
        return labelmap
    cleaned = labelmap.array.copy()
    for value, cleaning in wanted.items():
        mask = labelmap.array == value
        components, n_components = label_components(mask, CONNECTIVITY)
        if not n_components:
            continue
        sizes = np.bincount(components.ravel(), minlength=n_components + 1)
        stays = np.zeros(n_components + 1, dtype=bool)
        stays[1:] = _staying(sizes[1:], cleaning, labelmap.grid.voxel_volume_ml)
        cleaned[mask & ~stays[components]] = 0
    return labelmap.with_array(cleaned)


def keep_largest_of_all(labels: Iterable[int]) -> dict[int, Cleaning]:
    """Cleanings that keep the largest component of each label."""
    rule = "asked for"
    return {value: Cleaning(keep_largest=True, rule=rule) for value in labels}


@dataclass(frozen=True)
class _Components:
    """One label of one validation case.

    Attributes:
        sizes: (P,) voxels of each component of the prediction.
        judged: (P,) of them those where the reference says something.
        hits: (P,) of them those within the reference.
        n_reference: Voxels of the reference.
        voxel_ml: Volume of a voxel, mL.
    """

    sizes: Array
    judged: Array
    hits: Array
    n_reference: int
    voxel_ml: float

    def dice(self, cleaning: Cleaning) -> float:
        """Dice after a cleaning; 1 if reference and prediction are both empty."""
        stays = _staying(self.sizes, cleaning, self.voxel_ml)
        n_voxels = self.n_reference + int(self.judged[stays].sum())
        return 2 * int(self.hits[stays].sum()) / n_voxels if n_voxels else 1.0


class Evidence:
    """What validation says about one way to predict, case after case.

    Args:
        values: Name to the values that stand for it in a label map.
        ignore_label: Value of voxels in the references that say nothing.
    """

    def __init__(
        self, values: Mapping[str, tuple[int, ...]], ignore_label: int | None = None
    ) -> None:
        self.n_cases = 0
        self._values = dict(values)
        self._ignore_label = ignore_label
        self._cases: dict[str, list[_Components]] = {name: [] for name in values}

    def add(
        self, reference: Volume, prediction: Volume, annotated: Collection[str] | None = None
    ) -> None:
        """Take one validation case; only numbers of it are kept.

        Args:
            reference: On the grid of the prediction.
            prediction: Not post-processed.
            annotated: Names that were annotated in the reference; None: all.

        Raises:
            GridError: The two differ in shape.
        """
        self.n_cases += 1
        if reference.shape != prediction.shape:
            raise GridError(
                f"validation case {self.n_cases}: reference and prediction must share a grid; "
                f"got {reference.shape} and {prediction.shape}."
            )
        # Of a whole body the labels fill a thousandth: six of them took 40 s a case uncut.
        box = bounding_box((reference.array != 0) | (prediction.array != 0)) or (slice(0, 1),) * 3
        truth, shown = reference.array[box], Volume(prediction.array[box], prediction.affine)
        for name, values in self._values.items():
            if annotated is None or name in annotated:
                found = _components(truth, shown, values, self._ignore_label)
                self._cases[name].append(found)

    def mean_dice(self) -> float | None:
        """Mean over the names of their mean Dice, not post-processed; None if none is defined.

        Cases in which a structure is neither there nor predicted say nothing here.
        """
        means = []
        for cases in self._cases.values():
            known = [case.dice(Cleaning()) for case in cases if case.n_reference or len(case.sizes)]
            if known:
                means.append(float(np.mean(known)))
        return float(np.mean(means)) if means else None

    def cleanings(self) -> dict[str, Cleaning]:
        """Name to the cleaning that validation speaks for.

        Tried are keeping the largest component and removing components below a few volumes.
        The one with the highest mean Dice is taken if that is higher than without, and not more
        cases lose by it than gain: one case with a far false positive shall not cost many a
        lobe. Of equal ones the one that removes least is taken. A structure that is absent and
        is not predicted counts as Dice 1, since removing a false positive is what this is for.
        Labels are independent: cleaning one leaves the Dice of the others as it was.

        Raises:
            DataError: There was no case.
        """
        if not self.n_cases:
            raise DataError("post-processing can be chosen only on validation cases; got none.")
        return {name: _choose(cases) for name, cases in self._cases.items()}


def _components(
    reference: Labelmap, prediction: Volume, values: tuple[int, ...], ignore_label: int | None
) -> _Components:
    mask, truth = np.isin(prediction.array, values), np.isin(reference, values)
    components, n_components = label_components(mask, CONNECTIVITY)
    known = mask if ignore_label is None else mask & (reference != ignore_label)
    sizes, judged, hits = (
        np.bincount(components[part], minlength=n_components + 1)[1:]
        for part in (mask, known, mask & truth)
    )
    n_reference = int(np.count_nonzero(truth))
    return _Components(sizes, judged, hits, n_reference, prediction.grid.voxel_volume_ml)


def _choose(cases: Sequence[_Components]) -> Cleaning:
    if not cases:
        return Cleaning(rule="no validation case has this label annotated", facts={"n_cases": 0})
    before = [case.dice(Cleaning()) for case in cases]
    facts: dict[str, float | int | None] = {
        "n_cases": len(cases),
        "validation_dice_before": float(np.mean(before)),
    }
    best, best_facts = Cleaning(rule=RULE), facts
    best_mean = float(np.mean(before))
    for candidate in _candidates(cases):
        after = [case.dice(candidate) for case in cases]
        n_gained = sum(a > b for b, a in zip(before, after, strict=True))
        n_lost = sum(a < b for b, a in zip(before, after, strict=True))
        mean = float(np.mean(after))
        if mean > best_mean and n_gained >= n_lost:
            best, best_mean = candidate, mean
            best_facts = {**facts, "n_gained": n_gained, "n_lost": n_lost}
    return best.model_copy(update={"facts": {**best_facts, "validation_dice_after": best_mean}})


def _candidates(cases: Sequence[_Components]) -> list[Cleaning]:
    """What is tried, from what removes least on."""
    volumes_ml = [case.n_reference * case.voxel_ml for case in cases if case.n_reference]
    median_ml = float(np.median(volumes_ml)) if volumes_ml else 0.0
    thresholds = [float(f"{share * median_ml:.4g}") for share in SHARES]
    by_volume = [Cleaning(smallest_ml=ml, rule=RULE) for ml in thresholds if ml > 0]
    return [*by_volume, Cleaning(keep_largest=True, rule=RULE)]


def _staying(sizes: Array, cleaning: Cleaning, voxel_ml: float) -> Array:
    """(P,) bool, which components of (P,) sizes stay."""
    stays = np.ones(len(sizes), dtype=bool)
    if cleaning.smallest_ml is not None:
        # A hair less, so that a volume of exactly so many voxels is not lost to rounding.
        stays &= sizes * voxel_ml >= cleaning.smallest_ml * (1 - 1e-9)
    if cleaning.keep_largest and len(sizes):
        stays &= np.arange(len(sizes)) == int(np.argmax(sizes))
    return stays
