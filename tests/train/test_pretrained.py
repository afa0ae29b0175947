"""Weights of another model: what fits is loaded, what does not is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from acinus.errors import PlanError
from acinus.networks import SegmentationNetwork, build_network
from acinus.train.pretrained import load_what_fits


def network_of(seed: int = 0, **changes: Any) -> SegmentationNetwork:
    facts = {"n_channels": 1, "n_classes": 3, "features": [4, 8], **changes}
    return build_network("unet_2d", {"features": facts.pop("features")}, seed=seed, **facts)


def write_model(folder: Path, networks: dict[int, SegmentationNetwork]) -> Path:
    for fold, network in networks.items():
        (folder / f"fold_{fold}").mkdir(parents=True)
        weights = {key: value.contiguous() for key, value in network.state_dict().items()}
        save_file(weights, folder / f"fold_{fold}" / "weights.safetensors")
    return folder


def assert_same(ours: SegmentationNetwork, theirs: SegmentationNetwork) -> None:
    for key, value in ours.state_dict().items():
        assert torch.equal(value, theirs.state_dict()[key]), key


def test_the_same_network_is_loaded_whole(tmp_path: Path) -> None:
    given, own = network_of(1), network_of(2)
    said = load_what_fits(own, write_model(tmp_path, {0: given}), 0)
    n = len(own.state_dict())
    assert said == f"{n} of {n} weights from {tmp_path} (100% by size)."
    assert_same(own, given)


def test_a_fold_takes_its_own_weights_or_those_of_the_first(tmp_path: Path) -> None:
    given = {0: network_of(1), 3: network_of(3)}
    model = write_model(tmp_path, given)
    for fold, expected in ((3, 3), (0, 0), (7, 0)):
        own = network_of(9)
        load_what_fits(own, model, fold)
        assert_same(own, given[expected])


def test_other_labels_and_channels_are_drawn_anew_and_named(tmp_path: Path) -> None:
    given, own, untouched = (
        network_of(1),
        network_of(2, n_classes=5, n_channels=2),
        network_of(2, n_classes=5, n_channels=2),
    )
    said = load_what_fits(own, write_model(tmp_path, {0: given}), 0)
    state, before, other = own.state_dict(), untouched.state_dict(), given.state_dict()
    skipped = [key for key in state if state[key].shape != other[key].shape]
    assert {key.split(".")[0] for key in skipped} == {"encoder", "head"}
    assert said.startswith(f"{len(state) - len(skipped)} of {len(state)} weights from {tmp_path} (")
    for key in skipped:
        assert f"{key} (here {tuple(state[key].shape)}, there {tuple(other[key].shape)})" in said
        assert torch.equal(state[key], before[key])
    for key in state.keys() - set(skipped):
        assert torch.equal(state[key], other[key])


def test_a_deeper_network_takes_the_levels_that_are_there(tmp_path: Path) -> None:
    own = network_of(2, features=[4, 8, 16])
    said = load_what_fits(own, write_model(tmp_path, {0: network_of(1)}), 0)
    assert "there absent)" in said
    assert torch.equal(
        own.state_dict()["encoder.0.0.weight"], network_of(1).state_dict()["encoder.0.0.weight"]
    )


def test_a_shallower_network_names_what_it_leaves_behind(tmp_path: Path) -> None:
    said = load_what_fits(
        network_of(1), write_model(tmp_path, {0: network_of(2, features=[4, 8, 16])}), 0
    )
    assert "encoder.2" in said and "here absent)" in said


def test_nothing_that_fits_is_refused(tmp_path: Path) -> None:
    model = write_model(tmp_path, {0: network_of(1)})
    with pytest.raises(PlanError, match=r"must share weights with this plan's network; 0% of"):
        load_what_fits(torch.nn.Conv2d(1, 2, 3), model, 0)


def test_a_folder_without_weights_or_with_damaged_ones_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError) as error:
        load_what_fits(network_of(), tmp_path / "nowhere", 0)
    assert str(error.value) == (
        f"{tmp_path / 'nowhere'}: train.pretrained must be a model folder with "
        "fold_K/weights.safetensors; there is none. A run's model lies in RUN/model."
    )
    model = write_model(tmp_path / "model", {0: network_of(1)})
    file = model / "fold_0" / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:200])
    own = network_of(2)
    with pytest.raises(PlanError, match=r"must be whole weights; .* Copy the model again\."):
        load_what_fits(own, model, 0)
    assert_same(own, network_of(2))


def test_a_network_of_another_width_is_no_beginning(tmp_path: Path) -> None:
    """Biases and counts of batches fit any width: that is nothing to begin with."""
    given, own = network_of(1, features=[4, 8]), network_of(2, features=[6, 12])
    with pytest.raises(PlanError, match=r"0% of those of its layers fit, at least 5% must"):
        load_what_fits(own, write_model(tmp_path, {0: given}), 0)
