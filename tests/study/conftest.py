"""One finished run for all tests of studies, and fresh copies of it to go on with."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from acinus import progress
from acinus.study import run_dataset
from tiny_cohort import QUICK, make_dataset


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A faultless dataset of eight cases; not to be altered."""
    return make_dataset(tmp_path_factory.mktemp("data") / "Dataset001_Balls")


@pytest.fixture(scope="session")
def finished(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run of 40 steps and two folds; not to be altered."""
    out = tmp_path_factory.mktemp("runs") / "run"
    with progress.quiet():
        run_dataset(dataset, out=out, budget="40steps", settings=QUICK)
    return out


@pytest.fixture
def copied_run(finished: Path, tmp_path: Path) -> Callable[[], Path]:
    """Function that copies the finished run to a place where it may be altered."""

    def copy() -> Path:
        return Path(shutil.copytree(finished, tmp_path / "run"))

    return copy


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Two workers on this machine; nothing listens beyond it."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        for folder in (Path(__file__).parents[1], Path(__file__).parent):
            patch.setenv("PYTHONPATH", str(folder), prepend=":")
        ray.init(
            num_cpus=2,
            num_gpus=0,
            include_dashboard=False,
            log_to_driver=False,
            _node_ip_address="127.0.0.1",
            object_store_memory=80_000_000,
        )
        yield
        ray.shutdown()
