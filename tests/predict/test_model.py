"""A model in memory: the grid of its input, threads, and folders that are not as they were."""

from __future__ import annotations

import hashlib
import json
import pickle
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import save_file
from scipy import ndimage

import acinus
from acinus import progress
from acinus.errors import ConfigError, DataError, GridError, PlanError
from acinus.predict import Model, load_model
from acinus.scans import Volume
from acinus.study import plan_dataset, train_run
from tiny_cohort import QUICK, affine_of, dice, head, make_dataset

CODES = ("RAS", "LPS", "LAS", "RPI", "SAR", "ASL", "PIR", "IRP")

WEIGHTS = "fold_0/weights.safetensors"


@pytest.fixture(scope="module")
def model(model_folder: Path) -> Model:
    return load_model(model_folder)


def a_head(seed: int = 7) -> tuple[Volume, np.ndarray]:
    image, label = head(np.random.default_rng(seed))
    return Volume(image, affine_of()), label


def reoriented(array_zyx: np.ndarray, affine: np.ndarray, code: str) -> nib.Nifti1Image:
    """A canonical array in another order of its axes, by nibabel."""
    image = nib.Nifti1Image(array_zyx.T, affine)
    wanted = nib.orientations.axcodes2ornt(code)
    return image.as_reoriented(
        nib.orientations.ornt_transform(nib.orientations.io_orientation(affine), wanted)
    )


def as_volume(image: nib.Nifti1Image) -> Volume:
    return Volume(np.asarray(image.dataobj).T, image.affine)


def test_it_finds_what_it_learned(model: Model) -> None:
    volume, label = a_head()
    predicted = model.predict(volume).array
    assert dice(predicted == 1, label == 1) > 0.8
    assert dice(predicted == 2, label == 2) > 0.8


@pytest.mark.parametrize("code", CODES)
def test_the_label_map_lies_on_the_grid_of_its_input(model: Model, code: str) -> None:
    volume, _ = a_head()
    plain = model.predict(volume)
    turned = as_volume(reoriented(volume.array, volume.affine, code))
    predicted = model.predict(turned)
    assert predicted.shape == turned.shape
    np.testing.assert_array_equal(predicted.affine, turned.affine)
    expected = reoriented(plain.array, plain.affine, code)
    np.testing.assert_array_equal(predicted.array, np.asarray(expected.dataobj).T)


@pytest.mark.parametrize("code", ["RAS", "PIR"])
def test_oblique_axes_are_kept(model: Model, code: str) -> None:
    volume, label = a_head()
    a, b = np.deg2rad([17.0, -9.0])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    turn = np.eye(4)
    turn[:3, :3] = about_x @ about_z
    turn[:3, 3] = (12.3, -45.6, 78.9)
    image = reoriented(volume.array, volume.affine, code)
    oblique = Volume(np.asarray(image.dataobj).T, turn @ image.affine)
    predicted = model.predict(oblique)
    np.testing.assert_array_equal(predicted.affine, oblique.affine)
    expected = np.asarray(reoriented(label, volume.affine, code).dataobj).T
    assert dice(predicted.array > 0, expected > 0) > 0.8


@pytest.mark.parametrize("shape", [(1, 5, 5), (3, 60, 9), (2, 48, 48), (1, 1, 1)])
def test_a_volume_smaller_than_a_patch_is_segmented(model: Model, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    predicted = model.predict(Volume(rng.normal(size=shape).astype(np.float32), affine_of(shape)))
    assert predicted.shape == shape
    assert set(np.unique(predicted.array)) <= {0, 1, 2}


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64])
def test_the_type_of_the_voxels_says_nothing(model: Model, dtype: type) -> None:
    volume, _ = a_head()
    array = np.clip(np.rint(volume.array), 0, 255)
    plain = model.predict(Volume(array.astype(np.float32), volume.affine))
    other = model.predict(Volume(array.astype(dtype), volume.affine))
    np.testing.assert_array_equal(other.array, plain.array)


AUDITED: list[str] = []
AUDIT_IS_ON = [False]


def audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Python's own record of files opened for writing and of processes started."""
    if not AUDIT_IS_ON[0]:
        return
    started = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system")
    is_written = event == "open" and any(letter in str(arguments[1] or "r") for letter in "wax+")
    if event in started or is_written or event in ("os.mkdir", "os.rename", "os.remove"):
        AUDITED.append(f"{event} {arguments[:2]}")


