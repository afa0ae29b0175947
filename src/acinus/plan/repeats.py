"""How often a training sees its data, and stronger augmentation where that is often.

Enters: a plan of the recipe ``auto`` whose steps are decided. Leaves: the plan, with
larger and more kinds of random changes if the network would otherwise learn its cases
by heart. Ending such a training earlier was rejected: a longer budget would buy nothing.
docs/decisions/0008 has the measurements.
"""

from __future__ import annotations

import math

import numpy as np

from acinus.plan.fingerprint import Fingerprint
from acinus.plan.locate import in_boxes
from acinus.plan.plan import Plan
from acinus.plan.rules import PLANES, Decision

ENOUGH_STEPS = 1200
"""Steps from which a network of the usual width can learn a few cases by heart."""

MANY_PASSES = 70
"""Times that every voxel is shown from which it does, where there are `ENOUGH_STEPS`, too."""

STRONGER: dict[str, object] = {
    "scale": 0.5,
    "scale_range": (0.75, 1.33),
    "rotate": 0.5,
    "rotate_degrees": 30.0,
    "blur": 0.2,
    "contrast": 0.2,
    "low_res": 0.2,
    "gamma": 0.3,
    "gamma_inverted": 0.1,
}
"""Settings of the augmentation, which the user's own go before."""


def count_passes(plan: Plan, fingerprint: Fingerprint, n_learned: int) -> float:
    """How often a training shows each voxel of its cases, on average.

    Args:
        plan: Its steps are decided.
        fingerprint: Facts of all labelled cases.
        n_learned: Cases that one training learns from, at least 1.
    """
    settings = plan.settings
    seen = in_boxes(fingerprint, settings.locate) if plan.is_located else fingerprint
    order = ["ZYX".index(name) for name in PLANES[settings.prepare.slice_axis]]
    spacing = settings.prepare.spacing_mm or (None, None, None)
    sizes = []
    for case in seen.cases.values():
        own = np.array(case.spacing_mm)[order]
        steps = [step or kept for step, kept in zip(spacing, own, strict=True)]
        sizes.append(float(np.prod(np.array(case.shape_vox)[order] * own / steps)))
    patch = math.prod(settings.train.patch_vox)
    shown = plan.n_steps * settings.train.batch * np.mean(np.minimum(patch, sizes))
    return float(shown / (sum(sizes) * n_learned / len(fingerprint.cases)))


def against_learning_by_heart(plan: Plan, fingerprint: Fingerprint, n_learned: int) -> Plan:
    """The plan with stronger augmentation where a long training sees few data often.

    Args:
        plan: By the rules of ``auto``, with its steps.
        fingerprint: As for `count_passes`.
        n_learned: As for `count_passes`.
    """
    passes = count_passes(plan, fingerprint, n_learned)
    if plan.n_steps < ENOUGH_STEPS or passes < MANY_PASSES:
        return plan
    rule = (
        f"stronger from {ENOUGH_STEPS:,} steps on that show each voxel {MANY_PASSES} times, "
        "since networks then learn their cases by heart"
    )
    facts = {"steps": plan.n_steps, "times_each_voxel_is_shown": round(passes, 1)}
    return plan.with_decisions(
        {
            f"augment.{name}": Decision(value=value, rule=rule, source="budget", facts=facts)
            for name, value in STRONGER.items()
            if plan.decisions[f"augment.{name}"].source != "user"
        }
    )
