"""The report as a browser shows it; skipped, saying so, where there is no browser."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from acinus.evaluate import SCORE_COLUMNS
from acinus.report import ArmContent, ReportContent, write_report

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="module")
def browser() -> str:
    """A browser without a window."""
    found = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if found is None:
        pytest.skip(f"no browser is installed (looked for {', '.join(BROWSERS)}; see .ci/run)")
    return found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest report: one arm, two cases, one of them missed."""
    facts = [("c1", 0.81, "ok", ""), ("c2", None, "undefined", "prediction is <empty> & 'quoted'")]
    rows = [
        (case, case, case, "T1", "final", "holdout", "gland", "dice", value, "1", status, reason)
        for case, value, status, reason in facts
    ]
    arm = ArmContent(
        name="T1",
        dataset_name="Glands",
        labels={"gland": 1},
        synthetic=True,
        train_participants=("c3", "c4"),
        holdout_participants=("c1", "c2"),
    )
    content = ReportContent(
        title="Glands <of> two & a half",
        study_name="smallest",
        kind="run",
        arms=(arm,),
        scores=pd.DataFrame(rows, columns=list(SCORE_COLUMNS)),
    )
    return write_report(content, tmp_path_factory.mktemp("report"))


def run(browser: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += ["--enable-logging=stderr", f"--user-data-dir={folder / 'profile'}", *words]
    environment = {**os.environ, "HOME": str(folder)}
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", timeout=120, env=environment
    )


def test_the_report_asks_nothing_of_the_network(report: Path) -> None:
    html = report.read_text(encoding="utf-8")
    outside = re.findall(r"(?:src|href)=[\"'](?:https?:)?//[^\"']*", html)
    assert outside == []
    assert "@import" not in html


@pytest.mark.slow
def test_a_browser_shows_the_report_without_complaint(
    browser: str, report: Path, tmp_path: Path
) -> None:
    shown = run(browser, tmp_path, "--dump-dom", report.as_uri())
    assert shown.returncode == 0, shown.stderr
    assert "Glands &lt;of&gt; two &amp; a half" in shown.stdout
    assert "synthetic" in shown.stdout.lower()
    complaints = [line for line in shown.stderr.splitlines() if "CONSOLE" in line]
    assert complaints == []


@pytest.mark.slow
def test_the_report_can_be_printed(browser: str, report: Path, tmp_path: Path) -> None:
    pdf = tmp_path / "report.pdf"
    printed = run(browser, tmp_path, f"--print-to-pdf={pdf}", report.as_uri())
    assert printed.returncode == 0, printed.stderr
    assert pdf.read_bytes().startswith(b"%PDF-")
    assert pdf.stat().st_size > 5_000
