"""Acinus and nnU-Net side by side: preparation, training steps, prediction, as ratios.

Development only. Both run on the same dataset and machine, one after the other,
each command twice and the faster counted, start-up included where a user waits
for it. nnU-Net lives in an environment of its own:

    python benchmarks/against_nnunet.py --nnunet ENV --install
    python benchmarks/against_nnunet.py --nnunet ENV --dataset Dataset004_Hippocampus --out OUT

The training step of both has the same network, patch and batch (recipe
nnunet-3d): ours in the plan's precision and once more in float32; theirs as
installed and with glibc's allocator tuned by three environment variables.
Prediction uses the same weights: nnU-Net trains a few steps and
`acinus import nnunet` takes them over, with the same tiles and mirroring.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

HERE = Path(__file__).parent
TUNED = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_TOP_PAD_": "268435456",
}
NNUNET = "nnunetv2==2.8.1"
LIGHT = (
    "numpy", "scipy", "scikit-image", "SimpleITK", "nibabel", "pandas", "matplotlib", "tqdm",
    "blosc2", "tifffile", "requests", "graphviz", "seaborn", "imagecodecs", "yacs", "einops",
    "batchgenerators", "connected-components-3d", "threadpoolctl", "scikit-learn", "unittest2",
)  # fmt: skip
BARE = ("dynamic_network_architectures", "batchgeneratorsv2", "acvl_utils", "fft-conv-pytorch")


def install(environment: Path) -> None:
    """An environment with nnunetv2 beside a CPU torch."""
    python = str(environment / "bin" / "python")
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    pip = [python, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "torch==2.13.0"], check=True)
    subprocess.run([*pip, *LIGHT], check=True)
    subprocess.run([*pip, "--no-deps", NNUNET, *BARE], check=True)


def run(command: list[str], environment: dict[str, str]) -> tuple[float, float, str]:
    """Wall seconds, peak memory of all its processes together (MiB), and what it printed."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    peak = [0.0]
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.05):
            peak[0] = max(peak[0], _tree_mib(process.pid))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    said, _ = process.communicate()
    seconds = time.perf_counter() - begin
    stop.set()
    watcher.join()
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\nended with {process.returncode}:\n{said[-4000:]}")
    return seconds, peak[0], said


def _tree_mib(pid: int) -> float:
    """Proportional set size of a process and its children: shared pages count once."""
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0.0
    total = 0
    for member in family:
        try:
            total += member.memory_full_info().pss
        except (psutil.Error, AttributeError):
            continue
    return total / 2**20


