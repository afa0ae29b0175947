"""A plan read aloud with its outlook: warnings, memory and time, before anything is trained.

Enters: a planned run. Leaves: text. A few cases are prepared and a few steps
timed, so that the forecast is of this machine and not of another.
"""

from __future__ import annotations

from acinus import progress
from acinus.plan import Plan, explain_plan, read_plan, small_structure_warnings, take_fingerprint
from acinus.prepare import prepare_store
from acinus.study.forecast import measure_costs
from acinus.study.job import ArmJob
from acinus.study.locating import entries_of, training_boxes
from acinus.study.memory import fits_memory
from acinus.study.missing import sets_to_judge, whole_cases
from acinus.study.trainings import unseen_warnings
from acinus.train.memory import memory_bytes

N_TIMED_CASES = 4
"""Cases that are prepared to time a step and a prediction."""


def outlook(job: ArmJob) -> str:
    """Every decision of a planned arm in words, its warnings, and what it will cost here.

    Args:
        job: An arm whose plan is written.
    """
    plan = read_plan(job.folder.plan)
    fingerprint = take_fingerprint(job.dataset, job.folder.fingerprint)
    spacing = plan.settings.prepare.spacing_mm or (None, None, None)
    warnings = []
    if plan.settings.prepare.grow_mm == 0:  # else the structures are only to be found
        warnings = small_structure_warnings(fingerprint, spacing, plan.axes[0])
        warnings += unseen_warnings(plan, fingerprint, job.dataset, job.split)
    return f"{explain_plan(plan, warnings=warnings)}\nOutlook\n{_costs(job, plan)}\n"


def _costs(job: ArmJob, plan: Plan) -> str:
    train = plan.settings.train
    fixed, per_patch = memory_bytes(plan)
    cases = job.split.cases(job.dataset, "train")[:N_TIMED_CASES]
    memory = (
        f"  memory of a training: about {(fixed + train.batch * per_patch) / 2**30:.1f} GiB on "
        f"{train.device}"
    )
    if not fits_memory(plan, job.places_here):
        return f"{memory}, more than is free here: no step was timed"
    store = prepare_store(job.dataset, plan, job.store, cases, training_boxes(plan))
    costs = measure_costs(plan, store, entries_of(job, cases))
    n_folds = len(plan.folds_to_train)
    training_s = n_folds * (plan.n_steps * costs.step_s + train.epochs * costs.validation_s)
    lines = [
        memory,
        f"  time of a step: {costs.step_s:.2f} s on {train.device} with {train.threads} "
        f"thread(s), {train.precision}",
        f"  time of all trainings: about {progress.duration(training_s)} "
        f"({n_folds} of {plan.settings.folds} folds, {plan.n_steps:,} steps each)",
    ]
    if job.is_judged:
        sets = sets_to_judge(job, plan)
        n_predicted = len(job.holdout()) + len(sets) * len(whole_cases(job))
        holdout_s = costs.predict_s * n_folds * n_predicted
        more = f", again without channels in {len(sets)} ways" if sets else ""
        lines.append(
            f"  time of segmenting the hold-out: about {progress.duration(holdout_s)} "
            f"({len(job.holdout())} cases{more}, {costs.predict_s:.2f} s each and network)"
        )
    return "\n".join(lines)
