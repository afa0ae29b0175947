"""Predictions against references: one tidy row per case, label and measure.

Enters: pairs of label-map files. Leaves: the score table. A pair that is
missing, unreadable or on two grids becomes rows with status ``failed`` and the
reason, and the others go on. Resampling the prediction onto the reference's grid
without being asked was rejected, since it would hide that a program put it in the
wrong place. Pairs are read one at a time, so memory does not grow with the cohort.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Sized
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from acinus.errors import AcinusError, ConfigError, DataError, GridError
from acinus.evaluate.reading import read_pair
from acinus.evaluate.score_table import NOT_ANNOTATED, empty_score_table, score_table
from acinus.measure import MEASURES, SIDE_MEASURES, Score, measure_case
from acinus.progress import stage
from acinus.scans import resample_onto
from acinus.scans.components import bounding_box
from acinus.scans.volume import GRID_TOLERANCE_MM, Volume
from acinus.types import Labelmap, Mask

ALWAYS_MEASURED = ("reference_volume_ml", "prediction_volume_ml")
"""Measures taken besides the wanted ones: the tables tell a missed structure by them."""

RESAMPLED = "prediction resampled onto the reference's grid, nearest"
"""Begin of the reason of scores whose prediction lay on another grid."""

T = TypeVar("T")


@dataclass(frozen=True)
class Pair:
    """A case to judge.

    Attributes:
        case: Name of the case.
        participant: Patient it belongs to.
        reference_path: Label map that an expert drew.
        prediction_path: Label map of the program, on the same grid.
        cluster: What counts as one observation; empty: the participant.
    """

    case: str
    participant: str
    reference_path: Path
    prediction_path: Path
    cluster: str = ""


@dataclass(frozen=True)
class Judged:
    """What became of a pair.

    Attributes:
        rows: Of the score table, without arm, model and part.
        unknown_reference: Values in the reference that no label has, sorted; of DICOM the names
            of its segments.
        unknown_prediction: The same of the prediction.
        resampled: How the grids differed, if the prediction was resampled; else empty.
    """

    rows: list[dict[str, Any]]
    unknown_reference: tuple[int | str, ...] = ()
    unknown_prediction: tuple[int | str, ...] = ()
    resampled: str = ""


def score_cases(
    pairs: Iterable[Pair],
    labels: Mapping[str, int],
    *,
    measures: Sequence[str],
    arm: str,
    model: str,
    part: str,
    jobs: int = 1,
    regions: Mapping[str, tuple[int, ...]] | None = None,
    ignore_label: int | None = None,
    annotated: Mapping[str, Collection[str]] | None = None,
    mirror_pairs: Sequence[tuple[str, str]] = (),
) -> pd.DataFrame:
    """The score table of predictions: a row per case, label and measure.

    Args:
        pairs: Cases to judge.
        labels: Name to value in the label maps, without background.
        measures: Registered measures; reference and predicted volume are always added.
        arm: Arm of the study, e.g. ``"AX-T1"``.
        model: Which model predicted, e.g. ``"final"`` or ``"loss=jaccard"``.
        part: ``"holdout"`` or ``"validation"``.
        jobs: Processes.
        regions: Name to the values that it unites in both label maps; a name without an
            entry stands for its own value.
        ignore_label: Value of voxels that the reference says nothing about; they are taken
            out of both masks, and no surface is seen where a mask ends at them.
        annotated: Case to the labels annotated in it; a case without an entry has all.
        mirror_pairs: Labels that swap when right and left swap; for them the measures of
            sides are added, see `acinus.measure.SIDE_MEASURES`.

    Returns:
        Columns case, participant, cluster, arm, model, part, label, metric, value, unit,
        status, reason, in the order of pairs, labels and measures. `value` is
        NaN exactly where `status` is ``"undefined"`` (the measure has no value,
        e.g. a distance to an empty mask, or the label was not annotated in the
        case) or ``"failed"`` (the pair could not be judged); `reason` then says why.

    Raises:
        ConfigError: A measure is unknown, or labels or jobs cannot be.
        DataError: A process ended abruptly.
    """
    names = _names_with_volumes(measures)
    _check_labels(labels)
    if jobs < 1:
        raise ConfigError(f"jobs must be at least 1; got {jobs}.")
    judge = partial(
        score_pair,
        labels=dict(labels),
        measures=names,
        regions=dict(regions or {}),
        ignore_label=ignore_label,
        annotated={case: tuple(given) for case, given in (annotated or {}).items()},
        mirror_pairs=tuple(mirror_pairs),
    )
    total = len(pairs) if isinstance(pairs, Sized) else None
    rows: list[dict[str, Any]] = []
    with stage(f"Measuring {arm} {part}", total=total, unit="case") as bar:
        try:
            for found in worked_through(judge, pairs, jobs):
                rows.extend(found)
                bar.advance()
        except BrokenProcessPool:
            raise DataError(
                f"the {jobs} processes that measure must stay alive; one ended abruptly, "
                "mostly for lack of memory. Start again with fewer jobs."
            ) from None
    if not rows:
        return empty_score_table()
    return score_table([row | {"arm": arm, "model": model, "part": part} for row in rows])


def score_pair(
    pair: Pair,
    labels: Mapping[str, int],
    measures: Sequence[str],
    *,
    regions: Mapping[str, tuple[int, ...]] | None = None,
    ignore_label: int | None = None,
    annotated: Mapping[str, Collection[str]] | None = None,
    mirror_pairs: Sequence[tuple[str, str]] = (),
) -> list[dict[str, Any]]:
    """Rows of one case; a pair that cannot be judged gives rows with status ``failed``."""
    return judge_pair(
        pair,
        labels,
        measures,
        regions=regions,
        ignore_label=ignore_label,
        annotated=annotated,
        mirror_pairs=mirror_pairs,
    ).rows


def judge_pair(
    pair: Pair,
    labels: Mapping[str, int],
    measures: Sequence[str],
    *,
    regions: Mapping[str, tuple[int, ...]] | None = None,
    ignore_label: int | None = None,
    annotated: Mapping[str, Collection[str]] | None = None,
    mirror_pairs: Sequence[tuple[str, str]] = (),
    use_resampling: bool = False,
) -> Judged:
    """Rows of one case and what was strange about its files.

    Args:
        pair: The case.
        labels: As of `score_cases`.
        measures: Registered measures.
        regions: As of `score_cases`.
        ignore_label: As of `score_cases`.
        annotated: As of `score_cases`.
        mirror_pairs: As of `score_cases`.
        use_resampling: Whether a prediction on another grid is resampled onto that of the
            reference (nearest, 0 beyond it) instead of failing; its rows then say so.
    """
    names = {label: _measures_of(label, measures, mirror_pairs) for label in labels}
    given = None if annotated is None else annotated.get(pair.case)
    known = {name: value for name, value in labels.items() if given is None or name in given}
    try:
        names_of_values = {name: labels[name] for name in labels if name not in (regions or {})}
        reference, prediction = read_pair(
            Path(pair.reference_path), Path(pair.prediction_path), names_of_values, regions or {}
        )
        values = _known_values(labels, regions, ignore_label)
        unknown = [_unknown_values(one, values) for one in (reference, prediction)]
        resampled = ""
        if use_resampling and not reference.grid.matches(prediction.grid):
            resampled = _difference(reference, prediction)
            prediction = resample_onto(prediction, reference.grid, order=0)
        scores = score_labelmaps(
            reference,
            prediction,
            known,
            measures,
            regions=regions,
            ignore_label=ignore_label,
            mirror_pairs=mirror_pairs,
        )
    except (AcinusError, OSError, MemoryError) as error:
        return lost_pair(pair, names, " ".join(str(error).split()) or type(error).__name__)
    remark = f"{RESAMPLED}; {resampled}" if resampled else ""
    rows: list[dict[str, Any]] = []
    for label in labels:
        if label not in scores:
            rows += _undefined_rows(pair, label, names[label])
            continue
        rows += [
            _row(pair, label, name, score.value, score.unit, score.status, score.reason or remark)
            for name, score in scores[label].items()
        ]
    return Judged(rows, unknown[0], unknown[1], resampled)


def lost_pair(pair: Pair, measures: Mapping[str, Sequence[str]], reason: str) -> Judged:
    """A pair that could not be judged: rows with status ``failed``.

    Args:
        pair: The case.
        measures: Label to the measures that would have been taken.
        reason: Why.
    """
    return Judged(
        [
            row
            for label, names in measures.items()
            for row in _failed_rows(pair, label, names, reason)
        ]
    )


def score_labelmaps(
    reference: Volume,
    prediction: Volume,
    labels: Mapping[str, int],
    measures: Sequence[str],
    *,
    regions: Mapping[str, tuple[int, ...]] | None = None,
    ignore_label: int | None = None,
    mirror_pairs: Sequence[tuple[str, str]] = (),
) -> dict[str, dict[str, Score]]:
    """Scores of every label of two label maps on one grid.

    Args:
        reference: Label map that an expert drew.
        prediction: Label map of the program.
        labels: Name to value, without background.
        measures: Registered measures.
        regions: Name to the values that it unites, where it is not one value.
        ignore_label: Value of voxels that the reference says nothing about.
        mirror_pairs: Labels that swap when right and left swap; for them the measures of
            sides are added. They are undefined where the partner is not among the labels.

    Returns:
        Label to measure to score.

    Raises:
        GridError: The grids differ by more than `GRID_TOLERANCE_MM` at a corner.
    """
    _check_grids(reference, prediction)
    box = bounding_box((reference.array != 0) | (prediction.array != 0))
    inside = box if box is not None else (slice(0, 1),) * 3
    drawn, predicted = reference.array[inside], prediction.array[inside]
    ignored = None if ignore_label is None else drawn == ignore_label
    values = {name: (value,) for name, value in labels.items()} | {
        name: those for name, those in (regions or {}).items() if name in labels
    }
    partners = {
        label: _mask(drawn, values[partner])
        for label, partner in _partners(mirror_pairs).items()
        if partner in values
    }
    return {
        label: measure_case(
            _mask(drawn, those),
            _mask(predicted, those),
            reference.spacing_mm,
            _measures_of(label, measures, mirror_pairs),
            voxel_volume_ml=reference.grid.voxel_volume_ml,
            ignored=ignored,
            partner=partners.get(label),
        )
        for label, those in values.items()
    }


def _partners(mirror_pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    return {one: other for a, b in mirror_pairs for one, other in ((a, b), (b, a))}


def _measures_of(
    label: str, measures: Sequence[str], mirror_pairs: Sequence[tuple[str, str]]
) -> tuple[str, ...]:
    """The wanted measures of a label, and those of sides if it has a partner."""
    added = SIDE_MEASURES if label in _partners(mirror_pairs) else ()
    return tuple(dict.fromkeys((*measures, *added)))


def _mask(labelmap: Labelmap, values: tuple[int, ...]) -> Mask:
    if len(values) == 1:
        return np.asarray(labelmap == values[0])
    return np.asarray(np.isin(labelmap, values))


def _check_grids(reference: Volume, prediction: Volume) -> None:
    if reference.grid.matches(prediction.grid):
        return
    raise GridError(
        f"reference and prediction must share a grid; {_difference(reference, prediction)}. "
        "Write the prediction on the grid of the image that the reference was drawn on."
    )


def _difference(reference: Volume, prediction: Volume) -> str:
    """How two grids differ, in words."""
    if reference.shape != prediction.shape:
        return f"reference {reference.shape}, prediction {prediction.shape} voxels (Z, Y, X)"
    apart = reference.grid.displacement_mm(prediction.grid)
    return f"corners up to {apart:.3g} mm apart (GRID_TOLERANCE_MM is {GRID_TOLERANCE_MM} mm)"


def _known_values(
    labels: Mapping[str, int],
    regions: Mapping[str, tuple[int, ...]] | None,
    ignore_label: int | None,
) -> set[int]:
    """Values of a label map that mean something."""
    united = {value for values in (regions or {}).values() for value in values}
    return {0, *labels.values(), *united} | ({ignore_label} if ignore_label is not None else set())


def _unknown_values(labelmap: Volume, known: Collection[int]) -> tuple[int | str, ...]:
    """Values without a label; of DICOM the names of segments without one."""
    if "unnamed" in labelmap.meta:
        return tuple(labelmap.meta["unnamed"])
    values = np.unique(labelmap.array[labelmap.array != 0])
    return tuple(int(one) for one in values if int(one) not in known)


def _names_with_volumes(measures: Sequence[str]) -> tuple[str, ...]:
    names = tuple(dict.fromkeys((*measures, *ALWAYS_MEASURED)))
    for name in names:
        MEASURES[name]
    return names


def _check_labels(labels: Mapping[str, int]) -> None:
    values = list(labels.values())
    if not values or min(values) < 1 or len(set(values)) < len(values):
        raise ConfigError(
            "labels must give each structure its own value above 0, without background; "
            f"got {dict(labels)}."
        )


def _row(
    pair: Pair, label: str, metric: str, value: float | None, unit: str, status: str, reason: str
) -> dict[str, Any]:
    return {
        "case": pair.case,
        "participant": pair.participant,
        "cluster": pair.cluster or pair.participant,
        "label": label,
        "metric": metric,
        "value": np.nan if value is None else value,
        "unit": unit,
        "status": status,
        "reason": reason,
    }


def _failed_rows(
    pair: Pair, label: str, measures: Sequence[str], reason: str
) -> list[dict[str, Any]]:
    return [
        _row(pair, label, name, None, MEASURES[name].factory.unit, "failed", reason)
        for name in measures
    ]


def _undefined_rows(pair: Pair, label: str, measures: Sequence[str]) -> list[dict[str, Any]]:
    return [
        _row(pair, label, name, None, MEASURES[name].factory.unit, "undefined", NOT_ANNOTATED)
        for name in measures
    ]


def worked_through(judge: Callable[[Pair], T], pairs: Iterable[Pair], jobs: int) -> Iterator[T]:
    """What `judge` finds of each pair, in their order; at most twice `jobs` are under way.

    Args:
        judge: Function that another process can load.
        pairs: Cases.
        jobs: Processes; 1 works in this one.

    Raises:
        BrokenProcessPool: A process ended abruptly.
    """
    if jobs == 1:
        yield from map(judge, pairs)
        return
    waiting: deque[Future[T]] = deque()
    with _pool(jobs) as pool:
        try:
            for pair in pairs:
                waiting.append(pool.submit(judge, pair))
                if len(waiting) >= 2 * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def outlasting(
    judge: Callable[[Pair], T], pairs: Sequence[Pair], jobs: int, lost: Callable[[Pair], T]
) -> Iterator[T]:
    """As `worked_through`, but a process that ends abruptly costs one pair only.

    The pairs that were under way are judged again, each in a process of its own.

    Args:
        judge: Function that another process can load.
        pairs: Cases.
        jobs: Processes; 1 works in this one, whose end nothing outlasts.
        lost: What is found of a pair whose process ended.
    """
    n_done = 0
    while n_done < len(pairs):
        try:
            for found in worked_through(judge, pairs[n_done:], jobs):
                n_done += 1
                yield found
        except BrokenProcessPool:
            for pair in pairs[n_done : n_done + 2 * jobs]:
                n_done += 1
                yield _judged_alone(judge, pair, lost)


def _judged_alone(judge: Callable[[Pair], T], pair: Pair, lost: Callable[[Pair], T]) -> T:
    with _pool(1) as pool:
        try:
            return pool.submit(judge, pair).result()
        except BrokenProcessPool:
            return lost(pair)


def _pool(jobs: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))
