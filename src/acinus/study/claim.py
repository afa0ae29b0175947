"""What an output folder belongs to: the same command goes on in it, another is refused.

Enters: a study and its output folder. Leaves: ``identity.json``, or a sentence on
what differs. A folder in which nothing is planned yet belongs to nobody: who
corrects a slip of the pen need not delete it first. Comparing whole study files
was rejected: titles and paths may change without changing a result.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

from acinus.config import merge
from acinus.errors import AcinusError, ConfigError, PlanError
from acinus.files import TEMPORARY_PREFIX, hash_data, read_json, write_json
from acinus.losses import LOSSES
from acinus.networks import NETWORKS
from acinus.plan import Recipe, load_recipe
from acinus.plan.recipe import flatten
from acinus.study.folders import StudyFolder
from acinus.study.schema import VARIED, Study, Variant, read_study
from acinus.train import SAMPLINGS

OWN_BEGINNINGS = {"data", "clock.json", ".DS_Store"}
"""What an earlier start of the same command may have left before it claimed the folder."""

PLACES = ("", "arms/*/", "vary/*/", "vary/*/*/", "benchmark/*/*/")
"""Where plans of arms, variants and networks lie below a folder."""

FIRST_STAGES = ("lowres", "locator")
"""Folders of a low resolution and of a network that locates, below that of an arm."""

MOST_SETTINGS = 3
"""Settings that a message names."""


def arm_recipe(study: Study, arm: str, variant: Variant) -> Recipe:
    """The recipe of an arm with the changes of study, arm and variant."""
    stated = study.arms[arm]
    changes = merge(study.set, stated.set)
    if study.split.folds is not None:
        changes = merge({"folds": study.split.folds}, changes)
    if study.folds_trained is not None:
        changes = merge(changes, {"folds_trained": study.folds_trained})
    for part, value in variant.items():
        if part in VARIED:
            changes = {**changes, part: {"name": value, "config": {}}}
        else:
            group, setting = part.split(".")
            changes = merge(changes, {group: {setting: value}})
    return load_recipe(stated.recipe or study.recipe, changes)


def benchmark_recipe(study: Study, arm: str, name: str) -> Recipe:
    """The recipe of a network of the benchmark on an arm: one training on the one split."""
    if study.benchmark is None:
        raise ConfigError(f"study '{study.study}': has no benchmark.")
    stated, own = study.benchmark.networks[name], study.arms[arm]
    changes = merge(study.set, own.set)
    if stated.network is not None:
        changes = {**changes, "network": {"name": stated.network, "config": stated.config}}
    elif stated.config:
        changes = merge(changes, {"network": {"config": stated.config}})
    changes = merge(merge(changes, stated.set), {"folds": 2, "folds_trained": 1})
    return load_recipe(stated.recipe or own.recipe or study.recipe, changes)


def varied_value(recipe: Recipe, part: str) -> Any:
    """What a recipe has for a part or setting that a study varies."""
    if part in VARIED:
        return getattr(recipe, part).name
    group, setting = part.split(".")
    return getattr(getattr(recipe, group), setting)


def check_parts(study: Study, *, where: str = "") -> None:
    """Refuse a recipe that cannot be, in any arm or variant, before anything is computed.

    Args:
        study: As resolved.
        where: File that the message names.

    Raises:
        ConfigError: A name, key or value of a recipe, network, loss or sampling is not valid.
    """
    makers = [
        partial(arm_recipe, study, arm, variant)
        for arm in study.arms
        for variant in ({}, *study.variants())
    ]
    if study.benchmark is not None:
        makers += [
            partial(benchmark_recipe, study, arm, name)
            for arm in study.benchmark_arms()
            for name in study.benchmark.networks
        ]
    for make in makers:
        try:
            recipe = make()
            NETWORKS.configure(recipe.network.name, recipe.network.config)
            LOSSES.configure(recipe.loss.name, recipe.loss.config)
            SAMPLINGS.configure(recipe.sampling.name, recipe.sampling.config)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}" if where else str(error)) from None


def study_identity(study: Study) -> dict[str, Any]:
    """What decides the results; presentation may change on the same folder."""
    return {
        "arms": sorted(study.arms),
        "recipe": study.recipe,
        "variants": study.variants(),
        "seed": study.split.seed,
        "holdout": study.split.holdout,
        "holdout_needs": study.split.holdout_needs,
        "group_by": study.split.group_by,
        "stratify_by": study.split.stratify_by,
        "budget": study.budget,
        "folds_trained": study.folds_trained,
        "settings": hash_data(_recipes(study))[:16],
        "external_model": study.split.external_model,
        "channels": {name: one.channels for name, one in study.arms.items() if one.channels},
        "external": hash_data({arm: study.external(arm) for arm in study.arms})[:16],
        "benchmark": hash_data(_benchmark(study))[:16],
    }


def refuse_foreign(folder: StudyFolder, study: Study, identity: dict[str, Any]) -> dict[str, Any]:
    """What the folder says it belongs to.

    Args:
        folder: Output folder.
        study: What is to be run in it.
        identity: Of that study, as far as it is known.

    Raises:
        PlanError: It belongs to something else, or holds files of another kind.
    """
    root = folder.root
    if root.is_file():
        raise PlanError(f"{root}: must be a folder; it is a file. Choose another --out.")
    kept = read_json(folder.identity) if folder.identity.is_file() else {}
    if kept and is_begun(folder):
        for part, values in identity.items():
            for name, ours in values.items():
                theirs = kept.get(part, {}).get(name, ours)
                if theirs != ours:
                    then, now = _words(folder, study, part, name, theirs, ours)
                    raise PlanError(
                        f"{root}: must be a new folder or one that the same command made; it was "
                        f"made with {then}, this command has {now}. Choose another --out folder, "
                        "repeat the command that made this one, or delete it."
                    )
    names = [child.name for child in root.iterdir()] if root.is_dir() else []
    # What a kill left of a file that was being written beside its place.
    names = [name for name in names if not name.startswith(TEMPORARY_PREFIX)]
    if not kept and not OWN_BEGINNINGS.issuperset(names):
        raise PlanError(
            f"{root}: must be empty or a folder that this command made; it holds "
            "other files. Choose another --out folder."
        )
    return dict(kept)


def claim(folder: StudyFolder, study: Study, identity: dict[str, Any]) -> None:
    """Write what the folder belongs to, or refuse where it belongs to something else."""
    kept = refuse_foreign(folder, study, identity)
    if kept != identity:
        if kept:
            folder.study.unlink(missing_ok=True)
            # Of a first stage that was planned before its arm, by another command.
            for place, stage in itertools.product(PLACES, FIRST_STAGES):
                for stale in folder.root.glob(f"{place}{stage}/plan.yaml"):
                    stale.unlink()
        write_json(folder.identity, identity)


def is_begun(folder: StudyFolder) -> bool:
    """Whether an arm or variant is planned; before that nothing depends on the command."""
    return any(True for place in PLACES for _ in folder.root.glob(f"{place}plan.yaml"))


def _words(
    folder: StudyFolder, study: Study, part: str, name: str, theirs: Any, ours: Any
) -> tuple[str, str]:
    """How the folder and the command differ: its side and ours."""
    if part == "datasets":
        return (
            f"other files in dataset '{name}' (SHA-256 {str(theirs)[:12]}…)",
            f"those of SHA-256 {str(ours)[:12]}…",
        )
    if name == "settings":
        return _setting_words(folder, study)
    arms = "dataset" if folder.is_run else "arms"
    title = {"folds_trained": "--folds", "holdout": "--holdout", "arms": arms}.get(name, name)
    return f"{title} {_value(theirs)}", f"{title} {_value(ours)}"


def _value(value: Any) -> str:
    if value is None:
        return "not given"
    if isinstance(value, list):
        return ", ".join(str(one) for one in value) or "none"
    return str(value)


def _setting_words(folder: StudyFolder, study: Study) -> tuple[str, str]:
    try:
        before = flatten(_recipes(read_study(folder.study)))
    except AcinusError:
        before = {}
    now = flatten(_recipes(study))
    names = [name for name in now if name in before and before[name] != now[name]]
    if not names:
        return "other settings of the recipe", "its own"
    shown = names[:MOST_SETTINGS]
    # The name of the arm comes first in the dotted name; it says nothing where there is one.
    label = {name: name.split(".", 1)[1] if len(study.arms) == 1 else name for name in shown}
    return (
        ", ".join(f"{label[name]}={before[name]}" for name in shown),
        ", ".join(f"{label[name]}={now[name]}" for name in shown),
    )


def _recipes(study: Study) -> dict[str, Any]:
    return {arm: arm_recipe(study, arm, {}).model_dump(mode="json") for arm in study.arms}


def _benchmark(study: Study) -> dict[str, Any]:
    if study.benchmark is None:
        return {}
    return {
        "shares": [study.benchmark.validation, study.benchmark.test],
        "recipes": {
            f"{name}, {arm}": benchmark_recipe(study, arm, name).model_dump(mode="json")
            for arm in study.benchmark_arms()
            for name in study.benchmark.networks
        },
    }
