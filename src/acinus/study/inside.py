"""What lies inside the labels of a study: for reports that ask for it.

Enters: arms whose hold-out is predicted. Leaves: the tables of values, confusion and
prepared voxels that `ReportContent` takes. Images are read one at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from acinus import progress
from acinus.cohort import Dataset, Split
from acinus.errors import DataError
from acinus.evaluate import confusion_table, label_values, value_table
from acinus.prepare import Store
from acinus.report.content import ArmContent
from acinus.study.folders import RunFolder


def look_inside(
    arms: Mapping[str, ArmContent],
    datasets: Mapping[str, Dataset],
    split: Split,
    folders: Mapping[str, RunFolder],
) -> dict[str, Any]:
    """The fields of `ReportContent` on what lies inside labels.

    Args:
        arms: What the report shows of each arm.
        datasets: By arm.
        split: Who is held out.
        folders: Run folder of each arm's final model.
    """
    rows: list[dict[str, Any]] = []
    confusions, prepared = [], []
    for name, dataset in datasets.items():
        arm = arms[name]
        held_out = {case.case_id for case in split.cases(dataset, "holdout")}
        regions = {label: tuple(values) for label, values in dataset.values.items()}
        cases = [case for case in dataset.labelled_cases if case.images[0] is not None]
        store = Store(folders[name].store)
        with progress.stage(f"Looking inside the labels of {name}", len(cases), "case") as bar:
            for case in cases:
                what = {"arm": name, "case": case.case_id, "participant": case.participant_id}
                what["cluster"] = split.cluster_of(case.participant_id)
                what["part"] = "holdout" if case.case_id in held_out else "train"
                image, drawn = case.images[0], case.label
                if image is not None and drawn is not None:
                    known = dataset.annotated.get(case.case_id, regions)
                    given = {label: regions[label] for label in regions if label in known}
                    rows += label_values(image, drawn, given, role="reference", **what)
                    if case.case_id in arm.predictions:
                        predicted = arm.predictions[case.case_id]
                        rows += label_values(image, predicted, regions, role="prediction", **what)
                prepared += _prepared(store, case.case_id, name)
                bar.advance(1)
        if not dataset.regions:
            # Where a label was not annotated, what it was taken for is not known.
            pairs = [
                (arm.references[case], path)
                for case, path in arm.predictions.items()
                if case in arm.references and case not in dataset.annotated
            ]
            confusions.append(confusion_table(name, pairs, dataset.labels))
    first = next(iter(datasets.values()))
    return {
        "values": value_table(rows),
        "confusion": pd.concat(confusions, ignore_index=True) if confusions else pd.DataFrame(),
        "prepared": pd.DataFrame(prepared, columns=["arm", "case", "label", "voxels"]),
        "mirror_pairs": first.mirror_pairs,
    }


def _prepared(store: Store, case: str, arm: str) -> list[dict[str, Any]]:
    """Voxels of each label on the grid that the network sees; none for an unprepared case."""
    try:
        counts = store.facts(case).foreground_vox
    except DataError:
        return []
    return [{"arm": arm, "case": case, "label": k, "voxels": n} for k, n in counts.items()]
