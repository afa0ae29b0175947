"""One arm from scans to scores: the stages in their order, each resumable.

Enters: a dataset, a recipe, a split, and the time that the arm may take.
Leaves: a run folder. A stage whose inputs have not changed is not run again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from acinus import progress
from acinus.cohort import Case, Dataset, check_dataset, open_dataset
from acinus.cohort.layout import IMAGES, LABELS, PARTICIPANTS
from acinus.errors import DataError, PlanError
from acinus.evaluate import Pair, judge_boxes, read_scores, score_cases, write_scores
from acinus.evaluate.tables import MISSING_CHANNELS
from acinus.files import hash_data, hash_file, read_json, whole_file, write_json, write_text
from acinus.plan import (
    Fingerprint,
    Plan,
    against_learning_by_heart,
    make_plan,
    read_plan,
    take_fingerprint,
    write_fingerprint,
    write_plan,
)
from acinus.predict import (
    BOX_COLUMNS,
    Cleaning,
    Evidence,
    Member,
    Model,
    box_rows,
    device_at_hand,
    examine,
    examine_located,
    finding_rows,
    load_model,
    network_from,
    predict_prepared,
    prediction_device,
    table_text,
    weight_name,
    write_model,
)
from acinus.predict.folder import LOCATOR, MODEL_CARD, PREVIOUS
from acinus.predict.missing import missing_channels
from acinus.prepare import PreparedCase, Store, prepare_store, store_key
from acinus.scans import read_labelmap, read_volume, write_volume
from acinus.study.cascade import bound_to, full_share, keep_found, low_resolution
from acinus.study.explaining import explain_arm
from acinus.study.external_model import choose_external_model
from acinus.study.forecast import (
    Forecast,
    fit_auto,
    fit_to_steps,
    fit_to_time,
    measure_costs,
    reading_s,
)
from acinus.study.job import ArmJob, is_cascade
from acinus.study.locating import (
    annotated_entries,
    bound_to_locator,
    case_locator,
    entries_of,
    locator_arm,
    predict_located,
    segment_share,
    training_boxes,
)
from acinus.study.memory import fit_to_memory
from acinus.study.missing import judge_missing, sets_to_judge, whole_cases
from acinus.study.sampling import show_samplings
from acinus.study.shares import START_S, rounds
from acinus.study.stamps import once
from acinus.study.trainings import unseen_warnings
from acinus.train import FoldJob
from acinus.train.distributed import refuse_uneven, train_on_devices
from acinus.train.fold import pinned_threads

EVALUATION_S = 0.05
EVALUATION_S_A_VOXEL = 1.5e-8
"""Set aside for scoring one case before any was scored, s: for itself, and for each voxel of two
label maps."""

SCAN_READINGS = 3
"""With a locate stage a scan is read for its overview, for its boxes and where these grow, and its
label map is written; all this takes about so many readings, whatever the number of networks."""

PAIRS_A_PROCESS = 30
"""Scoring fewer cases takes less time than starting another process for it."""

SAMPLINGS_S = 3.0
"""Set aside for the share of patches with labels under every sampling, s."""

EXPLAIN_S = 2.0
"""Set aside for Grad-CAM of one slice, s."""


def check_arm(job: ArmJob) -> list[str]:
    """Check the dataset once; DataError on errors.

    Returns:
        Sentences for the warnings.
    """

    table = job.dataset.folder / PARTICIPANTS
    names = [
        sorted(path.name for path in (job.dataset.folder / one).glob("*"))
        for one in (IMAGES, LABELS)
    ]
    key = [
        job.dataset.fingerprint_hash(),
        hash_file(table) if table.is_file() else "",
        hash_data(names),
    ]

    def work() -> None:
        write_json(job.folder.check, _faults(job.dataset))

    once(job.folder.root, "check", key, work, results=[job.folder.check])
    rows = read_json(job.folder.check)
    errors = [row for row in rows if row["severity"] == "error"]
    if errors:
        first = "\n".join(
            f"  {row['case'] or 'dataset'}: {row['found']}. {row['remedy']}" for row in errors[:5]
        )
        raise DataError(
            f"{job.dataset.folder}: must be free of errors before training; "
            f"{len(errors)} found:\n{first}\nSee all with 'acinus check {job.dataset.folder}'."
        )
    return [f"{row['case'] or 'dataset'}: {row['found']}" for row in rows]


def _faults(dataset: Dataset) -> list[dict[str, str]]:
    """Faults in a dataset; for views of some of its channels it is read once a process."""
    if dataset.channel_numbers is None:
        return check_dataset(dataset.folder).as_rows()
    whole = open_dataset(dataset.folder).fingerprint_hash()
    return _faults_of_viewed(dataset.folder, whole)


@cache
def _faults_of_viewed(folder: Path, whole_hash: str) -> list[dict[str, str]]:
    return check_dataset(folder).as_rows()


def plan_arm(job: ArmJob, *, is_for_here: bool = True) -> Plan:
    """Fingerprint, plan and, under a budget, steps; the plan on disk is kept.

    Args:
        job: The arm.
        is_for_here: Whether it will be trained on this machine now. Else nnU-Net's plan stays as
            its rules have it, whatever this machine's memory is; it is fitted when it is trained.
    """
    if job.folder.plan.is_file():
        return _kept_plan(job, is_for_here=is_for_here)
    fingerprint = take_fingerprint(job.dataset, job.folder.fingerprint)
    budget = str(job.budget) if job.budget else None
    plan = make_plan(job.dataset, fingerprint, job.recipe, seed=job.seed, budget=budget)
    if len(job.split.folds) != plan.settings.folds:
        raise PlanError(
            f"arm '{job.name}': the recipe asks for {plan.settings.folds} folds and the split "
            f"has {len(job.split.folds)}. Set both to one number."
        )
    first, share_left_s = low_resolution(job), job.share_left_s
    if first is not None:
        share_left_s = full_share(share_left_s)
        plan = bound_to(plan, _plan_of_first(first, fingerprint, is_for_here=is_for_here))
    if locator_arm(job, plan) is not None and share_left_s is not None:
        _prepare(job, plan)  # before the time is divided between the stages
        share_left_s = segment_share(share_left_s)
    # What the clock fits is timed on this machine, and must fit into its memory before.
    if is_for_here or plan.settings.rules != "nnunet" or share_left_s is not None:
        plan = _fit_to_memory(plan, job)
    if job.budget is not None and job.budget.steps is not None:
        plan = fit_to_steps(plan, job.budget.steps)
    if share_left_s is not None:
        plan = _fit_to_clock(job, plan, share_left_s)
    if plan.settings.rules == "auto" and job.budget is not None:
        n_learned = max(1, len(job.split.cases(job.dataset, "train", fold=0)))
        plan = against_learning_by_heart(plan, fingerprint, n_learned)
    locator = locator_arm(job, plan)  # once it is known how many folds there are
    if locator is not None:
        found = _plan_of_first(locator, fingerprint, is_for_here=is_for_here)
        plan = bound_to_locator(plan, found)
    refuse_uneven(plan)
    if plan.settings.prepare.grow_mm == 0:  # else the structures are only to be found
        for sentence in unseen_warnings(plan, fingerprint, job.dataset, job.split):
            progress.say(f"Warning: {sentence}")
    write_plan(plan, job.folder.plan)
    return plan


def _plan_of_first(first: ArmJob, fingerprint: Fingerprint, *, is_for_here: bool) -> Plan:
    """The plan of an earlier stage, which sees the same scans: they are read once."""
    write_fingerprint(fingerprint, first.folder.fingerprint)
    if not any(first.folder.training(fold).exists() for fold in range(first.recipe.folds)):
        # Planning ended between its plan and that of the arm, which may be another now.
        first.folder.plan.unlink(missing_ok=True)
    return plan_arm(first, is_for_here=is_for_here)


def _kept_plan(job: ArmJob, *, is_for_here: bool) -> Plan:
    """The plan on disk; one of nnU-Net's rules is fitted to this machine before it is trained."""
    plan = read_plan(job.folder.plan)
    has_begun = any(job.folder.training(fold).exists() for fold in plan.folds_to_train)
    if not is_for_here or has_begun or plan.settings.rules != "nnunet":
        return plan
    fitting = _fit_to_memory(plan, job)
    if fitting is not plan:
        write_plan(fitting, job.folder.plan)
    return fitting


