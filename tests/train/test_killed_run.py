"""`acinus run`, killed twice amid its training, ends with the weights of a run left in peace."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from acinus.files import hash_file, read_json
from tiny_cohort import QUICK, make_dataset

STEPS = 400
FOLD = Path("training") / "fold_0"
WEIGHTS = Path("model") / "fold_0" / "weights.safetensors"
POLL_S = 0.005
DEADLINE_POLLS = 40_000
"""Polls after which the test fails rather than hangs."""


VOLUMES = (
    *(change for change in QUICK if "patch_vox" not in change and "batch" not in change),
    "train.patch_vox=[8, 32, 32]",
    "train.batch=2",
)


def start(dataset: Path, out: Path, changes: Sequence[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "acinus", "run", str(dataset), "--out", str(out)]
    command += ["--budget", f"{STEPS}steps", "--folds", "1", "--holdout", "1", "--seed", "5"]
    for change in changes:
        command += ["--set", change]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it ends within one poll."""
    try:
        process.wait(POLL_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def finish(process: subprocess.Popen[bytes]) -> None:
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said.decode()


def epochs_done(out: Path) -> int:
    """Rows of the curves; the file is replaced as a whole."""
    path = out / FOLD / "history.csv"
    return len(path.read_text(encoding="utf-8").splitlines()) - 1 if path.is_file() else 0


def kill_after(process: subprocess.Popen[bytes], out: Path, n_epochs: int, n_polls: int) -> None:
    """SIGKILL once so many more epochs are done, and some polls later."""
    before = epochs_done(out)
    for _ in range(DEADLINE_POLLS):
        assert not has_ended(process), "the run must be killed before it ends by itself"
        if epochs_done(out) - before >= n_epochs:
            break
    for _ in range(n_polls):
        has_ended(process)
    process.kill()
    process.communicate()
    assert not (out / FOLD / "done.json").exists()
    assert (out / FOLD / "checkpoint.safetensors").is_file()


def curves(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / FOLD / "history.csv").drop(columns="seconds")


@pytest.mark.slow
@pytest.mark.parametrize("changes", [QUICK, VOLUMES], ids=["slices", "volumes"])
def test_a_killed_run_ends_with_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, changes: Sequence[str]
) -> None:
    dataset = make_dataset(tmp_path / "Dataset001_Glands", [f"p{n:02d}" for n in range(6)])
    moment = random.SystemRandom()
    peaceful, killed = tmp_path / "peaceful", tmp_path / "killed"
    left_alone = start(dataset, peaceful, changes)
    for _ in range(2):
        n_epochs, n_polls = moment.randint(2, 8), moment.randint(0, 15)
        kill_after(start(dataset, killed, changes), killed, n_epochs, n_polls)
    reached = epochs_done(killed)
    finish(start(dataset, killed, changes))
    finish(left_alone)
    assert 2 <= reached < len(curves(peaceful))
    assert hash_file(killed / WEIGHTS) == hash_file(peaceful / WEIGHTS)
    assert read_json(killed / FOLD / "done.json")["steps"] == STEPS
    pd.testing.assert_frame_equal(curves(killed), curves(peaceful))
    for name in ("plan.yaml", "scores.csv"):
        assert hash_file(killed / name) == hash_file(peaceful / name)
