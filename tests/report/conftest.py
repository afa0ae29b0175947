"""One full report on made volumes, shared by the tests; small and coarse so that it is quick."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from made_content import made_content

from acinus.report import ReportContent, style, write_report


@pytest.fixture(scope="session", autouse=True)
def coarse_figures() -> Iterator[None]:
    """Figures at a third of their resolution; what is tested does not depend on it."""
    patch = pytest.MonkeyPatch()
    patch.setattr(style, "DPI", 50)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> ReportContent:
    return made_content(tmp_path_factory.mktemp("study"), n_cases=6, n_holdout=3, shape=(8, 72, 72))


@pytest.fixture(scope="session")
def report(study: ReportContent, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of the study's report.html."""
    return write_report(study, tmp_path_factory.mktemp("out"))
