"""What the trainings of an arm did, for its report: a row a fold, and what a reader must know.

Enters: a plan and the files of its trainings. Leaves: a table, notes on how the training went
and caveats that the results must be read with. Leaving this to the decisions of the plan was
rejected: nobody finds a halved batch or a lost label among eighty settings.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import pandas as pd

from acinus.cohort import Dataset, Split
from acinus.files import read_json
from acinus.plan import Fingerprint, Plan, small_structure_warnings
from acinus.study.folders import RunFolder

DEVICES = {"cpu": "the CPU", "cuda": "a CUDA GPU", "mps": "the GPU of an Apple chip"}

AXES = {"Z": "up and down", "Y": "front and back", "X": "left and right"}
"""Anatomical axis to the directions that a flip along it exchanges."""

PLAIN_MIRRORING = (
    "Trained with plain mirroring: a flip exchanges left and right in the image and keeps the "
    "labels, so that left and right structures may be confused."
)


def training_table(
    plan: Plan,
    folder: RunFolder,
    n_validation: Sequence[int],
    fingerprint: Fingerprint | None = None,
) -> pd.DataFrame:
    """A row a finished training.

    Args:
        plan: Of the arm.
        folder: Of the arm.
        n_validation: Cases that each fold leaves out.
        fingerprint: Facts of its dataset; None where they are not kept.

    Returns:
        Columns fold (from 0), train_cases, validation_cases, epochs, steps, seconds,
        validation_dice (of patches, at the last look; NaN without), kept (``"last"`` or
        ``"best"`` state), lost and unseen (labels, joined by commas; unseen: no case that was
        learned from shows them).
    """
    rows = []
    for fold in plan.folds_to_train:
        done = folder.training(fold) / "done.json"
        if not done.is_file():
            continue
        facts = read_json(done)
        cases = _cases_of(facts["train_cases"], plan)
        unseen = [] if fingerprint is None else unseen_labels(fingerprint, cases)
        rows.append(
            {
                "fold": fold,
                "train_cases": len(cases),
                "validation_cases": n_validation[fold],
                "epochs": facts["epochs"],
                "steps": facts["steps"],
                "seconds": facts["seconds"],
                "validation_dice": _last_dice(folder, fold),
                "kept": facts["kept"],
                "lost": ", ".join(facts["collapsed"]),
                "unseen": ", ".join(unseen),
            }
        )
    return pd.DataFrame(rows)


def training_notes(
    plan: Plan, fingerprint: Fingerprint | None, table: pd.DataFrame, folder: RunFolder
) -> list[str]:
    """Sentences on how the trainings went: where, with what, and what was otherwise than asked.

    Args:
        plan: Of the arm.
        fingerprint: Facts of its dataset; None where they are not kept.
        table: From `training_table`.
        folder: Of the arm.
    """
    notes = [_where(plan), *_folds(plan), *_mirroring(plan), *_batch(plan)]
    if fingerprint is not None:
        spacing = plan.settings.prepare.spacing_mm or (None, None, None)
        notes += small_structure_warnings(fingerprint, spacing, plan.axes[0])
    if plan.settings.train.pretrained:
        notes.append(f"It began with the weights of {plan.settings.train.pretrained}.")
    for row in table.to_dict("records"):
        fold = int(row["fold"])
        if row["epochs"] != plan.settings.train.epochs:
            notes.append(
                f"Fold {fold + 1} had {row['epochs']} epochs in place of the "
                f"{plan.settings.train.epochs} planned, as the time allowed; its learning rate was "
                "fully decayed."
            )
        notes += [
            f"Fold {fold + 1}: the loss was not finite once; training went back to the last good "
            f"state. The batch is kept in {path.name}."
            for path in sorted(folder.training(fold).glob("not_finite_step_*.safetensors"))
        ]
    return notes


def caveats(plan: Plan, table: pd.DataFrame) -> list[str]:
    """Sentences that the results must be read with; empty if there is nothing to beware of."""
    found = []
    train = plan.settings.train
    has_sides = plan.dataset.sides or plan.dataset.mirror_pairs
    if train.mirroring == "plain" and "X" in train.mirror_axes and has_sides:
        also = " Predictions were averaged over such flips too." if _flips_tests(plan) else ""
        found.append(PLAIN_MIRRORING + also)
    for row in table.to_dict("records"):
        if row["unseen"]:
            found.append(
                f"Fold {int(row['fold']) + 1} learned from no case that shows {row['unseen']}: its "
                "results for it are worth nothing."
            )
        if row["lost"]:
            state = "best state on the validation patches" if row["kept"] == "best" else "last one"
            found.append(
                f"Fold {int(row['fold']) + 1} learned and then lost {row['lost']}: its Dice on "
                f"validation patches fell to 0 and stayed there. The state kept is the {state}."
            )
    return found


def mirrored_directions(plan: Plan) -> list[str]:
    """Directions that training exchanges at random, in words."""
    train = plan.settings.train
    if plan.settings.augment.flip == 0:
        return []
    shown = plan.axes[-plan.n_dims :]
    return [
        AXES[axis]
        for axis in shown
        if axis in train.mirror_axes and not (axis == "X" and train.mirroring == "none")
    ]


def unseen_labels(fingerprint: Fingerprint, cases: Iterable[str]) -> list[str]:
    """Labels that none of some cases shows.

    Args:
        fingerprint: Facts of all labelled cases.
        cases: Those that are learned from.
    """
    known = [fingerprint.cases[case] for case in cases if case in fingerprint.cases]
    return [
        name for name in fingerprint.labels if not any(one.volume_ml.get(name) for one in known)
    ]


def unseen_warnings(
    plan: Plan, fingerprint: Fingerprint, dataset: Dataset, split: Split
) -> list[str]:
    """A sentence for every label that a fold cannot learn, since none of its cases shows it."""
    found = []
    for fold in plan.folds_to_train:
        cases = [case.case_id for case in split.cases(dataset, "train", fold=fold)]
        found += [
            f"no case that fold {fold + 1} learns from shows '{name}': it cannot be learned. Draw "
            "it in more cases, or leave it out of the labels."
            for name in unseen_labels(fingerprint, cases)
        ]
    return found


def _cases_of(entries: Sequence[str], plan: Plan) -> list[str]:
    """Cases behind the entries of a store; with a locate stage several are of one."""
    if not plan.is_located:
        return list(entries)
    return list(dict.fromkeys(entry.rpartition("@")[0] for entry in entries))


def _where(plan: Plan) -> str:
    train = plan.settings.train
    by = " × ".join(str(size) for size in train.patch_vox)
    kind = "3D patches" if plan.n_dims == 3 else "2D patches of single slices"
    where = DEVICES.get(train.device, train.device)
    if train.device == "cpu":
        where += f" with {train.threads} thread{'s' if train.threads > 1 else ''}"
    precision = "numbers of 32 bits"
    if train.precision == "bfloat16":
        precision = "matrix products in bfloat16, weights in 32 bits"
    if train.devices > 1:
        where = f"{train.devices} devices at once ({where})"
    return f"Trained on {where}, {precision}: {kind}, {by} voxels, {train.batch} in a step."


def _folds(plan: Plan) -> list[str]:
    n, total = len(plan.folds_to_train), plan.settings.folds
    if n == total:
        return []
    decision = plan.decisions["folds_trained"]
    why = {
        "user": "as asked for",
        "budget": f"for the budget of {plan.budget}: {decision.rule}",
    }.get(decision.source, "as the recipe states")
    facts = "; ".join(f"{key.replace('_', ' ')} {value}" for key, value in decision.facts.items())
    return [f"{n} of {total} folds {'was' if n == 1 else 'were'} trained, {why}"
            f"{f' ({facts})' if facts else ''}."]  # fmt: skip


def _mirroring(plan: Plan) -> list[str]:
    directions = mirrored_directions(plan)
    boxes = []
    if plan.mirrored_places:
        boxes = [
            f"Boxes of {', '.join(sorted(plan.mirrored_places))} were seen as in a mirror, under "
            "the names of the other side: curves named after those labels are of both sides."
        ]
    if not directions:
        return [*boxes, "Patches were not mirrored."]
    swaps = plan.settings.train.mirroring == "swap" and plan.dataset.mirror_pairs
    how = {AXES["X"]: ", the labels of each pair swapped"} if swaps else {}
    words = [f"{one.replace(' and ', '-')}{how.get(one, '')}" for one in directions]
    return [*boxes, f"Patches were mirrored at random: {'; '.join(words)}."]


def _batch(plan: Plan) -> list[str]:
    decision = plan.decisions.get("train.batch")
    if decision is None or "batch_wanted" not in decision.facts:
        return []
    return [
        f"The batch was stepped down from {decision.facts['batch_wanted']} to {decision.value} "
        f"patches, so that a step fits into the free memory of {plan.settings.train.device} "
        f"({decision.facts['usable_gib']} GiB)."
    ]


def _flips_tests(plan: Plan) -> bool:
    return plan.settings.predict.use_mirroring


def _last_dice(folder: RunFolder, fold: int) -> float:
    path = folder.training(fold) / "history.csv"
    if not path.is_file():
        return math.nan
    history = pd.read_csv(path)
    looks = history.get("validation_dice", pd.Series(dtype="float64")).dropna()
    return float(looks.iloc[-1]) if len(looks) else math.nan
