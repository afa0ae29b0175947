"""nnU-Net's configurations: spacing, patch, batch and cascade from the facts of a dataset.

Enters: spacings and shapes of the cases, names of the channels, number of outputs. Leaves: the
decisions of nnU-Net 2.8.1, number for number; tests compare them with plans that it wrote. Our
axes are canonical (Z, Y, X), its own those of the files; that apart nothing differs. The order
of floating-point operations is theirs where a rounding follows it.

Source: nnU-Net 2.8.1, experiment_planners/default_experiment_planner.py and residual_unets/;
Isensee et al. 2021, Nat Methods 18:203-211; Isensee et al. 2024, arXiv 2404.09556 (ResEnc).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from acinus.errors import PlanError
from acinus.plan.nnunet.topology import (
    MIN_EDGE_VOX,
    Axes,
    Fit,
    Preset,
    Topology,
    choose_preset,
    fit_patch,
)
from acinus.plan.settings import Normalisation
from acinus.types import Array

ANISOTROPY = 3.0
"""Coarsest over next coarsest spacing from which an axis is treated apart."""

FINE_PERCENTILE = 10
"""Percentile of the coarse axis' spacings that becomes its target spacing."""

START_VOXELS = {2: 2048**2, 3: 256**3}
"""Voxels of the patch that the search starts from, by number of axes."""

MIN_BATCH = 2

LOW_RES_BELOW = 0.25
"""Share of the median image that a patch must cover for full resolution to be enough."""

LOW_RES_STEP = 1.03
"""Factor by which the spacing of the low resolution rises in each try."""

LOW_RES_GAIN = 2.0
"""How many times fewer voxels the low resolution must have to be worth a stage."""

MASK_BELOW = 3 / 4
"""Median share of the image left after cropping under which statistics leave zeros out."""

BY_CHANNEL_NAME: dict[str, Normalisation] = {
    "ct": "ct",
    "nonorm": "none",
    "zscore": "z_score",
    "rescale_to_0_1": "rescale_0_1",
    "rgb_to_0_1": "rgb_0_1",
}
"""Normalisation by the name of a channel, in whatever case; any other name: z_score."""


@dataclass(frozen=True)
class PlanningFacts:
    """What nnU-Net's rules look at.

    Attributes:
        spacings_mm: (n, 3) voxel spacing of each case.
        shapes_vox: (n, 3) shape of each case after cropping to the voxels that are not 0.
        median_share: Median share of the voxels left after that cropping.
        channel_names: One per channel.
        n_outputs: Background, labels or regions, and the ignore label if there is one.
        n_training: Number of labelled cases.
    """

    spacings_mm: Array
    shapes_vox: Array
    median_share: float
    channel_names: tuple[str, ...]
    n_outputs: int
    n_training: int


@dataclass(frozen=True)
class Wishes:
    """What the user has set already, so that the rules go on from there.

    Attributes:
        order: Index of the axis (0 Z, 1 Y, 2 X) that becomes S, R and Q.
        spacing_mm: (S, R, Q) of the full resolution; a None within: by rule.
        patch_vox: Patch of the configuration with as many axes.
    """

    order: tuple[int, int, int] | None = None
    spacing_mm: tuple[float | None, float | None, float | None] | None = None
    patch_vox: Axes | None = None


@dataclass(frozen=True)
class Configuration:
    """One of nnU-Net's configurations, along the plan's axes.

    Attributes:
        spacing_mm: (S, R, Q), or (R, Q) in 2D.
        median_vox: Median image at this spacing.
        batch: Patches a step.
        batch_dice: Whether Dice sums run over the batch.
        fit: Patch, levels and memory.
        largest_batch: Where the cap on the share of the dataset stops the batch.
    """

    spacing_mm: tuple[float, ...]
    median_vox: tuple[float, ...]
    batch: int
    batch_dice: bool
    fit: Fit
    largest_batch: int

    @property
    def topology(self) -> Topology:
        """Levels of the network."""
        return self.fit.topology

    @property
    def patch_vox(self) -> Axes:
        """The patch."""
        return self.fit.topology.patch_vox


ConfigurationName = Literal["2d", "3d_fullres", "3d_lowres"]


