"""A batch that fits into the memory of the device, before a training starts.

Enters: a plan. Leaves: the plan, with a smaller batch where it must be. Trying a
batch and catching the failure was rejected: on a CPU the system ends the process
instead.
"""

from __future__ import annotations

from acinus.errors import PlanError
from acinus.networks.device import free_bytes, open_device
from acinus.plan import Decision, Plan
from acinus.train.memory import memory_bytes

USABLE_SHARE = 0.85
"""Share of the free memory that a training may be planned to take."""


def fit_to_memory(plan: Plan) -> Plan:
    """The plan, with its batch halved as often as the free memory of the device asks for.

    Raises:
        PlanError: Not even one patch fits.
    """
    device = open_device(plan.settings.train.device)
    usable = USABLE_SHARE * free_bytes(device)
    fixed, per_patch = memory_bytes(plan)
    n, wanted = plan.settings.train.devices, plan.settings.train.batch
    sharing = n if device.type == "cpu" else 1

    def needed(batch: int) -> float:
        """Bytes of the members of a training that share one memory."""
        return sharing * (fixed + batch / n * per_patch)

    batch = wanted
    while batch >= 2 * n and needed(batch) > usable:
        batch = batch // 2 // n * n
    if needed(batch) > usable:
        raise PlanError(
            f"one patch {plan.settings.train.patch_vox} must fit into the memory of {device}; it "
            f"needs about {_gib(fixed + per_patch)} of {_gib(usable)} usable. Close other "
            "programs, choose a smaller train.patch_vox, or fewer network features."
        )
    if batch == wanted:
        return plan
    return plan.with_decisions(
        {
            "train.batch": Decision(
                value=batch,
                rule=f"halved from {wanted} until a step fits into the free memory of the device",
                source="data",
                facts={
                    "batch_wanted": wanted,
                    "usable_gib": round(usable / 2**30, 2),
                    "gib_a_patch": round(per_patch / 2**30, 3),
                    "gib_of_weights": round(fixed / 2**30, 3),
                },
            )
        }
    )


def _gib(n_bytes: float) -> str:
    return f"{n_bytes / 2**30:.1f} GiB"
