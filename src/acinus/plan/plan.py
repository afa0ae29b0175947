"""The plan: every decision with its value, rule, source and facts, frozen in a file.

Enters: a fingerprint and a recipe, later the forecast of a budget. Leaves:
``plan.yaml``; the settings that all later stages read. The file is the only
place where a decision lives: `Plan.settings` is rebuilt from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from acinus.cohort import Dataset
from acinus.cohort.header import Side
from acinus.config import Settings, nest, read_yaml_mapping, validate
from acinus.errors import ConfigError, PlanError
from acinus.files import hash_data, write_text
from acinus.networks import SegmentationNetwork, build_network, check_size
from acinus.plan.fingerprint import Fingerprint, volume_ranges_ml
from acinus.plan.recipe import flatten
from acinus.plan.rules import (
    PLANES,
    Decision,
    decide_patch,
    decide_slice_axis,
    decide_spacing,
    decide_steps_per_epoch,
)
from acinus.plan.settings import Recipe
from acinus.version import __version__

FORMAT = 1


class DatasetFacts(Settings):
    """What a model must know of the data it learned from."""

    name: str
    hash: str
    channel_names: tuple[str, ...]
    labels: dict[str, int]
    sides: dict[str, Side]
    mirror_pairs: tuple[tuple[str, str], ...]
    synthetic: bool
    volume_ranges_ml: dict[str, tuple[float, float]]
    """Smallest and largest volume of each label over the dataset, mL."""
    regions: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    """Class regions: name to the label values it unites; empty: labels exclude each other. Then
    every name of `labels` is a region or a single label, predicted by its own sigmoid, and the
    value in `labels` is painted where it is found, in the order of `labels`."""
    ignore_label: int | None = None
    """Value of voxels in the references that say nothing."""


class Plan(Settings):
    """A frozen plan.

    Attributes:
        recipe: Name of the recipe it was made from.
        seed: Seed of weights, sampling and augmentation.
        budget: The budget as given, or None.
        decisions: Dotted setting to decision.
    """

    format: int = FORMAT
    acinus: str = __version__
    dataset: DatasetFacts
    recipe: str
    summary: str = ""
    seed: int
    budget: str | None = None
    decisions: dict[str, Decision]

    @cached_property
    def settings(self) -> Recipe:
        """The settings that the decisions amount to."""
        values = nest({key: decision.value for key, decision in self.decisions.items()})
        return validate(Recipe, {"name": self.recipe, **values}, where="plan")

    @property
    def axes(self) -> tuple[str, str, str]:
        """Anatomical axes of a prepared array, e.g. ("Z", "Y", "X")."""
        slice_axis = self.settings.prepare.slice_axis
        return PLANES[slice_axis if slice_axis != "auto" else "Z"]

    @property
    def n_dims(self) -> int:
        """2 for patches of one slice, 3 for volumes."""
        return len(self.settings.train.patch_vox)

    @property
    def patch_vox(self) -> tuple[int, int, int]:
        """(S, R, Q) patch; S is 1 for slices."""
        slices, rows, columns = (1, 1, 1, *self.settings.train.patch_vox)[-3:]
        return slices, rows, columns

    @property
    def n_classes(self) -> int:
        """Outputs of the network: labels and background, or one for each region."""
        return len(self.dataset.labels) + (0 if self.dataset.regions else 1)

    @property
    def mirror_table(self) -> tuple[int, ...]:
        """New value of each label value when left and right change places."""
        labels = self.dataset.labels
        table = list(range(max(labels.values(), default=0) + 1))
        for first, second in self.dataset.mirror_pairs:
            table[labels[first]], table[labels[second]] = labels[second], labels[first]
        return tuple(table)

    @property
    def n_steps(self) -> int:
        """Optimiser steps of each training."""
        train = self.settings.train
        return train.epochs * (train.steps_per_epoch or 1)

    @property
    def folds_to_train(self) -> tuple[int, ...]:
        """Indices of the folds that are trained."""
        settings = self.settings
        return tuple(range(min(settings.folds_trained or settings.folds, settings.folds)))

    def hash(self) -> str:
        """SHA-256 of all that decides the result."""
        return hash_data(self.model_dump(mode="json", exclude={"acinus", "summary"}))

    def with_decisions(self, changes: Mapping[str, Decision]) -> Plan:
        """The plan with some decisions replaced."""
        # Built anew, since a copy would keep the settings cached from the old decisions.
        kept = {name: getattr(self, name) for name in type(self).model_fields}
        return Plan(**{**kept, "decisions": {**self.decisions, **changes}})


def make_plan(
    dataset: Dataset,
    fingerprint: Fingerprint,
    recipe: Recipe,
    *,
    seed: int,
    budget: str | None = None,
) -> Plan:
    """A plan by the rules; the steps of a budget are decided later, when they are measured.

    Args:
        dataset: What to learn from.
        fingerprint: Its facts.
        recipe: With the user's changes.
        seed: Of weights, sampling and augmentation.
        budget: As given, for the record.

    Raises:
        PlanError: Mirroring would confuse sides, or a patch cannot be.
    """
    decisions = _stated(recipe)
    prepare, train = recipe.prepare, recipe.train
    slice_axis = prepare.slice_axis
    if slice_axis == "auto":
        decisions["prepare.slice_axis"] = decide_slice_axis(fingerprint)
        slice_axis = decisions["prepare.slice_axis"].value
    spacing_mm = prepare.spacing_mm
    if spacing_mm is None:
        decisions["prepare.spacing_mm"] = decide_spacing(fingerprint, slice_axis)
        spacing_mm = decisions["prepare.spacing_mm"].value
    network = build_network(
        recipe.network.name,
        recipe.network.config,
        n_channels=len(dataset.channel_names),
        n_classes=len(dataset.labels) + 1,
        seed=seed,  # only its shape is asked for; the global random state stays untouched
    )
    _refuse_unfit_patch(train.patch_vox, network)
    if prepare.size_vox is None:
        patch = decide_patch(fingerprint, slice_axis, spacing_mm, train.patch_vox, network.stride)
        if patch.facts["recipe_vox"] != list(patch.value):
            decisions["train.patch_vox"] = patch
    if train.steps_per_epoch is None:
        share = (1 - recipe.holdout) * (1 - 1 / recipe.folds)
        decisions["train.steps_per_epoch"] = decide_steps_per_epoch(
            fingerprint, slice_axis, train.batch, share
        )
    _refuse_confused_sides(dataset, recipe)
    return Plan(
        dataset=DatasetFacts(
            name=dataset.name,
            hash=fingerprint.dataset_hash,
            channel_names=dataset.channel_names,
            labels=dict(dataset.labels),
            sides=dict(dataset.sides),
            mirror_pairs=dataset.mirror_pairs,
            synthetic=dataset.synthetic,
            volume_ranges_ml=volume_ranges_ml(fingerprint),
        ),
        recipe=recipe.name,
        summary=recipe.summary,
        seed=seed,
        budget=budget,
        decisions=decisions,
    )


def write_plan(plan: Plan, path: Path) -> None:
    """Write ``plan.yaml``, whole or not at all."""
    data = plan.model_dump(mode="json")
    write_text(path, yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100))


def read_plan(path: Path) -> Plan:
    """A plan from its file.

    Raises:
        PlanError: The file is missing or no plan of this format.
    """
    if not path.is_file():
        raise PlanError(f"{path}: a plan must be here and is not. Make one with 'acinus plan'.")
    data = read_yaml_mapping(path)
    if data.get("format") != FORMAT:
        raise PlanError(f"{path}: plan format must be {FORMAT}; got {data.get('format')!r}.")
    return validate(Plan, data, where=str(path))


def _stated(recipe: Recipe) -> dict[str, Decision]:
    """Decisions that the recipe itself takes."""
    data = recipe.model_dump(mode="json", exclude={"name", "summary", "provenance"})
    return {
        dotted: Decision(
            value=value,
            rule=f"recipe {recipe.name}",
            source=_provenance(recipe, dotted),
        )
        for dotted, value in flatten(data).items()
    }


def _provenance(recipe: Recipe, dotted: str) -> Any:
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        source = recipe.provenance.get(".".join(parts[:length]))
        if source:
            return source
    return "ours"


def _refuse_unfit_patch(patch: tuple[int, ...], network: SegmentationNetwork) -> None:
    if network.n_dims != 2:
        raise PlanError(
            f"network must work on slices, since patches are 2D; {type(network).__name__} of this "
            f"recipe has {network.n_dims} dimensions. Choose unet_2d."
        )
    try:
        check_size(patch, network.stride, what="train.patch_vox")
    except ConfigError as error:
        raise PlanError(str(error)) from None


def _refuse_confused_sides(dataset: Dataset, recipe: Recipe) -> None:
    if recipe.train.mirroring != "swap" or "X" not in recipe.train.mirror_axes:
        return
    paired = {name for pair in dataset.mirror_pairs for name in pair}
    alone = sorted(set(dataset.sides) - paired)
    if alone:
        raise PlanError(
            f"dataset '{dataset.name}': labels with a side must have a partner in 'mirror_pairs' "
            f"of dataset.json to be mirrored; these have none: {', '.join(alone)}. "
            "Add the pairs, or set train.mirroring=none."
        )
