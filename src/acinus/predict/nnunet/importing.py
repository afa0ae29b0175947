"""``acinus import nnunet``: a results folder of nnU-Net becomes a model folder.

Enters: a folder such as ``nnUNetTrainer__nnUNetPlans__3d_fullres`` with plans, dataset and
folds. Leaves: a model folder with plan, weights and card, as training writes it. The network
is built and loaded before anything is written, so that what is written can predict. Keeping
the checkpoints as they are was rejected: a pickle is no format to pass on.
"""

from __future__ import annotations

import re
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from acinus import progress
from acinus.cohort import open_dataset
from acinus.errors import ConfigError, DataError, PlanError
from acinus.files import whole_file, whole_folder
from acinus.networks import build_network
from acinus.plan import Plan
from acinus.predict.folder import weight_name, write_model
from acinus.predict.nnunet.checkpoint import Checkpoint, read_checkpoint
from acinus.predict.nnunet.plans import (
    DATASET,
    PLANS,
    Origin,
    common_orientation,
    read_dataset_json,
    read_plan_of,
    turns_to_ras,
)
from acinus.predict.nnunet.weights import our_weights
from acinus.scans import axis_codes, read_grid

FOLD = re.compile(r"fold_(\d+|all)")

CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")
"""Files of a fold, the preferred one first."""

VERSION_1 = ("plans.pkl", "model_final_checkpoint.model", "model_best.model", "postprocessing.json")
"""Files that only version 1 of nnU-Net writes, the last one beside the others."""

STANDARD_TRAINER = re.compile(
    r"nnUNet_?Trainer(_?(\d+(epochs?|ep)|Benchmark|noDataLoading|NoMirroring|onlyMirror01"
    r"|noDummy2DDA|NoDA|DA5|DASegOrd0|Segord0|ord0|VanillaAdam|Adam|Adan|[13]en[134]|CosAnneal"
    r"|CELoss|DiceLoss|DiceCELoss|noSmooth|DiceTopK10Loss|Topk10Loss|LS01|NoDeepSupervision"
    r"|probabilisticOversampling|0(10|33)|warmup|BS8))*"
)
"""nnU-Net's own trainers that leave the network as the plans say."""


def import_nnunet(
    results: Path | str,
    model: Path | str,
    *,
    checkpoint: str | None = None,
    orientation: str | None = None,
    dataset: Path | str | None = None,
    trust_trainer: bool = False,
) -> Plan:
    """Write the model folder of a trained nnU-Net, version 2.

    Args:
        results: Folder of one configuration, with plans.json, dataset.json and fold_0, …
        model: Folder to write; must not exist.
        checkpoint: File of each fold; None: checkpoint_final.pth, or checkpoint_best.pth where
            there is no final one.
        orientation: Axes that the network works in: codes such as ``"LPS"``, ``"canonical"`` or
            ``"as_stored"``; None: as nnU-Net's reader does it, which is nearly always as stored.
        dataset: Raw folder of the training; the orientation that all its images share is taken.
        trust_trainer: Accept a trainer that is not nnU-Net's own, if its weights fit the network
            of the plans.

    Returns:
        The plan that was written.

    Raises:
        DataError: A file is missing, damaged or holds what must not be read.
        PlanError: Its plans or its network cannot be done here.
        ConfigError: Orientation and dataset are both given, or `model` exists.
    """
    folder, target = Path(results), Path(model)
    if orientation is not None and dataset is not None:
        raise ConfigError("--orientation must not go with --dataset, which tells it. Give one.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(
            f"{target}: must not exist yet, so that no model is lost. Choose another."
        )
    _require_results_folder(folder)
    files = _checkpoint_files(folder, checkpoint)
    if dataset is not None and not turns_to_ras(folder):
        orientation = _orientation_of(Path(dataset))
    found = {fold: read_checkpoint(file) for fold, file in files.items()}
    first = next(iter(found.values()))
    for fold, one in found.items():
        _refuse_other_trainer(one, files[fold], trust=trust_trainer)
        _refuse_mixed_folds(first, one, files[fold])
    origin = Origin(
        folder=folder,
        configuration=first.configuration,
        trainer=first.trainer,
        mirror_axes=first.mirror_axes,
        orientation=orientation,
        n_folds=len(found),
    )
    plan = read_plan_of(origin)
    n_cases = read_dataset_json(folder).n_training or 0
    with whole_folder(target) as beside:
        for fold, one in found.items():
            weights = our_weights(one.weights)
            _refuse_other_network(plan, weights, first.trainer, files[fold])
            with whole_file(beside / weight_name(fold)) as out:
                save_file(weights, out)
        write_model(
            beside,
            plan,
            list(found),
            {},
            n_training_cases=n_cases,
            n_training_participants=n_cases,
        )
    return plan


