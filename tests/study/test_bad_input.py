"""Bad input through the real command line: one clear sentence, the right exit status, nothing half.

Every sentence names the file, what must hold, what was found and what to do; a traceback
is shown with --debug alone.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from acinus.cli import main
from acinus.plan import parse_settings
from acinus.study import plan_dataset
from tiny_cohort import QUICK, affine_of, make_dataset, save

QUICK_WORDS = [word for setting in QUICK for word in ("--set", setting)]
STEPS = ["--budget", "40steps"]

Shown = pytest.CaptureFixture[str]


def refused(shown: Shown, words: list[object], *expected: object, status: int = 2) -> str:
    """Run a command that must be refused; returns what it said on standard error."""
    shown.readouterr()
    assert main([str(word) for word in words]) == status
    said = shown.readouterr().err
    assert "Traceback" not in said
    assert "fault of Acinus" not in said
    for text in expected:
        assert str(text) in said, said
    return said


@pytest.fixture
def faulty(dataset: Path, tmp_path: Path) -> Path:
    """A copy of the faultless dataset, to be damaged."""
    return Path(shutil.copytree(dataset, tmp_path / "Dataset001_Balls"))


# Datasets and files that cannot be used at all.


def test_a_dataset_that_is_none(tmp_path: Path, capsys: Shown) -> None:
    empty, texts, file = tmp_path / "empty", tmp_path / "texts", tmp_path / "file"
    empty.mkdir()
    texts.mkdir()
    (texts / "notes.txt").write_text("x")
    file.write_text("x")
    for command in ("run", "plan"):
        for place, found in (
            (empty, "it is empty"),
            (texts, "dataset.json"),
            (file, "got a file"),
            (tmp_path / "absent", "no such folder"),
        ):
            out = tmp_path / "out"
            refused(capsys, [command, place, "--out", out], place, "dataset.json", found)
            assert not (out / "plan.yaml").exists()
            refused(capsys, ["check", place], place, found)


def test_dataset_json_that_is_none(faulty: Path, tmp_path: Path, capsys: Shown) -> None:
    for text, found in (("{", "JSON"), ("[]", "dataset.json"), ('{"labels": {}}', "dataset.json")):
        (faulty / "dataset.json").write_text(text)
        refused(capsys, ["run", faulty, "--out", tmp_path / "out"], "dataset.json", found)


def truncate(folder: Path) -> str:
    path = folder / "imagesTr" / "p02_0000.nii.gz"
    path.write_bytes(path.read_bytes()[:4000])
    return "p02"


def text_named_nifti(folder: Path) -> str:
    (folder / "imagesTr" / "p02_0000.nii.gz").write_text("hello\n")
    return "p02"


def lose_an_image(folder: Path) -> str:
    (folder / "imagesTr" / "p02_0000.nii.gz").unlink()
    return "p02"


def change_image(folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> str:
    path = folder / "imagesTr" / "p02_0000.nii.gz"
    image = nib.load(path)
    array = np.asarray(image.dataobj).T.copy()
    save(change(array), image.affine, path)
    return "p02"


def not_finite(folder: Path) -> str:
    return change_image(folder, lambda array: np.where(array > 150, np.nan, array))


def constant(folder: Path) -> str:
    return change_image(folder, np.zeros_like)


def four_dimensional(folder: Path) -> str:
    return change_image(folder, lambda array: np.stack([array, array]))


def unknown_value(folder: Path) -> str:
    path = folder / "labelsTr" / "p02.nii.gz"
    array = np.asarray(nib.load(path).dataobj).T.copy()
    array[5, 20:24, 20:24] = 7
    save(array, affine_of(), path)
    return "p02"


def moved_label(folder: Path) -> str:
    path = folder / "labelsTr" / "p02.nii.gz"
    affine = affine_of()
    affine[0, 3] += 4
    save(np.asarray(nib.load(path).dataobj).T, affine, path)
    return "p02"


def swapped_sides(folder: Path) -> str:
    path = folder / "labelsTr" / "p02.nii.gz"
    array = np.asarray(nib.load(path).dataobj).T
    save(np.array([0, 2, 1], np.uint8)[array], affine_of(), path)
    return "p02"


def twin_images(folder: Path) -> str:
    shutil.copy(folder / "imagesTr" / "p01_0000.nii.gz", folder / "imagesTr" / "p02_0000.nii.gz")
    return "p02"


def label_nobody_has(folder: Path) -> str:
    header = json.loads((folder / "dataset.json").read_text())
    header["labels"]["chiasm"] = 3
    (folder / "dataset.json").write_text(json.dumps(header))
    return "chiasm"


def singular_affine(folder: Path) -> str:
    path = folder / "imagesTr" / "p02_0000.nii.gz"
    array = np.asarray(nib.load(path).dataobj)
    image = nib.Nifti1Image(array, None)
    image.header.set_sform(np.diag([1.0, 1.0, 0.0, 1.0]), code=1)
    image.header.set_qform(None, code=0)
    nib.save(image, path)
    return "p02"


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        text_named_nifti,
        lose_an_image,
        not_finite,
        constant,
        four_dimensional,
        unknown_value,
        moved_label,
        swapped_sides,
        twin_images,
        label_nobody_has,
        singular_affine,
    ],
)
def test_a_fault_found_by_check_blocks_the_run(
    faulty: Path, tmp_path: Path, capsys: Shown, damage: Callable[[Path], str]
) -> None:
    named = damage(faulty)
    out = tmp_path / "out"
    is_error = main(["check", str(faulty), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["findings"]
    assert any(named in f"{one['case']} {one['found']}" for one in found)
    assert all(one["remedy"] for one in found)
    assert is_error, found
    refused(capsys, ["run", faulty, "--out", out, *QUICK_WORDS, *STEPS], faulty, named)
    assert not (out / "plan.yaml").exists()
    assert not (out / "model").exists()


# Words of the command line, recipes and studies.


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--recipe", "unet-2"], ["--recipe", "unknown recipe 'unet-2'", "'unet-2d'?"]),
        (["--set", "train.lrr=1"], ["unknown key 'train.lrr'", "Did you mean 'lr'?"]),
        (["--set", "trian.lr=1"], ["unknown key 'trian'", "Did you mean 'train'?"]),
        (["--set", "train.lr"], ["key=value", "got 'train.lr'"]),
        (["--set", "train.lr=fast"], ["'train.lr'", "must be a valid number", "got 'fast'"]),
        (["--set", "loss=dise"], ["unknown loss 'dise'", "Did you mean 'dice'?"]),
        (["--set", "sampling=regin"], ["unknown sampling 'regin'", "Did you mean 'region'?"]),
        (["--set", "loss.config={smoth: 1}"], ["loss 'dice_ce'", "Did you mean 'smooth'?"]),
        (["--set", "folds=20"], ["in each of 20 folds", "Use fewer folds"]),
        (["--budget", "15"], ["--budget must be a time such as 90s", "got '15'"]),
        (["--budget", "0steps"], ["--budget must be", "got '0steps'"]),
        (["--folds", "0"], ["--folds", "greater than or equal to 1", "got 0"]),
        (["--seed", "-1"], ["--seed", "greater than or equal to 0", "got -1"]),
        (["--holdout", "8"], ["8 wanted", "Ask for fewer"]),
        (["--holdout", "1.5"], ["--holdout must be a whole number", "got 1.5"]),
        (["--recepie", "unet-2d"], ["--recepie", "acinus run --help"]),
    ],
)
def test_an_option_that_cannot_be(
    dataset: Path, tmp_path: Path, capsys: Shown, words: list[str], expected: list[str]
) -> None:
    out = tmp_path / "out"
    said = refused(capsys, ["run", dataset, "--out", out, *words], *expected)
    assert said.count("\n") == 1
    assert not (out / "plan.yaml").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train:\n  bach: 3\n", ["line 2", "unknown key 'train.bach'", "Did you mean 'batch'?"]),
        ("train:\n  lr: 0\n", ["line 2", "'train.lr'", "must be greater than 0", "got 0"]),
        ("train: [\n", ["line 2", "must be valid YAML"]),
        ("", ["must hold 'key: value' lines", "it is empty"]),
        ("- a\n", ["must hold 'key: value' lines", "got list"]),
        (None, ["no such file"]),
    ],
)
def test_a_recipe_file_that_cannot_be(
    dataset: Path, tmp_path: Path, capsys: Shown, text: str | None, expected: list[str]
) -> None:
    path = tmp_path / "mine.yaml"
    if text is not None:
        path.write_text(text)
    refused(
        capsys, ["run", dataset, "--out", tmp_path / "o", "--recipe", path], "mine.yaml", *expected
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"recipe": "unet-2"}, ["line", "unknown recipe 'unet-2'", "Did you mean 'unet-2d'?"]),
        ({"recip": "unet-2d"}, ["line", "unknown key 'recip'", "Did you mean 'recipe'?"]),
        ({"arms": {"A": {"datset": "D"}}}, ["line", "'arms.A.datset'", "Did you mean 'dataset'?"]),
        ({"arms": {}}, ["line", "'arms'", "at least 1"]),
        ({"arms": {"A": {"dataset": "D9"}}}, ["D9", "no such folder"]),
        ({"measure": ["dise"]}, ["line", "unknown measure 'dise'", "Did you mean 'dice'?"]),
        ({"vary": {"los": ["dice"]}}, ["line", "'los'", "Did you mean 'loss'?"]),
        ({"vary": {"loss": ["dise"]}}, ["line", "unknown loss 'dise'", "Did you mean 'dice'?"]),
        ({"split": {"sed": 1}}, ["line", "'split.sed'", "Did you mean 'seed'?"]),
        ({"split": {"stratify_by": "seks"}}, ["participants.tsv", "Did you mean 'sex'?"]),
        ({"budget": "soon"}, ["line", "'budget'", "got 'soon'"]),
        ({"set": {"train": {"bach": 1}}}, ["'train.bach'", "Did you mean 'batch'?"]),
        ({"set": {"loss": "dise"}}, ["unknown loss 'dise'", "Did you mean 'dice'?"]),
    ],
)
def test_a_study_file_that_cannot_be(
    dataset: Path, tmp_path: Path, capsys: Shown, change: dict[str, Any], expected: list[str]
) -> None:
    study = {
        "study": "tiny",
        "data": str(dataset.parent),
        "arms": {"A": {"dataset": dataset.name}},
        "budget": "4steps",
        **change,
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(study))
    said = refused(capsys, ["study", path, "--out", tmp_path / "out"], *expected)
    if "D9" not in expected and "participants.tsv" not in expected:
        assert str(path) in said
    assert not list(tmp_path.rglob("plan.yaml"))


# Folders of runs and models.


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--seed", "7"], ["made with seed 2018", "has seed 7"]),
        (["--budget", "50steps"], ["made with budget 40steps", "has budget 50steps"]),
        (["--set", "train.lr=0.5"], ["made with train.lr=", "has train.lr=0.5"]),
        (["--recipe", "lacrimal-2d"], ["made with recipe auto", "has recipe lacrimal-2d"]),
        (["--folds", "1"], ["made with --folds not given", "has --folds 1"]),
        (["--holdout", "3"], ["made with --holdout not given", "has --holdout 3"]),
    ],
)
def test_a_folder_of_another_run_is_refused(
    finished: Path, dataset: Path, capsys: Shown, words: list[str], expected: list[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    steps = [] if "--budget" in words else STEPS
    line = ["run", dataset, "--out", finished, *steps, *QUICK_WORDS, *words]
    refused(capsys, line, finished, "Choose another --out folder", *expected)
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_a_folder_of_another_dataset_is_refused(
    finished: Path, tmp_path: Path, capsys: Shown
) -> None:
    other = make_dataset(tmp_path / "Dataset001_Balls", seed=5)
    line = ["run", other, "--out", finished, *STEPS, *QUICK_WORDS]
    refused(capsys, line, finished, "other files in dataset 'Dataset001_Balls'")
    named = make_dataset(tmp_path / "Dataset002_Others")
    line = ["run", named, "--out", finished, *STEPS, *QUICK_WORDS]
    refused(capsys, line, "made with dataset Dataset001_Balls", "has dataset Dataset002_Others")


def test_a_folder_with_other_files_is_refused(dataset: Path, tmp_path: Path, capsys: Shown) -> None:
    (tmp_path / "thesis.docx").write_text("years of work")
    line = ["run", dataset, *STEPS, *QUICK_WORDS, "--out"]
    refused(capsys, [*line, tmp_path], tmp_path, "it holds other files", "Choose another --out")
    refused(capsys, [*line, tmp_path / "thesis.docx"], "must be a folder; it is a file")
    refused(capsys, [*line, dataset], "it holds other files")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.docx"]


def test_what_a_kill_left_half_written_is_no_other_file(dataset: Path, tmp_path: Path) -> None:
    """The first file of a run was being written when it was killed: the command goes on."""
    (tmp_path / ".partial-0a1b2c3d-identity.json").write_text("{")
    plan_dataset(dataset, out=tmp_path, budget="10steps", settings=QUICK)
    assert (tmp_path / "plan.yaml").is_file()


def test_a_slip_of_the_pen_does_not_cost_the_folder(
    dataset: Path, tmp_path: Path, capsys: Shown
) -> None:
    out = tmp_path / "out"
    line = ["plan", dataset, "--out", out, *QUICK_WORDS, *STEPS]
    refused(capsys, [*line, "--set", "train.patch_vox=[31, 31, 31]"], "train.patch_vox")
    assert (out / "identity.json").is_file()
    assert main([str(word) for word in line]) == 0
    kept = yaml.safe_load((out / "study.yaml").read_text())
    assert kept["set"]["train"]["patch_vox"] == parse_settings(QUICK)["train"]["patch_vox"]


@pytest.mark.parametrize("command", ["train", "evaluate", "report"])
def test_a_stage_needs_the_folder_of_a_run(command: str, tmp_path: Path, capsys: Shown) -> None:
    refused(capsys, [command, tmp_path], tmp_path, "study.yaml", "acinus plan")


def test_stages_in_the_wrong_order_are_told_apart(
    dataset: Path, tmp_path: Path, capsys: Shown
) -> None:
    out = tmp_path / "out"
    assert main(["plan", str(dataset), "--out", str(out), *QUICK_WORDS, *STEPS]) == 0
    refused(capsys, ["evaluate", out], "must be trained", f"acinus train {out}")
    refused(capsys, ["report", out], "must be evaluated", f"acinus evaluate {out}")


def test_altered_files_of_a_run_are_named(
    copied_run: Callable[[], Path], dataset: Path, capsys: Shown
) -> None:
    out = copied_run()
    line = ["run", dataset, "--out", out, *STEPS, *QUICK_WORDS]
    plan = (out / "plan.yaml").read_text()
    (out / "plan.yaml").write_text(plan.replace("seed: 2018", "seed: 2019"))
    refused(capsys, line, "must belong to this plan", "Choose another --out")
    (out / "plan.yaml").write_text("decisions: [")
    refused(capsys, line, out / "plan.yaml", "must be valid YAML")
    (out / "plan.yaml").write_text(plan)
    (out / "clock.json").write_text("[]")
    refused(capsys, line, out / "clock.json", "Delete it")


# Full disk.


class FullDisk:
    """Writing a file whose name holds a text fails as on a full disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        replace = Path.replace

        def fail(path: Path, target: Path) -> Path:
            if name in str(target):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
            return replace(path, target)

        monkeypatch.setattr(Path, "replace", fail)