@dataclass(frozen=True)
class NnunetPlan:
    """All that nnU-Net decides for a dataset.

    Attributes:
        order: Index of the axis (0 Z, 1 Y, 2 X) that becomes S, R and Q.
        median_spacing_mm: (S, R, Q) of the cases as they are.
        median_vox: (S, R, Q) of the cases as they are, cropped.
        normalisation: Of each channel.
        nonzero_only: Of each channel: statistics from voxels within the nonzero region only.
        preset: The planner.
        configurations: By name; without volumes there is only ``2d``, and ``3d_lowres`` only
            where nnU-Net plans a cascade.
    """

    order: tuple[int, int, int]
    median_spacing_mm: tuple[float, ...]
    median_vox: tuple[int, ...]
    normalisation: tuple[Normalisation, ...]
    nonzero_only: tuple[bool, ...]
    preset: Preset
    configurations: dict[str, Configuration]


def plan_configurations(
    facts: PlanningFacts,
    *,
    encoder: Literal["plain", "residual"],
    preset: Literal["m", "l", "xl"] = "m",
    memory_gb: float,
    wishes: Wishes | None = None,
) -> NnunetPlan:
    """nnU-Net's plan.

    Args:
        facts: Of the dataset.
        encoder: plain: the standard planner; residual: ResEncM, L or XL.
        preset: Which of these three.
        memory_gb: GPU memory that patch and batch are fitted to.
        wishes: What is set already; a plan with any is not nnU-Net's own.

    Raises:
        PlanError: No patch fits into the memory.
    """
    wishes = wishes or Wishes()
    target = decide_target_spacing(facts.spacings_mm, facts.shapes_vox)
    order = wishes.order or decide_order(target)
    for axis, wish_mm in zip(order, wishes.spacing_mm or (), strict=False):
        target[axis] = target[axis] if wish_mm is None else wish_mm
    spacing_mm = target[list(order)]
    shapes = [
        [round(float(old / new * n)) for old, new, n in zip(case, target, shape, strict=True)]
        for case, shape in zip(facts.spacings_mm, facts.shapes_vox, strict=True)
    ]
    median = np.median(shapes, 0)[list(order)]
    planner = _Planner(facts, choose_preset(encoder, preset), memory_gb, wishes.patch_vox)
    configurations = {}
    if median[0] != 1:
        full = planner.configure(spacing_mm, median)
        low = planner.find_low_res(full)
        configurations["3d_fullres"] = full if low is None else planner.with_batch_dice(full)
        if low is not None:
            configurations["3d_lowres"] = low
    slices = planner.configure(spacing_mm[1:], median[1:], whole_vox=median)
    configurations["2d"] = planner.with_batch_dice(slices)
    normalisation = tuple(BY_CHANNEL_NAME.get(n.casefold(), "z_score") for n in facts.channel_names)
    masked = facts.median_share < MASK_BELOW
    return NnunetPlan(
        order=order,
        median_spacing_mm=_numbers(np.median(facts.spacings_mm, 0)[list(order)]),
        median_vox=tuple(round(n) for n in _numbers(np.median(facts.shapes_vox, 0)[list(order)])),
        normalisation=normalisation,
        nonzero_only=tuple(masked and kind == "z_score" for kind in normalisation),
        preset=planner.preset,
        configurations=configurations,
    )


def decide_target_spacing(spacings_mm: Array, shapes_vox: Array) -> Array:
    """(3,) spacing that full resolution is resampled to, in the order of the input.

    The median of each axis; for an axis more than three times as coarse as the others and with
    less than a third of their voxels the 10th percentile, but never finer than the others.

    Args:
        spacings_mm: (n, 3) of the cases.
        shapes_vox: (n, 3) of the cases after cropping.
    """
    target = np.percentile(spacings_mm, 50, 0)
    size = np.percentile(shapes_vox, 50, 0)
    worst = int(np.argmax(target))
    others = [axis for axis in range(3) if axis != worst]
    coarsest_other = max(target[others])
    is_coarse = target[worst] > ANISOTROPY * coarsest_other
    is_short = size[worst] * ANISOTROPY < min(size[others])
    if is_coarse and is_short:
        fine = np.percentile(np.asarray(spacings_mm)[:, worst], FINE_PERCENTILE)
        target[worst] = fine if fine >= coarsest_other else coarsest_other + 1e-5
    return np.asarray(target)


def decide_order(target_mm: Array) -> tuple[int, int, int]:
    """The axis of largest spacing first, the others in their order; of equal axes the first."""
    first = int(np.argmax(target_mm))
    second, third = (axis for axis in range(3) if axis != first)
    return first, second, third


