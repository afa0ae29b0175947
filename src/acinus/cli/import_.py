"""``acinus import``: models of other programs as model folders, public datasets as ours."""

from __future__ import annotations

import sys
from pathlib import Path

from cyclopts import App, Parameter

import acinus
from acinus.progress import plural

import_model = App(
    name="import",
    help="Turn a model of another program, or a public dataset, into one of ours.",
    default_parameter=Parameter(negative=()),
    sort_key=11,
)


@import_model.command
def nnunet(
    results: Path,
    model: Path,
    /,
    *,
    checkpoint: str | None = None,
    orientation: str | None = None,
    dataset: Path | None = None,
    trust_trainer: bool = False,
) -> int:
    """Turn a trained nnU-Net, version 2, into a model folder that predicts alike.

    nnU-Net works in the axes of the file, whichever they are. So does the imported model, unless
    --orientation or --dataset says in which axes the training images were stored: then it turns
    every scan to them, and scans that are stored otherwise are segmented as well.

    ```console
    acinus import nnunet RESULTS_FOLDER models/glands --dataset nnUNet_raw/Dataset004_Glands
    acinus predict models/glands scan.nii.gz labels
    ```

    Args:
        results: Folder of one configuration, with plans.json, dataset.json and fold_0, …
        model: Model folder to write.
        checkpoint: File of each fold. Default: checkpoint_final.pth, or checkpoint_best.pth where
            there is no final one.
        orientation: Direction in which x, y and z of the training images increase, such as LPS or
            RAS; canonical is RAS; as_stored takes every scan as it is stored.
        dataset: Raw folder of the training, to read that direction from its images.
        trust_trainer: Accept a trainer that is not nnU-Net's own, if its weights fit the network
            of the plans.
    """
    plan = acinus.import_nnunet(
        results,
        model,
        checkpoint=checkpoint,
        orientation=orientation,
        dataset=dataset,
        trust_trainer=trust_trainer,
    )
    n_folds = plan.settings.folds_trained or 0
    stored = plan.settings.prepare.orientation
    axes = "as they are stored" if stored == "as_stored" else f"turned to {stored} axes"
    sys.stdout.write(
        f"Model: {model}, {plan.summary}, {n_folds} {plural('fold', n_folds)}; scans are taken "
        f"{axes}\n"
    )
    return 0