@pytest.mark.parametrize(
    "name",
    [
        "store/p03.label.npy",
        "checkpoint.safetensors",
        "weights.safetensors",
        "predictions/holdout",
        "scores.csv",
        "plan.yaml",
    ],
)
def test_a_full_disk_is_said_and_then_gone_on_from(
    dataset: Path, finished: Path, tmp_path: Path, capsys: Shown, name: str
) -> None:
    out = tmp_path / "out"
    line = ["run", dataset, "--out", out, *STEPS, *QUICK_WORDS]
    with pytest.MonkeyPatch.context() as patch:
        FullDisk(patch, name)
        refused(capsys, line, name.split("/")[-1], "the disk must have room", "Free some space")
    assert not list(out.rglob(".partial-*"))
    assert not list(out.rglob(Path(name).name + "/*"))
    for stage in ("train", "evaluate"):
        if (out / "plan.yaml").is_file():
            assert main([stage, str(out)]) == 0
    if (out / "scores.csv").is_file():
        assert (out / "scores.csv").read_bytes() == (finished / "scores.csv").read_bytes()


def test_a_full_disk_during_prediction_fails_the_case(
    finished: Path, dataset: Path, tmp_path: Path, capsys: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    FullDisk(monkeypatch, "p03.nii.gz")
    line = ["predict", finished / "model", dataset / "imagesTr", tmp_path / "out"]
    refused(capsys, line, "failed: p03", "the disk must have room", status=3)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {f"p{n:02d}.nii.gz" for n in range(8) if n != 3} | {"predictions.csv"}


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system of its own of so many kilobytes as the parameter says."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={request.param}k", "tmpfs", str(place)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root on Linux can mount a small file system")
    yield place
    gc.collect()  # memory maps that a failed training left in a cycle keep the place busy
    subprocess.run(["umount", str(place)], check=True, capture_output=True)


@pytest.mark.parametrize("small_disk", [60, 500, 1300], indirect=True)
def test_a_disk_that_is_really_full(dataset: Path, small_disk: Path, capsys: Shown) -> None:
    """So small that planning, preparation or training fills it."""
    out = small_disk / "run"
    line = ["run", dataset, "--out", out, *STEPS, *QUICK_WORDS]
    refused(capsys, line, out, "the disk must have room", "Free some space")
    assert not list(out.rglob(".partial-*"))
    for facts in (out / "store").glob("*.json"):
        for kind in ("image", "label"):
            array = np.load(out / "store" / f"{facts.stem}.{kind}.npy")
            assert array.shape[-3:] == (10, 48, 48)
    for weights in (out / "model").rglob("*.safetensors"):
        assert load_file(weights)


@pytest.mark.parametrize("small_disk", [12], indirect=True)
def test_a_disk_that_fills_up_while_predicting(
    finished: Path, dataset: Path, small_disk: Path, capsys: Shown
) -> None:
    out = small_disk / "out"
    status = main(["predict", str(finished / "model"), str(dataset / "imagesTr"), str(out)])
    said = capsys.readouterr().err
    assert status in (2, 3)
    assert "the disk must have room" in said
    assert "fault of Acinus" not in said
    for path in out.glob("*.nii.gz"):
        assert np.asarray(nib.load(path).dataobj).shape == (48, 48, 10)


# The program as it is started from a shell.


def started(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "acinus", *map(str, words)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )


def test_the_program_says_one_sentence(tmp_path: Path) -> None:
    done = started("run", tmp_path / "absent", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"acinus: {tmp_path / 'absent'}: no such folder.")


def test_debug_shows_where_it_arose(tmp_path: Path) -> None:
    done = started("predict", tmp_path, tmp_path, tmp_path / "out", "--debug")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert "must be a model folder" in done.stderr


def test_a_batch_with_a_bad_case_ends_with_3(finished: Path, dataset: Path, tmp_path: Path) -> None:
    scans = tmp_path / "in"
    scans.mkdir()
    shutil.copy(dataset / "imagesTr" / "p00_0000.nii.gz", scans / "good.nii.gz")
    (scans / "bad.nii.gz").write_text("hello\n")
    done = started("predict", finished / "model", scans, tmp_path / "out", "--overlay")
    assert done.returncode == 3
    assert "failed: bad: " in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "good.nii.gz",
        "good.png",
        "predictions.csv",
    }
