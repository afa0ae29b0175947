"""A large volume with many classes: memory stays far below that of all its class maps."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, sys
from pathlib import Path
import numpy as np, psutil, torch
sys.path[:0] = {path!r}
from made_plan import made_plan, unread_dataset
from acinus.networks import build_network
from acinus.predict.model import Member, Model
from acinus.scans import Volume

torch.set_num_threads(1)
labels = {{f"l{{value}}": value for value in range(1, 40)}}
plan = made_plan(
    {{
        "network": {{"name": "unet_3d", "config": {{"features": [2, 4]}}}},
        "prepare": {{"slice_axis": "Z", "spacing_mm": {spacing}}},
        "train": {{"patch_vox": [4, 64, 64], "mirroring": "none"}},
        "predict": {{"overlap": 0.0}},
    }},
    dataset=unread_dataset(labels=labels, sides={{}}, mirror_pairs=()),
)
network = build_network(
    plan.settings.network.name, plan.settings.network.config,
    n_channels=1, n_classes=plan.n_classes, seed=0,
).eval()
model = Model((Member(plan, (network,)),), {{}}, "float32")
# Not getrusage: its peak begins with that of the process that started this one.
status = lambda: Path("/proc/self/status").read_text(encoding="utf-8")
peak = lambda: int(status().split("VmHWM:")[1].split()[0]) * 1024
small = Volume(np.zeros((4, 64, 64), np.float32), np.diag([1.0, 1.0, 1.0, 1.0]))
model.predict(small)
array = np.random.default_rng(0).normal(size=(24, 384, 384)).astype(np.float32)
prepared = model.prepare(Volume(array, np.diag([1.0, 1.0, 1.0, 1.0])))
forecast = model.case_bytes(prepared)
before = psutil.Process().memory_info().rss
found = model.predict_prepared(prepared)
assert found.shape == array.shape
print(json.dumps({{"taken": peak() - before, "forecast": forecast}}))
"""

ALL_MAPS = 40 * 24 * 384 * 384 * 4
"""Bytes of the class maps of the whole volume, 566 MB."""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has /proc")
@pytest.mark.parametrize("spacing", [[None, None, None], [1.0, 1.5, 1.5]])
def test_the_class_maps_of_a_volume_are_never_all_there(spacing: list[float | None]) -> None:
    tests = str(Path(__file__).parents[1])
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(path=[tests], spacing=spacing)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["taken"] < 0.6 * ALL_MAPS
    assert found["taken"] < 1.1 * found["forecast"], "the forecast is meant to be above"
    assert found["forecast"] < 3 * found["taken"], "but not by far"
