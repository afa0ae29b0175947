"""The demonstration: a small synthetic cohort, both arms of the study, a report.

Enters: an output folder and the minutes that it may take. Leaves: what
`run_study` leaves, with the cohort beside it.
"""

from __future__ import annotations

from pathlib import Path

from acinus.errors import DataError
from acinus.study.run import RunOutcome, run_study
from acinus.study.shares import n_cores

DEMO_STUDY = "lacrimal-demo.yaml"


def run_demo(out: Path, *, seed: int = 2018, minutes: float = 5.6) -> RunOutcome:
    """Run the demonstration study, two trainings side by side where there are two cores.

    A network this narrow gains little from a second thread: two trainings of one thread each
    make half as many steps again in the same time.

    Args:
        out: Output folder; the same command goes on in it.
        seed: Of the split and of the training.
        minutes: Ceiling on the wall time of the whole command.
    """
    jobs = min(2, n_cores())
    return run_study(demo_study(), out=out, budget=f"{minutes * 60:g}s", seed=seed, jobs=jobs)


def demo_study() -> Path:
    """The study's file: inside an installed package, or in the checkout it runs from."""
    here = Path(__file__).resolve()
    places = (here.parent / "studies", here.parents[3] / "studies")
    for place in places:
        if (place / DEMO_STUDY).is_file():
            return place / DEMO_STUDY
    raise DataError(
        f"{DEMO_STUDY}: must lie in {places[0]} or {places[1]} and does not. Install Acinus again."
    )
