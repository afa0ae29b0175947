"""Scripts for a cluster: bash reads them, and what they run gives the results of the plain run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from acinus.cli import main
from acinus.errors import ConfigError
from acinus.study import SlurmRequest, slurm_dataset, slurm_study
from same_run import assert_same_run
from tiny_cohort import QUICK, make_dataset

FAKE_SBATCH = """\
#!{python}
# Runs what is submitted at once, as a cluster would, each task in a process of its own.
import os, re, subprocess, sys
*options, script = sys.argv[1:]
text = open(script).read()
stated = dict(re.findall(r"^#SBATCH (--[a-z-]+)=(.*)$", text, re.M))
with open({log!r}, "a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
number = len(open({log!r}).readlines())
first, last = map(int, stated.get("--array", "0-0").split("%")[0].split("-"))
for index in range(first, last + 1):
    environment = {{**os.environ, "SLURM_ARRAY_TASK_ID": str(index)}}
    output = stated["--output"].replace("%a", str(index))
    with open(output, "a") as stream:
        subprocess.run(
            ["bash", os.path.abspath(script)], env=environment, cwd=stated["--chdir"],
            stdout=stream, stderr=stream, check=True,
        )
print(f"{{number}};cluster")
"""


def check_syntax(scripts: Path) -> None:
    for script in sorted(scripts.glob("*.sh")):
        found = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True)
        assert (found.returncode, found.stderr) == (0, ""), script


def options_of(script: Path) -> list[str]:
    return re.findall(r"^#SBATCH (.*)$", script.read_text(encoding="utf-8"), re.MULTILINE)


def run_as_a_cluster_would(submit: Path, folder: Path) -> tuple[str, list[list[str]]]:
    """What submitting says, and what was submitted; every job is done at once.

    Args:
        submit: The script.
        folder: For a made ``sbatch`` and its log.
    """
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    sbatch, log = bin_folder / "sbatch", folder / "submitted.txt"
    sbatch.write_text(FAKE_SBATCH.format(python=sys.executable, log=str(log)), encoding="utf-8")
    sbatch.chmod(0o755)
    environment = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
    said = subprocess.run(
        ["bash", str(submit)], env=environment, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    return said.stdout, [line.split()[2:] for line in log.read_text().splitlines()]


@pytest.mark.long
def test_what_a_cluster_does_gives_the_same(finished: Path, dataset: Path, tmp_path: Path) -> None:
    submit = slurm_dataset(
        dataset, out=tmp_path / "run", budget="40steps", settings=QUICK, request=SlurmRequest()
    )
    said, submitted = run_as_a_cluster_would(submit, tmp_path)
    assert said == "submitted: prepare 1, train 2, finish 3\n"
    assert submitted == [
        ["prepare.sh"],
        ["--dependency=afterok:1", "train.sh"],
        ["--dependency=afterany:2", "finish.sh"],
    ]
    assert_same_run(tmp_path / "run", finished)
    assert (tmp_path / "run" / "report.html").is_file()


def test_a_task_for_each_training_of_a_study(tmp_path: Path) -> None:
    make_dataset(tmp_path / "my data" / "Dataset001_One")
    make_dataset(tmp_path / "my data" / "Dataset002_Two", gain=1.7)
    study = {
        "study": "two sides",
        "recipe": "unet-2d",
        "data": str(tmp_path / "my data"),
        "arms": {
            "post, fat sat": {"dataset": "Dataset001_One"},
            "T1": {"dataset": "Dataset002_Two", "set": {"train": {"threads": 3}}},
        },
        "folds_trained": 2,
        "vary": {"loss": ["dice"]},
    }
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    request = SlurmRequest(
        partition="gpu",
        time="4:00:00",
        memory="16G",
        gpus=1,
        at_a_time=3,
        further=("--account=eye and orbit",),
    )
    out = tmp_path / "out of study"
    submit = slurm_study(path, out=out, request=request)
    check_syntax(submit.parent)
    options = options_of(submit.parent / "train.sh")
    assert "--array=0-7%3" in options
    assert {"--partition=gpu", "--time=4:00:00", "--mem=16G", "--gres=gpu:1", "--requeue"} <= {
        *options
    }
    assert "--cpus-per-task=3" in options, "the threads of the arm with most"
    assert '--account="eye and orbit"' in options
    text = (submit.parent / "train.sh").read_text(encoding="utf-8")
    parts = {
        int(number): shlex.split(words)
        for number, words in re.findall(r"^  (\d+)\) part=\((.*)\) ;;$", text, re.MULTILINE)
    }
    assert parts[0] == ["--arm", "post, fat sat", "--fold", "1"]
    assert parts[3] == ["--arm", "post, fat sat", "--variant", "loss=dice", "--fold", "2"]
    assert parts[4] == ["--arm", "T1", "--fold", "1"]
    assert sorted(parts) == list(range(8))
    prepare = (submit.parent / "prepare.sh").read_text(encoding="utf-8")
    assert shlex.split(prepare.splitlines()[-1])[1:] == [
        *("-m", "acinus", "train", str(out), "--prepare-only", "--jobs", "3")
    ]


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        (SlurmRequest(cpus=0), "--cpus must be at least 1; got 0"),
        (SlurmRequest(at_a_time=-1), "--at-a-time must be at least 1; got -1"),
        (SlurmRequest(gpus=-1), "--gpus must be at least 0; got -1"),
        (SlurmRequest(partition=" "), "one line without quotation marks; got ' '"),
        (SlurmRequest(further=("--a=b\n#SBATCH --c",)), "one line without quotation marks"),
        (SlurmRequest(further=("account=x",)), "--sbatch must be an option of sbatch"),
    ],
)
def test_impossible_requests_are_refused(
    dataset: Path, tmp_path: Path, request_: SlurmRequest, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        slurm_dataset(dataset, out=tmp_path / "run", settings=QUICK, request=request_)
    assert not (tmp_path / "run").exists()


def test_what_locates_is_trained_in_an_array_before(dataset: Path, tmp_path: Path) -> None:
    request = SlurmRequest(at_a_time=2)
    settings = ["folds=3", "folds_trained=2", "locate.stage=network"]
    submit = slurm_dataset(dataset, out=tmp_path / "run", settings=settings, request=request)
    check_syntax(submit.parent)
    first = (submit.parent / "first.sh").read_text(encoding="utf-8")
    assert re.findall(r"part=\((.*)\) ;;", first) == [
        f"--arm Dataset001_Balls --variant locator --fold {fold}" for fold in (1, 2)
    ]
    assert "--array=0-1%2" in options_of(submit.parent / "first.sh")
    assert "--array=0-1%2" in options_of(submit.parent / "train.sh")
    jobs = [line for line in submit.read_text(encoding="utf-8").splitlines() if "=$(" in line]
    assert jobs == [
        "prepare=$(submit prepare.sh)",
        'first=$(submit --dependency="afterok:${prepare%%;*}" first.sh)',
        'train=$(submit --dependency="afterok:${first%%;*}" train.sh)',
        'finish=$(submit --dependency="afterany:${train%%;*}" finish.sh)',
    ]


def test_whether_auto_may_locate_is_seen_by_the_headers(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scripts(out: Path) -> set[str]:
        submit = slurm_dataset(dataset, out=out, request=SlurmRequest())
        return {path.stem for path in submit.parent.glob("*.sh")}

    assert "first" not in scripts(tmp_path / "small")
    monkeypatch.setattr("acinus.plan.locate.LEAST_SCAN_VOX", 10 * 48 * 48)
    assert "first" in scripts(tmp_path / "large")


def test_a_locator_that_was_not_planned_has_nothing_to_train(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(finished), "--variant", "locator", "--fold", "1"]) == 0
    assert "there is no locator to train" in capsys.readouterr().err


def test_a_training_of_several_processes_gets_the_cores_of_all(tmp_path: Path) -> None:
    make_dataset(tmp_path / "data" / "Dataset001_One")
    study = {
        "study": "wide",
        "recipe": "unet-2d",
        "data": str(tmp_path / "data"),
        "arms": {"a": {"dataset": "Dataset001_One"}},
        "set": {"train": {"device": "cpu", "threads": 3, "devices": 2}},
    }
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    submit = slurm_study(path, out=tmp_path / "out", request=SlurmRequest())
    assert "--cpus-per-task=6" in options_of(submit.parent / "train.sh")
