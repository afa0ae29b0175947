"""The benchmark: what it measures and writes, never how long something took."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import acinus
from acinus.errors import AcinusError, DataError
from acinus.study.benchmark import (
    Workload,
    benchmark,
    in_fresh_process,
    peak_memory_mib,
)
from tiny_cohort import make_dataset

TINY = Workload(
    "tiny",
    "unet-2d",
    {
        "network": {"config": {"features": [2, 4]}},
        "train": {"patch_vox": [32, 32], "batch": 2, "threads": 1},
    },
)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the command printed, and its folder."""
    folder = tmp_path_factory.mktemp("benchmark")
    data = make_dataset(folder / "Dataset009_Tiny", [f"p{number}" for number in range(6)])
    out = folder / "out"
    return benchmark(data, out=out, workloads=[TINY], repeats=2), out


@pytest.mark.slow
def test_every_stage_has_a_figure(measured: tuple[str, Path]) -> None:
    text, out = measured
    written = json.loads((out / "benchmark.json").read_text(encoding="utf-8"))
    units = {one["stage"]: one["unit"] for one in written["figures"]}
    assert units == {
        "start-up": "s",
        "preparation": "s per case",
        "training": "steps per s",
        "prediction": "s per volume",
    }
    for one in written["figures"]:
        assert 0 < one["smallest"] <= one["median"] <= one["largest"], one
        assert one["n_repeats"] == 2
        assert f"{one['median']:.3g}" in text
        if one["stage"] != "start-up":
            assert one["peak_memory_mib"] > 20, "torch alone takes more"


@pytest.mark.slow
def test_machine_versions_and_data_are_described(measured: tuple[str, Path]) -> None:
    text, out = measured
    written = json.loads((out / "benchmark.json").read_text(encoding="utf-8"))
    assert "logical cores" in written["machine"]
    assert written["machine"] in text
    assert written["versions"]["acinus"] == acinus.__version__
    assert written["data"]["dataset"] == "Dataset009_Tiny"
    assert list(written["data"]["cases"]) == ["p0", "p1", "p3", "p4"], "four, spread over six"
    assert written["data"]["cases"]["p0"]["shape_zyx_vox"] == [10, 48, 48]
    assert written["workloads"]["tiny"]["batch"] == 2


@pytest.mark.slow
def test_the_table_is_the_same_in_both_files_and_nothing_else_is_left(
    measured: tuple[str, Path],
) -> None:
    _, out = measured
    figures = json.loads((out / "benchmark.json").read_text(encoding="utf-8"))["figures"]
    with (out / "benchmark.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["stage"] for row in rows] == [one["stage"] for one in figures]
    assert [float(row["median"]) for row in rows] == [one["median"] for one in figures]
    assert sorted(path.name for path in out.iterdir()) == ["benchmark.csv", "benchmark.json"]


def hold(n_mib: int) -> list[float]:
    """Fill memory and let go of it; runs in the measured process."""
    block = bytearray(n_mib << 20)
    block[:: 1 << 10] = b"\1" * len(block[:: 1 << 10])
    return [float(len(block))]


@pytest.mark.long
def test_a_stage_shows_its_own_memory_and_not_that_of_another() -> None:
    hold(300)
    _, greedy = in_fresh_process(hold, 200)
    _, modest = in_fresh_process(hold, 1)
    assert 180 < greedy - modest < 230
    assert peak_memory_mib() > 300, "what this process held shows here and not in its children"
    assert modest < peak_memory_mib()


def die() -> list[float]:
    """End without a word, as the system ends a process that takes too much memory."""
    import os

    os._exit(9)


@pytest.mark.slow
def test_a_stage_that_the_system_ends_is_explained() -> None:
    with pytest.raises(AcinusError, match=r"die: the process must run to its end.*memory"):
        in_fresh_process(die)


def test_a_file_as_output_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(DataError, match=r"out: must be a folder; it is a file"):
        benchmark(tmp_path / "no-dataset", out=tmp_path / "out")
