"""``acinus evaluate``: score the predictions of a trained run, or of any program."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

import acinus
from acinus.cli.outcome import show_judged, show_outcome
from acinus.cli.tables import print_table
from acinus.errors import ConfigError

OTHER_GRID = "must share a grid"
"""Words of the reason why a case on two grids failed."""

Measures = Annotated[tuple[str, ...], Parameter(consume_multiple=True, show_default=False)]


def evaluate(
    source: Annotated[Path, Parameter(name="RUN|PREDICTIONS")],
    references: Path | None = None,
    /,
    *,
    labels: Path | None = None,
    out: Path | None = None,
    participants: Path | None = None,
    group_by: str | None = None,
    measures: Measures = (),
    empty_policy: Literal["undefined", "zero_one"] = "undefined",
    jobs: int | None = None,
    resample: bool = False,
) -> int:
    """Score the predictions of a trained run, or two folders of label maps of any program.

    With one folder, a run, its validation and hold-out cases are predicted and scored. With two,
    predictions and references are paired by file name; scores.csv and summary.csv are written,
    and a case that cannot be judged does not stop the others.

    ```console
    acinus evaluate runs/glands
    acinus evaluate predictions references --labels dataset.json --out scores
    acinus evaluate pred ref --labels dataset.json --out scores --measures dice surface_dice_1mm
    ```

    Args:
        source: Folder of a run whose model is trained; or, with REFERENCES, of predicted label
            maps.
        references: Folder of what an expert drew. Label maps may be files of DICOM segmentation
            (.dcm), whose segments are named as the labels are.
        labels: JSON file with 'labels' that map names to values, as in dataset.json.
        out: Folder of the tables.
        participants: A participants.tsv, where a patient has several cases; a column 'cases' names
            them where their names do not begin with the patient's.
        group_by: Column of it whose values count as one observation, such as the anatomy that
            copies were made of.
        measures: What to measure (see 'acinus list measures'), besides the volumes. Default: dice
            iou hausdorff_95_mm assd_mm.
        empty_policy: With two folders: what an overlap with an empty mask counts as: undefined, or
            1 if both masks are empty and 0 if one is.
        jobs: Processes. Default: one for each core.
        resample: Resample predictions that lie on another grid onto that of their reference,
            nearest, instead of refusing them.
    """
    if references is None:
        given = (labels, out, participants, group_by, jobs)
        is_stated = empty_policy != "undefined" or any(one is not None for one in given)
        if is_stated or measures or resample:
            raise ConfigError(
                "options must come with two folders, 'acinus evaluate PREDICTIONS REFERENCES "
                f"--labels FILE --out DIR'; got {source} alone, which is taken for a run."
            )
        acinus.evaluate_run(source)
        sys.stdout.write(f"Scores: {source / 'scores.csv'}\n")
        return show_outcome(None, acinus.failed_cases(source))
    if labels is None or out is None:
        raise ConfigError(
            "two folders must come with --labels FILE (JSON with 'labels', as dataset.json) and "
            f"--out DIR; got no {'--labels' if labels is None else '--out'}."
        )
    found = acinus.evaluate_folders(
        source,
        references,
        labels=labels,
        out=out,
        participants=participants,
        group_by=group_by,
        measures=measures or None,
        empty_policy=empty_policy,
        jobs=jobs,
        use_resampling=resample,
    )
    table = found.display()
    print_table(list(table.columns), table.to_numpy().tolist())
    sys.stdout.write(f"{found.note}\n")
    sys.stdout.write(f"Scores: {out / 'scores.csv'}\nSummary: {out / 'summary.csv'}\n")
    status = show_judged(found.failed, found.remarks, found.n_judged)
    if not resample and any(OTHER_GRID in reason for reason in found.failed.values()):
        sys.stderr.write("With --resample a prediction is put on the grid of its reference.\n")
    return status
