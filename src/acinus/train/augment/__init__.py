"""Augmentation of whole batches, on the device that trains, for slices and volumes.

Enters: a batch with its rim, a plan and a generator. Leaves: patches of the
planned size. Drawing (`draw_changes`) is apart from doing (`apply_changes`),
which makes a batch replayable. The changes and their order are nnU-Net's; the
probabilities and ranges are the plan's.
"""

from acinus.train.augment.apply import apply_changes
from acinus.train.augment.changes import Changes, draw_changes, flip_axes, no_changes
from acinus.train.augment.sides import SideSwap, mirrored_annotation, side_swap

__all__ = [
    "Changes",
    "SideSwap",
    "apply_changes",
    "draw_changes",
    "flip_axes",
    "mirrored_annotation",
    "no_changes",
    "side_swap",
]
