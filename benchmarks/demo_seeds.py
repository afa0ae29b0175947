"""Does POST-AX-T1-FS lie above AX-T1, and by how much? The demonstration over several seeds.

Each seed makes its own synthetic cohort, split and weights. Trainings have a fixed number of
steps, so that the table does not depend on the speed of the machine.

    python benchmarks/demo_seeds.py --out FOLDER [--seeds 1 2 3] [--budget 500steps]

Writes seeds.csv (a row per seed and arm), pairs.csv (a row per patient) and a Markdown table.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import yaml

from acinus.config import merge, read_yaml_mapping
from acinus.measure.statistics import paired_difference
from acinus.study import run_study
from acinus.study.demo import demo_study

ARMS = ("POST-AX-T1-FS", "AX-T1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--budget", default="500steps")
    parser.add_argument("--set", dest="settings", nargs="*", default=[])
    options = parser.parse_args()
    scores = pd.concat([run_seed(seed, options) for seed in options.seeds], ignore_index=True)
    dice = scores[(scores["metric"] == "dice") & (scores["part"] == "holdout")]
    rows = dice.groupby(["seed", "arm"])["value"].agg(["mean", "std", "count"]).reset_index()
    rows.to_csv(options.out / "seeds.csv", index=False)
    pairs = dice.groupby(["seed", "participant", "arm"])["value"].mean().unstack("arm")
    pairs = pairs.reset_index()
    pairs.to_csv(options.out / "pairs.csv", index=False)
    result = paired_difference(list(pairs[ARMS[0]]), list(pairs[ARMS[1]]))
    lines = ["| seed | POST-AX-T1-FS | AX-T1 |", "|---|---|---|"]
    for seed, part in rows.groupby("seed"):
        cells = part.set_index("arm")
        shown = [
            f"{cells.loc[arm, 'mean']:.3f} ± {cells.loc[arm, 'std']:.3f}"
            f" (n = {cells.loc[arm, 'count']:.0f})"
            for arm in ARMS
        ]
        lines.append(f"| {seed} | {shown[0]} | {shown[1]} |")
    lines += ["", str(result)]
    text = "\n".join(lines)
    (options.out / "seeds.md").write_text(text + "\n", encoding="utf-8")
    print(text)


def run_seed(seed: int, options: argparse.Namespace) -> pd.DataFrame:
    stated = merge(read_yaml_mapping(demo_study()), {"phantom": {"seed": seed}})
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"seed-{seed}.yaml"
    path.write_text(yaml.safe_dump(stated, sort_keys=False), encoding="utf-8")
    out = options.out / f"seed-{seed}"
    run_study(path, out=out, budget=options.budget, seed=seed, settings=options.settings)
    return pd.read_csv(out / "scores.csv").assign(seed=seed)


if __name__ == "__main__":
    main()
