"""Second and repeated readings of an arm's cases, and its model against the readers.

Enters: folders of label maps beside a dataset's references. Leaves: ``readings.csv``, a score
table of part ``readings``: each reading against the first one, which is the dataset's reference,
and the model's predictions against each reading. A further kind of table was rejected: whatever
can be asked of predictions can be asked of readers by the same rows.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from acinus.cohort import Case
from acinus.evaluate import Pair, read_scores, score_cases, write_scores
from acinus.evaluate.pairs import label_maps
from acinus.evaluate.score_table import empty_score_table
from acinus.evaluate.tables import READINGS, model_against
from acinus.files import hash_file
from acinus.study.job import ArmJob
from acinus.study.schema import ReadingsSettings
from acinus.study.stamps import once

KAPPA = "kappa_10mm"
"""Measured of readings besides what the study measures: within the box of both, 10 mm around."""


def score_readings(job: ArmJob, settings: ReadingsSettings | None) -> pd.DataFrame:
    """Scores of the readings of an arm; no rows where there are none.

    Args:
        job: The arm, evaluated.
        settings: Which readings there are; None: none.
    """
    if settings is None:
        return empty_score_table()
    found = {name: _pairs(job, folder) for name, folder in settings.folders.items()}
    pairs = {name: read for name, (read, _) in found.items()}
    pairs |= {
        model_against(name): predicted
        for name, (_, predicted) in found.items()
        if name not in settings.repeated
    }
    measures = tuple(dict.fromkeys([*job.measures, KAPPA]))

    def work() -> None:
        tables = [
            score_cases(
                some,
                job.dataset.labels,
                measures=measures,
                arm=job.name,
                model=name,
                part=READINGS,
                regions=job.dataset.regions,
                ignore_label=job.dataset.ignore_label,
                annotated=job.dataset.annotated,
            )
            for name, some in pairs.items()
            if some
        ]
        whole = pd.concat(tables, ignore_index=True) if tables else empty_score_table()
        write_scores(whole, job.folder.readings)

    key = [
        measures,
        *([job.split.groups] if job.split.groups else []),
        [
            [name, pair.case, hash_file(pair.reference_path), hash_file(pair.prediction_path)]
            for name, some in pairs.items()
            for pair in some
        ],
    ]
    once(job.folder.root, READINGS, key, work, results=[job.folder.readings])
    return read_scores(job.folder.readings)


def _pairs(job: ArmJob, folder: str) -> tuple[list[Pair], list[Pair]]:
    """First reading and this one of each case that has both; this one and the prediction."""
    place = job.dataset.folder / folder
    drawn = label_maps(place) if place.is_dir() else {}
    readings: list[Pair] = []
    predictions: list[Pair] = []
    for case in job.dataset.labelled_cases:
        if case.label is None or case.case_id not in drawn:
            continue
        reading = drawn[case.case_id]
        cluster = job.split.cluster_of(case.participant_id)
        readings.append(Pair(case.case_id, case.participant_id, case.label, reading, cluster))
        predicted = _prediction(job, case)
        if predicted is not None:
            predictions.append(Pair(case.case_id, case.participant_id, reading, predicted, cluster))
    return readings, predictions


def _prediction(job: ArmJob, case: Case) -> Path | None:
    """What the model made of a case that it did not learn from; None if it learned from it."""
    for part in ("holdout", "validation"):
        path = job.folder.predictions(part) / f"{case.case_id}.nii.gz"
        if path.is_file():
            return path
    return None
