"""``acinus plan``: decide, write the decisions down, train nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import acinus
from acinus.cli.options import Budget, Changes, Folds, Holdout, Out, Recipe, Seed, as_holdout
from acinus.cli.tables import print_table


def plan(
    dataset: Path,
    /,
    *,
    out: Out,
    recipe: Recipe = "unet-2d",
    budget: Budget = None,
    folds: Folds = None,
    seed: Seed = 2018,
    settings: Changes = (),
    holdout: Holdout = None,
    explain: bool = False,
) -> int:
    """Check a dataset, take its fingerprint and decide how to train on it.

    The decisions are in plan.yaml, each with its value, its rule and the facts it came from.

    ```console
    acinus plan Dataset001_Glands --recipe unet-2d --budget 15m --out runs/glands --explain
    ```

    Args:
        dataset: Folder in nnU-Net's raw layout.
        out: Folder of the run; 'acinus train' goes on from there.
        recipe: Preset.
        budget: Ceiling.
        folds: Number of folds to train.
        seed: Seed.
        settings: Changes to the recipe.
        holdout: Participants kept for the final test.
        explain: Print every decision with the reason for it.
    """
    path = acinus.plan_dataset(
        dataset,
        recipe=recipe,
        budget=budget,
        out=out,
        folds=folds,
        seed=seed,
        settings=settings,
        holdout=as_holdout(holdout),
    )
    if explain:
        decisions = acinus.read_plan(path).decisions
        rows = [
            (name, str(decision.value), decision.source, decision.rule, _facts(decision.facts))
            for name, decision in decisions.items()
        ]
        print_table(("setting", "value", "source", "rule", "facts"), rows)
    sys.stdout.write(f"Plan: {path}\n")
    return 0


def _facts(facts: dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())
