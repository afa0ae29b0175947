"""What a missing channel costs: the hold-out of an arm predicted with channels left out.

Enters: an arm that was trained with channel dropout, and its hold-out. Leaves: label maps and
``missing_channels.csv``, a score table of part ``missing_channels`` whose models say what was left
out. Each case is prepared anew without the channels, as `acinus predict` prepares a case that
lacks them. Setting channels of the prepared scan to zero was rejected: it was cropped by what all
channels show, which nobody knows of a case that lacks some.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from acinus import progress
from acinus.cohort import Case
from acinus.evaluate import Pair, score_cases, write_scores
from acinus.evaluate.score_table import empty_score_table
from acinus.evaluate.tables import MISSING_CHANNELS, without_words
from acinus.plan import Plan
from acinus.predict import device_at_hand, load_model
from acinus.predict.missing import is_trained_for_missing
from acinus.prepare import load_case
from acinus.scans import write_volume
from acinus.study.external_model import read_external_choice
from acinus.study.job import ArmJob
from acinus.study.locating import predict_located

MOST_FOR_ALL_SETS = 4
"""Most channels of which every set is left out: 14 sets of four channels, 30 of five."""


def missing_sets(plan: Plan) -> list[tuple[str, ...]]:
    """Which channels are left out together, fewest first; none if the model saw all at all times.

    Every set that leaves a channel; of more than `MOST_FOR_ALL_SETS` channels each one alone, and
    all but one.
    """
    if not is_trained_for_missing(plan):
        return []
    names = plan.dataset.channel_names
    sizes = range(1, len(names))
    if len(names) > MOST_FOR_ALL_SETS:
        sizes = range(1, len(names), len(names) - 2)
    return [some for size in sizes for some in itertools.combinations(names, size)]


def sets_to_judge(job: ArmJob, plan: Plan) -> list[tuple[str, ...]]:
    """The sets of an arm's own model; none of variants and networks of the benchmark."""
    return missing_sets(plan) if job.model == "final" else []


def whole_cases(job: ArmJob) -> list[Case]:
    """Cases of the hold-out that have all channels: only there it is known what one costs."""
    return [case for case in job.holdout() if all(path is not None for path in case.images)]


def judge_missing(job: ArmJob, plan: Plan) -> None:
    """Predict and score the hold-out without each set of channels."""
    cases, sets = whole_cases(job), sets_to_judge(job, plan)
    folders = [
        job.folder.predictions(MISSING_CHANNELS) / f"set-{number:02d}"
        for number in range(1, len(sets) + 1)
    ]
    _predict(job, plan, cases, sets, folders)
    tables = [
        score_cases(
            [
                Pair(
                    case.case_id,
                    case.participant_id,
                    case.label,
                    folder / f"{case.case_id}.nii.gz",
                    job.split.cluster_of(case.participant_id),
                )
                for case in cases
                if case.label is not None
            ],
            job.dataset.labels,
            measures=job.measures,
            arm=job.name,
            model=without_words(left_out),
            part=MISSING_CHANNELS,
            regions=job.dataset.regions,
            ignore_label=job.dataset.ignore_label,
            annotated=job.dataset.annotated,
            mirror_pairs=job.dataset.mirror_pairs,
        )
        for left_out, folder in zip(sets, folders, strict=True)
    ]
    some = [one for one in tables if len(one)]
    table = pd.concat(some, ignore_index=True) if some else empty_score_table()
    write_scores(table, job.folder.missing_channels)


def _predict(
    job: ArmJob,
    plan: Plan,
    cases: Sequence[Case],
    sets: Sequence[tuple[str, ...]],
    folders: Sequence[Path],
) -> None:
    # By the same networks as the hold-out with nothing missing, which they are held against.
    folds = read_external_choice(job.folder).folds or None
    device = device_at_hand(plan.settings.train.device)
    model = load_model(job.folder.model, folds=folds, device=device)
    names = plan.dataset.channel_names
    total = len(cases) * len(sets)
    with progress.stage("Segmenting with channels left out", total=total, unit="case") as bar:
        for case in cases:
            channels = None if plan.is_located else load_case(case, with_label=False)[0]
            for left_out, folder in zip(sets, folders, strict=True):
                target = folder / f"{case.case_id}.nii.gz"
                is_kept = [name not in left_out for name in names]
                if channels is None:
                    kept = [
                        path if is_it else None
                        for path, is_it in zip(case.images, is_kept, strict=True)
                    ]
                    predict_located(model, kept, target, postprocess="plan")
                else:
                    given = [
                        one if is_it else None for one, is_it in zip(channels, is_kept, strict=True)
                    ]
                    write_volume(model.predict(given, allow_nothing=True), target)
                bar.advance(1)