class Sides:
    """Both programs on one dataset."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.out = given.out.resolve()
        self.out.mkdir(parents=True, exist_ok=True)
        self.dataset = given.dataset.resolve()
        self.number = str(int(self.dataset.name[7:10]))
        self.bin = given.nnunet.resolve() / "bin"
        folders = {}
        for name in ("raw", "preprocessed", "results"):
            folders[f"nnUNet_{name}"] = str(self.out / f"nnUNet_{name}")
            (self.out / f"nnUNet_{name}").mkdir(exist_ok=True)
        link = self.out / "nnUNet_raw" / self.dataset.name
        if not link.exists():
            link.symlink_to(self.dataset)
        self.theirs = {**os.environ, **folders, "PYTHONWARNINGS": "ignore"}
        if (
            given.device == "cpu"
        ):  # on a GPU it compiles, with a loader of as many cores as it takes
            self.theirs |= {"nnUNet_n_proc_DA": "1", "nnUNet_compile": "f"}
        self.rows: list[tuple[str, str, str, str]] = []

    def best(self, command: list[str], environment: dict[str, str]) -> tuple[float, float, str]:
        """The faster of `--repeat` runs."""
        return min(run(command, environment) for _ in range(self.given.repeat))

    def add(
        self, what: str, ours: float, theirs: float, unit: str, *, more_is_better: bool
    ) -> None:
        """A row, with the ratio that the target speaks of."""
        ratio = ours / theirs
        self.rows.append((what, f"{ours:.3g} {unit}", f"{theirs:.3g} {unit}", f"{ratio:.2f}"))
        print(f"{what}: ours {ours:.3g}, nnU-Net {theirs:.3g} {unit}, ours / theirs {ratio:.2f}")

    def prepare(self) -> None:
        """Check, fingerprint, plan and preparation of all cases."""
        n = len(list((self.dataset / "labelsTr").glob("*")))
        command = [
            str(self.bin / "nnUNetv2_plan_and_preprocess"), "-d", self.number, "-c",
            self.given.configuration, "-np", "2", "-npfp", "2", "--verify_dataset_integrity",
            "--clean",
        ]  # fmt: skip
        theirs, their_mib, _ = self.best(command, self.theirs)
        seconds, mib = float("inf"), 0.0
        for _ in range(self.given.repeat):
            shutil.rmtree(self.out / "ours", ignore_errors=True)
            code = (
                "from pathlib import Path\nimport acinus\n"
                f"acinus.plan_dataset(Path({str(self.dataset)!r}), recipe={self.recipe!r}, "
                f"out=Path({str(self.out / 'ours')!r}), folds=1)\n"
                "from acinus.study import prepare_run\n"
                f"prepare_run(Path({str(self.out / 'ours')!r}))\n"
            )
            took, peak, _ = run([sys.executable, "-c", code], dict(os.environ))
            if took < seconds:
                seconds, mib = took, peak
        self.add("preparation, a case", seconds / n, theirs / n, "s", more_is_better=False)
        self.add("preparation, peak memory", mib, their_mib, "MiB", more_is_better=False)

    @property
    def recipe(self) -> str:
        """Our recipe for their configuration."""
        return {"3d_fullres": "nnunet-3d", "2d": "nnunet-2d", "3d_lowres": "nnunet-3d-lowres"}[
            self.given.configuration
        ]

    def steps(self) -> None:
        """Training steps per second, loader and augmentation included."""
        command = [
            str(self.bin / "python"), str(HERE / "nnunet_side.py"), "steps", "--dataset",
            self.number, "--configuration", self.given.configuration, "--steps",
            str(self.given.steps), "--device", self.given.device, "--warm",
            str(self.given.warm),
        ]  # fmt: skip
        theirs = {}
        on_gpu = self.given.device == "cuda"
        ways = {"as installed": {}} if on_gpu else {"as installed": {}, "allocator tuned": TUNED}
        for name, extra in ways.items():
            _, _, said = run(command, {**self.theirs, **extra})
            theirs[name] = _result(said)
            print(name, theirs[name], flush=True)
        chosen = (("auto", "auto"), ("auto", "on") if on_gpu else ("float32", "auto"))
        for precision, compiled in chosen:
            code = (
                "import json\nfrom pathlib import Path\n"
                "from benchmarks_steps import time_our_steps\n"
                f"print('RESULT', json.dumps(time_our_steps(Path({str(self.out / 'ours')!r}), "
                f"{precision!r}, {self.given.steps}, {self.given.device!r}, {compiled!r})))\n"
            )
            environment = {
                **os.environ, "PYTHONPATH": str(HERE), "GOMP_SPINCOUNT": "1000",
            }  # fmt: skip
            _, _, said = run([sys.executable, "-c", code], environment)
            ours = _result(said)
            print("ours", ours, flush=True)
            for name, facts in theirs.items():
                how = ", compiled" if compiled == "on" else ""
                what = f"training steps, {ours['precision']}{how} against it {name}"
                self.add(
                    what, ours["steps_per_s"], facts["steps_per_s"], "1/s", more_is_better=True
                )

    def predict(self) -> None:
        """The hold-out with the same weights, with and without mirroring, start-up included."""
        split = json.loads((self.out / "ours" / "split.json").read_text(encoding="utf-8"))
        images = self.out / "holdout"
        shutil.rmtree(images, ignore_errors=True)
        images.mkdir()
        for case in split["holdout"]:
            for image in (self.dataset / "imagesTr").glob(f"{case}_*"):
                (images / image.name).symlink_to(image)
        trainer = "nnUNetTrainer__nnUNetPlans__" + self.given.configuration
        trained = self.out / "nnUNet_results" / self.dataset.name / trainer
        if not (trained / "fold_0" / "checkpoint_final.pth").is_file():
            command = [
                str(self.bin / "python"), str(HERE / "nnunet_side.py"), "train", "--dataset",
                self.number, "--configuration", self.given.configuration, "--steps",
                str(self.given.train_steps), "--device", self.given.device,
            ]  # fmt: skip
            run(command, {**self.theirs, **TUNED})
        model = self.out / "imported"
        shutil.rmtree(model, ignore_errors=True)
        run([*_acinus(), "import", "nnunet", str(trained), str(model)], dict(os.environ))
        for mirrored in (False,) if self.given.plain else (False, True):
            word = "with mirroring" if mirrored else "without mirroring"
            command = [
                str(self.bin / "nnUNetv2_predict"), "-i", str(images), "-o",
                str(self.out / f"theirs_{mirrored}"), "-d", self.number, "-c",
                self.given.configuration, "-f", "0", "-device", self.given.device, "-npp", "1",
                "-nps", "1",
            ]  # fmt: skip
            theirs = self.best([*command, *([] if mirrored else ["--disable_tta"])], self.theirs)
            flag = "--mirroring" if mirrored else "--no-mirroring"
            ours = self.best(
                [
                    *_acinus(),
                    "predict",
                    str(model),
                    str(images),
                    str(self.out / f"ours_{mirrored}"),
                    flag,
                    "--precision",
                    "bfloat16",
                ],
                dict(os.environ),
            )
            n = len(split["holdout"])
            self.add(f"prediction of {n} cases, {word}", ours[0], theirs[0], "s",
                     more_is_better=False)  # fmt: skip
            self.add(f"peak memory of it, {word}", ours[1], theirs[1], "MiB",
                     more_is_better=False)  # fmt: skip

    def table(self) -> str:
        """The rows as Markdown."""
        lines = ["| what | Acinus | nnU-Net 2.8.1 | ours / theirs |", "|---|---|---|---|"]
        return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in self.rows)]) + "\n"


def _acinus() -> list[str]:
    return [sys.executable, "-m", "acinus"]


def _result(said: str) -> dict[str, float]:
    line = next(line for line in said.splitlines() if line.startswith("RESULT "))
    facts: dict[str, float] = json.loads(line.removeprefix("RESULT "))
    return facts


def main() -> None:
    """Install, or measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nnunet", type=Path, required=True, help="environment of nnunetv2")
    parser.add_argument("--install", action="store_true", help="make that environment")
    parser.add_argument("--dataset", type=Path)
    parser.add_argument("--configuration", default="3d_fullres")
    parser.add_argument("--out", type=Path, default=Path("against_nnunet"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--warm", type=int, default=3, help="steps that do not count; 20 on a GPU")
    parser.add_argument("--train-steps", type=int, default=30)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--plain", action="store_true", help="predict without mirroring only")
    parser.add_argument(
        "--only", nargs="*", default=["prepare", "steps", "predict"], metavar="STAGE"
    )
    given = parser.parse_args()
    if given.install:
        install(given.nnunet)
        return
    sides = Sides(given)
    for stage in given.only:
        getattr(sides, stage)()
    (sides.out / "table.md").write_text(sides.table(), encoding="utf-8")
    print(sides.table())


if __name__ == "__main__":
    main()
