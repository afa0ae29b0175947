"""nnU-Net's plan as decisions on our settings, each with its rule and its facts.

Enters: a dataset, its fingerprint and a recipe with ``rules: nnunet``. Leaves: one decision for
every setting that the recipe leaves to the rules. What the user has set goes into the rules
where they can use it (spacing, slice axis, patch) and is never overruled.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from acinus.cohort import Dataset
from acinus.errors import PlanError
from acinus.losses import LOSSES
from acinus.plan.fingerprint import CaseFacts, Fingerprint
from acinus.plan.intensity import needs_intensities, require_intensities
from acinus.plan.nnunet.configure import (
    ANISOTROPY,
    FINE_PERCENTILE,
    LOW_RES_BELOW,
    MASK_BELOW,
    MIN_BATCH,
    Configuration,
    NnunetPlan,
    PlanningFacts,
    Wishes,
    plan_configurations,
    require_configuration,
)
from acinus.plan.rules import PLANES, Decision
from acinus.plan.settings import Normalisation, Recipe

ROTATION_DEGREES = {"volume": 30.0, "slices_of_volume": 180.0, "square": 180.0, "oblong": 15.0}
"""Largest angle in either direction: 3D; 3D in thick slices, within them; 2D; oblong 2D."""

ROTATION_WITH_SWAP = 30.0
"""Largest angle within slices where flips exchange right and left, see `_augmentation`."""

ON_PLAIN = ("pansegnet",)
"""Networks that take the levels of plain_unet and add to them."""

OBLONG = 1.5
"""Longest over shortest edge of a 2D patch from which rotation is small."""


def nnunet_decisions(
    dataset: Dataset, fingerprint: Fingerprint, recipe: Recipe
) -> dict[str, Decision]:
    """Every decision that a recipe with nnU-Net's rules leaves open.

    Args:
        dataset: Names of channels and labels.
        fingerprint: Facts of its cases.
        recipe: With the user's changes; `nnunet` names configuration, encoder and memory.

    Raises:
        PlanError: nnU-Net has no such configuration for this dataset, no patch fits, or the
            recipe's network has another encoder than asked for.
    """
    facts = planning_facts(dataset, fingerprint)
    plan = plan_configurations(
        facts,
        encoder=recipe.nnunet.encoder,
        preset=recipe.nnunet.preset,
        memory_gb=recipe.nnunet.memory_gb,
        wishes=_wishes(recipe),
    )
    asked = recipe.nnunet.configuration
    name = "3d_fullres" if asked == "3d_cascade" else asked
    one = require_configuration(plan, name)
    if asked == "3d_cascade":
        require_configuration(plan, "3d_lowres", asked=asked)
    decisions = {
        "nnunet.configuration": _configuration(plan, recipe),
        "prepare.slice_axis": _slice_axis(plan, facts),
        "prepare.spacing_mm": _spacing(plan, name, facts),
        "train.patch_vox": _patch(one, recipe),
        "train.batch": _batch(one, plan, facts),
        **_normalisation(plan, recipe, fingerprint, facts),
        **_network(one, plan, recipe),
        **_augmentation(one, plan, swaps=bool(dataset.mirror_pairs) and not _keeps_sides(recipe)),
    }
    if "batch" in LOSSES[recipe.loss.name].config.model_fields:
        decisions["loss.config"] = _loss(one, plan, recipe)
    return decisions


def planning_facts(dataset: Dataset, fingerprint: Fingerprint) -> PlanningFacts:
    """What nnU-Net's rules look at, from our fingerprint; axes are canonical (Z, Y, X)."""
    cases = list(fingerprint.cases.values())
    return PlanningFacts(
        spacings_mm=np.array([_as_stored(case) for case in cases]),
        shapes_vox=np.array([case.cropped_vox for case in cases]),
        median_share=float(np.median([case.cropped_share for case in cases])),
        channel_names=dataset.channel_names,
        n_outputs=1 + len(dataset.labels) + (dataset.ignore_label is not None),
        n_training=len(cases),
    )


def _as_stored(case: CaseFacts) -> list[float]:
    """The spacing to the last digit of the file: slices of 1.8 mm are not 3 times 0.6 mm there."""
    kind = np.float32 if case.in_single_precision else np.float64
    return [float(kind(step)) for step in case.spacing_mm]


def decide_intensity(
    fingerprint: Fingerprint, normalisation: Normalisation | tuple[Normalisation, ...]
) -> Decision | None:
    """Foreground intensities of every channel, if a channel's normalisation needs them.

    Raises:
        PlanError: A channel has no labelled voxel in any case.
    """
    if not needs_intensities(normalisation):
        return None
    channels = require_intensities(fingerprint.foreground, fingerprint.channel_names)
    return Decision(
        value=[channel.model_dump() for channel in channels],
        rule="nnU-Net: CT is clipped to percentiles 0.5 and 99.5 of labelled voxels, then scaled "
        "by their mean and standard deviation; every case weighs the same",
        source="data",
        facts={"n_cases": len(fingerprint.cases)},
    )


