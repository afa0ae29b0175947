"""Which networks segment external cases, and the published networks counted beside ours."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest

from acinus.errors import ConfigError, PlanError
from acinus.study.content import cost_table
from acinus.study.costs import count_topologies
from acinus.study.external_model import choose_external_model, read_external_choice
from acinus.study.folders import RunFolder
from acinus.study.schema import CostSettings, Topology, read_study

STUDIES = Path(__file__).parents[2] / "studies"

FOLDS = {0: {"a": 3, "b": 4}, 1: {"c": 5, "d": 6}, 2: {"e": 2, "f": 2}}
"""Fold to its validation cases, and how many of 6 drawn voxels were found in each."""


def save(path: Path, n: int) -> Path:
    array = np.zeros((6, 2, 2), np.uint8)
    array[:n, 0, 0] = 1
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)
    return path


@pytest.fixture
def arm(tmp_path: Path) -> tuple[Any, Any]:
    """A job and plan, as far as the choice looks at them."""
    folder = RunFolder(tmp_path)
    cases = {
        fold: tuple(
            SimpleNamespace(case_id=name, label=save(tmp_path / "drawn" / f"{name}.nii.gz", 6))
            for name in found
        )
        for fold, found in FOLDS.items()
    }
    for found in FOLDS.values():
        for name, n in found.items():
            save(folder.predictions("validation") / f"{name}.nii.gz", n)
    job = SimpleNamespace(
        dataset=SimpleNamespace(values={"ball": (1,)}, ignore_label=None, annotated={}),
        split=SimpleNamespace(cases=lambda dataset, part, fold: cases[fold]),
        folder=folder,
        external_model="best_fold",
    )
    return job, SimpleNamespace(folds_to_train=(0, 1, 2))


def test_the_best_fold_of_cross_validation_segments_external_cases(arm: tuple[Any, Any]) -> None:
    job, plan = arm
    choice = choose_external_model(job, plan)
    dice = {
        fold: np.mean([2 * n / (6 + n) for n in found.values()]) for fold, found in FOLDS.items()
    }
    assert choice.folds == (1,)
    assert choice.validation_dice == pytest.approx(dice)
    assert choice.words == (
        "the network of fold 2 of 3, the best in cross-validation "
        f"(mean Dice {dice[1]:.3f} on its own validation cases)"
    )
    assert read_external_choice(job.folder) == choice
    data = json.loads(job.folder.external_model.read_text())
    assert data["external_model"] == "best_fold" and data["folds"] == [1]


def test_all_folds_segment_them_unless_the_best_is_asked_for(arm: tuple[Any, Any]) -> None:
    job, plan = arm
    job.external_model = "folds_mean"
    assert choose_external_model(job, plan).folds == (0, 1, 2)
    assert read_external_choice(job.folder).words == "the mean of all networks of the arm"
    job.folder.external_model.write_text('{"folds": 3}')
    with pytest.raises(PlanError, match="must say which folds segmented the external cases"):
        read_external_choice(job.folder)
    job.folder.external_model.unlink()
    assert read_external_choice(job.folder).words == "the mean of all networks of the arm"


def test_the_published_networks_stand_beside_those_of_the_study() -> None:
    study = read_study(STUDIES / "pansegnet.yaml")
    assert study.split.external_model == "best_fold"
    counted = count_topologies(study.cost)
    whole, alone = counted
    assert (whole["network"], whole["parameters"]) == ("PanSegNet", 43_921_312)
    assert (alone["network"], alone["parameters"]) == ("nnU-Net", 30_968_928)
    assert round(whole["as_in_table_5_training"] / 1e9, 4) == 552.3234
    assert round(alone["as_in_table_5"] / 1e9, 4) == 549.5976
    assert round(alone["as_in_table_5_training"] / 1e9, 4) == 549.6821
    assert cost_table([], counted, study.published).empty  # nothing to stand beside
    folder = SimpleNamespace(predictions_table=Path("none"), cost=Path("none"))
    job = SimpleNamespace(folder=folder, model="benchmark=PanSegNet", name="T1W")
    assert cost_table([job], counted, study.published).empty


def test_a_topology_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown network 'pansegnat'"):
        Topology(network="pansegnat", patch_vox=(32, 32, 32))
    wrong = CostSettings(topologies={"A": Topology(network="unet_2d", patch_vox=(33, 32))})
    with pytest.raises(ConfigError, match=r"cost\.topologies\.A: patch_vox"):
        count_topologies(wrong)
