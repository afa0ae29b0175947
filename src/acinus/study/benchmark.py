"""How fast this machine runs the stages, and how much memory each of them takes.

Enters: a dataset, or nothing. Leaves: a table as text, ``benchmark.json`` and
``benchmark.csv``. Every stage is measured in a fresh process, since the peak
memory of a process never falls: in one process each stage would show that of
the greediest before it. Limits on times in a test were rejected: they hold on
the machine of whoever wrote them.
"""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from acinus import progress
from acinus.cohort import Dataset, open_dataset
from acinus.cohort.phantom import make_orbit_cohort
from acinus.errors import AcinusError, DataError
from acinus.files import explain_os_errors, write_json, write_text
from acinus.plan import Fingerprint, Plan, load_recipe, make_plan, take_fingerprint
from acinus.prepare import Store, prepare_store, store_key
from acinus.study.forecast import time_prediction, time_training
from acinus.study.machine import describe_machine, package_versions
from acinus.train.allocator import keep_memory
from acinus.train.fold import pinned_threads

N_CASES = 4
"""Cases that are measured with, however large the dataset is."""

N_REPEATS = 3

SEED = 2018

BUSY_LOAD = 1.0
"""Load average from which the table warns that others were using the machine."""

MIB = 2**20


@dataclass(frozen=True)
class Workload:
    """A recipe with changes, as it is measured.

    Attributes:
        name: As the table calls it.
        recipe: Name of the recipe.
        changes: Nested settings laid over it.
    """

    name: str
    recipe: str
    changes: Mapping[str, Any] = field(default_factory=dict)


def _workload(name: str, recipe: str, **network: Any) -> Workload:
    # Patch and batch are stated, so that a recipe that changes its own keeps comparable figures.
    changes: dict[str, Any] = {"train": {"patch_vox": [128, 128], "batch": 16}}
    if network:
        changes["network"] = {"config": network}
    return Workload(name, recipe, changes)


WORKLOADS = (
    _workload("lacrimal-2d, 8 features", "lacrimal-2d", features=[8, 16, 32, 64, 128]),
    _workload("lacrimal-2d, 16 features", "lacrimal-2d", features=[16, 32, 64, 128, 256]),
    _workload("unet-2d", "unet-2d"),
)


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        stage: What was measured.
        workload: With which recipe.
        unit: Of the three numbers that follow.
        median: Over the repeats.
        smallest: Over the repeats.
        largest: Over the repeats.
        n_repeats: How often it was measured.
        peak_memory_mib: Most memory of the stage's process at any moment; None where the
            stage is a process of its own, the command line.
    """

    stage: str
    workload: str
    unit: str
    median: float
    smallest: float
    largest: float
    n_repeats: int
    peak_memory_mib: float | None


def benchmark(
    dataset: Path | None,
    *,
    out: Path,
    workloads: Sequence[Workload] = WORKLOADS,
    repeats: int = N_REPEATS,
) -> str:
    """Measure preparation, training, prediction, start-up and memory on this machine.

    Args:
        dataset: nnU-Net raw dataset folder; None: a small synthetic cohort.
        out: Receives ``benchmark.json`` and ``benchmark.csv``.
        workloads: Recipes that are measured.
        repeats: How often each stage is measured, >= 1.

    Returns:
        The table as text, with the machine and the data described.

    Raises:
        DataError: The dataset has no labelled case, or `out` is a file.
        AcinusError: A stage was ended by the system.
    """
    if out.is_file():
        raise DataError(f"{out}: must be a folder; it is a file. Choose another --out.")
    with explain_os_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    started, load = datetime.now(UTC), psutil.getloadavg()[0]
    with TemporaryDirectory(prefix=".benchmark-", dir=out) as scratch:
        data = _choose_cases(_synthetic(Path(scratch)) if dataset is None else dataset)
        fingerprint = take_fingerprint(data)
        plans = _plan_all(data, fingerprint, workloads)
        figures = list(_measure_all(data, plans, Path(scratch), repeats))
    facts = {
        "started": started.isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "load_before": round(load, 2),
        "versions": package_versions(),
        "data": _describe_data(data, fingerprint),
        "workloads": {name: _describe_plan(plan) for name, plan in plans.items()},
    }
    write_json(out / "benchmark.json", {**facts, "figures": [asdict(one) for one in figures]})
    write_text(out / "benchmark.csv", _csv(figures))
    return _text(facts, figures, load) + f"\nWritten: {out / 'benchmark.json'}, benchmark.csv\n"


def peak_memory_mib() -> float:
    """Most physical memory that this process ever held, MiB, mapped files included.

    Linux keeps ``ru_maxrss`` over the start of another program, so that a child
    would show the memory of its parent; the kernel's high-water mark starts anew.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    windows_peak = getattr(psutil.Process().memory_info(), "peak_wset", None)
    if windows_peak is not None:
        return float(windows_peak) / MIB
    import resource  # absent from Windows; macOS counts in bytes

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB


