"""A checkpoint is the whole state of a training, or a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from acinus.errors import PlanError
from acinus.plan.settings import TrainSettings
from acinus.train.build import build_optimiser, seeded_network
from acinus.train.checkpoint import load_checkpoint, save_checkpoint
from made_plan import made_plan

STATE: dict[str, Any] = {"plan": "abc", "epoch": 3, "elapsed_s": 1.5, "history": [{"epoch": 1}]}


def trained(optimiser: str, steps: int = 3) -> tuple[nn.Module, torch.optim.Optimizer]:
    network = seeded_network(made_plan(), 0)
    settings = TrainSettings(optimiser=optimiser)  # type: ignore[arg-type]
    made = build_optimiser(network, settings)
    advance(network, made, steps, seed=1)
    return network, made


def advance(network: nn.Module, optimiser: torch.optim.Optimizer, steps: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        optimiser.zero_grad()
        network(torch.randn(2, 1, 8, 8, generator=generator)).square().mean().backward()
        optimiser.step()


def weights(network: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in network.state_dict().items()}


def assert_equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        assert torch.equal(value, theirs[key]), key


@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd"])
def test_a_restored_training_goes_on_as_the_saved_one(tmp_path: Path, optimiser: str) -> None:
    network, made = trained(optimiser)
    averaged = {key: value * 0.5 for key, value in weights(network).items()}
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, network, made, averaged, STATE)
    other, other_made = trained(optimiser, steps=0)
    other_averaged = weights(other)
    assert load_checkpoint(path, other, other_made, other_averaged) == STATE
    assert_equal(weights(network), weights(other))
    assert other_averaged.keys() == averaged.keys()
    for key, value in averaged.items():
        assert torch.equal(other_averaged[key], value.to(other_averaged[key].dtype)), key
    advance(network, made, 4, seed=2)
    advance(other, other_made, 4, seed=2)
    assert_equal(weights(network), weights(other))


def test_a_training_that_has_made_no_step_can_be_saved(tmp_path: Path) -> None:
    network, made = trained("adamw", steps=0)
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, network, made, None, STATE)
    assert load_checkpoint(path, network, made, None) == STATE


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("not a checkpoint", encoding="utf-8")


def no_state(path: Path) -> None:
    save_file({"network/a": torch.zeros(2)}, path)


def other_network(path: Path) -> None:
    network = seeded_network(made_plan({"network": {"config": {"features": [4, 16]}}}), 0)
    save_checkpoint(path, network, build_optimiser(network, TrainSettings()), None, STATE)


@pytest.mark.parametrize("damage", [cut, empty, text, no_state, other_network])
def test_a_damaged_checkpoint_is_named_with_what_to_do(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    network, made = trained("adamw")
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, network, made, None, STATE)
    damage(path)
    with pytest.raises(PlanError) as error:
        load_checkpoint(path, network, made, None)
    message = str(error.value)
    assert message.startswith(f"{path}: must be a whole checkpoint of this plan's network; ")
    assert message.endswith("Delete the file to train this fold from its beginning.")
    assert "\n" not in message


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, made = trained("adamw")
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, network, made, None, STATE)
    before = path.read_bytes()

    def stop(tensors: object, file: Path, metadata: object = None) -> None:
        Path(file).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("acinus.train.checkpoint.save_file", stop)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, network, made, None, {**STATE, "epoch": 4})
    assert path.read_bytes() == before
    assert [child.name for child in tmp_path.iterdir()] == [path.name]
