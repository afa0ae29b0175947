"""How numbers and names read in a table for people.

Enters: floats with NaN for "none", registered names. Leaves: text. The numbers
themselves stay unrounded in the tables that go to CSV.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from acinus.measure import MEASURES

NONE = "–"
"""Stands where there is no number."""

ALL_LABELS = "all"
"""Label of rows that pool all structures."""


def decimals(value: float, places: int = 2) -> str:
    """``0.79`` or ``−0.81``, never ``−0.00``; a dash for NaN."""
    if math.isnan(value):
        return NONE
    text = f"{value:.{places}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def signed(value: float, places: int = 2) -> str:
    """``+0.03`` or ``−0.03``; a dash for NaN."""
    if math.isnan(value):
        return NONE
    text = f"{abs(value):.{places}f}"
    return text if float(text) == 0 else ("−" if value < 0 else "+") + text


def mean_and_sd(mean: float, sd: float, places: int = 2) -> str:
    """``0.79 ± 0.19``; the deviation is a dash where there is one value only."""
    if math.isnan(mean):
        return NONE
    return f"{decimals(mean, places)} ± {decimals(sd, places)}"


def quartiles(q25: float, q75: float, places: int = 2) -> str:
    """``0.78 to 0.89``, the 25th and 75th percentile."""
    return NONE if math.isnan(q25) else f"{decimals(q25, places)} to {decimals(q75, places)}"


def interval(low: float, high: float, places: int = 2) -> str:
    """``0.71 to 0.85``."""
    return NONE if math.isnan(low) else f"{decimals(low, places)} to {decimals(high, places)}"


def p_value(p: float) -> str:
    """``0.29``, ``0.004`` below 0.01, ``< 0.001``; a dash for NaN."""
    if math.isnan(p):
        return NONE
    if p < 0.001:
        return "< 0.001"
    return f"{p:.3f}" if p < 0.01 else f"{p:.2f}"


def count_and_share(n: int, total: int) -> str:
    """``19 (29%)``; without a total the count alone."""
    return f"{n} ({round(100 * n / total)}%)" if total else f"{n}"


def metric_title(metric: str) -> str:
    """Title of a registered measure; another name with blanks for underscores."""
    return MEASURES[metric].factory.title if metric in MEASURES else metric.replace("_", " ")


def label_title(label: str, names: Mapping[str, str] | None = None) -> str:
    """A label as a person writes it: ``lacrimal_right`` gives ``Right lacrimal``.

    Args:
        label: Name in ``dataset.json``, or `ALL_LABELS`.
        names: Names to use instead, by label.
    """
    if names and label in names:
        return names[label]
    if label == ALL_LABELS:
        return "All structures"
    words = label.replace("_", " ").replace("-", " ").split()
    sides = [word for word in words if word.lower() in ("right", "left")]
    rest = [word for word in words if word.lower() not in ("right", "left")]
    text = " ".join([*sides, *rest]) or label
    return text[0].upper() + text[1:]