def test_prediction_writes_no_file_and_starts_no_process(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(path.stat().st_mtime_ns for path in model_folder.rglob("*"))
    children = {child.pid for child in psutil.Process().children(recursive=True)}
    volume, _ = a_head()
    sys.addaudithook(audit)
    AUDITED.clear()
    AUDIT_IS_ON[0] = True
    try:
        acinus.load_model(model_folder).predict(volume)
    finally:
        AUDIT_IS_ON[0] = False
    assert AUDITED == []
    assert list(tmp_path.iterdir()) == []
    assert sorted(path.stat().st_mtime_ns for path in model_folder.rglob("*")) == before
    assert {child.pid for child in psutil.Process().children(recursive=True)} == children


def test_several_threads_get_what_one_gets(model: Model) -> None:
    volumes = [a_head(seed)[0] for seed in range(8)]
    alone = [model.predict(volume).array for volume in volumes]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda volume: model.predict(volume).array, volumes * 2))
    for number, array in enumerate(together):
        np.testing.assert_array_equal(array, alone[number % len(volumes)])


def test_prediction_leaves_global_state_of_torch_alone(model: Model) -> None:
    volume, _ = a_head()
    torch.manual_seed(5)
    before = (torch.get_rng_state(), torch.get_num_threads(), torch.is_grad_enabled())
    model.predict(volume)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == before[1:]
    assert not any(parameter.grad is not None for parameter in model.networks[0].parameters())


def test_the_number_of_channels_must_fit(model: Model) -> None:
    volume, _ = a_head()
    with pytest.raises(DataError, match=r"needs 1 channel\(s\) \(T1\).*got 2"):
        model.predict([volume, volume])
    with pytest.raises(DataError, match="at least one of the channels"):
        model.predict([None])


def test_voxels_must_be_finite(model: Model) -> None:
    volume, _ = a_head()
    array = volume.array.copy()
    array[0, 0, :3] = np.nan
    with pytest.raises(DataError, match=r"'T1'.*finite; 3 of 23040 are not"):
        model.predict(Volume(array, volume.affine))


def test_channels_must_lie_on_one_grid(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with progress.quiet():
        dataset = make_dataset(tmp_path / "Dataset002_Two", n_channels=2)
        plan_dataset(dataset, out=run, settings=QUICK, folds=1, budget="2steps")
        train_run(run)
    model = load_model(run / "model")
    volume, _ = a_head()
    assert model.predict([volume, volume]).shape == volume.shape
    with pytest.raises(DataError, match="channel 'T2' must be there and is missing"):
        model.predict([volume, None])
    with pytest.raises(DataError, match="needs 2 channel"):
        model.predict(volume)
    moved = Volume(volume.array, affine_of(spacing_zyx=(3.0, 1.0, 1.1)))
    with pytest.raises(GridError):
        model.predict([volume, moved])


def test_post_processing_can_be_switched(model: Model) -> None:
    keep_all = model.cleanings("largest_component")
    assert set(keep_all) == {1, 2}
    assert all(cleaning.keep_largest for cleaning in keep_all.values())
    assert model.cleanings("none") == {}
    assert set(model.cleanings("plan")) == {1, 2}
    volume, _ = a_head()
    image = volume.array.copy()
    # A second bright spot on the right, apart from the gland.
    image[1:4, 8:14, 32:38] += 90
    largest = model.predict(Volume(image, volume.affine), postprocess="largest_component")
    everything = model.predict(Volume(image, volume.affine), postprocess="none")
    for value in (1, 2):
        assert ((largest.array == value) <= (everything.array == value)).all()
        assert n_components(largest.array == value) <= 1


def n_components(mask: np.ndarray) -> int:
    """Connected parts with 26 neighbours, by scipy."""
    return int(ndimage.label(mask, np.ones((3, 3, 3)))[1])


def remove(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def cut(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[:-9])


def flip_a_bit(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-5] ^= 1
    (folder / WEIGHTS).write_bytes(bytes(data))


def change_seed(folder: Path) -> None:
    text = (folder / "plan.yaml").read_text()
    (folder / "plan.yaml").write_text(text.replace("seed: 2018", "seed: 2019"))


def remove_plan(folder: Path) -> None:
    (folder / "plan.yaml").unlink()


def break_card(folder: Path) -> None:
    (folder / "model.json").write_text("{")


def empty_card(folder: Path) -> None:
    (folder / "model.json").write_text('{"format": 2}')


def list_card(folder: Path) -> None:
    (folder / "model.json").write_text("[]")


def later_card(folder: Path) -> None:
    edit_card(folder, format=99, acinus="9.1.0")


def earlier_card(folder: Path) -> None:
    edit_card(folder, format=1)


def remove_card(folder: Path) -> None:
    (folder / "model.json").unlink()


def edit_card(folder: Path, **changes: Any) -> None:
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**card, **changes}))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (remove, [WEIGHTS, "weights of fold 0 must be here and are missing", "Copy"]),
        (cut, [WEIGHTS, "SHA-256", "altered or damaged", "Copy it again"]),
        (flip_a_bit, [WEIGHTS, "SHA-256", "altered or damaged"]),
        (change_seed, ["plan.yaml", "must be the plan that the model was trained by", "altered"]),
        (remove_plan, ["plan.yaml", "must be here and is missing", "Copy the model folder whole"]),
        (break_card, ["model.json", "must be a readable JSON file"]),
        (empty_card, ["model.json", "'plan_hash' must be given and is missing"]),
        (list_card, ["model.json", "format 2", "got 'list'"]),
        (later_card, ["model.json", "format 2; got 99", "by Acinus 9.1.0", "Update Acinus"]),
        (earlier_card, ["model.json", "format 2; got 1", "Train the model again"]),
        (remove_card, ["must be a model folder with model.json", "RUN/model"]),
    ],
)
def test_a_folder_that_is_not_as_it_was_is_refused(
    copied_model: Callable[[], Path], damage: Callable[[Path], None], words: list[str]
) -> None:
    folder = copied_model()
    damage(folder)
    with pytest.raises(acinus.AcinusError) as caught:
        load_model(folder)
    assert str(folder) in str(caught.value)
    for word in words:
        assert word in str(caught.value)


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_a_pickle_in_place_of_the_weights_is_never_opened(
    copied_model: Callable[[], Path], tmp_path: Path
) -> None:
    folder = copied_model()
    junk = pickle.dumps({"weights": Bomb(tmp_path / "exploded")})
    (folder / WEIGHTS).write_bytes(junk)
    with pytest.raises(PlanError, match="altered or damaged"):
        load_model(folder)
    edit_card(
        folder,
        weights=[{"fold": 0, "file": WEIGHTS, "sha256": hashlib.sha256(junk).hexdigest()}],
    )
    with pytest.raises(PlanError, match="must hold the weights of this plan's network"):
        load_model(folder)
    assert not (tmp_path / "exploded").exists()