def _fit_to_memory(plan: Plan, job: ArmJob) -> Plan:
    """The plan with a batch that the memory holds; what was changed is said at once."""
    fitting = fit_to_memory(plan, job.places_here)
    wanted, batch = plan.settings.train.batch, fitting.settings.train.batch
    if batch != wanted:
        progress.say(f"{job.name}: batch {batch} in place of {wanted}, which the free memory holds")
    return fitting


def train_arm(job: ArmJob, plan: Plan) -> None:
    """Prepare and train every planned fold, then complete the model folder.

    Of a cascade the low resolution is trained first, of a locate stage its network.
    """
    for first in before(job, plan):
        train_arm(first, plan_arm(first))
    prepare_arm(job, plan)
    keep_found(job, plan)
    for fold in plan.folds_to_train:
        train_one_fold(job, plan, fold, _fold_seconds(job, plan, fold))
    complete_arm(job, plan)


def before(job: ArmJob, plan: Plan) -> list[ArmJob]:
    """Arms whose models this one needs: the low resolution of a cascade, a network that locates."""
    return [one for one in (low_resolution(job), locator_arm(job, plan)) if one is not None]


def prepare_arm(job: ArmJob, plan: Plan) -> None:
    """Fill the store that all trainings of an arm read."""
    with pinned_threads(plan.settings.train.threads):
        _prepare(job, plan)


