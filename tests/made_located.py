"""Plans with a locate stage, made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acinus.plan import Plan
from made_plan import made_plan, unread_dataset

STRUCTURES = {"right": ("gland_right",), "left": ("gland_left",)}


def located_plan(locate: Mapping[str, Any], *, one_label: bool = False) -> Plan:
    """A tiny plan whose boxes a network finds; `locate` are settings of the stage.

    Args:
        locate: Changes to the stage.
        one_label: Whether only the right gland is there.
    """
    dataset = unread_dataset(structures=STRUCTURES)
    if one_label:
        dataset = unread_dataset(
            labels={"gland_right": 1}, sides={"gland_right": "right"}, mirror_pairs=()
        )
    changes: dict[str, Any] = {"locate": {"stage": "network", "spacing_mm": 2.0, **locate}}
    if one_label:
        changes["train"] = {"mirroring": "none"}
    return made_plan(changes, dataset=dataset)
