"""Models of several plans together: averaged on the native grid, chosen on validation."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

import acinus
from acinus import progress
from acinus.errors import ConfigError, DataError, PlanError
from acinus.plan import Plan
from acinus.predict import Cleaning, class_maps, load_model, predict_paths, predict_prepared
from acinus.predict.average import average_members, average_subsets
from acinus.predict.ensemble import (
    choose_ensemble,
    member_names,
    refuse_other_folder,
    singles_and_pairs,
    write_ensemble,
)
from acinus.prepare import prepare_case
from acinus.scans import Volume
from acinus.study import ensemble_runs, plan_dataset, train_run
from made_plan import made_plan, unread_dataset
from tiny_cohort import QUICK, affine_of, dice, head, make_dataset, save

SHAPE = (12, 24, 20)


def plan_of(spacing_mm: float, average: str = "probs", **prepare: Any) -> Plan:
    """A plan for volumes at one spacing, tiles of (8, 16, 16)."""
    return made_plan(
        {
            "network": {"name": "unet_3d", "config": {"features": [4, 8]}},
            "prepare": {"slice_axis": "Z", "spacing_mm": [spacing_mm] * 3, **prepare},
            "train": {"patch_vox": [8, 16, 16], "precision": "float32"},
            "predict": {"average": average},
        }
    )


def pointwise(seed: int) -> nn.Module:
    """Three logits of each voxel by itself."""
    network = nn.Conv3d(1, 3, 1)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        network.weight.normal_(0, 2, generator=generator)
        network.bias.normal_(0, 0.5, generator=generator)
    return network.eval()


def smooth(seed: int = 0) -> Volume:
    coarse = torch.randn(1, 1, 4, 6, 5, generator=torch.Generator().manual_seed(seed))
    image = interpolate(coarse, SHAPE, mode="trilinear", align_corners=False)[0, 0]
    return Volume(image.numpy(), affine_of(SHAPE, (1.0, 1.0, 1.0)))


def entry(network: nn.Module, plan: Plan, image: Volume) -> Any:
    return [network], plan, prepare_case([image], plan.settings.prepare)


def native_probs(network: nn.Module, plan: Plan, image: Volume) -> torch.Tensor:
    """(K, Z, Y, X) by torch's own interpolation."""
    prepared = prepare_case([image], plan.settings.prepare)
    maps = torch.cat([slab.maps for slab in class_maps([network], plan, prepared)], dim=1)
    return interpolate(maps[None], SHAPE, mode="trilinear", align_corners=False)[0]


def test_models_of_other_spacings_are_averaged_on_the_native_grid() -> None:
    image = smooth()
    models = [
        (pointwise(1), plan_of(1.0)),
        (pointwise(2), plan_of(2.0)),
        (pointwise(3), plan_of(1.5)),
    ]
    entries = [entry(network, plan, image) for network, plan in models]
    subsets = [(0,), (1,), (0, 2), (0, 1, 2)]
    probs = [native_probs(network, plan, image) for network, plan in models]
    for subset, found in zip(subsets, average_subsets(entries, subsets), strict=True):
        mean = torch.stack([probs[index] for index in subset]).mean(0)
        top = mean.sort(dim=0, descending=True).values
        clear = (top[0] - top[1] > 1e-4).numpy()  # voxels in which rounding cannot decide
        assert clear.mean() > 0.99
        np.testing.assert_array_equal(found.array[clear], mean.argmax(0).numpy()[clear])
        np.testing.assert_array_equal(found.affine, image.affine)
    together = average_members(entries)
    np.testing.assert_array_equal(together.array, average_subsets(entries, subsets)[-1].array)


def test_alike_plans_give_what_folds_of_one_model_give() -> None:
    image, plan = smooth(4), plan_of(1.5)
    networks = [pointwise(1), pointwise(2)]
    prepared = prepare_case([image], plan.settings.prepare)
    folds = predict_prepared(networks, plan, prepared)
    members = average_members([entry(network, plan, image) for network in networks])
    assert (folds.array == members.array).mean() > 0.999
    alone = predict_prepared(networks[:1], plan, prepared)
    twice = average_members([entry(networks[0], plan, image)] * 2)
    np.testing.assert_array_equal(alone.array, twice.array)


def test_a_model_that_averages_logits_joins_with_its_probabilities() -> None:
    image = smooth(5)
    networks = [pointwise(1), pointwise(2)]
    plans = [plan_of(1.0), plan_of(1.0, "logits")]
    entries = [entry(network, plan, image) for network, plan in zip(networks, plans, strict=True)]
    alike = [entry(network, plans[0], image) for network in networks]
    np.testing.assert_array_equal(average_members(entries).array, average_members(alike).array)


