"""What lies inside the labels of a study: for reports that ask for it.

Enters: arms whose hold-out is predicted. Leaves: the tables of values, confusion and
prepared voxels that `ReportContent` takes. Images are read one at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from acinus import progress
from acinus.cohort import Dataset, Split
from acinus.evaluate import confusion_table, label_values, profile_table, value_table
from acinus.evaluate.inside import POSITION
from acinus.prepare import Store
from acinus.report.content import ArmContent
from acinus.scans import read_labelmap
from acinus.study.grids import grid_rows


def look_inside(
    arms: Mapping[str, ArmContent],
    datasets: Mapping[str, Dataset],
    split: Split,
    stores: Mapping[str, Path],
    variants: Mapping[str, Mapping[str, Path]],
) -> dict[str, Any]:
    """The fields of `ReportContent` on what lies inside labels.

    Args:
        arms: What the report shows of each arm.
        datasets: By arm.
        split: Who is held out.
        stores: Prepared scans of each arm's final model.
        variants: By arm, variants of the study to the folder of their predicted hold-out.
    """
    rows: list[dict[str, Any]] = []
    prepared: list[dict[str, Any]] = []
    confusions: list[pd.DataFrame] = []
    for name, dataset in datasets.items():
        arm = arms[name]
        held_out = {case.case_id for case in split.cases(dataset, "holdout")}
        regions = {label: tuple(values) for label, values in dataset.values.items()}
        cases = [case for case in dataset.labelled_cases if case.images[0] is not None]
        store = Store(stores[name])
        with progress.stage(f"Looking inside the labels of {name}", len(cases), "case") as bar:
            for case in cases:
                what = {"arm": name, "case": case.case_id, "participant": case.participant_id}
                what["cluster"] = split.cluster_of(case.participant_id)
                what["part"] = "holdout" if case.case_id in held_out else "train"
                image, drawn = case.images[0], case.label
                if image is not None and drawn is not None:
                    known = dataset.annotated.get(case.case_id, regions)
                    given = {label: regions[label] for label in regions if label in known}
                    own = label_values(image, drawn, given, role="reference", **what)
                    if len(given) < len(regions):
                        # Positions count from the middle of all labels, which is not known here.
                        own = [row | dict.fromkeys(POSITION, np.nan) for row in own]
                    rows += own
                    if case.case_id in arm.predictions:
                        predicted = arm.predictions[case.case_id]
                        rows += label_values(image, predicted, regions, role="prediction", **what)
                    reference = read_labelmap(drawn)
                    prepared += grid_rows(
                        store,
                        case.case_id,
                        reference,
                        regions,
                        arm=name,
                        mirror_table=dataset.mirror_table,
                    )
                bar.advance(1)
        if not dataset.regions:
            # Where a label was not annotated, what it was taken for is not known.
            for model, found in {"final": arm.predictions, **_of_variants(arm, variants)}.items():
                pairs = [
                    (arm.references[case], path)
                    for case, path in found.items()
                    if case in arm.references and case not in dataset.annotated
                ]
                confusions.append(confusion_table(name, pairs, dataset.labels, model))
    return {
        "values": value_table(rows),
        "confusion": pd.concat(confusions, ignore_index=True) if confusions else pd.DataFrame(),
        "profiles": profile_table(rows),
        "prepared": pd.DataFrame(prepared, columns=["arm", "case", "label", "voxels", "ceiling"]),
    }


def _of_variants(
    arm: ArmContent, variants: Mapping[str, Mapping[str, Path]]
) -> dict[str, dict[str, Path]]:
    """Variant to the cases of the hold-out and what it made of them."""
    return {
        model: {
            case: path for case in arm.predictions if (path := folder / f"{case}.nii.gz").is_file()
        }
        for model, folder in variants.get(arm.name, {}).items()
    }
