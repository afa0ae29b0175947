"""What a training and its predictions will cost on this machine, measured.

Enters: a plan and prepared cases. Leaves: seconds a step and seconds a
predicted case, and the number of steps that fits a budget. Constants from
another machine were rejected: a laptop under load and a workstation differ
tenfold.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from acinus.cohort import Case
from acinus.errors import PlanError
from acinus.plan import ENOUGH_STEPS, Decision, Plan
from acinus.plan.auto import width_candidates
from acinus.predict import predict_prepared, prediction_device
from acinus.predict.tile import tile_positions
from acinus.prepare import PreparedCase, Store
from acinus.prepare.geometry import as_prepared
from acinus.scans.slabs import open_slabs, overview
from acinus.study.memory import fits_memory
from acinus.train import FoldJob, seeded_network
from acinus.train.allocator import keep_memory
from acinus.train.fold import Training, pinned_threads
from acinus.train.team import Alone

WARM_STEPS = {"cpu": 2, "mps": 2, "cuda": 6}
"""Steps that do not count; on a GPU they are recorded within them."""

TIMED_STEPS = {"cpu": 8, "mps": 8, "cuda": 50}
TIMED_SECONDS = 5.0
"""Steps are timed until there are `TIMED_STEPS` or they took this long, those before included."""

MIN_STEPS = 10
"""Fewer steps than these teach nothing; a budget for fewer is refused."""

MIN_STEPS_PER_EPOCH = 10
"""An epoch under a budget has at least so many steps."""

MIN_EPOCHS = 8
"""Epochs of a training that has the steps for them: after each one a checkpoint is written and the
clock is looked at, so that a kill loses little and a wrong forecast is noticed."""

VALIDATION_SHARE = 0.04
"""Most of the time for training that may go into looking at validation patches."""

WANTED_STEPS = 600
"""Steps that a network must get under a budget, or a narrower one is taken; from `ENOUGH_STEPS`
of a training on, more folds, then wider networks, gain more than more steps.
docs/decisions/0008 has the measurements."""

SLICES_TIMED = 32
"""Slices of a case that are predicted to time it."""

READ_MM = 4.0
"""Spacing of the overview that is made to time how fast a scan is read."""

NARROWING_GAIN, WIDENING_COST = 1.3, 1.8
"""A step of a network w times as wide costs about w to this power, measured on a CPU: less where
layers are thin, more where they are thick."""


@dataclass(frozen=True)
class Forecast:
    """Measured costs.

    Attributes:
        step_s: Seconds of one optimiser step, sampling and augmentation included.
        validation_s: Seconds of the validation after an epoch, checkpoint included.
        predict_s: Seconds of one case with one network.
    """

    step_s: float
    validation_s: float
    predict_s: float


def measure_costs(plan: Plan, store: Store, case_ids: Sequence[str]) -> Forecast:
    """Time a few steps, one validation and one prediction; nothing of it is kept."""
    keep_memory()
    with pinned_threads(plan.settings.train.threads):
        step_s, validation_s = time_training(plan, store, case_ids)
        return Forecast(step_s, validation_s, time_prediction(plan, store, case_ids))


def time_training(plan: Plan, store: Store, case_ids: Sequence[str]) -> tuple[float, float]:
    """Mean seconds of a step, and seconds of the validation that closes an epoch.

    The caller pins the threads; the first `WARM_STEPS` do not count.

    Args:
        plan: Any plan; its number of steps does not matter.
        store: Holds the cases.
        case_ids: Prepared cases, at least one.
    """
    with TemporaryDirectory() as scratch:
        job = FoldJob(
            plan=plan,
            store=store,
            fold=0,
            train_cases=tuple(case_ids),
            validation_cases=tuple(case_ids[:4]),
            folder=Path(scratch) / "training",
            weights=Path(scratch) / "weights.safetensors",
        )
        training = Training(job, Alone(plan.settings.train.devices))
        n_warm, n_timed = WARM_STEPS[training.device.type], TIMED_STEPS[training.device.type]
        begin = time.monotonic()
        for step in range(n_warm):
            loss = training.step(step)
        loss.item()  # a GPU may lag behind
        start, n_steps = time.monotonic(), 0
        while n_steps < n_timed and (n_steps < 2 or time.monotonic() - begin < TIMED_SECONDS):
            loss = training.step(n_warm + n_steps)
            n_steps += 1
        loss.item()
        step_s = (time.monotonic() - start) / n_steps
        start = time.monotonic()
        training.close_epoch(0.0)
        validation_s = time.monotonic() - start
        training.close()
    return step_s, validation_s


def reading_s(case: Case) -> float:
    """Seconds of reading the channels of a case slab by slab."""
    begin = time.monotonic()
    for path in case.images:
        if path is not None:
            overview(open_slabs(path), READ_MM)
    return time.monotonic() - begin


def _two_patches(prepared: PreparedCase, plan: Plan) -> tuple[PreparedCase, float]:
    """A part of a case that is quickly predicted, and how many times its work the whole is.

    Two patches along each axis, or for slices as many slices as go through a network together.
    """
    settings, sizes = plan.settings, prepared.image.shape[1:]
    patch = (1, *settings.train.patch_vox)[-3:]
    most = [SLICES_TIMED if edge == 1 else 2 * edge for edge in patch]
    part = [min(size, limit) for size, limit in zip(sizes, most, strict=True)]
    if tuple(part) == tuple(sizes):
        return prepared, 1.0

    def n_tiles(lengths: Sequence[int]) -> int:
        overlap = settings.predict.overlap
        counts = [
            length if edge == 1 else len(tile_positions(max(length, edge), edge, overlap))
            for length, edge in zip(lengths, patch, strict=True)
        ]
        return math.prod(counts)

    inner = tuple(slice(0, length) for length in part)
    image = np.ascontiguousarray(prepared.image[(slice(None), *inner)])
    previous = None if prepared.previous is None else prepared.previous[inner]
    cut = replace(
        prepared, image=image, previous=previous, geometry=as_prepared(plan.settings.prepare, part)
    )
    return cut, n_tiles(sizes) / n_tiles(part)


def time_prediction(plan: Plan, store: Store, case_ids: Sequence[str]) -> float:
    """Seconds of predicting the case of median size with one network, reading aside.

    Args:
        plan: Decides network, patch and overlap.
        store: Holds the cases.
        case_ids: Prepared cases, at least one.
    """
    sizes = {case_id: store.label(case_id).size for case_id in case_ids}
    middle = median(sizes.values())
    case_id = min(sizes, key=lambda name: abs(sizes[name] - middle))
    network = seeded_network(plan, 0).eval().to(prediction_device(plan.settings.train.device))
    prepared = store.prepared(case_id)
    if plan.previous_values:  # the low resolution of a cascade is trained later
        prepared = replace(prepared, previous=np.zeros(prepared.image.shape[1:], dtype=np.uint8))
    part, n_times = _two_patches(prepared, plan)
    predict_prepared([network], plan, part)  # the first call also warms up
    begin = time.monotonic()
    predict_prepared([network], plan, part)
    return n_times * (time.monotonic() - begin)


def fit_to_time(plan: Plan, forecast: Forecast, seconds: float, facts: dict[str, float]) -> Plan:
    """The plan with as many steps as fit into the seconds for all its trainings.

    Args:
        plan: Plan without budget.
        forecast: Measured costs.
        seconds: For the trainings of all folds together.
        facts: What else of the budget was set aside, for the record, s.

    Raises:
        PlanError: Not even `MIN_STEPS` fit.
    """
    n_folds = len(plan.folds_to_train)
    per_fold_s = seconds / n_folds
    per_epoch_s = MIN_STEPS_PER_EPOCH * forecast.step_s + forecast.validation_s
    if per_fold_s < per_epoch_s * MIN_STEPS / MIN_STEPS_PER_EPOCH:
        needed = n_folds * per_epoch_s - seconds
        raise PlanError(
            f"the budget must leave time for at least {MIN_STEPS} steps of each of {n_folds} "
            f"training(s) ({forecast.step_s:.2f} s a step here); {max(seconds, 0):.0f} s are left "
            f"after everything else. Give about {needed:.0f} s more, or fewer --folds."
        )
    wanted = plan.settings.train.epochs
    looks = wanted
    if forecast.validation_s > 0:
        looks = max(1, int(VALIDATION_SHARE * per_fold_s / forecast.validation_s))
    n_steps = int((per_fold_s - forecast.validation_s) / forecast.step_s)  # with a single look
    epochs = max(1, min(wanted, max(MIN_EPOCHS, looks), n_steps // MIN_STEPS_PER_EPOCH))
    look_every = math.ceil(epochs / looks)
    looking_s = math.ceil(epochs / look_every) * forecast.validation_s
    steps = max(1, int((per_fold_s - looking_s) / epochs / forecast.step_s))
    shared = {
        "seconds_a_step": round(forecast.step_s, 4),
        "seconds_a_validation": round(forecast.validation_s, 3),
        "seconds_for_all_trainings": round(seconds, 1),
        "trainings": n_folds,
        **facts,
    }
    return plan.with_decisions(
        {
            "train.epochs": Decision(
                value=epochs,
                rule=f"the recipe's epochs, at least {MIN_STEPS_PER_EPOCH} steps each",
                source="budget",
                facts=shared,
            ),
            "train.steps_per_epoch": Decision(
                value=steps,
                rule="measured: the schedule ends when the time for training ends",
                source="budget",
                facts=shared,
            ),
            "train.look_every": Decision(
                value=look_every,
                rule=f"looks take at most {VALIDATION_SHARE:.0%} of the time, but there is one",
                source="budget",
                facts=shared,
            ),
        }
    )


def fit_auto(
    plan: Plan,
    store: Store,
    case_ids: Sequence[str],
    seconds_for_training: Callable[[Plan, Forecast], float],
    n_here: int = 1,
) -> tuple[Plan, Forecast]:
    """Folds and width of the network by the budget, for the recipe ``auto``.

    A few steps are timed at the usual width, and once more at the one that is taken. First a
    width up to the usual one that gets `WANTED_STEPS`; if one training of the usual width gets
    more than `ENOUGH_STEPS`, more folds; if all folds get enough, a wider network.

    Args:
        plan: By the rules, with the usual width.
        store: Holds the cases.
        case_ids: Prepared cases.
        seconds_for_training: Seconds for all trainings of a plan with these costs.
        n_here: Trainings that will share the memory of this machine.

    Returns:
        The plan and the measured costs of its network.
    """
    network = plan.settings.network
    widths = width_candidates(network.name, network.config, plan.settings.train.device)
    usual = list(network.config.get("features", ()))
    may_change = usual in widths and not _is_users(plan, "network.config")
    if not _is_users(plan, "folds_trained"):
        plan = plan.with_decisions({"folds_trained": _folds(1, {})})
    forecast = measure_costs(plan, store, case_ids)
    steps = seconds_for_training(plan, forecast) / forecast.step_s / len(plan.folds_to_train)
    if not _is_users(plan, "folds_trained"):
        facts = {"steps_of_one_training": int(steps), "enough_steps": ENOUGH_STEPS}
        for n_folds in range(plan.settings.folds, 0, -1):
            plan = plan.with_decisions({"folds_trained": _folds(n_folds, facts)})
            steps = seconds_for_training(plan, forecast) / forecast.step_s / n_folds
            if steps >= ENOUGH_STEPS:
                break
        may_change = may_change and n_folds in (1, plan.settings.folds)
    if not may_change:
        return plan, forecast
    chosen = _best_width(steps, usual, widths)
    while chosen[0] > usual[0] and not fits_memory(_with_features(plan, chosen, {}), n_here):
        chosen = widths[widths.index(chosen) - 1]
    if chosen == usual:
        return plan, forecast
    facts = {f"steps_at_width_{usual[0]}": int(steps)}
    plan = _with_features(plan, chosen, facts)
    return plan, measure_costs(plan, store, case_ids)


def _best_width(steps: float, usual: list[int], widths: list[list[int]]) -> list[int]:
    """The widest network that gets enough steps, judged from the steps of the usual one."""
    chosen = usual
    if steps < WANTED_STEPS:
        narrower = [one for one in widths if one[0] < usual[0]]
        fitting = [
            one for one in narrower if steps * (usual[0] / one[0]) ** NARROWING_GAIN >= WANTED_STEPS
        ]
        chosen = fitting[-1] if fitting else (narrower or [usual])[0]
    for one in widths:
        if one[0] > chosen[0] and steps >= ENOUGH_STEPS * (one[0] / usual[0]) ** WIDENING_COST:
            chosen = one
    return chosen


def _folds(n: int, facts: dict[str, int]) -> Decision:
    return Decision(
        value=n,
        rule="as many folds as get enough steps each; one model where time is short",
        source="budget",
        facts=facts,
    )


def _is_users(plan: Plan, dotted: str) -> bool:
    return plan.decisions[dotted].source == "user"


def _with_features(plan: Plan, features: list[int], facts: Mapping[str, int]) -> Plan:
    old = plan.decisions["network.config"]
    return plan.with_decisions(
        {
            "network.config": Decision(
                value={**old.value, "features": features},
                rule="the levels of the patch; the width that gets enough steps in the budget",
                source="budget",
                facts={**old.facts, **facts, "wanted": WANTED_STEPS, "enough": ENOUGH_STEPS},
            )
        }
    )


def fit_to_steps(plan: Plan, n_steps: int) -> Plan:
    """The plan with a fixed number of steps a training, in whole epochs."""
    most = max(1, min(plan.settings.train.epochs, n_steps // MIN_STEPS_PER_EPOCH))
    least = MIN_EPOCHS if most >= 2 * MIN_EPOCHS else 1
    # Equal epochs that lose the fewest steps, then the most of them.
    epochs = min(range(most, least - 1, -1), key=lambda one: (n_steps % one, -one))
    facts = {"steps": n_steps}
    rule = "the budget's steps, divided into equal epochs; what does not divide is left out"
    return plan.with_decisions(
        {
            "train.epochs": Decision(value=epochs, rule=rule, source="budget", facts=facts),
            "train.steps_per_epoch": Decision(
                value=n_steps // epochs, rule=rule, source="budget", facts=facts
            ),
        }
    )
