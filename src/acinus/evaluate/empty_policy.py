"""What an overlap with an empty mask counts as: undefined, or a declared number.

Enters: a score table with undefined scores. Leaves: the same under a named convention,
each changed score saying so in its reason. Distances stay undefined: any number for them
(the diagonal of the image, a worst value) makes another mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import pandas as pd

from acinus.errors import ConfigError, unknown_name
from acinus.measure import MEASURES
from acinus.measure.pair import BOTH_EMPTY, PREDICTION_EMPTY, REFERENCE_EMPTY

EmptyPolicy = Literal["undefined", "zero_one"]

EMPTY_POLICIES: Mapping[str, str] = MappingProxyType(
    {
        "undefined": "what has no value with an empty mask is undefined and left out of means",
        "zero_one": (
            "an overlap counts as 1 if both masks are empty and as 0 if one is; distances and "
            "relative volume errors stay undefined and are left out of means"
        ),
    }
)
"""Name of each convention and what it says."""

_COUNTED = {BOTH_EMPTY: 1.0, REFERENCE_EMPTY: 0.0, PREDICTION_EMPTY: 0.0}


def with_empty_policy(scores: pd.DataFrame, policy: str) -> pd.DataFrame:
    """The score table under a convention; `reason` says where a score was counted.

    An overlap is a measure without unit for which higher is better, such as Dice, precision
    or surface Dice: all of them are 1 for equal masks.

    Args:
        scores: Score table whose scores with empty masks are undefined.
        policy: Key of `EMPTY_POLICIES`.

    Raises:
        ConfigError: The policy is not known.
    """
    if policy not in EMPTY_POLICIES:
        raise ConfigError(unknown_name("empty policy", policy, EMPTY_POLICIES))
    if policy == "undefined" or scores.empty:
        return scores
    overlaps = {name for name in set(scores["metric"]) if _is_overlap(name)}
    counted = (
        scores["metric"].isin(overlaps)
        & (scores["status"] == "undefined")
        & scores["reason"].isin(list(_COUNTED))
    )
    found = scores.copy()
    for reason, value in _COUNTED.items():
        rows = counted & (scores["reason"] == reason)
        found.loc[rows, "value"] = value
        found.loc[rows, "status"] = "ok"
        found.loc[rows, "reason"] = f"{reason}, counted as {value:g} ({policy})"
    return found


def _is_overlap(metric: str) -> bool:
    measure = MEASURES[metric].factory
    return measure.unit == "1" and measure.better == "higher"
