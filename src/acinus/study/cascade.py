"""A cascade: a model at low resolution, whose labels a second one sees beside the scans.

Enters: an arm whose recipe is a cascade. Leaves: the arm of its low resolution, in a
folder of its own within that of the cascade, and what it found in every case. A case
that is learned from is segmented by the fold that has not seen it: labels as good as
those of training would teach the second model to copy them. Hence the low resolution
is trained on all folds, whatever number the cascade trains.

Source: Isensee et al. 2021, Nat Methods 18:203-211 (3d_cascade_fullres).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from acinus.errors import PlanError
from acinus.files import hash_file
from acinus.plan import Decision, Plan, Recipe
from acinus.predict.folder import PREVIOUS
from acinus.prepare import store_key
from acinus.scans import read_labelmap
from acinus.study.folders import RunFolder
from acinus.study.job import ArmJob, is_cascade
from acinus.study.stamps import once

LOW_RESOLUTION = "lowres"
"""Folder of the low resolution within that of its cascade, and name of its model."""

TIME_SHARE = 0.5
"""Share of a cascade's time that its low resolution gets."""


def low_resolution(job: ArmJob) -> ArmJob | None:
    """The arm at low resolution of a cascade; None for any other arm.

    Args:
        job: With its clock, of which the low resolution gets `TIME_SHARE`.
    """
    if not is_cascade(job.recipe):
        return None
    recipe = job.recipe
    nnunet = recipe.nnunet.model_copy(update={"configuration": "3d_lowres"})
    # A spacing by the user is that of the full resolution; the low one is planned from it.
    provenance = {
        name: source for name, source in recipe.provenance.items() if name != "prepare.spacing_mm"
    }
    name = f"{recipe.name}, low resolution"
    train = recipe.train.model_copy(update={"pretrained": _pretrained_first(recipe)})
    return replace(
        job,
        model=job.name_of_first(LOW_RESOLUTION),
        recipe=recipe.model_copy(
            update={
                "nnunet": nnunet,
                "train": train,
                "folds_trained": None,
                "name": name,
                "provenance": provenance,
            }
        ),
        folder=RunFolder(job.folder.root / LOW_RESOLUTION),
        store=job.store.parent / LOW_RESOLUTION / job.store.name,
        explain=False,
        is_judged=False,
        share_left_s=first_share(job.share_left_s, TIME_SHARE),
    )


def _pretrained_first(recipe: Recipe) -> str | None:
    """Whose weights the low resolution begins with: that of a cascade which is fine-tuned."""
    if recipe.train.pretrained is None:
        return None
    folder = Path(recipe.train.pretrained) / PREVIOUS
    return str(folder) if folder.is_dir() else None


def first_share(left_s: Callable[[], float] | None, share: float) -> Callable[[], float] | None:
    """Seconds left of a share of what is left now, which is used first; None without a clock."""
    if left_s is None:
        return None
    kept_s = (1 - share) * left_s()
    return lambda: left_s() - kept_s


def full_share(share_left_s: Callable[[], float] | None) -> Callable[[], float] | None:
    """Seconds that a cascade keeps for full resolution, before its low one is trained."""
    if share_left_s is None:
        return None
    kept_s = (1 - TIME_SHARE) * share_left_s()
    return lambda: min(share_left_s(), kept_s)


def bound_to(plan: Plan, first: Plan) -> Plan:
    """The plan of a cascade that states on which plan at low resolution it rests."""
    decision = plan.decisions["nnunet.configuration"]
    facts = {**decision.facts, "plan_at_low_resolution": first.hash()}
    bound = Decision(value=decision.value, rule=decision.rule, source=decision.source, facts=facts)
    return plan.with_decisions({"nnunet.configuration": bound})


def keep_found(job: ArmJob, plan: Plan) -> None:
    """Bring what the trained low resolution found to the grid of the full one.

    Args:
        job: The cascade, prepared.
        plan: Its plan.

    Raises:
        PlanError: The low resolution has not segmented every case yet.
    """
    first = low_resolution(job)
    if first is None:
        return
    store, cases = job.open_store(), job.split.cases(job.dataset, "train")
    found = {
        case.case_id: first.folder.predictions("validation") / f"{case.case_id}.nii.gz"
        for case in cases
    }
    missing = [case_id for case_id, path in found.items() if not path.is_file()]
    if missing:
        raise PlanError(
            f"{first.folder.root}: the low resolution of a cascade must be trained on all folds "
            f"before the cascade; {len(missing)} of {len(found)} cases are not segmented "
            f"({missing[0]}). Run 'acinus train' on the whole run, or train each of its folds "
            f"with --variant {LOW_RESOLUTION} first."
        )

    def work() -> None:
        for case_id, path in found.items():
            store.add_previous(case_id, read_labelmap(path))

    once(
        job.folder.root,
        "previous",
        [store_key(plan), *(hash_file(path) for path in found.values())],
        work,
        results=[job.folder.previous / f"{case_id}.npy" for case_id in found],
    )
