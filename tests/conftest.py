"""Shared fixtures: where the real data lie, and a seeded generator."""

from __future__ import annotations

import os
from pathlib import Path

# Read by OpenMP when torch is first imported: tests share their cores.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import numpy as np
import pytest


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
