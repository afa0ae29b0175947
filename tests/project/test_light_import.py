"""What a plain import loads: the package and its command line stay light."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "matplotlib", "SimpleITK", "pandas", "scipy", "statsmodels", "tensorboard")


def loaded_by(statement: str, watched: tuple[str, ...]) -> set[str]:
    """Which of the watched packages a fresh interpreter holds after a statement."""
    code = f"{statement}\nimport sys\nprint(' '.join(n for n in {watched!r} if n in sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
        timeout=120,
    )
    return set(result.stdout.split())


@pytest.mark.parametrize("statement", ["import acinus", "import acinus.cli"])
def test_the_face_loads_nothing_heavy(statement: str) -> None:
    assert loaded_by(statement, (*HEAVY, "numpy", "pydantic")) == set()


def test_help_loads_nothing_heavy() -> None:
    statement = (
        "import io, contextlib\nfrom acinus.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n    assert main(['run', '--help']) == 0"
    )
    assert loaded_by(statement, HEAVY) == set()


@pytest.mark.parametrize("room", ["scans", "cohort", "measure", "evaluate", "report"])
def test_the_judging_wing_loads_no_network(room: str) -> None:
    statement = f"import acinus.{room}"
    own = tuple(f"acinus.{name}" for name in ("networks", "losses", "plan", "train", "predict"))
    assert loaded_by(statement, ("torch", "safetensors", *own)) == set()


def test_a_public_name_loads_on_first_use() -> None:
    statement = "import acinus\nassert acinus.Volume.__module__ == 'acinus.scans.volume'"
    assert loaded_by(statement, ("torch",)) == set()


def test_prediction_waits_for_torch_alone() -> None:
    """Two fifths of what `import acinus.predict` took were tables and filters it does not need."""
    assert loaded_by("import acinus.predict", HEAVY) == {"torch"}
