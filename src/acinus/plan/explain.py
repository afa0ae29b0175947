"""A plan read aloud: each decision in plain words, with its value, its reason and its facts.

Enters: a plan. Leaves: text for people, grouped by the stages of a run. What a rule decided
has its reason and its facts below; what the recipe states is one line. A table was rejected: the
reasons are sentences, and a column of them is narrower than a word.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from acinus.plan.plan import Plan
from acinus.plan.rules import Decision
from acinus.plan.settings import Provenance

WIDTH = 96

STAGES = (
    ("Rules", ("rules", "nnunet")),
    ("Locate: where the structures are, before they are segmented", ("locate",)),
    ("Preparation: what a scan becomes before the network sees it", ("prepare",)),
    ("Network", ("network",)),
    ("Loss: what counts as an error", ("loss",)),
    ("Patches: what is shown in training", ("train.patch_vox", "train.batch", "sampling")),
    ("Augmentation: how patches are changed at random", ("augment", "train.mirror")),
    ("Training", ("train",)),
    ("Prediction", ("predict",)),
    ("Folds and hold-out", ("folds", "holdout")),
)
"""Heading of each stage and the settings that belong to it; the first match counts."""

SOURCES: dict[Provenance, str] = {
    "paper": "as published",
    "ours": "our choice",
    "data": "from the data",
    "budget": "from the budget",
    "user": "set by you",
}

BY_LOCATE_STAGE = "set by the locate stage"
"""What nobody but the plan of the segment stage, or its `locate.config`, set."""

PHRASES = {
    "rules": "rules that decide what is left open",
    "nnunet.configuration": "nnU-Net's configuration",
    "nnunet.encoder": "nnU-Net's encoder",
    "nnunet.memory_gb": "GPU memory that patch and batch are fitted to, GB",
    "locate.stage": "how places are found",
    "locate.spacing_mm": "voxel spacing at which they are sought, mm",
    "locate.margin_mm": "margin around what is found, mm",
    "locate.box_mm": "fixed size of the boxes, mm",
    "locate.growths": "most times that a box grows where a mask touches it",
    "locate.places": "places and their labels",
    "prepare.slice_axis": "axis across the slices (Z up, Y to the front, X to the right)",
    "prepare.spacing_mm": "voxel spacing across slices, rows and columns, mm",
    "prepare.normalisation": "intensities of each channel",
    "prepare.normalise_nonzero": "statistics leave zeros out",
    "prepare.intensity": "foreground intensities of the dataset",
    "prepare.crop_to_nonzero": "zeros around the body cut away",
    "locate.mirrored": "places that are seen as in a mirror",
    "prepare.grow_mm": "growth of each label, for structures that are only to be found, mm",
    "prepare.size_vox": "size to crop or pad slices to, voxels",
    "network.name": "network",
    "network.config": "its settings",
    "loss.name": "loss",
    "loss.config": "its settings",
    "sampling.name": "voxels that patches are drawn around",
    "sampling.config": "its settings",
    "augment.label_shift": "patches whose structures get brighter or darker",
    "train.patch_vox": "patch, voxels",
    "train.batch": "patches a step",
    "train.mirroring": "labels of a mirror pair under a left-right flip",
    "train.mirror_axes": "axes that may be flipped",
    "train.lr": "learning rate",
    "train.steps_per_epoch": "steps an epoch",
    "train.average_decay": "decay of the running average of the weights",
    "train.gradient_clip": "longest gradient",
    "train.warmup": "share of the steps with a rising learning rate",
    "train.deep_supervision": "loss at coarser levels too",
    "predict.overlap": "overlap of neighbouring tiles",
    "predict.use_mirroring": "average over mirrored images",
    "predict.average": "what is averaged over folds and mirrorings",
    "predict.postprocess": "largest component only",
    "folds": "parts that the participants are divided into",
    "folds_trained": "folds that are trained",
    "holdout": "share of the participants kept for the final test",
}
"""Settings in words; one that is not listed is named by itself."""

UNITS = {"mm": "mm", "vox": "voxels", "gb": "GB", "ml": "mL"}


def explain_plan(plan: Plan, *, warnings: Sequence[str] = ()) -> str:
    """Every decision of a plan in plain words, grouped by stage.

    Args:
        plan: The plan.
        warnings: Sentences to put at the end, such as `small_structure_warnings`.

    Returns:
        Lines of at most `WIDTH` characters, but for words longer than that.
    """
    locates = plan.settings.prepare.grow_mm > 0
    what = "Plan of the coarse network that locates" if locates else "Plan"
    sources = {**SOURCES, "user": BY_LOCATE_STAGE} if locates else SOURCES
    lines = [f"{what} for {plan.dataset.name} by the recipe {plan.recipe}"]
    if plan.summary:
        lines += _wrap(f"{plan.summary}.", indent="")
    left = dict(plan.decisions)
    for heading, keys in STAGES:
        mine = {key: left.pop(key) for key in list(left) if _belongs(key, keys)}
        lines += _explain_stage(heading, mine, sources)
    lines += _explain_stage("Other settings", left, sources)
    if warnings:
        lines += ["", "Warnings"]
        for warning in warnings:
            lines += _wrap(warning, indent="  ")
    return "\n".join(lines) + "\n"


def _belongs(key: str, stage: Iterable[str]) -> bool:
    return any(key == one or key.startswith((f"{one}.", f"{one}_")) for one in stage)


def _explain_stage(
    heading: str, decisions: Mapping[str, Decision], sources: Mapping[Provenance, str]
) -> list[str]:
    if not decisions:
        return []
    lines = ["", heading]
    for key, one in decisions.items():
        named = f"{setting_words(key)} [{key}]: {value_words(one.value)}"
        if not _is_stated(one):
            lines += _wrap(named, indent="  ")
            lines += _wrap(f"why: {one.rule} ({sources[one.source]})", indent="    ")
            if one.facts:
                lines += _wrap(f"from: {facts_words(one.facts)}", indent="    ")
        elif one.value not in (None, {}):
            lines += _wrap(f"{named} ({sources[one.source]})", indent="  ")
    return lines


def _is_stated(decision: Decision) -> bool:
    """Whether the recipe, or the user through it, says the value, and no rule."""
    return decision.rule.startswith("recipe ") and not decision.facts


def setting_words(key: str) -> str:
    """A setting as people call it: ``train.patch_vox`` is "patch, voxels"."""
    return PHRASES.get(key) or key.split(".")[-1].replace("_", " ")


def facts_words(facts: Mapping[str, Any]) -> str:
    """Facts of a decision as ``median spacing (mm) 1, 1, 1; number of cases 20``."""
    return "; ".join(f"{_fact_name(name)} {value_words(value)}" for name, value in facts.items())


def _fact_name(name: str) -> str:
    """``median_spacing_mm`` as "median spacing (mm)"."""
    words = name.removeprefix("n_").split("_")
    if name.startswith("n_"):
        words[:0] = ["number", "of"]
    unit = UNITS.get(words[-1])
    return f"{' '.join(words[:-1])} ({unit})" if unit and len(words) > 1 else " ".join(words)


def value_words(value: Any) -> str:
    """A value of a decision as people write it; None is "as scanned", as within a spacing."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "as scanned"
    if isinstance(value, int):
        return f"{value:,}" if value >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(
            f"{str(key).replace('_', ' ')} {value_words(v)}" for key, v in value.items()
        )
    if isinstance(value, list | tuple):
        return _sequence(value)
    return str(value)


def _sequence(values: Sequence[Any]) -> str:
    """Numbers as "1, 2, 2"; rows of numbers as "1×3×3 2 times, 3×3×3 5 times"."""
    if not values:
        return "none"
    if not all(isinstance(row, list | tuple) for row in values):
        mappings = any(isinstance(one, Mapping) for one in values)
        return ("; " if mappings else ", ").join(value_words(one) for one in values)
    runs: list[tuple[str, int]] = []
    for row in values:
        text = "×".join(value_words(one) for one in row)
        if runs and runs[-1][0] == text:
            runs[-1] = (text, runs[-1][1] + 1)
        else:
            runs.append((text, 1))
    return ", ".join(text if n == 1 else f"{text} {n} times" for text, n in runs)


def _wrap(text: str, *, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