@dataclass(frozen=True)
class _Planner:
    facts: PlanningFacts
    preset: Preset
    memory_gb: float
    wished_vox: Axes | None

    def configure(
        self, spacing_mm: Array, median_vox: Array, *, whole_vox: Array | float | None = None
    ) -> Configuration:
        """Patch and batch for one spacing.

        Args:
            spacing_mm: Along the plan's axes; two for slices.
            median_vox: Median image at this spacing.
            whole_vox: Shape or voxels that the batch is compared with; None: `median_vox`.
        """
        wished = self.wished_vox
        if wished is not None and len(wished) != len(spacing_mm):
            wished = None
        fit = fit_patch(
            _numbers(spacing_mm),
            _numbers(median_vox),
            wished or _start_patch(spacing_mm, median_vox),
            self.preset,
            memory_gb=self.memory_gb,
            n_outputs=self.facts.n_outputs,
            may_shrink=wished is None,
        )
        if fit.topology.n_levels < 2:
            raise PlanError(
                f"nnU-Net's rules need images of at least {2 * MIN_EDGE_VOX} voxels along an axis, "
                f"for a U-Net of two levels; the median one has {_numbers(median_vox)} at "
                f"{_numbers(spacing_mm)} mm. Choose another recipe, such as auto."
            )
        whole = np.prod(median_vox if whole_vox is None else whole_vox, dtype=np.float64)
        dataset_voxels = float(whole * self.facts.n_training)
        patch_voxels = float(math.prod(fit.topology.patch_vox))
        largest = round(dataset_voxels * self.preset.largest_share / patch_voxels)
        return Configuration(
            spacing_mm=_numbers(spacing_mm),
            median_vox=_numbers(median_vox),
            batch=max(min(fit.batch, largest), MIN_BATCH),
            batch_dice=False,
            fit=fit,
            largest_batch=largest,
        )

    def find_low_res(self, full: Configuration) -> Configuration | None:
        """The low resolution at which a patch covers a quarter of the median image.

        The spacing rises by 3 % at a time, first along those axes that are more than twice as
        fine as the coarsest. None: full resolution is enough, or too little would be gained.
        """
        full_spacing, full_median = np.array(full.spacing_mm), np.array(full.median_vox)
        full_voxels = np.prod(full_median)
        spacing = full_spacing.copy()
        voxels, patch, low = full_voxels, full.patch_vox, None
        while math.prod(patch) / voxels < LOW_RES_BELOW:
            finer = max(spacing) / spacing > 2
            spacing[finer if finer.any() else slice(None)] *= LOW_RES_STEP
            exact = full_spacing / spacing * full_median
            voxels = np.prod(exact)
            low = self.configure(
                spacing, np.array([max(1, round(float(n))) for n in exact]), whole_vox=voxels
            )
            patch = low.patch_vox
        return None if full_voxels / voxels < LOW_RES_GAIN else low

    @staticmethod
    def with_batch_dice(configuration: Configuration) -> Configuration:
        """The configuration whose Dice sums run over the batch."""
        return Configuration(**{**vars(configuration), "batch_dice": True})


def _start_patch(spacing_mm: Array, median_vox: Array) -> list[float]:
    """A large patch that is isotropic in mm, cut to the median image."""
    n_dims = len(spacing_mm)
    inverse = 1 / np.array(spacing_mm)
    scaled = inverse * (START_VOXELS[n_dims] / np.prod(inverse)) ** (1 / n_dims)
    return [min(round(float(n)), float(m)) for n, m in zip(scaled, median_vox, strict=True)]


def _numbers(values: Array | Sequence[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def require_configuration(
    plan: NnunetPlan, name: str, *, asked: str | None = None
) -> Configuration:
    """The configuration of a name.

    Args:
        plan: Of the dataset.
        name: Of the configuration.
        asked: What the user asked for that needs it; None: itself.

    Raises:
        PlanError: nnU-Net plans none such for this dataset; the message says why.
    """
    known, asked = plan.configurations, asked or name
    if name in known:
        return known[name]
    if "3d_fullres" not in known:
        raise PlanError(
            f"nnunet.configuration '{asked}' must have volumes of more than one slice; the median "
            "case has one. Use the recipe nnunet-2d."
        )
    full = known["3d_fullres"]
    share = math.prod(full.patch_vox) / math.prod(full.median_vox)
    why = (
        f"the patch {list(full.patch_vox)} covers {share:.0%} of the median image, and a low "
        f"resolution is planned under {LOW_RES_BELOW:.0%}"
        if share >= LOW_RES_BELOW
        else "the coarser spacing would save less than half of the voxels"
    )
    raise PlanError(
        f"nnunet.configuration '{asked}' must have a dataset too large for full resolution; for "
        f"this one full resolution is enough, since {why}. Use the recipe nnunet-3d."
    )
