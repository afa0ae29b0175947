"""``acinus readers``: how well several readers, or readings, agree, and a model with them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import acinus
from acinus.cli.outcome import show_judged
from acinus.cli.tables import print_table
from acinus.errors import ConfigError


def readers(
    *folders: Annotated[Path, Parameter(name="FOLDER")],
    labels: Path,
    out: Path,
    participants: Path | None = None,
    group_by: str | None = None,
    model: Path | None = None,
    margin: float | None = None,
    measure: str = "dice",
    kappa_margin: float = 10.0,
    jobs: int | None = None,
) -> int:
    """Compare two or more readers, or repeated readings, case by case and label by label.

    Dice, Cohen's kappa, HD95, ASSD and volumes of every pair of readers go to agreement.csv; the
    table, right and left apart and together, with intraclass correlation and limits of agreement
    of the volumes, to readers.csv. With --model and --margin a model is judged against them: does
    it agree with the readers no worse than they agree with each other? The verdicts go to
    model.csv.

    ```console
    acinus readers reader_a reader_b --labels dataset.json --out agreement
    acinus readers a b --model predictions --margin 0.05 --labels dataset.json --out agreement
    ```

    Args:
        folders: Two or more folders of label maps or DICOM segmentations (.dcm); cases are
            paired by file name.
        labels: JSON file with 'labels' that map names to values, as in dataset.json.
        out: Folder of the tables.
        participants: A participants.tsv, where a patient has several cases; a column 'cases' names
            them where their names do not begin with the patient's.
        group_by: Column of it whose values count as one observation, such as the anatomy that
            copies were made of.
        model: Folder of a model's label maps of the same cases.
        margin: By how much the model's agreement may fall short, in the unit of the measure;
            chosen before the data are seen, so there is no default.
        measure: Tells agreement with the model: dice, iou, assd_mm, hausdorff_95_mm,
            surface_dice_1mm, kappa_10mm.
        kappa_margin: Of the box around both masks within which kappa is computed, mm.
        jobs: Processes. Default: one for each core.
    """
    if (model is None) != (margin is None):
        raise ConfigError(
            "--model and --margin go together: the margin is the loss of agreement that would not "
            "matter, such as 0.05 of Dice. The box of kappa is --kappa-margin."
        )
    if model is None or margin is None:
        found = acinus.compare_readers(
            folders,
            labels=labels,
            out=out,
            participants=participants,
            group_by=group_by,
            margin_mm=kappa_margin,
            jobs=jobs,
        )
        judged = None
    else:
        judged = acinus.compare_model_with_readers(
            folders,
            model,
            labels=labels,
            margin=margin,
            measure=measure,
            out=out,
            participants=participants,
            group_by=group_by,
            margin_mm=kappa_margin,
            jobs=jobs,
        )
        found = judged.readers
    table = found.display()
    print_table(list(table.columns), table.to_numpy().tolist())
    sys.stdout.write(f"{found.note}\n")
    if judged is not None:
        verdicts = judged.display()
        print_table(list(verdicts.columns), verdicts.to_numpy().tolist())
        sys.stdout.write("".join(f"{one}\n" for one in (*judged.sentences, judged.note)))
    sys.stdout.write(f"Agreement: {out / 'agreement.csv'}\nTable: {out / 'readers.csv'}\n")
    if judged is not None:
        sys.stdout.write(f"Model: {out / 'model.csv'}\n")
    return show_judged(found.failed, found.remarks, found.n_judged)
