"""What the networks of a study cost: parameters, operations and time of a pass.

Enters: trained models. Leaves: ``cost.json`` in the folder of each. They are timed one after the
other when nothing else is done: timed beside trainings, a network would pay for its neighbours.
"""

from __future__ import annotations

from acinus.files import hash_file, write_json
from acinus.predict import weight_name
from acinus.study.arm import plan_arm
from acinus.study.job import ArmJob
from acinus.study.profile import profile_network
from acinus.study.schema import CostSettings
from acinus.study.session import Session
from acinus.study.stamps import once
from acinus.train.fold import pinned_threads


def costed_jobs(session: Session) -> list[ArmJob]:
    """Whose costs are shown: the benchmark's networks on its first arm, or else every arm's.

    A network costs the same on another arm but for the size of its patch.
    """
    compared = session.benchmark_jobs()
    if not compared:
        return session.final_jobs()
    return [job for job in compared if job.name == compared[0].name]


def measure_network_costs(session: Session, settings: CostSettings | None) -> None:
    """Profile the networks, once; nothing where the study does not ask for it.

    Args:
        session: Trained and evaluated.
        settings: How often a pass is timed; None: not at all.
    """
    if settings is None:
        return
    for job in costed_jobs(session):
        plan, model = plan_arm(job), job.folder.model
        fold = plan.folds_to_train[0]

        def work(job: ArmJob = job, threads: int = plan.settings.train.threads) -> None:
            with pinned_threads(threads):
                found = profile_network(
                    job.folder.model, runs=settings.runs, device=job.recipe.train.device
                )
            write_json(job.folder.cost, found.as_data())

        key = [plan.hash(), hash_file(model / weight_name(fold)), settings.runs]
        once(job.folder.root, "cost", key, work, results=[job.folder.cost])
