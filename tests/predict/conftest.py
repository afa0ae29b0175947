"""One trained model for all tests of prediction, and fresh copies of it to damage."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tiny_cohort import train_model


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that finds right and left ball; not to be altered."""
    return train_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def copied_model(model_folder: Path, tmp_path: Path) -> Callable[[], Path]:
    """Function that copies the model to a place where it may be altered."""

    def copy() -> Path:
        return Path(shutil.copytree(model_folder, tmp_path / "copied-model"))

    return copy