def _synthetic(folder: Path) -> Path:
    return make_orbit_cohort(
        folder / "data", patients=N_CASES, seed=SEED, size=256, sequences=["POST-AX-T1-FS"]
    )[0]


def _choose_cases(folder: Path) -> Dataset:
    """The dataset with at most `N_CASES` labelled cases, evenly over the list."""
    dataset = open_dataset(folder)
    labelled = dataset.labelled_cases
    n = min(N_CASES, len(labelled))
    chosen = tuple(labelled[index * len(labelled) // n] for index in range(n))
    return replace(dataset, cases=chosen)


def _plan_all(
    dataset: Dataset, fingerprint: Fingerprint, workloads: Sequence[Workload]
) -> dict[str, Plan]:
    return {
        one.name: make_plan(dataset, fingerprint, load_recipe(one.recipe, one.changes), seed=SEED)
        for one in workloads
    }


def _measure_all(
    dataset: Dataset, plans: Mapping[str, Plan], scratch: Path, repeats: int
) -> Iterator[Figure]:
    """Figures in the order of the stages; workloads that prepare alike share a store."""
    stores: dict[str, str] = {}
    for name, plan in plans.items():
        stores.setdefault(store_key(plan), name)
    cases = [case.case_id for case in dataset.cases]
    with progress.stage("Measuring", total=1 + len(stores) + 2 * len(plans), unit="stage") as bar:
        yield _figure("start-up", "acinus --help", "s", _time_start(repeats), None)
        bar.advance(1)
        for key, name in stores.items():
            measured = in_fresh_process(
                _time_preparation, dataset, plans[name], scratch / key, repeats
            )
            recipe = plans[name].recipe
            yield _figure("preparation", recipe, "s per case", *measured)
            bar.advance(1)
        for stage, unit, work in (
            ("training", "steps per s", _time_training),
            ("prediction", "s per volume", _time_prediction),
        ):
            for name, plan in plans.items():
                measured = in_fresh_process(
                    work, plan, Store(scratch / store_key(plan)), cases, repeats
                )
                yield _figure(stage, name, unit, *measured)
                bar.advance(1)


def in_fresh_process(
    work: Callable[..., list[float]], *arguments: Any
) -> tuple[list[float], float]:
    """What the work measured, and the peak memory of the process that did it, MiB."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_work_and_weigh, work, *arguments).result()
        except BrokenProcessPool:
            raise AcinusError(
                f"{work.__name__.removeprefix('_')}: the process must run to its end and was "
                "ended by the system, most often for want of memory. Close other programs, or "
                "measure with a dataset of smaller images."
            ) from None


def _work_and_weigh(work: Callable[..., list[float]], *arguments: Any) -> tuple[list[float], float]:
    with progress.quiet():
        values = work(*arguments)
    return values, peak_memory_mib()


def _time_start(repeats: int) -> list[float]:
    """Seconds from the start of the program to the end of its help."""
    seconds = []
    for _ in range(repeats):
        begin = time.monotonic()
        subprocess.run([sys.executable, "-m", "acinus", "--help"], capture_output=True, check=True)
        seconds.append(time.monotonic() - begin)
    return seconds


def _time_preparation(dataset: Dataset, plan: Plan, folder: Path, repeats: int) -> list[float]:
    seconds = []
    with pinned_threads(plan.settings.train.threads):
        for _ in range(repeats):
            shutil.rmtree(folder, ignore_errors=True)
            begin = time.monotonic()
            prepare_store(dataset, plan, folder, dataset.cases)
            seconds.append((time.monotonic() - begin) / len(dataset.cases))
    return seconds


def _time_training(plan: Plan, store: Store, cases: Sequence[str], repeats: int) -> list[float]:
    keep_memory()  # as a training does
    with pinned_threads(plan.settings.train.threads):
        return [1 / time_training(plan, store, cases)[0] for _ in range(repeats)]


def _time_prediction(plan: Plan, store: Store, cases: Sequence[str], repeats: int) -> list[float]:
    with pinned_threads(plan.settings.train.threads):
        return [time_prediction(plan, store, cases) for _ in range(repeats)]


def _figure(
    stage: str, workload: str, unit: str, values: Sequence[float], peak_mib: float | None
) -> Figure:
    return Figure(
        stage=stage,
        workload=workload,
        unit=unit,
        median=_rounded(median(values)),
        smallest=_rounded(min(values)),
        largest=_rounded(max(values)),
        n_repeats=len(values),
        peak_memory_mib=None if peak_mib is None else round(peak_mib),
    )


def _rounded(value: float) -> float:
    """Three significant digits: more would be noise."""
    return float(f"{value:.3g}")


def _describe_data(dataset: Dataset, fingerprint: Fingerprint) -> dict[str, Any]:
    return {
        "dataset": dataset.name,
        "synthetic": dataset.synthetic,
        "cases": {
            case_id: {"shape_zyx_vox": list(one.shape_vox), "spacing_zyx_mm": list(one.spacing_mm)}
            for case_id, one in fingerprint.cases.items()
        },
    }


def _describe_plan(plan: Plan) -> dict[str, Any]:
    """The settings that speed and memory follow from."""
    settings = plan.settings
    return {
        "recipe": plan.recipe,
        "network": settings.network.model_dump(mode="json"),
        "size_yx_vox": settings.prepare.size_vox,
        "patch_yx_vox": list(settings.train.patch_vox),
        "batch": settings.train.batch,
        "threads": settings.train.threads,
    }


def _csv(figures: Sequence[Figure]) -> str:
    text = io.StringIO()
    columns = [one.name for one in fields(Figure)]
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(one) for one in figures)
    return text.getvalue()


def _text(facts: Mapping[str, Any], figures: Sequence[Figure], load: float) -> str:
    data = facts["data"]
    cases = data["cases"].values()
    shapes = sorted({"×".join(map(str, case["shape_zyx_vox"])) for case in cases})
    lines = [
        f"Machine:  {facts['machine']}",
        f"Versions: acinus {facts['versions']['acinus']}, torch {facts['versions']['torch']}",
        f"Data:     {data['dataset']}{' (synthetic)' if data['synthetic'] else ''}, "
        f"{len(cases)} cases of {', '.join(shapes)} voxels (Z×Y×X)",
        "",
    ]
    if load >= BUSY_LOAD:
        lines += [
            f"Others were using this machine (load {load:.1f}): it is faster than these figures.",
            "",
        ]
    head = ("stage", "workload", "median", "smallest-largest", "unit", "peak memory")
    rows = [head, *(_cells(one) for one in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        cells = [
            cell.rjust(width) if column in (2, 3, 5) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def _cells(figure: Figure) -> tuple[str, ...]:
    peak = figure.peak_memory_mib
    return (
        figure.stage,
        figure.workload,
        f"{figure.median:.3g}",
        f"{figure.smallest:.3g}-{figure.largest:.3g}",
        figure.unit,
        "" if peak is None else f"{peak:.0f} MiB",
    )