def _wishes(recipe: Recipe) -> Wishes:
    axis = recipe.prepare.slice_axis
    given = recipe.provenance.get("train.patch_vox") == "user"
    z, y, x = ("ZYX".index(name) for name in PLANES[axis if axis != "auto" else "Z"])
    return Wishes(
        order=None if axis == "auto" else (z, y, x),
        spacing_mm=recipe.prepare.spacing_mm,
        patch_vox=recipe.train.patch_vox if given else None,
    )


def _configuration(plan: NnunetPlan, recipe: Recipe) -> Decision:
    facts: dict[str, Any] = {"planned": sorted(plan.configurations)}
    if "3d_fullres" in plan.configurations:
        full = plan.configurations["3d_fullres"]
        facts["patch_share_of_median_image"] = round(_patch_share(full), 3)
        facts["median_image_vox"] = _rounded(full.median_vox)
    if "3d_lowres" in plan.configurations:
        facts["low_res_spacing_mm"] = _rounded(plan.configurations["3d_lowres"].spacing_mm)
    return Decision(
        value=recipe.nnunet.configuration,
        rule="the recipe's; a low resolution and a cascade are planned where the patch covers "
        f"less than {LOW_RES_BELOW:.0%} of the median image",
        source="paper",
        facts=facts,
    )


def _slice_axis(plan: NnunetPlan, facts: PlanningFacts) -> Decision:
    return Decision(
        value="ZYX"[plan.order[0]],
        rule="nnU-Net: the axis of largest target spacing comes first",
        source="data",
        facts={"median_spacing_zyx_mm": _rounded(np.median(facts.spacings_mm, axis=0))},
    )


def _spacing(plan: NnunetPlan, name: str, facts: PlanningFacts) -> Decision:
    one = plan.configurations[name]
    rule = (
        "nnU-Net: median spacing of each axis; of an axis "
        f"{ANISOTROPY:g} times as coarse as the others and {ANISOTROPY:g} times as short the "
        f"{FINE_PERCENTILE}th percentile"
    )
    value: tuple[float | None, ...] = tuple(float(step) for step in one.spacing_mm)
    if name == "2d":
        value, rule = (None, *value), f"{rule}; slices as scanned"
    if name == "3d_lowres":
        rule = (
            f"{rule}; coarsened in steps of 3 %, finest axes first, until the patch covers "
            f"{LOW_RES_BELOW:.0%} of the median image"
        )
    return Decision(
        value=value,
        rule=rule,
        source="data",
        facts={
            "median_spacing_mm": _rounded(plan.median_spacing_mm),
            "median_cropped_vox": list(plan.median_vox),
            "n_cases": facts.n_training,
        },
    )


def _patch(one: Configuration, recipe: Recipe) -> Decision:
    return Decision(
        value=one.patch_vox,
        rule="nnU-Net: as isotropic in mm as possible, no larger than the median image, shortened "
        "along the axis that covers most of it until it fits the memory; divisible by the strides",
        source="data",
        facts={
            "median_image_vox": _rounded(one.median_vox),
            "memory_gb": recipe.nnunet.memory_gb,
            "feature_values": one.fit.values,
            "reference_values": int(one.fit.reference),
            "divisor_vox": list(one.topology.divisor),
        },
    )


def _batch(one: Configuration, plan: NnunetPlan, facts: PlanningFacts) -> Decision:
    share = plan.preset.largest_share
    cap = f"no more than {share:.0%} of the dataset's voxels" if share < 1 else "no more than all"
    return Decision(
        value=one.batch,
        rule=f"nnU-Net: what the memory holds, {cap}, at least {MIN_BATCH}",
        source="data",
        facts={
            "fits_memory": one.fit.batch,
            "largest_by_share": one.largest_batch,
            "n_cases": facts.n_training,
        },
    )


def _normalisation(
    plan: NnunetPlan, recipe: Recipe, fingerprint: Fingerprint, facts: PlanningFacts
) -> dict[str, Decision]:
    """Normalisation by channel name, its intensities, and whether zeros count."""
    stated = recipe.prepare.normalisation
    kinds = plan.normalisation if stated == "by_name" else stated
    decisions = {}
    if stated == "by_name":
        decisions["prepare.normalisation"] = Decision(
            value=kinds,
            rule="nnU-Net: by the name of the channel: CT by foreground percentiles, noNorm, "
            "rescale_to_0_1, rgb_to_0_1; every other name z-score",
            source="data",
            facts={"channels": list(facts.channel_names)},
        )
    intensity = decide_intensity(fingerprint, kinds)
    if intensity is not None and recipe.prepare.intensity is None:
        decisions["prepare.intensity"] = intensity
    decisions["prepare.normalise_nonzero"] = Decision(
        value=any(plan.nonzero_only),
        rule="nnU-Net: z-scores leave zeros out where cropping to nonzero leaves under "
        f"{MASK_BELOW:.0%} of the median image",
        source="data",
        facts={"median_share_after_cropping": round(facts.median_share, 4)},
    )
    return decisions