def _prepare(job: ArmJob, plan: Plan) -> Store:
    cases = job.dataset_cases()
    return prepare_store(job.dataset, plan, job.store, cases, training_boxes(plan))


def train_one_fold(
    job: ArmJob, plan: Plan, fold: int, seconds_left: Callable[[], float] | None = None
) -> None:
    """Train a fold of a prepared arm and predict the cases that it has not seen.

    Args:
        job: The arm.
        plan: Of the arm.
        fold: From 0.
        seconds_left: Wall time that the training may still take; None without a clock.
    """
    store = job.open_store()
    with pinned_threads(plan.settings.train.threads):
        train_on_devices(
            FoldJob(
                plan=plan,
                store=store,
                fold=fold,
                train_cases=entries_of(job, job.split.cases(job.dataset, "train", fold=fold)),
                validation_cases=entries_of(
                    job, job.split.cases(job.dataset, "validation", fold=fold)
                ),
                folder=job.folder.training(fold),
                weights=job.folder.model / weight_name(fold),
                seconds_left=seconds_left,
                annotated=annotated_entries(job),
            )
        )
        _validate_fold(job, plan, store, fold, is_timed=seconds_left is not None)


def is_trained(job: ArmJob, plan: Plan, fold: int) -> bool:
    """Whether a fold looks trained and validated, by its files; nothing is read."""
    cases = job.split.cases(job.dataset, "validation", fold=fold)
    results = [
        job.folder.training(fold) / "done.json",
        job.folder.model / weight_name(fold),
        job.folder.root / "stages" / f"validation_{fold}.json",
        *_label_maps(job.folder.predictions("validation"), cases),
    ]
    return all(path.is_file() for path in results)


def is_finished(job: ArmJob, plan: Plan, *, evaluated: bool) -> bool:
    """Whether an arm looks completed, and evaluated if that is asked, by its files."""
    folder = job.folder
    results = _model_cards(job, plan)
    if evaluated:
        results += [folder.scores, *_holdout_results(job, plan)]
        results += [folder.localisation] if plan.is_located else []
        results += [folder.saliency] if job.explain and job.model == "final" else []
        results += [folder.missing_channels] if sets_to_judge(job, plan) else []
    return all(path.is_file() for path in results)