@pytest.mark.parametrize("average", ["probs", "logits"])
def test_what_a_member_cropped_away_is_background_to_it(average: str) -> None:
    """The other member decides there, if it is surer than this one is of the background."""
    array = smooth(6).array.copy()
    array[:3] = array[:, :5] = array[:, :, 17:] = 0
    image = Volume(array, affine_of(SHAPE, (1.0, 1.0, 1.0)))
    plain, cropping = plan_of(1.0), plan_of(1.0, average, crop_to_nonzero=True)
    one = nn.Conv3d(1, 3, 1)
    nn.init.zeros_(one.weight)
    with torch.no_grad():
        one.bias.copy_(torch.tensor([0.0, 9.0, 0.0]))
    sure = entry(one, plain, image)
    prepared = prepare_case([image], cropping.settings.prepare)
    assert prepared.image.shape[1:] == (9, 19, 17)
    alone, both = average_subsets([([one], cropping, prepared), sure], [(0,), (0, 1)])
    inside = np.zeros(SHAPE, bool)
    inside[3:, 5:, :17] = True
    np.testing.assert_array_equal(alone.array == 1, inside)
    np.testing.assert_array_equal(both.array == 1, inside)  # outside 0.5 each, and ties go to 0


def test_models_that_do_not_fit_together_are_named() -> None:
    image = smooth()
    other = made_plan(dataset=unread_dataset(channel_names=("T2",)))
    sliced = plan_of(1.0, slice_axis="X")
    first = entry(pointwise(1), plan_of(1.0), image)
    with pytest.raises(PlanError, match=r"same channels.*\('T1',\).*\('T2',\)"):
        average_members([first, (first[0], other, first[2])])
    with pytest.raises(PlanError, match=r"same axis of slices.*Z.*X"):
        average_members([first, (first[0], sliced, first[2])])


def test_the_highest_mean_dice_wins_and_of_equal_ones_the_smaller() -> None:
    found = choose_ensemble({("a",): 0.7, ("b",): 0.8, ("a", "b"): 0.81})
    assert found.members == ("a", "b")
    assert found.validation_dice == {"a": 0.7, "b": 0.8, "a + b": 0.81}
    assert choose_ensemble({("a", "b"): 0.8, ("a",): 0.7, ("b",): 0.8}).members == ("b",)
    assert choose_ensemble({("a",): None, ("b",): 0.1}).members == ("b",)
    with pytest.raises(DataError, match="only on validation cases in which a label occurs"):
        choose_ensemble({("a",): None})
    assert singles_and_pairs(3) == [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)]
    assert member_names([Path("x/run"), Path("y/run"), Path("z")]) == ["run-1", "run-2", "z"]
    # A name that a folder has already is given to no other one.
    names = member_names([Path("x/run-2"), Path("y/run"), Path("z/run")])
    assert names[0] == "run-2" and len(set(names)) == 3


@pytest.fixture
def ensemble(model_folder: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "both"
    members = {"first": model_folder, "second": model_folder}
    cleanings = {"gland_right": Cleaning(keep_largest=True, rule="test")}
    write_ensemble(folder, members, cleanings, validation_dice={"first": 0.9}, n_validation_cases=4)
    return folder


def test_an_ensemble_is_opened_like_any_model(
    ensemble: Path, model_folder: Path, tmp_path: Path
) -> None:
    image, _ = head(np.random.default_rng(7))
    scan = save(image, affine_of(), tmp_path / "scan.nii.gz")
    assert len(load_model(ensemble).members) == 2
    with progress.quiet():
        for name, folder in (("one", model_folder), ("both", ensemble)):
            predict_paths(folder, scan, tmp_path / name, postprocess="none")
    one, both = (nib.load(tmp_path / name / "scan.nii.gz").get_fdata() for name in ("one", "both"))
    np.testing.assert_array_equal(one, both)
    assert set(load_model(ensemble).cleanings("plan")) == {1}


def other_plan(folder: Path) -> None:
    card = json.loads((folder / "ensemble.json").read_text())
    card["members"][1]["plan_hash"] = "0" * 64
    (folder / "ensemble.json").write_text(json.dumps(card))


def later_format(folder: Path) -> None:
    card = json.loads((folder / "ensemble.json").read_text()) | {"format": 77}
    (folder / "ensemble.json").write_text(json.dumps(card))


def lost_member(folder: Path) -> None:
    shutil.rmtree(folder / "members" / "second")


def no_members(folder: Path) -> None:
    card = json.loads((folder / "ensemble.json").read_text()) | {"members": []}
    (folder / "ensemble.json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (other_plan, ["members/second", "the model that the ensemble was made of"]),
        (later_format, ["ensemble.json", "format 2; got 77"]),
        (lost_member, ["members/second", "model.json"]),
        (no_members, ["ensemble.json", "members"]),
    ],
)
def test_an_ensemble_that_is_not_as_it_was_is_refused(
    ensemble: Path, damage: Callable[[Path], None], words: list[str]
) -> None:
    damage(ensemble)
    with pytest.raises(acinus.AcinusError) as caught:
        load_model(ensemble)
    for word in words:
        assert word in str(caught.value)