def test_weights_of_another_network_are_named(copied_model: Callable[[], Path]) -> None:
    folder = copied_model()
    save_file({"other.weight": torch.zeros(3)}, folder / WEIGHTS)
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    edit_card(folder, weights=[{"fold": 0, "file": WEIGHTS, "sha256": digest}])
    with pytest.raises(PlanError, match=r"must hold the weights of this plan's network.*Missing"):
        load_model(folder)


def test_a_fold_that_was_not_trained_is_refused(model_folder: Path) -> None:
    with pytest.raises(PlanError, match=r"folds must be among fold_0; asked for fold_3"):
        load_model(model_folder, folds=[3])
    with pytest.raises(PlanError, match=r"asked for none"):
        load_model(model_folder, folds=[])


def test_mirroring_can_be_asked_for(model_folder: Path) -> None:
    for asked, expected in ((None, False), (True, True), (False, False)):
        loaded = load_model(model_folder, mirroring=asked)
        assert loaded.plan.settings.predict.use_mirroring is expected


def test_with_mirroring_a_mirrored_head_has_the_mirrored_labels(model_folder: Path) -> None:
    """Whatever the network has learned: it is the same average, with the sides swapped."""
    mirrored = load_model(model_folder, mirroring=True)
    volume, _ = a_head()
    found = mirrored.predict(volume, postprocess="none").array
    turned = replace(volume, array=np.ascontiguousarray(volume.array[..., ::-1]))
    again = mirrored.predict(turned, postprocess="none").array[..., ::-1]
    assert {1, 2} <= set(np.unique(found))
    # Of two nearly equal probabilities rounding may choose.
    assert np.mean(np.array([0, 2, 1])[again] != found) < 1e-3


def test_an_unknown_precision_is_named(model_folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown precision 'half'\. Known: auto, bfloat16"):
        load_model(model_folder, precision="half")


def test_the_folder_of_a_run_is_told_from_its_model(model_folder: Path) -> None:
    with pytest.raises(PlanError) as caught:
        load_model(model_folder.parent)
    assert f"Give {model_folder}." in str(caught.value)