def complete_arm(job: ArmJob, plan: Plan) -> None:
    """Complete the model folder of an arm whose folds are trained, and show its samplings."""
    with pinned_threads(plan.settings.train.threads):
        if job.model == "final":
            entries = entries_of(job, job.split.cases(job.dataset, "train"))
            show_samplings(entries, job.open_store(), plan, job.folder)
        once(
            job.folder.root,
            "model",
            _weights_key(job, plan),
            lambda: _complete_model(job, plan),
            results=[job.folder.model / "plan.yaml", *_model_cards(job, plan)],
        )


def evaluate_arm(job: ArmJob, plan: Plan) -> pd.DataFrame:
    """Predict the hold-out, score it and the validation cases, leave channels out, explain.

    Returns:
        The score table of this arm.
    """
    store = job.open_store()
    key = [_weights_key(job, plan), read_json(job.folder.model / "model.json")["postprocess"]]
    if job.external_model != "folds_mean":
        key.append(job.external_model)
    with pinned_threads(plan.settings.train.threads):
        once(
            job.folder.root,
            "holdout",
            key,
            lambda: _predict_holdout(job, plan, store),
            results=_holdout_results(job, plan),
        )

    if plan.is_located:
        once(
            job.folder.root,
            "localisation",
            key,
            lambda: _judge_boxes(job, plan),
            results=[job.folder.localisation],
        )

    def score() -> None:
        tables = [_score(job, part) for part in ("holdout", "validation")]
        table = pd.concat([one for one in tables if len(one)], ignore_index=True)
        write_scores(table, job.folder.scores)

    # Groups are the clusters that the rows of the score table name.
    of_scores = [key, job.measures, *([job.split.groups] if job.split.groups else [])]
    once(job.folder.root, "scores", of_scores, score, results=[job.folder.scores])
    if sets_to_judge(job, plan):
        with pinned_threads(plan.settings.train.threads):
            once(
                job.folder.root,
                MISSING_CHANNELS,
                of_scores,
                lambda: judge_missing(job, plan),
                results=[job.folder.missing_channels],
            )
    if job.explain and job.model == "final":
        scores = read_scores(job.folder.scores)
        once(
            job.folder.root,
            "explain",
            key,
            lambda: explain_arm(job.holdout(), scores, plan, store, job.folder),
            results=[job.folder.saliency],
        )
    return read_scores(job.folder.scores)


def _fit_to_clock(job: ArmJob, plan: Plan, share_left_s: Callable[[], float]) -> Plan:
    store = _prepare(job, plan)
    train = job.split.cases(job.dataset, "train")
    cases = entries_of(job, train)
    a_case = len(cases) / max(1, len(train))
    scan_s = SCAN_READINGS * reading_s(train[0]) if plan.is_located and train else 0.0

    def for_training_s(candidate: Plan, costs: Forecast) -> float:
        _keep_predict_s(job, costs.predict_s * a_case, scan_s)
        return _all_trainings_s(job, candidate, share_left_s())

    if plan.settings.rules == "auto":
        plan, forecast = fit_auto(plan, store, cases, for_training_s, job.places_here)
    else:
        forecast = measure_costs(plan, store, cases)
    _keep_predict_s(job, forecast.predict_s * a_case, scan_s)
    facts = {
        "seconds_a_predicted_case": round(forecast.predict_s * a_case + scan_s, 3),
        "seconds_after_training": round(_after_rounds_s(job, plan), 1),
        "trainings_at_a_time": job.places,
    }
    return fit_to_time(plan, forecast, _all_trainings_s(job, plan, share_left_s()), facts)


def _all_trainings_s(job: ArmJob, plan: Plan, left_s: float) -> float:
    """Seconds of all trainings together, each as long as if it ran alone on this machine.

    Args:
        job: The arm.
        plan: Its folds.
        left_s: Wall time that the arm may still take with all places.
    """
    n = len(plan.folds_to_train)
    alone_s = (left_s - _after_rounds_s(job, plan)) / job.crowding
    return alone_s * n / rounds(n, job.places)


