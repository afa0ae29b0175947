"""What a network costs, as Python and the command line say it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import acinus
from acinus.cli import main
from acinus.errors import ConfigError, DataError
from acinus.predict import weight_name, write_model
from acinus.predict.folder import EnsembleCard, MemberFolder
from acinus.study import profile
from acinus.train.build import seeded_network
from made_plan import made_plan

QUICK: dict[str, Any] = {"runs": 2, "warm_up": 1, "device": "cpu", "precision": "float32"}
SMALL = ("network.config.features=[2, 4]",)

PUBLISHED = (
    "network.config={features: [32, 64, 128, 256, 320, 320], "
    "kernels: [[1, 3, 3], [1, 3, 3], [3, 3, 3]], "
    "strides: [[1, 1, 1], [1, 2, 2], [1, 2, 2], [2, 2, 2]]}"
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder of a model of two folds that nobody trained."""
    plan = made_plan()
    for fold in (0, 1):
        file = tmp_path / "model" / weight_name(fold)
        file.parent.mkdir(parents=True)
        weights = seeded_network(plan, fold).state_dict()
        save_file({name: weight.contiguous() for name, weight in weights.items()}, file)
    write_model(tmp_path / "model", plan, (0, 1), {}, n_training_cases=1, n_training_participants=1)
    return tmp_path / "model"


def test_a_recipe_has_its_patch_and_network() -> None:
    found = acinus.profile_network("unet-2d", **QUICK)
    assert (found.kind, found.network) == ("recipe", "unet_2d")
    assert found.input_shape == (1, 1, 128, 128)
    assert found.n_parameters == 1_942_306
    assert found.weights_bytes > 4 * found.n_parameters  # with the buffers of its normalisations
    assert found.all_heads is None
    took = found.seconds
    assert (took.n_runs, took.n_warm_up) == (2, 1)
    assert 0 < took.smallest <= took.median <= took.largest
    assert took.sd is not None
    assert found.device == "cpu"
    assert found.gpu_peak_bytes is None
    assert found.threads == torch.get_num_threads()


def test_a_network_by_name_with_changes_of_its_own() -> None:
    found = acinus.profile_network(
        "plain_unet",
        patch=(8, 8, 8),
        batch=2,
        channels=3,
        classes=4,
        settings=("network.config={features: [2, 4, 8], deep_supervision: true}",),
        **{**QUICK, "runs": 1},
    )
    assert found.input_shape == (2, 3, 8, 8, 8)
    assert found.n_classes == 4
    assert found.seconds.sd is None
    assert found.all_heads is not None
    coarse = 2 * 4**3 * 4 * 4  # images, voxels, features, classes
    assert found.all_heads.multiply_adds - found.operations.multiply_adds == coarse


def test_the_recipe_of_the_paper_gives_its_table(monkeypatch: pytest.MonkeyPatch) -> None:
    took = profile.Seconds(1, 0, 0.1, 0.1, None, 0.1, 0.1)
    monkeypatch.setattr(profile, "_time", lambda *_args: (took, None))
    found = acinus.profile_network(
        "pansegnet-3d", patch=(32, 224, 224), settings=(PUBLISHED,), **QUICK
    )
    assert found.n_parameters == 43_921_312
    assert found.all_heads is not None
    text = acinus.profile_text(found)
    assert "552.3234 G as in Table 5" in text
    assert "43,921,312" in text
    alone = acinus.profile_network(
        "pansegnet-3d",
        patch=(32, 224, 224),
        settings=(PUBLISHED.replace("{", "{attention: none, "),),
        **QUICK,
    )
    assert "As in Table 5:  549.5976 G" in acinus.profile_text(alone)


