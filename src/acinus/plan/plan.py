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

import torch
import yaml
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from acinus.cohort import Dataset, mirror_partners, mirror_table
from acinus.config import Settings, nest, read_yaml_mapping, validate
from acinus.errors import ConfigError, PlanError
from acinus.files import hash_data, write_text
from acinus.networks import NETWORKS, SegmentationNetwork, build_network, check_size
from acinus.networks.device import best_device, has_fast_bfloat16, miscounts_bfloat16
from acinus.plan.auto import auto_decisions
from acinus.plan.fingerprint import Fingerprint, volume_ranges_ml
from acinus.plan.locate import decide_locate, in_boxes
from acinus.plan.mirror import decide_mirror_axes
from acinus.plan.nnunet import nnunet_decisions
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
from acinus.scans.coding import Side
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
    channel_numbers: tuple[int, ...] | None = None
    """Of a model of some channels of the dataset their numbers in the names of the files; None:
    all channels, numbered from 0."""

    @property
    def channels(self) -> dict[int, str]:
        """Number in the names of the files, to name, of every channel that the model needs."""
        numbers = self.channel_numbers or range(len(self.channel_names))
        return dict(zip(numbers, self.channel_names, strict=True))

    @model_serializer(mode="wrap")
    def _leave_out_what_says_nothing(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without a choice of channels as before there was any: the plan's hash stays."""
        data: dict[str, Any] = write(self)
        if self.channel_numbers is None:
            data.pop("channel_numbers", None)
        return data


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
        return _recipe_of(self.recipe, self.decisions)

    @property
    def axes(self) -> tuple[str, str, str]:
        """Anatomical axes of a prepared array, e.g. ("Z", "Y", "X")."""
        slice_axis = self.settings.prepare.slice_axis
        return PLANES[slice_axis if slice_axis != "auto" else "Z"]

    @property
    def is_located(self) -> bool:
        """Whether structures are found first, and segmented inside boxes."""
        return self.settings.locate.stage != "off"

    @property
    def mirrored_places(self) -> frozenset[str]:
        """Places whose boxes the segment stage sees as in a mirror."""
        return frozenset(self.settings.locate.mirrored)

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
    def previous_values(self) -> tuple[int, ...]:
        """Label values that a cascade's low resolution shows, a channel each; else none."""
        return _previous_values(self.settings, self.dataset.labels)

    @property
    def n_channels(self) -> int:
        """Inputs of the network: channels of the scans, in a cascade one a label beside them."""
        return len(self.dataset.channel_names) + len(self.previous_values)

    @property
    def mirrored_labels(self) -> tuple[int, ...]:
        """For each of the labels the index of the one that takes its place when mirrored."""
        names = list(self.dataset.labels)
        partner = mirror_partners(self.dataset.mirror_pairs)
        return tuple(names.index(partner.get(name, name)) for name in names)

    @property
    def label_values(self) -> tuple[tuple[int, ...], ...]:
        """Values in the references that each label stands for; of a region those it unites."""
        dataset = self.dataset
        return tuple(dataset.regions.get(name, (value,)) for name, value in dataset.labels.items())

    @property
    def mirror_table(self) -> tuple[int, ...]:
        """New value of each label value when left and right change places."""
        values = dict(zip(self.dataset.labels, self.label_values, strict=True))
        return mirror_table(values, self.dataset.mirror_pairs)

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
    located = decide_locate(dataset, fingerprint, recipe)
    if located:
        decisions |= located
        recipe = recipe.model_copy(update={"locate": _recipe_of(recipe.name, decisions).locate})
    # The segment stage sees boxes, so its rules decide from these.
    seen = in_boxes(fingerprint, recipe.locate) if located else fingerprint
    device = best_device() if recipe.train.device == "auto" else recipe.train.device
    for name, decision in _decide(dataset, seen, recipe, device).items():
        # The settings of a network come with the user's laid over them already, and a user's
        # spacing is that of full resolution.
        is_derived = name == "network.config" or (
            name == "prepare.spacing_mm"
            and recipe.rules == "nnunet"
            and recipe.nnunet.configuration == "3d_lowres"
        )
        if recipe.provenance.get(name) != "user" or is_derived:
            decisions[name] = decision
    made = _recipe_of(recipe.name, decisions)
    decisions |= _coarse_heads(made, decisions)
    made = _recipe_of(recipe.name, decisions)
    network = _network(made, dataset)
    _refuse_unfit_patch(made, network)
    for name, decision in _machine_decisions(made, network, device).items():
        decisions[name] = decision
    if made.train.mirror_axes == "auto":
        decisions["train.mirror_axes"] = decide_mirror_axes(fingerprint, dataset)
    if made.locate.mirrored:
        decisions |= _without_flips_across_the_middle(_recipe_of(recipe.name, decisions))
    if made.train.steps_per_epoch is None:
        decisions["train.steps_per_epoch"] = _steps_per_epoch(seen, made)
    _refuse_confused_sides(dataset, _recipe_of(recipe.name, decisions))
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
            regions=dict(dataset.regions),
            ignore_label=dataset.ignore_label,
            channel_numbers=dataset.channel_numbers,
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
    """Decisions that the recipe itself takes; of a locate stage only if the user forbids one.

    A plan without one says nothing of it, as before there was any.
    """
    left_out = {"name", "summary", "provenance", "locate"}
    data = recipe.model_dump(mode="json", exclude=left_out)
    if recipe.provenance.get("locate.stage") == "user" and recipe.locate.stage == "off":
        data["locate"] = {"stage": "off"}
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


def _decide(
    dataset: Dataset, fingerprint: Fingerprint, recipe: Recipe, device: str
) -> dict[str, Decision]:
    """What the recipe leaves open, by the rules that it names."""
    if recipe.rules == "nnunet":
        return nnunet_decisions(dataset, fingerprint, recipe)
    if recipe.rules == "auto":
        return auto_decisions(dataset, fingerprint, recipe, device)
    return _slice_decisions(dataset, fingerprint, recipe)


def _slice_decisions(
    dataset: Dataset, fingerprint: Fingerprint, recipe: Recipe
) -> dict[str, Decision]:
    """Slice axis, spacing and patch of 2D recipes."""
    decisions: dict[str, Decision] = {}
    prepare, train = recipe.prepare, recipe.train
    slice_axis = prepare.slice_axis
    if slice_axis == "auto":
        decisions["prepare.slice_axis"] = decide_slice_axis(fingerprint)
        slice_axis = decisions["prepare.slice_axis"].value
    spacing_mm = prepare.spacing_mm
    if spacing_mm is None:
        decisions["prepare.spacing_mm"] = decide_spacing(fingerprint, slice_axis)
        spacing_mm = decisions["prepare.spacing_mm"].value
    network = _network(recipe, dataset)
    _refuse_other_axes(recipe, network)
    if prepare.size_vox is None and len(train.patch_vox) == 2:
        patch = decide_patch(fingerprint, slice_axis, spacing_mm, train.patch_vox, network.stride)
        if patch.facts["recipe_vox"] != list(patch.value):
            decisions["train.patch_vox"] = patch
    return decisions


def _machine_decisions(
    recipe: Recipe, network: SegmentationNetwork, device: str
) -> dict[str, Decision]:
    """Device and precision, where the recipe leaves them to the machine.

    Raises:
        PlanError: The precision that the user chose gives wrong gradients there.
    """
    decisions = {}
    patch = recipe.train.patch_vox
    is_unsafe = device == "cpu" and miscounts_bfloat16(network, patch)
    if is_unsafe and recipe.train.precision == "bfloat16":
        raise PlanError(
            f"train.precision=bfloat16 must give the gradients of every layer; on a CPU it does "
            f"not where a level has fewer slices than its kernel, as with the patch {patch}. "
            "Choose a patch of more slices, or leave train.precision out."
        )
    if recipe.train.device == "auto":
        rule = "the best device of the machine that made the plan"
        decisions["train.device"] = Decision(value=device, rule=rule, source="data")
    if recipe.train.precision == "auto":
        is_fast = has_fast_bfloat16(torch.device(device))
        decisions["train.precision"] = Decision(
            value="bfloat16" if is_fast and not is_unsafe else "float32",
            rule="bfloat16 where the device multiplies it fast (a CPU with AVX512-BF16 or AMX, a "
            "GPU from compute capability 8.0): 1.7 times the steps on a CPU; not on a CPU where a "
            "level has fewer slices than its kernel, since its gradients are wrong",
            source="data",
            facts={"device": device, "level_of_few_slices": is_unsafe},
        )
    return decisions


def _steps_per_epoch(fingerprint: Fingerprint, recipe: Recipe) -> Decision:
    share = (1 - recipe.holdout) * (1 - 1 / recipe.folds)
    train, slice_axis = recipe.train, recipe.prepare.slice_axis
    axis = slice_axis if slice_axis != "auto" else "Z"
    if len(train.patch_vox) == 2:
        return decide_steps_per_epoch(fingerprint, axis, train.batch, share)
    n_cases = len(fingerprint.cases)
    return Decision(
        value=max(1, round(n_cases * share / train.batch)),
        rule="one patch per training case and epoch",
        source="ours",
        facts={"n_cases": n_cases, "share_of_cases_trained_on": round(share, 3)},
    )


def _recipe_of(name: str, decisions: Mapping[str, Decision]) -> Recipe:
    values = nest({key: decision.value for key, decision in decisions.items()})
    return validate(Recipe, {"name": name, **values}, where="plan")


def _previous_values(recipe: Recipe, labels: Mapping[str, int]) -> tuple[int, ...]:
    is_cascade = recipe.rules == "nnunet" and recipe.nnunet.configuration == "3d_cascade"
    return tuple(labels.values()) if is_cascade else ()


def _network(recipe: Recipe, dataset: Dataset) -> SegmentationNetwork:
    """The network without weights: only its shape is asked for."""
    with torch.device("meta"):
        return build_network(
            recipe.network.name,
            recipe.network.config,
            n_channels=len(dataset.channel_names) + len(_previous_values(recipe, dataset.labels)),
            n_classes=len(dataset.labels) + (0 if dataset.regions else 1),
        )


def _coarse_heads(recipe: Recipe, decisions: Mapping[str, Decision]) -> dict[str, Decision]:
    """A network with an answer at every level, where the loss shall look at coarser ones."""
    name, config = recipe.network.name, recipe.network.config
    if not recipe.train.deep_supervision or "deep_supervision" in config:
        return {}
    if "deep_supervision" not in NETWORKS[name].config.model_fields:
        raise PlanError(
            f"train.deep_supervision must go with a network that answers at coarser levels; {name} "
            "does not. Choose plain_unet or resenc_unet, or leave it out."
        )
    before = decisions["network.config"]
    value = {**config, "deep_supervision": True}
    return {"network.config": before.model_copy(update={"value": value})}


def _without_flips_across_the_middle(recipe: Recipe) -> dict[str, Decision]:
    """Boxes of both sides look alike already: a flipped one would be a right box that is none."""
    axes = tuple(axis for axis in recipe.train.mirror_axes if axis != "X")
    rule = "not left-right, since left boxes are seen as in a mirror (locate.mirrored)"
    return {"train.mirror_axes": Decision(value=axes, rule=rule, source="data")}


def _refuse_unfit_patch(recipe: Recipe, network: SegmentationNetwork) -> None:
    _refuse_other_axes(recipe, network)
    try:
        check_size(recipe.train.patch_vox, network.stride, what="train.patch_vox")
    except ConfigError as error:
        raise PlanError(str(error)) from None


def _refuse_other_axes(recipe: Recipe, network: SegmentationNetwork) -> None:
    patch = recipe.train.patch_vox
    if network.n_dims != len(patch):
        raise PlanError(
            f"train.patch_vox must have as many axes as the network; {recipe.network.name} has "
            f"{network.n_dims} and the patch {tuple(patch)} has {len(patch)}. Set both to slices "
            "(unet_2d, two lengths) or both to volumes (unet_3d, three lengths)."
        )


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
