"""Shared fixtures: where the real data lie, a seeded generator, and how laws are tried."""

from __future__ import annotations

import os
from pathlib import Path

# Read by OpenMP when torch is first imported: tests share their cores.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import numpy as np
import pytest
from hypothesis import settings

# The same cases in every run, so that whoever sees a failure can repeat it; new ones are looked
# for with `pytest --hypothesis-profile=search`.
settings.register_profile("repeatable", derandomize=True, database=None)
settings.register_profile("search", derandomize=False)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with real scans; the test is skipped, saying so, where it is absent."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("ACINUS_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder} (set ACINUS_TEST_DATA)")
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2018)
