"""``acinus compare``: models by the same cases, subgroups, external centres."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

import acinus
from acinus.cli.tables import print_table

Several = Parameter(consume_multiple=True, show_default=False)


def compare(
    runs: Annotated[tuple[str, ...], Parameter(name="RUN")],
    /,
    *,
    measure: Annotated[tuple[str, ...], Several] = ("dice",),
    part: str | None = None,
    external: Annotated[tuple[str, ...], Several] = (),
    participants: Path | None = None,
    group_by: str | None = None,
    by: Annotated[tuple[str, ...], Several] = (),
    bands: int = 2,
    first: str | None = None,
    correction: Literal["holm", "bonferroni", "benjamini_hochberg"] = "holm",
    out: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Compare models by the same cases, also within and between groups of patients.

    Each comparison has its numbers of cases and patients, both means, their difference with an
    interval, an effect size and p-values corrected for all comparisons of the command. Cases
    that one model lacks and values that are undefined are counted and listed.

    ```console
    acinus compare runs/slices runs/volumes --measure dice hausdorff_95_mm
    acinus compare old=a/glands new=b/glands --participants participants.tsv --by site,age
    acinus compare runs/glands --external north/scores.csv south/scores.csv
    ```

    Args:
        runs: Run folders, folders with scores.csv, or such CSV files; NAME=PATH gives a name.
            Of a table with several arms or models each is compared.
        measure: Measures by name; default: dice.
        part: holdout or validation; default: the hold-out where all have one, else the
            validation. With --external: validation. Of a table that knows neither its only
            part is taken.
        external: Score tables of other centres, of which the hold-out or only part is taken;
            the one run is compared with each by unpaired tests, with the relative drop.
        participants: Table with tabs and a column participant_id.
        group_by: Column of it whose values count as one observation, such as the anatomy that
            copies were made of; default: what the split of the run kept together, else patients.
        by: Columns of that table, or reference_volume_ml, with commas between: models are
            compared within each subgroup, and each model between subgroups. Numbers such as
            age are cut into bands.
        bands: Bands that numbers are cut into at their quantiles; 2 cuts at the median.
        first: Subgroup that the others are compared with; default: that of the first row.
        correction: How p-values are corrected for the number of comparisons.
        out: Folder for comparisons.csv and missing.csv.
        as_json: Print JSON instead of a table.
    """
    found = acinus.compare_scores(
        runs,
        measures=measure,
        part=part,
        external=external,
        participants=participants,
        group_by=group_by,
        by=[column.strip() for given in by for column in given.split(",") if column.strip()],
        bands=bands,
        first=first,
        correction=correction,
        out=out,
    )
    if as_json:
        text = json.dumps(found.as_json(), indent=1, ensure_ascii=False)
        sys.stdout.write(f"{text}\n")
        return 0
    for heading, shown in found.blocks():
        sys.stdout.write(f"{heading}\n")
        print_table(list(shown.columns), shown.to_numpy().tolist())
    for note in found.notes():
        sys.stdout.write(f"{note}\n")
    if out is not None:
        sys.stdout.write(f"Table: {out / 'comparisons.csv'}\n")
    return 0
