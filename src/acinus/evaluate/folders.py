"""Two folders of label maps or DICOM SEG, of any program: scores, summary, what was strange.

Enters: predictions, references and a JSON file with ``labels``. Leaves: ``scores.csv``,
``summary.csv`` and a list of remarks. Needs no dataset, no model and no images. Stopping at
the first case that cannot be judged was rejected: its rows say why, and the others go on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from acinus.cohort.labels_file import read_labels
from acinus.errors import ConfigError, DataError, unknown_name
from acinus.evaluate.clusters import note_on_clusters, read_owners
from acinus.evaluate.empty_policy import EMPTY_POLICIES, with_empty_policy
from acinus.evaluate.pairs import label_maps, pair_folders
from acinus.evaluate.score_table import score_table, write_scores
from acinus.evaluate.scoring import (
    ALWAYS_MEASURED,
    Judged,
    Pair,
    judge_pair,
    lost_pair,
    outlasting,
)
from acinus.evaluate.tables.evaluation import evaluation_table
from acinus.evaluate.tables.numbers import records
from acinus.evaluate.wording import decimals, mean_and_sd, metric_title
from acinus.files import explain_os_errors, whole_file
from acinus.measure import MEASURES
from acinus.progress import plural, stage

DEFAULT_MEASURES = ("dice", "iou", "hausdorff_95_mm", "assd_mm")
"""What is measured where nothing else is asked for, besides both volumes."""

PART = "given"
"""Part of scores whose cases nobody split."""

KILLED = "the process that measured this case ended abruptly, mostly for lack of memory"

SHOWN_NAMES = 10
"""Names that a remark lists before it says how many more there are."""


@dataclass(frozen=True, eq=False)
class FolderScores:
    """How the predictions of a folder compare with the references of another.

    Attributes:
        scores: Score table; the arm is the folder of references, the model that of predictions.
        summary: Per label and metric mean, sd, median, n and how many were undefined, missed,
            false finds and failed, as ``evaluation_table``, with the column ``empty_policy``.
        empty_policy: Key of `EMPTY_POLICIES` that made the scores.
        failed: Case to the reason why it could not be judged.
        remarks: Sentences about what a reader of the table must know.
    """

    scores: pd.DataFrame
    summary: pd.DataFrame
    empty_policy: str
    failed: dict[str, str]
    remarks: tuple[str, ...]

    @property
    def n_judged(self) -> int:
        """Cases that could be judged."""
        return self.scores["case"].nunique() - len(self.failed)

    @property
    def note(self) -> str:
        """Which convention made the means, and what the counts are."""
        policy = self.empty_policy
        return (
            f"Empty policy '{policy}': {EMPTY_POLICIES[policy]}. n: values in the mean; "
            "undefined: values left out of it; missed: drawn, nothing predicted; false: "
            "predicted, not drawn; failed: cases that could not be judged. "
            + note_on_clusters(self.summary)
        )

    def display(self) -> pd.DataFrame:
        """The summary for people, a row per label and metric."""
        rows = [
            {
                "label": one["label"],
                "metric": metric_title(one["metric"]),
                "mean ± sd": mean_and_sd(one["mean"], one["sd"], 3),
                "median": decimals(one["median"], 3),
                "n": str(one["n"]),
                "undefined": str(one["n_undefined"]),
                "missed": str(one["n_missed"]),
                "false": str(one["n_false_finds"]),
                "failed": str(one["n_failed"]),
            }
            for one in records(self.summary)
        ]
        columns = ["label", "metric", "mean ± sd", "median", "n"]
        return pd.DataFrame(rows, columns=[*columns, "undefined", "missed", "false", "failed"])


def evaluate_folders(
    predictions: Path | str,
    references: Path | str,
    *,
    labels: Path | str,
    out: Path | str | None = None,
    participants: Path | str | None = None,
    group_by: str | None = None,
    measures: Sequence[str] | None = None,
    empty_policy: str = "undefined",
    jobs: int | None = 1,
    use_resampling: bool = False,
) -> FolderScores:
    """Scores of every case, label and measure of two folders, and their summary.

    Cases are paired by file name. A reference without prediction fails, a prediction
    without reference is left out; the remarks name both.

    Args:
        predictions: Folder of label maps, or DICOM SEG (.dcm), of a program.
        references: The same of what an expert drew.
        labels: JSON file with ``labels`` as in ``dataset.json``, see `read_labels`; of DICOM the
            segments are found by these names.
        out: Folder for ``scores.csv`` and ``summary.csv``; None writes nothing.
        participants: A ``participants.tsv``, by which intervals resample patients; None: each
            case is its own.
        group_by: Column of it whose values are one independent observation, such as the anatomy
            that copies were made of; None: each participant is.
        measures: Registered measures; both volumes are always added. None: `DEFAULT_MEASURES`.
        empty_policy: Key of `EMPTY_POLICIES`.
        jobs: Processes, None: one for each core; with several a script needs the guard
            ``if __name__ == "__main__":``.
        use_resampling: Whether a prediction on another grid is resampled onto that of its
            reference, nearest, instead of failing.

    Raises:
        ConfigError: A measure or policy is unknown, `jobs` is below 1, or both folders are one.
        DataError: A folder or file is missing or says what cannot be, a case has two files or
            no participant, or the folders have no case in common.
    """
    names = checked_measures(DEFAULT_MEASURES if measures is None else measures, jobs)
    if empty_policy not in EMPTY_POLICIES:
        raise ConfigError(unknown_name("empty policy", empty_policy, EMPTY_POLICIES))
    named = read_labels(labels)
    references, predictions = Path(references), Path(predictions)
    if references.resolve() == predictions.resolve():
        raise ConfigError(
            f"predictions and references must be two folders; got {references} twice."
        )
    drawn, predicted = list(label_maps(references)), list(label_maps(predictions))
    _check_common(predictions, predicted, references, drawn)
    owners = read_owners(drawn, participants, group_by)
    pairs = pair_folders(references, predictions, owners.participants, owners.clusters)
    make_folder(out)
    judge = partial(
        judge_pair,
        labels=named.labels,
        measures=names,
        regions=named.regions,
        ignore_label=named.ignore_label,
        annotated=named.annotated,
        mirror_pairs=named.mirror_pairs,
        use_resampling=use_resampling,
    )
    lost = partial(lost_pair, measures=dict.fromkeys(named.labels, names), reason=KILLED)
    judged = judged_pairs("Measuring", judge, pairs, jobs, lost)
    marks = {"arm": references.resolve().name, "model": predictions.resolve().name, "part": PART}
    scores = score_table([row | marks for one in judged for row in one.rows])
    scores = with_empty_policy(scores, empty_policy)
    summary = _summary(scores, marks, empty_policy)
    if out is not None:
        write_scores(scores, Path(out) / "scores.csv")
        with whole_file(Path(out) / "summary.csv") as beside:
            summary.to_csv(beside, index=False, lineterminator="\n")
    remarks = [
        *_unmatched(predictions, predicted, references, drawn),
        *unknown_values({references: "reference", predictions: "prediction"}, pairs, judged),
        *_resampled(pairs, judged),
    ]
    return FolderScores(scores, summary, empty_policy, failures(pairs, judged), tuple(remarks))


def make_folder(out: Path | str | None) -> None:
    """Make the folder of the results before the work, so that a wrong one costs none.

    Args:
        out: The folder; None: nothing is written.

    Raises:
        DataError: It cannot be made.
    """
    if out is None:
        return
    try:
        with explain_os_errors(out):
            Path(out).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{out}: must be a folder for the results; {error.strerror}.") from None


def usable_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def checked_measures(measures: Sequence[str], jobs: int | None) -> tuple[str, ...]:
    """The measures with both volumes, each once.

    Args:
        measures: Registered measures.
        jobs: Processes, checked too, before any file is read; None: one for each core.

    Raises:
        ConfigError: One is unknown, or `jobs` is below 1.
    """
    names = tuple(dict.fromkeys((*measures, *ALWAYS_MEASURED)))
    for name in names:
        MEASURES[name]
    if jobs is not None and jobs < 1:
        raise ConfigError(f"jobs must be at least 1; got {jobs}.")
    return names


def judged_pairs(
    name: str,
    judge: Callable[[Pair], Judged],
    pairs: Sequence[Pair],
    jobs: int | None,
    lost: Callable[[Pair], Judged],
) -> list[Judged]:
    """What was found of each pair, in their order, with a stage that shows progress.

    Args:
        name: Of the stage.
        judge: Function that another process can load.
        pairs: Cases.
        jobs: Most processes; None: one for each core.
        lost: What is found of a pair whose process ended.
    """
    found = []
    n_processes = min(usable_cores() if jobs is None else jobs, len(pairs))
    with stage(name, total=len(pairs), unit="case") as bar:
        for one in outlasting(judge, pairs, n_processes, lost):
            found.append(one)
            bar.advance()
    return found


def failures(pairs: Sequence[Pair], judged: Sequence[Judged]) -> dict[str, str]:
    """Case to the reason why it could not be judged.

    Args:
        pairs: Cases.
        judged: What was found of each, in the same order.
    """
    return {
        pair.case: str(one.rows[0]["reason"])
        for pair, one in zip(pairs, judged, strict=True)
        if one.rows and one.rows[0]["status"] == "failed"
    }


def unknown_values(
    folders: Mapping[Path, str], pairs: Sequence[Pair], judged: Sequence[Judged]
) -> list[str]:
    """A sentence for each folder whose label maps hold values that no label has.

    Args:
        folders: The folder of references and that of predictions, in this order, to what
            a label map of it is called.
        pairs: Cases.
        judged: What was found of each, in the same order.
    """
    sides = [[one.unknown_reference for one in judged], [one.unknown_prediction for one in judged]]
    sentences = []
    for (folder, role), of_cases in zip(folders.items(), sides, strict=True):
        values = sorted({value for found in of_cases for value in found}, key=_by_number)
        if values:
            cases = [pair.case for pair, found in zip(pairs, of_cases, strict=True) if found]
            sentences.append(
                f"{folder}: {plural('value', len(values))} {listed(map(str, values))} of the "
                f"{role} {plural('map', len(cases))} of {listed(cases)} "
                f"{'has' if len(values) == 1 else 'have'} no name in 'labels' and "
                f"{'counts' if len(values) == 1 else 'count'} as background."
            )
    return sentences


def listed(names: Iterable[str]) -> str:
    """``a, b and 3 more``: some names of a list.

    Args:
        names: All of them.
    """
    every = list(names)
    shown = ", ".join(every[:SHOWN_NAMES])
    more = len(every) - SHOWN_NAMES
    return shown if more <= 0 else f"{shown} and {more} more"


def _by_number(value: int | str) -> tuple[bool, int, str]:
    """Numbers by size, then names of segments."""
    is_name = isinstance(value, str)
    return is_name, 0 if is_name else int(value), str(value)


def _check_common(
    predictions: Path, predicted: Sequence[str], references: Path, drawn: Sequence[str]
) -> None:
    if not set(predicted) & set(drawn):
        raise DataError(
            f"{predictions} and {references} must have cases of the same name; the predictions "
            f"are {listed(predicted)}, the references {listed(drawn)}. Rename one of them."
        )


def _unmatched(
    predictions: Path, predicted: Sequence[str], references: Path, drawn: Sequence[str]
) -> list[str]:
    missing = [case for case in drawn if case not in set(predicted)]
    spare = [case for case in predicted if case not in set(drawn)]
    sentences = []
    if missing:
        sentences.append(
            f"{predictions}: {len(missing)} of {len(drawn)} references have no prediction and "
            f"fail: {listed(missing)}."
        )
    if spare:
        sentences.append(
            f"{references}: {len(spare)} of {len(predicted)} predictions have no reference and "
            f"are left out: {listed(spare)}."
        )
    return sentences


def _resampled(pairs: Sequence[Pair], judged: Sequence[Judged]) -> list[str]:
    cases = [
        f"{pair.case} ({one.resampled})"
        for pair, one in zip(pairs, judged, strict=True)
        if one.resampled
    ]
    if not cases:
        return []
    return [
        f"{len(cases)} of {len(pairs)} predictions lay on another grid and were resampled onto "
        f"that of their reference, nearest: {listed(cases)}."
    ]


def _summary(scores: pd.DataFrame, marks: Mapping[str, str], empty_policy: str) -> pd.DataFrame:
    metrics = list(dict.fromkeys(scores["metric"]))
    table = evaluation_table(scores, metrics=metrics, model=marks["model"], part=PART)
    return table.assign(empty_policy=empty_policy)