def test_a_model_folder_has_its_plan_and_weights(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["profile", str(model), "--runs", "2", "--warm-up", "0", "--device", "cpu", "--json"]
    assert main(words) == 0
    captured = capsys.readouterr()
    assert "Timing" in captured.err
    data = json.loads(captured.out)
    assert (data["kind"], data["network"], data["n_networks"]) == ("model", "unet_2d", 2)
    assert data["input_shape"] == [1, 1, 16, 16]
    assert data["n_classes"] == 3
    assert data["n_parameters"] == sum(data["parameters"].values())
    operations = data["operations"]
    assert operations["flops"] == (
        2 * operations["multiply_adds"] + operations["norm_flops"] + operations["other_flops"]
    )
    assert sum(operations["multiply_adds_by_part"].values()) == operations["multiply_adds"]
    assert data["seconds"]["n_runs"] == 2
    assert {"torch", "acinus"} <= set(data["versions"])
    assert main([*words[:-1], "--patch", "32,32"]) == 0
    out = capsys.readouterr().out
    assert "1 × 32×32 voxels" in out
    assert "This model has 2 networks" in out
    for word in ("whole", "FLOPs:", "Memory:", "Time:", "2 runs after 0", "Machine:", "Versions:"):
        assert word in out


@pytest.mark.parametrize(
    ("words", "sentences"),
    [
        (["pansegnt-3d"], ["unknown model folder, recipe or network", "Did you mean 'panseg"]),
        (["unet-2d", "--patch", "60,64"], ["--patch must be divisible", "Nearest valid: (64, 64)"]),
        (["unet-2d", "--patch", "64,64,64"], ["--patch must have 2 axes"]),
        (
            ["unet-2d", "--patch", "64x64"],
            ["--patch must be two or three whole numbers", "'64x64'"],
        ),
        (["nnunet-3d"], ["--patch must be given: recipe 'nnunet-3d'", "--patch 64,64,64"]),
        (["unet_2d"], ["--patch must be given: network 'unet_2d'", "--patch 256,256"]),
        (["plain_unet", "--patch", "16,16,16"], ["more than one voxel", "(32, 32, 32)"]),
        (["unet-2d", "--runs", "0"], ["--runs must be at least 1; got 0."]),
        (["unet-2d", "--batch", "0"], ["--batch must be at least 1; got 0."]),
        (["unet-2d", "--channels", "0"], ["at least 1 channel"]),
        (["unet-2d", "--set", "network.config.featurs=[2, 4]"], ["featurs"]),
        (
            ["unet-2d", "--patch", "8192,8192", "--batch", "4000", "--device", "cpu"],
            ["memory of the device 'cpu'", "4000 × 8192×8192 voxels", "GB are free"],
        ),
    ],
)
def test_bad_input_is_one_sentence(
    words: list[str], sentences: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    for sentence in sentences:
        assert sentence in captured.err


def test_a_model_keeps_its_own_channels(model: Path) -> None:
    with pytest.raises(ConfigError, match="--channels, --classes and --set go with a recipe"):
        acinus.profile_network(model, channels=2, **QUICK)


def test_an_ensemble_is_profiled_model_by_model(model: Path) -> None:
    card = EnsembleCard(members=(MemberFolder(folder="members/a", plan_hash="0"),), postprocess={})
    (model / "ensemble.json").write_text(card.model_dump_json(), encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"an ensemble must be profiled model by model; give one of .*members"
    ):
        acinus.profile_network(model, **QUICK)


def test_memory_that_runs_out_on_the_way_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: Any) -> Any:
        raise RuntimeError("[enforce fail] can't allocate memory: 9 bytes")

    monkeypatch.setattr(profile, "_time", fail)
    with pytest.raises(DataError, match=r"about 0\.0 GB; it does not suffice"):
        acinus.profile_network("unet-2d", settings=SMALL, **QUICK)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_says_what_it_allocated() -> None:
    found = acinus.profile_network("unet-2d", **{**QUICK, "device": "cuda"})
    assert found.gpu_peak_bytes is not None
    assert found.gpu_peak_bytes > found.weights_bytes
    assert found.device.startswith("cuda, ")