def _after_rounds_s(job: ArmJob, plan: Plan) -> float:
    """Wall time that is not training: validation in each round, and finishing the arm."""
    each_s = [validation_s(job, fold) for fold in plan.folds_to_train]
    start_s = START_S if job.places > 1 else 0.0
    round_s = start_s + sum(each_s) / len(each_s)
    return finish_s(job, plan) + round_s * rounds(len(each_s), job.places)


def _keep_predict_s(job: ArmJob, predict_s: float, scan_s: float) -> None:
    """Keep the seconds of one case with one network and of what is done once for all networks."""
    costs = {"predict_s": round(predict_s, 4), "scan_s": round(scan_s, 4)}
    write_json(job.folder.root / "forecast.json", costs)


def _after_training_s(job: ArmJob, plan: Plan, folds: Sequence[int]) -> float:
    """What must still be paid when the given folds are trained: predictions, scores, maps."""
    return finish_s(job, plan) + sum(validation_s(job, fold) for fold in folds)


def validation_s(job: ArmJob, fold: int) -> float:
    """Seconds that predicting the validation cases of a fold will take."""
    each_s = _predict_s(job) + _scan_s(job)
    return each_s * len(job.split.cases(job.dataset, "validation", fold=fold))


def finish_s(job: ArmJob, plan: Plan) -> float:
    """Seconds that all will take which is done once the folds are trained and validated."""
    score_s = EVALUATION_S + EVALUATION_S_A_VOXEL * _case_voxels(job.folder.fingerprint)
    n_train = len(job.split.cases(job.dataset, "train"))
    if not job.is_judged:
        return score_s * n_train if plan.settings.predict.postprocess == "validation" else 0.0
    n_more = len(whole_cases(job)) * len(sets_to_judge(job, plan))
    n_predicted = len(job.holdout()) + n_more
    first = low_resolution(job)
    first_s = 0.0 if first is None else _predict_s(first) * plan.settings.folds
    n_networks = len(plan.folds_to_train) if job.external_model == "folds_mean" else 1
    return (
        (_predict_s(job) * n_networks + _scan_s(job) + first_s) * n_predicted
        + score_s * (n_predicted + n_train)
        + (SAMPLINGS_S if job.model == "final" else 0.0)
        + (EXPLAIN_S if job.explain and job.model == "final" else 0.0)
    )


@cache
def _case_voxels(fingerprint: Path) -> float:
    """Voxels of the median case."""
    if not fingerprint.is_file():
        return 0.0
    shapes = [case["shape_vox"] for case in read_json(fingerprint)["cases"].values()]
    return float(np.median([np.prod(shape) for shape in shapes])) if shapes else 0.0


def _predict_s(job: ArmJob) -> float:
    return float(read_json(job.folder.root / "forecast.json")["predict_s"])


def _scan_s(job: ArmJob) -> float:
    return float(read_json(job.folder.root / "forecast.json")["scan_s"])


def _fold_seconds(job: ArmJob, plan: Plan, fold: int) -> Callable[[], float] | None:
    """Time left for one fold: what the arm has left, divided by the folds still to train."""
    share_left_s = job.share_left_s
    if share_left_s is None:
        return None
    to_train = [other for other in plan.folds_to_train if other >= fold]
    begin_left_s = share_left_s()
    given_s = (begin_left_s - _after_training_s(job, plan, to_train)) / len(to_train)
    return lambda: given_s - (begin_left_s - share_left_s())


