"""Keep the largest component of a label, where that is wanted or where validation gains by it.

Enters: label maps, and for the choice the references of the validation cases. Leaves: cleaned
label maps, and one decision per label with the facts it rests on.

The lacrimal study keeps the largest region of every prediction. On thick slices that can cut
off a palpebral lobe that touches the orbital lobe in no voxel, so elsewhere the choice is made
on validation. Choosing by components in the references was rejected: it says what is true, not
what the network gets wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from acinus.errors import DataError, GridError
from acinus.scans.components import largest_component
from acinus.types import Labelmap

CONNECTIVITY: Final = 26
"""Voxels that share a face, edge or corner belong together: thin glands on thick slices shift
in plane from slice to slice and would fall apart under 6."""


@dataclass(frozen=True)
class ComponentDecision:
    """Whether only the largest component of a label is kept, and why.

    Attributes:
        label: Value in the label map.
        keep_largest: The decision.
        dice_before: Mean validation Dice without; None if no case defines one.
        dice_after: Mean validation Dice with only the largest component kept.
        n_cases: Cases with a defined Dice.
        n_undefined: Cases where the label is absent from reference and prediction.
        n_gained: Cases whose Dice rises.
        n_lost: Cases whose Dice falls.
    """

    label: int
    keep_largest: bool
    dice_before: float | None
    dice_after: float | None
    n_cases: int
    n_undefined: int
    n_gained: int
    n_lost: int


def keep_largest_component(labelmap: Labelmap, labels: Iterable[int]) -> Labelmap:
    """Label map in which each named label keeps only its largest 26-connected component in 3D.

    Args:
        labelmap: (Z, Y, X) integer; it is not changed.
        labels: Values to clean, each by itself; the others stay. An absent one is no fault.

    Returns:
        A new array of the same type. What is removed becomes background; of equally large
        components the first in (Z, Y, X) order stays.
    """
    if labelmap.ndim != 3:
        raise GridError(f"a label map must be (Z, Y, X); got {labelmap.shape}.")
    cleaned = labelmap.copy()
    for label in labels:
        mask = labelmap == label
        cleaned[mask & ~largest_component(mask, CONNECTIVITY)] = 0
    return cleaned


def choose_by_validation(
    pairs: Iterable[tuple[Labelmap, Labelmap]], labels: Sequence[int]
) -> list[ComponentDecision]:
    """Per label the decision whether to keep only its largest component.

    It is taken where the mean validation Dice of the label rises and not more cases lose by it
    than gain, so that one case with a far false positive does not cost many a lobe. Labels are
    independent: cleaning one leaves the Dice of the others as it was.

    Args:
        pairs: (reference, prediction) label maps (Z, Y, X), one pair per validation case; read
            one at a time.
        labels: Values to decide on.

    Raises:
        GridError: A pair differs in shape.
        DataError: There is no pair.
    """
    before: dict[int, list[float | None]] = {label: [] for label in labels}
    after: dict[int, list[float | None]] = {label: [] for label in labels}
    n_pairs = 0
    for reference, prediction in pairs:
        n_pairs += 1
        if reference.shape != prediction.shape:
            raise GridError(
                f"validation case {n_pairs}: reference and prediction must share a grid; "
                f"got {reference.shape} and {prediction.shape}."
            )
        cleaned = keep_largest_component(prediction, labels)
        for label in labels:
            before[label].append(_dice(reference, prediction, label))
            after[label].append(_dice(reference, cleaned, label))
    if not n_pairs:
        raise DataError("post-processing can be chosen only on validation cases; got none.")
    return [_decide(label, before[label], after[label]) for label in labels]


def _decide(
    label: int, before: Sequence[float | None], after: Sequence[float | None]
) -> ComponentDecision:
    both = [(b, a) for b, a in zip(before, after, strict=True) if b is not None and a is not None]
    n_gained = sum(a > b for b, a in both)
    n_lost = sum(a < b for b, a in both)
    mean_before = float(np.mean([b for b, _ in both])) if both else None
    mean_after = float(np.mean([a for _, a in both])) if both else None
    gains = mean_before is not None and mean_after is not None and mean_after > mean_before
    return ComponentDecision(
        label=label,
        keep_largest=gains and n_gained >= n_lost,
        dice_before=mean_before,
        dice_after=mean_after,
        n_cases=len(both),
        n_undefined=len(before) - len(both),
        n_gained=n_gained,
        n_lost=n_lost,
    )


def _dice(reference: Labelmap, prediction: Labelmap, label: int) -> float | None:
    """Dice of one label, None if it is absent from both (as ``acinus.measure`` defines it).

    Not `measure_case`: that needs a spacing, and here a mask is counted, not measured.
    """
    ours, theirs = reference == label, prediction == label
    n_voxels = int(np.count_nonzero(ours)) + int(np.count_nonzero(theirs))
    return 2 * int(np.count_nonzero(ours & theirs)) / n_voxels if n_voxels else None
