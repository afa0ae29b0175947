"""Why a case went badly, in a clause, from its scores and its masks.

Enters: the scores of a case and its view. Leaves: words such as "nothing was
predicted". What the scores alone tell comes from `acinus.evaluate`; the masks
add what they cannot know: the wrong side, or a structure of unusual size. A
classifier was rejected, since a reader must be able to check the reason on the
picture beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from acinus.evaluate.structures import FOUND, NO_OVERLAP
from acinus.evaluate.tables.failures import why
from acinus.evaluate.wording import decimals, label_title
from acinus.report.choose import wide_scores
from acinus.report.content import ArmContent, ReportContent
from acinus.report.views import CaseView

UNUSUAL_Z = 2.0
"""A reference volume counts as unusual from this robust z-score on, among the hold-out."""

FEWEST_VOLUMES = 5
"""Fewest volumes from which one of them may be called unusual."""

GOOD_DICE = 0.75
"""Dice from which on nothing is called wrong."""


def reason_for_case(content: ReportContent, arm: ArmContent, view: CaseView) -> str:
    """Clause on every label of a case that went badly; empty if none did."""
    wide = wide_scores(content, arm.name)
    clauses = []
    for row in wide[wide["case"] == view.case].to_dict("records"):
        named = {str(key): value for key, value in row.items()}
        dice = float(named.get("dice", np.nan))
        if named["outcome"] == FOUND and dice >= GOOD_DICE:
            continue
        words = [why(named), _elsewhere(arm, view, named), _unusual_volume(named, wide)]
        reason = ", ".join(word for word in words if word)
        clauses.append(f"{label_title(str(named['label']))} (Dice {decimals(dice)}): {reason}")
    return "; ".join(clauses)


def _elsewhere(arm: ArmContent, view: CaseView, row: Mapping[str, Any]) -> str:
    """Which other structure a prediction without overlap lies on, the wrong side by name."""
    label = str(row["label"])
    if row["outcome"] != NO_OVERLAP or label not in arm.labels:
        return ""
    if view.reference is None or view.prediction is None:
        return ""
    under = view.reference[arm.mask(view.prediction, label)]
    for other in arm.labels:
        if other != label and arm.mask(under, other).any():
            sides = {arm.sides.get(str(row["label"])), arm.sides.get(other)}
            is_new = sides == {"left", "right"} and not row.get("side_errors", 0) > 0
            kind = "on the wrong side, " if is_new else ""
            return f"{kind}on {label_title(other)}"
    return ""


def _unusual_volume(row: Mapping[str, Any], wide: pd.DataFrame) -> str:
    if "reference_volume_ml" not in wide:
        return ""
    volumes = wide.loc[wide["label"] == row["label"], "reference_volume_ml"].dropna()
    own = float(row["reference_volume_ml"])
    if len(volumes) < FEWEST_VOLUMES or not np.isfinite(own):
        return ""
    middle = float(volumes.median())
    spread = 1.4826 * float((volumes - middle).abs().median())
    if spread <= 0 or abs(own - middle) < UNUSUAL_Z * spread:
        return ""
    kind = "large" if own > middle else "small"
    return f"the structure is unusually {kind} ({own:.2f} mL, median {middle:.2f} mL)"