def _network(one: Configuration, plan: NnunetPlan, recipe: Recipe) -> dict[str, Decision]:
    """Encoder and levels; none for a network that the user has chosen and that has no such levels.

    Raises:
        PlanError: The recipe's network has the plain encoder and another is asked for.
    """
    levels, preset, stated = one.topology, plan.preset, recipe.network.name
    is_plain = preset.network == "plain_unet"
    if recipe.provenance.get("network.name") == "user":
        fits = stated == preset.network or (is_plain and stated in ON_PLAIN)
        if not fits:
            return {}
    if stated in ON_PLAIN and not is_plain:
        raise PlanError(
            f"nnunet.encoder must be plain for the network '{stated}'; got "
            f"{recipe.nnunet.encoder}. Use the recipe nnunet-resenc-m for a residual encoder."
        )
    config = {
        "features": list(levels.features),
        "kernels": [list(kernel) for kernel in levels.kernels],
        "strides": [list(stride) for stride in levels.strides],
        "convs_per_stage" if is_plain else "blocks_per_stage": list(levels.blocks(preset)),
        "convs_per_stage_decoder": [preset.decoder_convs] * (levels.n_levels - 1),
        "conv_bias": True,
        "deep_supervision": recipe.train.deep_supervision,
        **recipe.network.config,
    }
    return {
        "network.name": Decision(
            value=stated if stated in ON_PLAIN else preset.network,
            rule="the encoder of the recipe",
            source="paper",
            facts={"encoder": recipe.nnunet.encoder},
        ),
        "network.config": Decision(
            value=config,
            rule="nnU-Net: halve each axis while it has 8 voxels and is within a factor of two of "
            "the finest; kernels of 1 along an axis until then; features double from 32",
            source="data",
            facts={"spacing_mm": _rounded(one.spacing_mm), "patch_vox": list(one.patch_vox)},
        ),
    }


def _keeps_sides(recipe: Recipe) -> bool:
    return recipe.train.mirroring != "swap"


def _augmentation(one: Configuration, plan: NnunetPlan, *, swaps: bool) -> dict[str, Decision]:
    """Angle and planes of rotation, and the axes that are mirrored.

    Args:
        one: The configuration.
        plan: It is of.
        swaps: Whether a flip across the sagittal plane exchanges labels. With one across another
            axis of the slices it shows what a turn by 180° shows, whose labels stay: so that
            nnU-Net's angle would teach either side for the same picture.
    """
    patch = one.patch_vox
    axes = PLANES["ZYX"[plan.order[0]]][-len(patch) :]
    if len(patch) == 2:
        ratio, limit = max(patch) / min(patch), OBLONG
        kind = "oblong" if ratio > limit else "square"
    else:
        ratio, limit = max(patch) / patch[0], ANISOTROPY
        kind = "slices_of_volume" if ratio > limit else "volume"
    facts = {"patch_vox": list(patch), "ratio": round(ratio, 2), "limit": limit}
    degrees = ROTATION_DEGREES[kind]
    rule = (
        "nnU-Net: 30° in volumes; 180° in slices, also in those of a volume whose patch is more "
        "than three times as long as it has slices; 15° in oblong slices"
    )
    if swaps and degrees > ROTATION_WITH_SWAP and "X" in axes[-2:]:
        degrees = ROTATION_WITH_SWAP
        rule += (
            f"; here {ROTATION_WITH_SWAP:g}°, since flips along both axes of a slice exchange "
            "right and left, and a turn by 180°, which looks the same, does not"
        )
    decisions = {
        "augment.rotate_degrees": Decision(value=degrees, rule=rule, source="data", facts=facts),
        "train.mirror_axes": Decision(
            value=axes,
            rule="nnU-Net: every axis of the patch",
            source="paper",
        ),
    }
    if len(patch) == 3:
        decisions["augment.rotate_planes"] = Decision(
            value="in_plane" if kind == "slices_of_volume" else "all",
            rule="nnU-Net: within the slices where the patch is more than three times as long as "
            "it has slices",
            source="data",
            facts=facts,
        )
    return decisions


def _loss(one: Configuration, plan: NnunetPlan, recipe: Recipe) -> Decision:
    return Decision(
        value={**recipe.loss.config, "batch": one.batch_dice},
        rule="nnU-Net: Dice sums over the batch for slices, and for full resolution where a low "
        "one is planned as well; else each patch for itself",
        source="data",
        facts={"planned": sorted(plan.configurations)},
    )


def _patch_share(one: Configuration) -> float:
    return math.prod(one.patch_vox) / math.prod(one.median_vox)


def _rounded(values: Any) -> list[float]:
    return [round(float(value), 4) for value in values]