def _validate_fold(job: ArmJob, plan: Plan, store: Store, fold: int, *, is_timed: bool) -> None:
    """Each case of the fold by the network that has not seen it."""
    folder = job.folder.predictions("validation")
    cases = job.split.cases(job.dataset, "validation", fold=fold)
    weights = job.folder.model / weight_name(fold)
    boxes = job.folder.boxes(f"validation_{fold}")

    def work() -> None:
        network = network_from(
            plan, weights, prediction_device(device_at_hand(plan.settings.train.device))
        )
        begin = time.monotonic()
        with progress.stage(f"Validating fold {fold + 1}", total=len(cases), unit="case") as bar:
            rows: list[dict[str, object]] = []
            for case in cases:
                target = folder / f"{case.case_id}.nii.gz"
                if plan.is_located:
                    locator = case_locator(job, plan, case)
                    model = Model((Member(plan, (network,)),), locator=locator)
                    located = predict_located(model, case.images, target, postprocess="none")
                    rows += box_rows(located, case.case_id)
                else:
                    labelmap = predict_prepared([network], plan, store.prepared(case.case_id))
                    write_volume(labelmap, target)
                bar.advance(1)
        if plan.is_located:
            write_text(boxes, table_text(rows, BOX_COLUMNS))
        if cases and is_timed:
            scan_s = _scan_s(job)
            each_s = (time.monotonic() - begin) / len(cases)
            _keep_predict_s(job, max(each_s - scan_s, 0.0), scan_s)

    once(
        job.folder.root,
        f"validation_{fold}",
        [hash_file(weights), _ids(cases)],
        work,
        results=[*_label_maps(folder, cases), *([boxes] if plan.is_located else [])],
    )


def _judge_boxes(job: ArmJob, plan: Plan) -> None:
    """How well each place of each case was found."""
    dataset, tables = job.dataset, []
    parts = {"holdout": job.folder.boxes("holdout")}
    parts |= {f"validation_{k}": job.folder.boxes(f"validation_{k}") for k in plan.folds_to_train}
    references = {case.case_id: case.label for case in dataset.cases if case.label is not None}
    for part, path in parts.items():
        if path.is_file():
            boxes = pd.read_csv(path, keep_default_na=False, dtype={"case": str})
            found = judge_boxes(boxes, references, dataset.values, dataset.annotated)
            tables.append(found.assign(part=part.split("_")[0]))
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    with whole_file(job.folder.localisation) as beside:
        table.to_csv(beside, index=False, lineterminator="\n")


def _complete_model(job: ArmJob, plan: Plan) -> None:
    """Decide the post-processing on validation predictions and write ``model.json`` last."""
    first, locator = low_resolution(job), locator_arm(job, plan)
    train = job.split.cases(job.dataset, "train")
    write_model(
        job.folder.model,
        plan,
        plan.folds_to_train,
        _decide_postprocess(job, plan),
        n_training_cases=len(train),
        n_training_participants=len({case.participant_id for case in train}),
        previous=None if first is None else first.folder.model,
        locator=None if locator is None else locator.folder.model,
        lacked_channels=[
            name
            for index, name in enumerate(job.dataset.channel_names)
            if any(case.images[index] is None for case in train)
        ],
    )


def _decide_postprocess(job: ArmJob, plan: Plan) -> dict[str, Cleaning]:
    wanted, dataset = plan.settings.predict.postprocess, plan.dataset
    if dataset.regions:
        # Removing a part of a region would leave a hole in the one around it.
        return {name: Cleaning(rule="regions are left as they are") for name in dataset.labels}
    if wanted != "validation":
        keep = wanted == "largest_component"
        rule = "stated by the recipe"
        return {name: Cleaning(keep_largest=keep, rule=rule) for name in dataset.labels}
    folder = job.folder.predictions("validation")
    values = {name: (value,) for name, value in dataset.labels.items()}
    evidence = Evidence(values, dataset.ignore_label)
    cases = [
        (case, case.label)
        for fold in plan.folds_to_train
        for case in job.split.cases(job.dataset, "validation", fold=fold)
        if case.label is not None
    ]
    tracked = progress.track(cases, "Choosing the post-processing", total=len(cases), unit="case")
    for case, label in tracked:
        evidence.add(
            read_labelmap(label),
            read_labelmap(folder / f"{case.case_id}.nii.gz"),
            job.dataset.annotated.get(case.case_id),
        )
    return evidence.cleanings()


