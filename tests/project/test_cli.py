"""The command line as a person meets it: words in, sentences and exit statuses out.

The functions behind the commands are replaced by small ones here; what they do
is shown in the tests of their rooms.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import acinus
from acinus.cli import main
from acinus.errors import DataError

COMMANDS = {
    "demo": [],
    "phantom abdomen": ["--out", "cohort"],
    "phantom orbit": ["--out", "cohort"],
    "check": ["dataset"],
    "run": ["dataset", "--out", "run"],
    "plan": ["dataset", "--out", "run"],
    "train": ["run"],
    "evaluate": ["run"],
    "compare": ["run", "other"],
    "readers": ["a", "b", "--labels", "labels.json", "--out", "out"],
    "report": ["run"],
    "predict": ["model", "scan.nii.gz", "labels"],
    "export": ["map.nii.gz", "series", "out.dcm", "--labels", "labels.json"],
    "import nnunet": ["results", "model"],
    "import amos": ["folder", "dataset", "--modality", "ct"],
    "import abdomenct-1k": ["folder", "dataset"],
    "import word": ["folder", "dataset"],
    "import btcv": ["folder", "dataset"],
    "import nih-pancreas": ["folder", "dataset"],
    "import pansegdata": ["folder", "dataset"],
    "import msd": ["folder", "dataset"],
    "import han-seg": ["folder", "dataset"],
    "import head-neck-oar": ["folder", "dataset"],
    "import pddca": ["folder", "dataset"],
    "import bids": ["folder", "dataset"],
    "datasets": [],
    "datasets show": ["amos-ct"],
    "datasets get": ["amos-ct", "--out", "downloads"],
    "explain": ["model", "scan.nii.gz"],
    "study": ["study.yaml", "--out", "out"],
    "list": ["losses"],
    "profile": ["unet-2d"],
    "benchmark": [],
}
"""Every command with the least that it asks for."""

BEHIND = {
    "demo": "run_demo",
    "phantom abdomen": "make_abdomen_cohort",
    "phantom orbit": "make_orbit_cohort",
    "check": "check_dataset",
    "run": "run_dataset",
    "plan": "plan_dataset",
    "train": "train_run",
    "evaluate": "evaluate_run",
    "compare": "compare_scores",
    "readers": "compare_readers",
    "report": "report_run",
    "predict": "predict_paths",
    "export": "export_labelmap",
    "import nnunet": "import_nnunet",
    "import amos": "import_dataset",
    "import btcv": "import_dataset",
    "import bids": "import_dataset",
    "datasets": "read_catalogue",
    "datasets get": "get_dataset",
    "explain": "explain_image",
    "study": "run_study",
    "profile": "profile_network",
    "benchmark": "benchmark",
}
"""The one function that each command calls."""


@dataclass(frozen=True)
class Outcome:
    report: Path | None = Path("run/report.html")
    failed: tuple[str, ...] = ()
    summary: tuple[str, ...] = ()


@dataclass(frozen=True)
class Predicted:
    written: tuple[Path, ...] = (Path("labels/a.nii.gz"),)
    failed: dict[str, str] = field(default_factory=dict)
    table: Path = Path("labels/predictions.csv")
    missing: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    findings: tuple[Any, ...] = ()
    n_cases: int = 3


@dataclass(frozen=True)
class Fault:
    severity: str
    code: str = "empty_label"
    case: str = "orbit_004"
    found: str = "the label [lacrimal_left] is empty"
    remedy: str = "Draw it, or list the case under 'exclude'."


Replace = Callable[[str, Any], list[tuple[tuple[Any, ...], dict[str, Any]]]]


@pytest.fixture(autouse=True)
def keep_warnings() -> Iterator[None]:
    """The command line sets how warnings look; other tests must not notice."""
    show = warnings.showwarning
    yield
    warnings.showwarning = show


@pytest.fixture
def replace(monkeypatch: pytest.MonkeyPatch) -> Replace:
    """Put an answer, or an exception to raise, behind a command; returns the calls made."""

    def put(name: str, answer: Any) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

        def stand_in(*args: Any, **kwargs: Any) -> Any:
            calls.append((args, kwargs))
            if isinstance(answer, BaseException):
                raise answer
            return answer

        monkeypatch.setitem(vars(acinus), name, stand_in)
        return calls

    return put


def test_run_hands_every_option_on(replace: Replace, capsys: pytest.CaptureFixture[str]) -> None:
    calls = replace("run_dataset", Outcome())
    words = "run D --recipe unet-2d --budget 15m --out R --folds 2 --seed 7 --holdout 14"
    words += " --jobs 2 --on ray"
    assert main([*words.split(), "--set", "train.lr=0.01", "--set", "loss=dice"]) == 0
    assert calls == [
        (
            (Path("D"),),
            {
                "recipe": "unet-2d",
                "budget": "15m",
                "out": Path("R"),
                "folds": 2,
                "seed": 7,
                "settings": ("train.lr=0.01", "loss=dice"),
                "holdout": 14,
                "jobs": 2,
                "on": "ray",
            },
        )
    ]
    assert capsys.readouterr().out == "Report: run/report.html\n"


def test_train_hands_a_fold_on_counted_from_0(replace: Replace) -> None:
    calls = replace("train_part", Path("R"))
    words = "train R --arm AX-T1 --variant loss=dice --fold 3"
    assert main(words.split()) == 0
    assert calls == [((Path("R"),), {"arm": "AX-T1", "variant": "loss=dice", "fold": 2})]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--arm A", "--arm and --variant must come with --fold"),
        ("--fold 1 --jobs 2", "--fold goes with --arm and --variant only"),
        ("--fold 1 --prepare-only", "--fold goes with --arm and --variant only"),
    ],
)
def test_train_refuses_options_that_do_not_go_together(
    capsys: pytest.CaptureFixture[str], words: str, complaint: str
) -> None:
    assert main(["train", "R", *words.split()]) == 2
    assert complaint in capsys.readouterr().err


def test_a_holdout_below_one_is_a_share(replace: Replace) -> None:
    calls = replace("run_dataset", Outcome())
    main(["run", "D", "--out", "R", "--holdout", "0.2"])
    assert calls[0][1]["holdout"] == 0.2
    assert isinstance(calls[0][1]["holdout"], float)


@pytest.mark.parametrize("holdout", ["14.5", "-1"])
def test_a_holdout_that_is_no_number_of_people_is_refused(
    replace: Replace, capsys: pytest.CaptureFixture[str], holdout: str
) -> None:
    calls = replace("run_dataset", Outcome())
    assert main(["run", "D", "--out", "R", f"--holdout={holdout}"]) == 2
    assert f"got {holdout}." in capsys.readouterr().err
    assert calls == []


def test_study_takes_several_arms(replace: Replace) -> None:
    calls = replace("run_study", Outcome())
    assert main(["study", "s.yaml", "--out", "o", "--arms", "AX-T1", "--arms", "POST-AX-T1"]) == 0
    assert calls[0][1]["arms"] == ("AX-T1", "POST-AX-T1")
    assert calls[0][1]["seed"] is None


def test_some_failed_is_status_3(replace: Replace, capsys: pytest.CaptureFixture[str]) -> None:
    replace("run_dataset", Outcome(failed=("orbit_004: cannot be read",)))
    assert main(["run", "D", "--out", "R"]) == 3
    captured = capsys.readouterr()
    assert captured.err == "failed: orbit_004: cannot be read\n"
    assert captured.out == "Report: run/report.html\n"


@pytest.mark.parametrize(
    ("predicted", "status"),
    [
        (Predicted(), 0),
        (Predicted(failed={"b": "must be readable; got a text file."}), 3),
        (Predicted(written=(), failed={"b": "must be readable; got a text file."}), 2),
    ],
)
def test_predict_says_how_many_failed(
    replace: Replace, capsys: pytest.CaptureFixture[str], predicted: Predicted, status: int
) -> None:
    calls = replace("predict_paths", predicted)
    assert main(["predict", "M", "in", "out", "--folds", "1", "3", "--overlay"]) == status
    assert calls[0][0] == (Path("M"), Path("in"), Path("out"))
    assert calls[0][1]["folds"] == (0, 2)
    assert calls[0][1]["overlay"] is True
    err = capsys.readouterr().err
    assert err == ("failed: b: must be readable; got a text file.\n" if predicted.failed else "")


@pytest.mark.parametrize(("severity", "status"), [("error", 1), ("warning", 0)])
def test_check_prints_each_finding_whole(
    replace: Replace, capsys: pytest.CaptureFixture[str], severity: str, status: int
) -> None:
    replace("check_dataset", Found((Fault(severity),)))
    assert main(["check", "D"]) == status
    out = capsys.readouterr().out
    assert "the label [lacrimal_left] is empty" in out
    assert "Draw it, or list the case under 'exclude'." in out
    assert "3 cases checked" in out


def test_check_json_is_all_there_is_on_standard_output(
    replace: Replace, capsys: pytest.CaptureFixture[str]
) -> None:
    replace("check_dataset", Found((Fault("error"), Fault("warning", code="volume"))))
    assert main(["check", "D", "--json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert (data["n_cases"], data["n_errors"], data["n_warnings"]) == (3, 1, 1)
    assert [finding["code"] for finding in data["findings"]] == ["empty_label", "volume"]


def test_a_clean_dataset_is_said_to_be_clean(
    replace: Replace, capsys: pytest.CaptureFixture[str]
) -> None:
    replace("check_dataset", Found())
    assert main(["check", "D"]) == 0
    assert capsys.readouterr().out == "3 cases checked: 0 errors, 0 warnings.\n"


@pytest.mark.parametrize("command", sorted(BEHIND))
def test_a_users_fault_is_its_own_sentence(
    replace: Replace, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    sentence = "scan.nii.gz: must be a NIfTI file; found text. Export it again."
    replace(BEHIND[command], DataError(sentence))
    assert main([*command.split(), *COMMANDS[command]]) == 2
    captured = capsys.readouterr()
    assert captured.err == f"acinus: {sentence}\n"
    assert captured.out == ""


def test_debug_adds_the_traceback(replace: Replace, capsys: pytest.CaptureFixture[str]) -> None:
    replace("run_dataset", DataError("no such folder."))
    assert main(["run", "D", "--out", "R", "--debug"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last)")
    assert err.endswith("acinus: no such folder.\n")


@pytest.mark.parametrize(
    ("error", "status", "sentences"),
    [
        (KeyboardInterrupt(), 130, ["stopped; start the same command again to go on"]),
        (MemoryError(), 2, ["memory", "--jobs 1"]),
        (RuntimeError("[enforce fail] can't allocate memory: 9 bytes"), 2, ["memory", "--jobs 1"]),
        (
            OSError(errno.ENOSPC, "No space left on device", "R/store/a.npy"),
            2,
            ["R/store/a.npy", "disk", "is full", "same command again"],
        ),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x"), 2, ["x: must be"]),
        (
            ZeroDivisionError("division by zero"),
            2,
            ["ZeroDivisionError: division by zero", "fault of Acinus", "--debug"],
        ),
    ],
)
def test_other_faults_become_sentences(
    replace: Replace,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    sentences: list[str],
) -> None:
    replace("run_dataset", error)
    assert main(["run", "D", "--out", "R"]) == status
    err = capsys.readouterr().err
    assert "Traceback" not in err
    for sentence in sentences:
        assert sentence in err


@pytest.mark.parametrize(
    ("words", "sentences"),
    [
        (["run"], ["DATASET", "acinus run --help"]),
        (["run", "D"], ["--out", "acinus run --help"]),
        (["run", "D", "--out", "R", "--recipee", "x"], ["--recipee", "--recipe"]),
        (["run", "D", "--out", "R", "--seed", "x"], ["--seed", "int"]),
        (["rum", "D"], ["rum", "Did you mean", "run"]),
        (["phantom", "orbt"], ["orbt", "orbit", "acinus phantom --help"]),
        (["list", "colours"], ["colours", "networks"]),
    ],
)
def test_wrong_use_is_one_sentence_and_status_2(
    capsys: pytest.CaptureFixture[str], words: list[str], sentences: list[str]
) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("acinus: ")
    assert captured.err.count("\n") == 1
    for sentence in sentences:
        assert sentence in captured.err


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_teaches(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert main([*command.split(), "--help"]) == 0
    out = capsys.readouterr().out
    assert f"acinus {command}" in out.replace("Usage: ", "", 1).split("\n", 1)[1]
    assert main(["--help"]) == 0
    assert f" {command.split()[0]} " in capsys.readouterr().out


def test_a_warning_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def warn(*args: Any, **kwargs: Any) -> Outcome:
        warnings.warn("the model learned\nfrom synthetic images", UserWarning, stacklevel=1)
        return Outcome()

    monkeypatch.setitem(vars(acinus), "run_dataset", warn)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        main(["run", "D", "--out", "R"])
    assert capsys.readouterr().err == "warning: the model learned from synthetic images\n"


def test_a_reader_that_leaves_is_no_fault() -> None:
    code = (
        "import sys, acinus\nfrom acinus.cli import main\n"
        "def cohort(*args, **kwargs):\n    return ['x' * 80] * 100000\n"
        "acinus.make_orbit_cohort = cohort\n"
        "sys.exit(main(['phantom', 'orbit', '--out', 'o']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 141
    assert err == b""


def test_the_program_and_the_module_are_one() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "acinus", "--version"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )
    assert result.stdout.strip() == acinus.__version__
    assert result.returncode == 0


def test_recipes_are_listed_with_what_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "recipes"]) == 0
    out = capsys.readouterr().out
    assert "lacrimal-2d" in out
    assert "unet-2d" in out


def test_a_terminal_without_unicode_gets_question_marks_and_no_fault() -> None:
    environment = {
        **os.environ,
        "LC_ALL": "C",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONUTF8": "0",
        "PYTHONIOENCODING": "ascii",
    }
    code = (
        "import sys; from acinus.cli.entry import _print_anywhere; _print_anywhere(); "
        "print('0.83 \\xb1 0.09')"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=environment, timeout=60, check=True
    )
    assert shown.stdout.strip() == b"0.83 ? 0.09"