def test_an_ensemble_takes_the_place_of_an_ensemble_only(
    ensemble: Path, model_folder: Path, tmp_path: Path
) -> None:
    again = {"alone": model_folder}
    write_ensemble(ensemble, again, {}, validation_dice={}, n_validation_cases=0)
    assert [path.name for path in (ensemble / "members").iterdir()] == ["alone"]
    other = tmp_path / "mine"
    other.mkdir()
    (other / "thesis.txt").write_text("years")
    with pytest.raises(PlanError, match=r"mine: must be a new folder or hold an ensemble"):
        write_ensemble(other, again, {}, validation_dice={}, n_validation_cases=0)
    with pytest.raises(PlanError, match="must be a model folder"):
        write_ensemble(
            ensemble, {"no": tmp_path / "no"}, {}, validation_dice={}, n_validation_cases=0
        )
    assert (other / "thesis.txt").read_text() == "years"
    assert load_model(ensemble)
    with pytest.raises(PlanError, match="it is a file"):
        refuse_other_folder(other / "thesis.txt")
    refuse_other_folder(tmp_path / "new")


VOLUMES = (
    "network={name: unet_3d, config: {features: [4, 8]}}",
    "train.patch_vox=[4, 16, 16]",
    "prepare.spacing_mm=[3.0, 1.5, 1.5]",
    "train.batch=4",
    "train.threads=1",
    "folds=2",
)


@pytest.mark.slow
def test_runs_of_slices_and_volumes_are_compared_and_joined(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "Dataset001_Balls")
    runs = [tmp_path / "slices", tmp_path / "volumes"]
    with progress.quiet():
        for run, settings in zip(runs, (QUICK, VOLUMES), strict=True):
            plan_dataset(dataset, out=run, settings=[*settings, "train.lr=0.01"], budget="40steps")
            train_run(run)
        outcome = ensemble_runs(runs, out=tmp_path / "both")
        assert set(outcome.choice.validation_dice) == {"slices", "volumes", "slices + volumes"}
        best = max(outcome.choice.validation_dice.values())
        assert outcome.choice.validation_dice[" + ".join(outcome.choice.members)] == best
        assert outcome.n_cases == 6  # of eight, two are held out
        model = load_model(outcome.folder)
        image, label = head(np.random.default_rng(7))
        found = model.predict(Volume(image, affine_of())).array
        assert found.shape == label.shape
        # The stored validation predictions of a run are those that its single score rests on.
        assert outcome.choice.validation_dice["slices"] == pytest.approx(
            stored_dice(runs[0], dataset), abs=0.005
        )
        shutil.rmtree(runs[1])
        other = make_dataset(tmp_path / "Dataset002_Others", seed=3)
        plan_dataset(other, out=runs[1], settings=QUICK, budget="4steps")
        with pytest.raises(PlanError, match="must be trained before it is compared"):
            ensemble_runs(runs, out=tmp_path / "both")
        train_run(runs[1])
        with pytest.raises(PlanError, match="must be a run on the dataset of"):
            ensemble_runs(runs, out=tmp_path / "both")
        with pytest.raises(ConfigError, match="at least two runs; got 1"):
            ensemble_runs(runs[:1], out=tmp_path / "both")


def stored_dice(run: Path, dataset: Path) -> float:
    """Mean over the labels of the mean Dice of the run's own validation label maps."""
    sums: dict[int, list[float]] = {1: [], 2: []}
    for path in sorted((run / "predictions" / "validation").glob("*.nii.gz")):
        ours = np.asarray(nib.load(path).dataobj)
        theirs = np.asarray(nib.load(dataset / "labelsTr" / path.name).dataobj)
        for value, scores in sums.items():
            scores.append(dice(ours == value, theirs == value))
    return float(np.mean([np.mean(scores) for scores in sums.values()]))