def _predict_holdout(job: ArmJob, plan: Plan, store: Store) -> None:
    """The hold-out by the average of all folds or, if that is asked, the best of them."""
    folds = choose_external_model(job, plan).folds
    device = device_at_hand(plan.settings.train.device)
    model = load_model(job.folder.model, folds=folds, device=device)
    folder = job.folder.predictions("holdout")
    rows: list[dict[str, object]] = []
    boxes: list[dict[str, object]] = []
    cases = job.holdout()
    with progress.stage("Segmenting the hold-out", total=len(cases), unit="case") as bar:
        for case in cases:
            begin = time.monotonic()
            target = folder / f"{case.case_id}.nii.gz"
            if plan.is_located:
                located = predict_located(model, case.images, target, postprocess="plan")
                boxes += box_rows(located, case.case_id)
                seconds = time.monotonic() - begin
                findings = examine_located(located, plan)
            else:
                labelmap = model.predict_prepared(_holdout_case(job, model, store, case.case_id))
                write_volume(labelmap, target)
                seconds = time.monotonic() - begin
                image = read_volume(next(path for path in case.images if path is not None))
                findings = examine(labelmap, image, plan)
            rows += finding_rows(
                findings,
                case=case.case_id,
                part="holdout",
                model=job.model,
                seconds=seconds,
                missing=missing_channels(job.dataset.channel_names, case.images),
            )
            bar.advance(1)
    if plan.is_located:
        write_text(job.folder.boxes("holdout"), table_text(boxes, BOX_COLUMNS))
    write_text(job.folder.predictions_table, table_text(rows))


def _holdout_case(job: ArmJob, model: Model, store: Store, case_id: str) -> PreparedCase:
    """A case of the hold-out as the model sees it; of a cascade with what all folds find first."""
    first, previous = low_resolution(job), model.members[0].previous
    if first is not None and previous is not None:
        seen = first.open_store().prepared(case_id)
        store.add_previous(case_id, previous.predict_prepared(seen, postprocess="none"))
    return store.prepared(case_id)


def _score(job: ArmJob, part: str) -> pd.DataFrame:
    folder = job.folder.predictions(part)
    cases = job.holdout() if part == "holdout" else job.split.cases(job.dataset, "train")
    pairs = [
        Pair(
            case.case_id,
            case.participant_id,
            case.label,
            path,
            job.split.cluster_of(case.participant_id),
        )
        for case in cases
        if case.label is not None
        and ((path := folder / f"{case.case_id}.nii.gz").is_file() or part == "holdout")
    ]
    return score_cases(
        pairs,
        job.dataset.labels,
        measures=job.measures,
        arm=job.name,
        model=job.model,
        part=part,
        jobs=min(job.jobs, 1 + len(pairs) // PAIRS_A_PROCESS),
        regions=job.dataset.regions,
        ignore_label=job.dataset.ignore_label,
        annotated=job.dataset.annotated,
        mirror_pairs=job.dataset.mirror_pairs,
    )


def _weights_key(job: ArmJob, plan: Plan) -> list[str]:
    return [
        plan.hash(),
        store_key(plan),
        *(hash_file(job.folder.model / weight_name(fold)) for fold in plan.folds_to_train),
    ]


def _model_cards(job: ArmJob, plan: Plan) -> list[Path]:
    """Cards of the model and of those that its folder holds a copy of."""
    folders = [job.folder.model]
    if plan.settings.locate.stage == "network":
        folders.append(job.folder.model / LOCATOR)
    if is_cascade(job.recipe):
        folders.append(job.folder.model / PREVIOUS)
    return [folder / MODEL_CARD for folder in folders]


def _holdout_results(job: ArmJob, plan: Plan) -> list[Path]:
    """What predicting the hold-out leaves."""
    folder = job.folder
    boxes = [folder.boxes("holdout")] if plan.is_located else []
    maps = _label_maps(folder.predictions("holdout"), job.holdout())
    chosen = [] if job.external_model == "folds_mean" else [folder.external_model]
    return [folder.predictions_table, *boxes, *maps, *chosen]


def _label_maps(folder: Path, cases: tuple[Case, ...]) -> list[Path]:
    return [folder / f"{case.case_id}.nii.gz" for case in cases]


def _ids(cases: tuple[Case, ...]) -> tuple[str, ...]:
    return tuple(case.case_id for case in cases)
