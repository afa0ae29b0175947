"""What the networks of a study cost: parameters, operations and time of a pass.

Enters: trained models. Leaves: ``cost.json`` in the folder of each. They are timed one after the
other when nothing else is done: timed beside trainings, a network would pay for its neighbours.
"""

from __future__ import annotations

from typing import Any

import torch

from acinus.files import hash_file, write_json
from acinus.networks import build_network, check_size
from acinus.networks.operations import count_operations, count_parameters
from acinus.predict import device_at_hand, weight_name
from acinus.report.content import COUNTED
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


def count_topologies(settings: CostSettings | None) -> list[dict[str, Any]]:
    """Parameters and operations of published topologies, a row each, see `ReportContent.costs`.

    Counted on torch's meta device, which holds no weights.

    Args:
        settings: Which there are; None: none.

    Raises:
        ConfigError: A network cannot be built so, or a patch does not fit it.
    """
    rows: list[dict[str, Any]] = []
    for name, one in ({} if settings is None else settings.topologies).items():
        with torch.device("meta"):
            bare = build_network(
                one.network, one.config, n_channels=one.channels, n_classes=one.classes
            ).eval()
        check_size(one.patch_vox, bare.stride, what=f"cost.topologies.{name}: patch_vox")
        at_prediction = count_operations(bare, one.patch_vox)
        in_training = count_operations(bare, one.patch_vox, all_heads=True)
        rows.append(
            {
                "network": name,
                "source": COUNTED,
                "parameters": sum(count_parameters(bare).values()),
                "multiply_adds": at_prediction.multiply_adds,
                "flops": at_prediction.flops,
                "as_in_table_5": at_prediction.as_in_table_5,
                "as_in_table_5_training": in_training.as_in_table_5,
                "input_vox": " × ".join(str(n) for n in one.patch_vox),
            }
        )
    return rows


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
                device = device_at_hand(job.recipe.train.device)
                found = profile_network(job.folder.model, runs=settings.runs, device=device)
            write_json(job.folder.cost, found.as_data())

        key = [plan.hash(), hash_file(model / weight_name(fold)), settings.runs]
        once(job.folder.root, "cost", key, work, results=[job.folder.cost])
