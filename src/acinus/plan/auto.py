"""The rules of the recipe ``auto``: slices or volumes, spacing, patch, batch and network.

Enters: a fingerprint and a device. Leaves: decisions that learn within minutes on
two CPU cores and use a large GPU fully. They begin from nnU-Net's rules (its
topology, its spacing) and depart from them where measurement showed a gain; each
departure stands in docs/decisions/0008 with its numbers. The width of the network
is decided last, when the budget is known and steps have been timed
(`width_candidates`). No rule knows a dataset by name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from acinus.cohort import Dataset
from acinus.errors import PlanError
from acinus.plan.fingerprint import Fingerprint
from acinus.plan.nnunet import BY_CHANNEL_NAME, Topology, decide_intensity, decide_topology
from acinus.plan.rules import PLANES, Decision, decide_patch, decide_slice_axis, decide_spacing
from acinus.plan.settings import Recipe
from acinus.types import Array

MAX_ANISOTROPY = 3.0
"""Median spacing across the slices over that within them up to which volumes are learned."""

MIN_SLICES = 8
"""Median number of slices from which volumes are learned."""

WHOLE_IMAGE = 1.5
"""A median image of at most so many times the usual patch is one patch as a whole."""

MAX_COARSENING = 2.0
"""Most that a CPU plan coarsens the spacing so that a patch holds a structure."""

CONTEXT = 1.3
"""A patch holds a structure with its surroundings when it is so many times its extent."""

MIN_STRUCTURE_VOX = 500
"""The spacing is not coarsened below so many voxels of the median smallest structure."""

LARGEST_BATCH = 16

RARE_SHARE = 1e-3
"""Below this share of a patch a label counts more in the cross-entropy, and with it all labels."""

LARGEST_WEIGHT = 150.0
"""Most that a voxel of a label weighs beside one of the background; ten times as much made a
network learn several times more slowly, with labels all over the scan."""

SHIFTED_SHARE = 0.5
"""Share of CT patches whose structures are shifted in brightness."""

BATCH_NORM_FROM = 4
"""Patches from which normalisation is over the batch, a third faster on a CPU than over each."""


@dataclass(frozen=True)
class Scale:
    """What a kind of device computes in one go.

    Attributes:
        patch_voxels: Voxels of a usual 3D patch.
        batch_voxels: Voxels of a batch.
        widths: Features of the finest level to choose from, narrow first.
        usual_width: The one that is taken where no budget asks for another.
    """

    patch_voxels: int
    batch_voxels: int
    widths: tuple[int, ...]
    usual_width: int


SCALES = {
    "cpu": Scale(2**17, 720_000, (8, 12, 16, 24, 32), 16),
    "mps": Scale(2**19, 2**20, (16, 32), 32),
    "cuda": Scale(2**21, 2**22, (32,), 32),
}

MAX_FEATURES = 320

SLICE_PATCH_VOX = (128, 128)
SLICE_BATCH = 16
SLICE_LEVELS = 5
SLICE_LR = 0.002


def auto_decisions(
    dataset: Dataset, fingerprint: Fingerprint, recipe: Recipe, device: str
) -> dict[str, Decision]:
    """Every decision that the recipe ``auto`` leaves open, but for the steps.

    Args:
        dataset: Names of its channels.
        fingerprint: Facts of its cases.
        recipe: With the user's changes.
        device: ``cpu``, ``cuda`` or ``mps``.
    """
    decisions: dict[str, Decision] = {}
    normalisation = recipe.prepare.normalisation
    if normalisation == "by_name":
        decisions["prepare.normalisation"] = _normalisation(dataset)
        normalisation = decisions["prepare.normalisation"].value
    kinds = (normalisation,) if isinstance(normalisation, str) else normalisation
    if set(kinds) == {"ct"} and not recipe.prepare.grow_mm:
        decisions["augment.label_shift"] = Decision(
            value=SHIFTED_SHARE,
            rule="on CT, where a gland's brightness differs more among people than few cases show",
            source="data",
            facts={"channels": list(dataset.channel_names)},
        )
    intensity = decide_intensity(fingerprint, normalisation)
    if intensity is not None:
        decisions["prepare.intensity"] = intensity
    slice_axis = recipe.prepare.slice_axis
    if slice_axis == "auto":
        decisions["prepare.slice_axis"] = decide_slice_axis(fingerprint)
        slice_axis = decisions["prepare.slice_axis"].value
    order = ["ZYX".index(name) for name in PLANES[slice_axis]]
    spacings = np.array([case.spacing_mm for case in fingerprint.cases.values()])[:, order]
    sizes = np.array([case.shape_vox for case in fingerprint.cases.values()])[:, order]
    spacing, size = np.median(spacings, axis=0), np.median(sizes, axis=0)
    seen = [  # as the network will: a spacing that is asked for may make cubes of thick slices
        wish or own for wish, own in zip(recipe.prepare.spacing_mm or spacing, spacing, strict=True)
    ]
    anisotropy = float(seen[0] / max(seen[1:]))
    facts = {
        "median_spacing_mm": _rounded(spacing),
        "median_size_vox": _rounded(size),
        "slice_over_in_plane_spacing": round(anisotropy, 2),
    }
    given = recipe.train.patch_vox if _is_given(recipe, "train.patch_vox") else None
    n_slices = size[0] * spacing[0] / seen[0]
    learns_volumes = anisotropy <= MAX_ANISOTROPY and n_slices >= MIN_SLICES
    if given is not None:
        learns_volumes = len(given) == 3
    if learns_volumes:
        decisions |= _volumes(fingerprint, recipe, SCALES[device], order, facts)
    else:
        decisions |= _slices(fingerprint, recipe, slice_axis, SCALES[device], facts)
    if _is_given(recipe, "network.name"):
        decisions.pop("network.name", None)
        decisions.pop("network.config", None)
    return decisions


def width_candidates(network: str, config: dict[str, object], device: str) -> list[list[int]]:
    """Features per level of the networks to choose from, narrow first.

    Args:
        network: Name of the network.
        config: Its settings; the number of levels is kept.
        device: ``cpu``, ``cuda`` or ``mps``.
    """
    features = config.get("features")
    if not isinstance(features, list | tuple) or not features:
        return []
    n_levels = len(features)
    most = max(MAX_FEATURES, *features) if network == "unet_2d" else MAX_FEATURES
    return [
        [min(width * 2**level, most) for level in range(n_levels)]
        for width in SCALES[device].widths
    ]


def _is_given(recipe: Recipe, dotted: str) -> bool:
    """Whether the user set a setting, so that no rule may."""
    return recipe.provenance.get(dotted) == "user"


def _normalisation(dataset: Dataset) -> Decision:
    kinds = tuple(BY_CHANNEL_NAME.get(name.casefold(), "z_score") for name in dataset.channel_names)
    return Decision(
        value=kinds,
        rule="by the name of the channel, as nnU-Net: CT by foreground percentiles, else z-score",
        source="data",
        facts={"channels": list(dataset.channel_names)},
    )


def _volumes(
    fingerprint: Fingerprint,
    recipe: Recipe,
    scale: Scale,
    order: list[int],
    facts: dict[str, object],
) -> dict[str, Decision]:
    """Spacing, patch, batch and network for 3D patches."""
    cases = list(fingerprint.cases.values())
    spacing = np.median([case.spacing_mm for case in cases], axis=0)[order]
    mm = np.array([np.multiply(case.shape_vox, case.spacing_mm) for case in cases])[:, order]
    size_mm = np.median(mm, axis=0)
    extent_mm = _largest_extents(fingerprint)[order]
    smallest_ml = _smallest_volume_ml(fingerprint)
    factor = 1.0
    if recipe.prepare.spacing_mm is None:
        factor = _coarsening(spacing, size_mm, extent_mm, smallest_ml, scale.patch_voxels)
    target = spacing * factor
    if recipe.prepare.spacing_mm is not None:
        target = np.array(
            [step or own for step, own in zip(recipe.prepare.spacing_mm, spacing, strict=True)]
        )
    wanted = _patch(target, size_mm, scale.patch_voxels).tolist()
    if _is_given(recipe, "train.patch_vox"):
        wanted = list(recipe.train.patch_vox)
    topology = decide_topology(target.tolist(), wanted)
    patch = topology.patch_vox
    batch = int(np.clip(round(scale.batch_voxels / math.prod(patch)), 2, LARGEST_BATCH))
    if _is_given(recipe, "train.batch"):
        batch = recipe.train.batch
    shared = {**facts, "largest_extent_mm": _rounded(extent_mm)}
    weighted: dict[str, Decision] = {}
    if recipe.loss.name == "dice_ce" and not _is_given(recipe, "loss.config"):
        weighted = _class_weights(fingerprint, recipe, math.prod(np.multiply(patch, target)))
    return {
        **weighted,
        "prepare.spacing_mm": Decision(
            value=tuple(_rounded(target)),
            rule=(
                "median spacing of the cases, coarsened until a patch holds the largest structure "
                f"with its surroundings, at most {MAX_COARSENING:g} times"
            ),
            source="data",
            facts={**shared, "coarsened": round(factor, 3)},
        ),
        "train.patch_vox": Decision(
            value=patch,
            rule=(
                "volumes, since slices are not much thicker than pixels; the median image as a "
                "whole where the device can, else a cube in mm within it; divisible by the strides"
            ),
            source="data",
            facts={**shared, "usual_voxels": scale.patch_voxels},
        ),
        "train.batch": Decision(
            value=batch,
            rule=f"patches of about {scale.batch_voxels:,} voxels together, 2 to {LARGEST_BATCH}",
            source="ours",
            facts={"patch_voxels": math.prod(patch)},
        ),
        "network.config": Decision(
            value=_plain_config(topology, scale.usual_width, batch, recipe),
            rule="nnU-Net's levels for this patch; the width is fitted to the budget",
            source="user" if recipe.network.config else "data",
            facts={"divisor_vox": list(topology.divisor)},
        ),
    }


def _slices(
    fingerprint: Fingerprint,
    recipe: Recipe,
    slice_axis: str,
    scale: Scale,
    facts: dict[str, object],
) -> dict[str, Decision]:
    """Spacing, patch, batch and network for 2D patches."""
    spacing = recipe.prepare.spacing_mm
    decisions: dict[str, Decision] = {}
    if spacing is None:
        decisions["prepare.spacing_mm"] = decide_spacing(fingerprint, slice_axis)
        spacing = decisions["prepare.spacing_mm"].value
    stride = (2 ** (SLICE_LEVELS - 1),) * 2
    patch = decide_patch(fingerprint, slice_axis, spacing, SLICE_PATCH_VOX, stride)
    why = "slices, since they are much thicker than pixels or few"
    features = [scale.usual_width * 2**level for level in range(SLICE_LEVELS)]
    return {
        **decisions,
        "train.patch_vox": patch.model_copy(
            update={"rule": f"{why}; {patch.rule}", "facts": {**facts, **patch.facts}}
        ),
        "train.batch": Decision(value=SLICE_BATCH, rule="patches of 128²", source="ours"),
        "train.lr": Decision(value=SLICE_LR, rule="for slices", source="ours"),
        "network.name": Decision(value="unet_2d", rule=why, source="data", facts=facts),
        "network.config": Decision(
            value={"features": features, "upsampling": "interpolated", **recipe.network.config},
            rule="five levels; the width is fitted to the budget",
            source="user" if recipe.network.config else "ours",
        ),
        "sampling.name": Decision(
            value="region",
            rule="slices above and below a structure are shown too (lacrimal MRI study)",
            source="ours",
        ),
    }


def _plain_config(topology: Topology, width: int, batch: int, recipe: Recipe) -> dict[str, object]:
    over_batch = batch >= BATCH_NORM_FROM
    given = recipe.network.config.get("features")
    n_levels = len(given) if isinstance(given, list | tuple) else topology.n_levels
    if n_levels > topology.n_levels:
        raise PlanError(
            f"network.config.features must have at most {topology.n_levels} levels for patches of "
            f"{topology.patch_vox} voxels; got {n_levels}. Leave some out, or take a larger patch."
        )
    return {
        "normalisation": "batch" if over_batch else "instance",
        "conv_bias": not over_batch,
        "kernels": [list(kernel) for kernel in topology.kernels[:n_levels]],
        "strides": [list(stride) for stride in topology.strides[:n_levels]],
        "features": [min(width * 2**level, MAX_FEATURES) for level in range(topology.n_levels)],
        **recipe.network.config,
    }


def _patch(spacing_mm: Array, size_mm: Array, most_voxels: int) -> Array:
    """(3,) voxels: the whole median image if it is small, else a cube in mm, cut to the image."""
    size = size_mm / spacing_mm
    if size.prod() <= WHOLE_IMAGE * most_voxels:
        return np.asarray(np.maximum(np.round(size), 1))
    low, high = float(spacing_mm.min()), float(size_mm.max())
    for _ in range(60):
        edge = (low + high) / 2
        fits = np.minimum(edge, size_mm) / spacing_mm
        low, high = (edge, high) if fits.prod() <= most_voxels else (low, edge)
    return np.asarray(np.maximum(np.floor(np.minimum(low, size_mm) / spacing_mm), 1))


def _coarsening(
    spacing_mm: Array, size_mm: Array, extent_mm: Array, smallest_ml: float, most_voxels: int
) -> float:
    """Factor on the spacing at which a patch holds the largest structure, in [1, 2]."""
    factor = 1.0
    while factor < MAX_COARSENING:
        target = spacing_mm * factor
        patch_mm = _patch(target, size_mm, most_voxels) * target
        needed_mm = np.minimum(CONTEXT * extent_mm, size_mm)
        if (patch_mm >= 0.99 * needed_mm).all():
            break
        coarser = min(factor * 1.05, MAX_COARSENING)
        if smallest_ml * 1000 / np.prod(spacing_mm * coarser) < MIN_STRUCTURE_VOX:
            break
        factor = coarser
    return factor


def _largest_extents(fingerprint: Fingerprint) -> Array:
    """(Z, Y, X) mm: over labels the largest of the third quartile of their extents."""
    rows = []
    for label in fingerprint.labels:
        extents = [
            case.extent_mm[label] for case in fingerprint.cases.values() if label in case.extent_mm
        ]
        if extents:
            rows.append(np.percentile(extents, 75, axis=0))
    return np.max(rows, axis=0) if rows else np.zeros(3)


def _class_weights(
    fingerprint: Fingerprint, recipe: Recipe, patch_mm3: float
) -> dict[str, Decision]:
    """Weights of the labels in the cross-entropy, if one of them is rare in a patch."""
    grow_mm, shares = recipe.prepare.grow_mm, {}
    for label in fingerprint.labels:
        seen = [
            1000
            * case.volume_ml[label]
            * _growth(case.extent_mm[label], grow_mm)
            / min(patch_mm3, float(np.prod(np.multiply(case.shape_vox, case.spacing_mm))))
            for case in fingerprint.cases.values()
            if case.volume_ml.get(label, 0) > 0
        ]
        if seen:
            shares[label] = min(float(np.median(seen)), 1.0)
    if not shares or min(shares.values()) >= RARE_SHARE:
        return {}
    weights = [
        round(min(shares.get(label, 1.0) ** -0.5, LARGEST_WEIGHT), 1)
        for label in fingerprint.labels
    ]
    return {
        "loss.config": Decision(
            value={**recipe.loss.config, "ce_weights": [1.0, *weights]},
            rule=(
                f"where a label fills less than {RARE_SHARE:.1%} of a patch, voxels of each weigh "
                "1 / √share in the cross-entropy, which else hardly sees it: of two glands that "
                "look alike one is learned late or never"
            ),
            source="ours",
            facts={"share_of_patch": {name: round(one, 6) for name, one in shares.items()}},
        )
    }


def _growth(extent_mm: tuple[float, float, float], grow_mm: float) -> float:
    """How many times its volume a label has after it was grown, by its (Z, Y, X) extent."""
    extent = np.maximum(extent_mm, 1e-3)
    return float(np.prod((extent + 2 * grow_mm) / extent))


def _smallest_volume_ml(fingerprint: Fingerprint) -> float:
    """Over labels the smallest of their median volumes where they are present."""
    medians = []
    for label in fingerprint.labels:
        volumes = [case.volume_ml[label] for case in fingerprint.cases.values()]
        present = [volume for volume in volumes if volume > 0]
        if present:
            medians.append(float(np.median(present)))
    return min(medians, default=0.0)


def _rounded(values: Array) -> list[float]:
    return [round(float(value), 4) for value in values]
