"""What lies inside each label: how large it is and how bright, and what was taken for what.

Enters: images with reference and prediction, one case at a time. Leaves: a row per
case, label and role with volume and values, and the volume of every reference label
that was predicted as every other. The report on glands compares such distributions
between label and prediction, right and left, hold-out and the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from acinus.errors import DataError
from acinus.evaluate.tables.inside import BACKGROUND
from acinus.evaluate.tables.numbers import Kind, table_of
from acinus.scans import read_labelmap, read_volume
from acinus.types import Array, Labelmap

VALUE_COLUMNS: dict[str, Kind] = {
    "arm": "str",
    "case": "str",
    "participant": "str",
    "cluster": "str",
    "part": "str",
    "label": "str",
    "role": "str",
    "voxels": "int64",
    "volume_ml": "float64",
    "mean": "float64",
    "sd": "float64",
    "p05": "float64",
    "p50": "float64",
    "p95": "float64",
    "right_mm": "float64",
    "anterior_mm": "float64",
    "superior_mm": "float64",
    "at_edge": "int64",
}
"""role: reference or prediction; mean to p95: of the first channel inside the label, in its own
unit, HU for CT; NaN where the label is empty; right_mm to superior_mm: its centre, from the mean of
the centres of all labels, so that how a patient lay does not matter; NaN unless all are there;
at_edge: faces of the scan that it touches, where it may be cut off."""

PERCENTILES = tuple(range(101))
"""Of the values inside a label, by which a distribution is kept, see `profile_table`."""

PROFILE_COLUMNS: dict[str, Kind] = {
    **dict.fromkeys(("arm", "case", "part", "label", "role"), "str"),
    **{f"p{percent}": "float64" for percent in PERCENTILES},
}
"""Values inside a label at each of `PERCENTILES`."""

CONFUSION_COLUMNS: dict[str, Kind] = {
    "arm": "str",
    "model": "str",
    "reference": "str",
    "prediction": "str",
    "n": "int64",
    "volume_ml": "float64",
    "share": "float64",
}
"""n: cases in which any voxel is so; share: of the reference label's volume."""

Role = Literal["reference", "prediction"]


def label_values(
    image: Path,
    labelmap: Path,
    regions: Mapping[str, Sequence[int]],
    **row: str,
) -> list[dict[str, Any]]:
    """Volume and values of every label of one case, rows as in `VALUE_COLUMNS`.

    Args:
        image: Channel whose values are read.
        labelmap: On the image's grid.
        regions: Label name to the values that it has.
        **row: ``arm``, ``case``, ``participant``, ``cluster``, ``part`` and ``role``.

    Raises:
        DataError: A file is unreadable, or the two have different shapes.
    """
    shown, labels = read_volume(image), read_labelmap(labelmap)
    if shown.array.shape != labels.array.shape:
        raise DataError(
            f"{labelmap}: must lie on the grid of {image}, {shown.array.shape} voxels; got "
            f"{labels.array.shape}."
        )
    drawn = np.argwhere(labels.array > 0)
    drawn_as = labels.array[tuple(drawn.T)]
    rows, centres = [], []
    for name, values in regions.items():
        index = drawn[np.isin(drawn_as, values)]
        inside = shown.array[tuple(index.T)].astype(np.float64)
        rows.append({**row, "label": name, **_describe(inside, shown.grid.voxel_volume_ml)})
        rows[-1]["at_edge"] = _faces(index, labels.array.shape)
        centres.append(shown.grid.world(index.mean(axis=0)) if len(index) else np.full(3, np.nan))
    # The mean is NaN where a label is missing: without it the others would seem to have moved.
    from_middle = np.array(centres) - np.mean(centres, axis=0)
    for one, place in zip(rows, from_middle, strict=True):
        one |= dict(zip(POSITION, map(float, place), strict=True))
    return rows


POSITION = ("right_mm", "anterior_mm", "superior_mm")


def _faces(index: Array, shape: tuple[int, ...]) -> int:
    """How many faces of the scan some voxels touch; a single slice has none across it."""
    if not len(index):
        return 0
    low, high = index.min(axis=0), index.max(axis=0)
    is_wide = np.array(shape) > 1
    return int(((low == 0) & is_wide).sum() + ((high == np.array(shape) - 1) & is_wide).sum())


def _describe(inside: Array, voxel_ml: float) -> dict[str, Any]:
    found: dict[str, Any] = {"voxels": inside.size, "volume_ml": inside.size * voxel_ml}
    if inside.size == 0:
        return found | dict.fromkeys(("mean", "sd", "p05", "p50", "p95"))
    percentiles = np.percentile(inside, PERCENTILES)
    found |= {"mean": float(inside.mean()), "sd": float(inside.std())}
    found |= {f"p{percent}": value for percent, value in zip(PERCENTILES, percentiles, strict=True)}
    return found | {"p05": float(percentiles[5])}


def value_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows of `label_values` as one table."""
    # Where no cluster is stated, the participant is one.
    return table_of([{"cluster": row["participant"], **row} for row in rows], VALUE_COLUMNS)


def profile_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Distributions of the values inside labels from rows of `label_values`.

    Returns:
        The columns of `PROFILE_COLUMNS`; empty labels have no row.
    """
    return table_of([row for row in rows if row["voxels"]], PROFILE_COLUMNS)


def confusion_table(
    arm: str, pairs: Sequence[tuple[Path, Path]], labels: Mapping[str, int], model: str = "final"
) -> pd.DataFrame:
    """How much of each reference label was predicted as each label, summed over cases.

    Args:
        arm: Name of the arm.
        pairs: Reference and prediction of each case, on one grid.
        labels: Label name to value, without background; labels must not overlap.
        model: Whose predictions.

    Returns:
        The columns of `CONFUSION_COLUMNS`; a row for every pair of labels, background included.
    """
    names = {0: BACKGROUND, **{value: name for name, value in labels.items()}}
    order = list(names)
    volumes, cases = np.zeros((len(order), len(order))), np.zeros((len(order), len(order)), int)
    for reference, prediction in pairs:
        drawn, found = read_labelmap(reference), read_labelmap(prediction)
        counts = _count_pairs(drawn.array, found.array, order, prediction)
        volumes += counts * drawn.grid.voxel_volume_ml
        cases += counts > 0
    totals = volumes.sum(axis=1)
    rows = [
        {
            "arm": arm,
            "model": model,
            "reference": names[a],
            "prediction": names[b],
            "n": int(cases[i, j]),
            "volume_ml": float(volumes[i, j]),
            "share": float(volumes[i, j] / totals[i]) if totals[i] > 0 else None,
        }
        for i, a in enumerate(order)
        for j, b in enumerate(order)
    ]
    return table_of(rows, CONFUSION_COLUMNS)


def _count_pairs(drawn: Labelmap, found: Labelmap, order: list[int], path: Path) -> Array:
    """(reference, prediction) counts of voxels; values out of `order` are left out."""
    if drawn.shape != found.shape:
        raise DataError(
            f"{path}: must lie on the grid of its reference, {drawn.shape} voxels; got "
            f"{found.shape}."
        )
    place = np.full(256, len(order), np.intp)
    place[order] = np.arange(len(order))
    n = len(order) + 1
    joint = np.bincount((place[drawn] * n + place[found]).ravel(), minlength=n * n)
    return joint.reshape(n, n)[:-1, :-1]