def _require_results_folder(folder: Path) -> None:
    """Raise DataError unless a folder holds plans, dataset and a fold of version 2."""
    if not folder.is_dir():
        what = "a file; unpack it first" if folder.is_file() else "nothing"
        raise DataError(f"{folder}: must be a results folder of nnU-Net; found {what}.")
    old = [
        name for name in VERSION_1 if any((folder / sub / name).exists() for sub in _subs(folder))
    ]
    if old and not (folder / PLANS).is_file():
        raise DataError(
            f"{folder}: must be a results folder of nnU-Net version 2; {old[0]} is of version 1, "
            "whose networks and plans differ. Train the dataset again with version 2, or here."
        )
    missing = [name for name in (PLANS, DATASET) if not (folder / name).is_file()]
    if missing:
        inside = sorted(path.parent for path in folder.glob(f"*/{PLANS}"))
        hint = f" Did you mean {inside[0]}?" if inside else ""
        if FOLD.fullmatch(folder.name) and (folder.parent / PLANS).is_file():
            hint = f" Did you mean {folder.parent}?"
        raise DataError(
            f"{folder}: must be a results folder of nnU-Net with {PLANS}, {DATASET} and fold_0, …; "
            f"{' and '.join(missing)} missing.{hint}"
        )


def _subs(folder: Path) -> list[str]:
    return [".", *sorted(path.name for path in folder.iterdir() if path.is_dir())]


def _checkpoint_files(folder: Path, checkpoint: str | None) -> dict[int, Path]:
    """Fold to its checkpoint; that of all cases counts as fold 0, where there is no other.

    All of one name, as nnU-Net's prediction takes them: a fold that has only its best state while
    others have the final one was not trained to the end.
    """
    wanted = CHECKPOINTS if checkpoint is None else (checkpoint,)
    places = {m.group(1): p for p in sorted(folder.iterdir()) if (m := FOLD.fullmatch(p.name))}
    folds: dict[str, Path] = {}
    for name in wanted:
        folds = {fold: at / name for fold, at in places.items() if (at / name).is_file()}
        if folds:
            left_out = sorted(places[fold].name for fold in set(places) - set(folds))
            if left_out and set(folds) != {"all"}:
                progress.say(f"Without {', '.join(left_out)}: no {name} there.")
            break
    if not folds:
        raise DataError(
            f"{folder}: must hold a trained fold, such as fold_0/{wanted[0]}; there is none. "
            "Train it to the end, or name the file with --checkpoint."
        )
    of_all = folds.pop("all", None)
    numbered = {int(name): path for name, path in folds.items()}
    return dict(sorted(numbered.items())) if numbered or of_all is None else {0: of_all}


def _orientation_of(dataset: Path) -> str:
    """Axis codes that all images of a raw folder share."""
    cases = open_dataset(dataset, complete=False).cases
    paths = [next(path for path in case.images if path is not None) for case in cases]
    return common_orientation([axis_codes(read_grid(path).affine) for path in paths], dataset)


def _refuse_other_trainer(found: Checkpoint, file: Path, *, trust: bool) -> None:
    if trust or STANDARD_TRAINER.fullmatch(found.trainer):
        return
    raise PlanError(
        f"{file}: the trainer must be one of nnU-Net's own, which take the network as planned; got "
        f"'{found.trainer}', which may have changed it in ways that weights do not show. If it did "
        "not, say so with --trust-trainer."
    )


def _refuse_mixed_folds(first: Checkpoint, found: Checkpoint, file: Path) -> None:
    for what in ("configuration", "trainer", "mirror_axes"):
        if getattr(first, what) != getattr(found, what):
            raise DataError(
                f"{file}: all folds must be of one training; {what} {getattr(found, what)} differs "
                f"from {getattr(first, what)}. Put the folds of each into a folder of its own."
            )


def _refuse_other_network(plan: Plan, weights: dict[str, Tensor], trainer: str, file: Path) -> None:
    """Raise PlanError unless the weights fill exactly the plan's network."""
    network = build_network(
        plan.settings.network.name,
        plan.settings.network.config,
        n_channels=len(plan.dataset.channel_names),
        n_classes=plan.n_classes,
        seed=0,
    )
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in weights.items()}
    for name in [*wanted, *given]:
        if wanted.get(name) != given.get(name):
            raise PlanError(
                f"{file}: weights must fit the network of the plans; '{name}' must be "
                f"{wanted.get(name, 'absent')} and is {given.get(name, 'absent')}. The trainer "
                f"'{trainer}' has changed the network; such models cannot be imported."
            )
