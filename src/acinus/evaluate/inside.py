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
}
"""role: reference or prediction; mean to p95: of the first channel inside the label, in its own
unit, HU for CT; NaN where the label is empty."""

CONFUSION_COLUMNS: dict[str, Kind] = {
    "arm": "str",
    "reference": "str",
    "prediction": "str",
    "n": "int64",
    "volume_ml": "float64",
    "share": "float64",
}
"""n: cases in which any voxel is so; share: of the reference label's volume."""

BACKGROUND = "background"

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
    voxel_ml = shown.grid.voxel_volume_ml
    rows = []
    for name, values in regions.items():
        inside = shown.array[np.isin(labels.array, values)].astype(np.float64)
        rows.append({**row, "label": name, **_describe(inside, voxel_ml)})
    return rows


def _describe(inside: Array, voxel_ml: float) -> dict[str, Any]:
    found: dict[str, Any] = {"voxels": inside.size, "volume_ml": inside.size * voxel_ml}
    if inside.size == 0:
        return found | dict.fromkeys(("mean", "sd", "p05", "p50", "p95"))
    p05, p50, p95 = np.percentile(inside, [5, 50, 95])
    found |= {"mean": float(inside.mean()), "sd": float(inside.std())}
    return found | {"p05": float(p05), "p50": float(p50), "p95": float(p95)}


def value_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows of `label_values` as one table."""
    # Where no cluster is stated, the participant is one.
    return table_of([{"cluster": row["participant"], **row} for row in rows], VALUE_COLUMNS)


def confusion_table(
    arm: str, pairs: Sequence[tuple[Path, Path]], labels: Mapping[str, int]
) -> pd.DataFrame:
    """How much of each reference label was predicted as each label, summed over cases.

    Args:
        arm: Name of the arm.
        pairs: Reference and prediction of each case, on one grid.
        labels: Label name to value, without background; labels must not overlap.

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
