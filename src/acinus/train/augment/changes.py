"""Drawing: what shall happen to each patch of a batch, as plain arrays.

Enters: a plan and a generator, the only randomness there is. Leaves: `Changes`,
which can be kept, altered and replayed. As in nnU-Net, a change is drawn per
patch, its strength per channel; blur and low resolution take each channel of a
chosen patch with probability 1/2.

Deviation from nnU-Net: noise is measured in the standard deviation of the
patch's channel, not in absolute units, so that it means the same after every
normalisation. With z-scores the two nearly agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from acinus.errors import PlanError
from acinus.plan import Plan
from acinus.plan.settings import AugmentSettings, PrepareSettings
from acinus.prepare.normalise import channel_normalisation
from acinus.types import Array

PREVIOUS_RADII_VOX = (1.0, 8.0)
"""Radii of the balls with which labels of a cascade's low resolution grow or shrink, voxels."""

CHANNEL_SHARE = 0.5
"""Probability of blur and of low resolution for each channel of a patch that gets it; and of a
change for each label of a cascade's low resolution."""


@dataclass(frozen=True, eq=False)
class Changes:
    """What happens to each patch of a batch; N patches, C channels, axes S, R, Q.

    Attributes:
        flips: (N, 3) bool, flip along each axis.
        angles: (N, 3) rotation about each axis, radians, applied about S first.
        scales: (N,) magnification, 1 leaves the size.
        noise_sd: (N,) standard deviation of added noise, in units of each channel's own.
        noise_seeds: (N,) seed of each patch's noise.
        blur_sigma_vox: (N, C, 3) width of the blur along each axis; 0 leaves the axis alone.
        gains: (N, C) factor on the intensities.
        contrasts: (N, C) factor on the distance to the mean.
        resolutions: (N, C) share of the resolution that is left, 1 leaves all.
        gammas_inverted: (N, C) exponent on the inverted intensities, 1 leaves them.
        gammas: (N, C) exponent on the intensities, 1 leaves them.
        previous_order: (N, K) labels of a cascade's low resolution in the order in which they
            are changed; K is 0 without a cascade.
        previous_shapes: (N, K) number of the change of shape, 0 leaves it; see `previous.py`.
        previous_radii_vox: (N, K) radius of that change.
        previous_parts: (N, K) which connected part is taken away, from 0 to 1; NaN leaves all.
        curves: (N, C, K) knots of the curve that intensities go through, scaled to [0, 1]; NaN
            leaves them.
        label_shifts: (N, C, K) what is added to the voxels of each label value, 0 the background.
        absent: (N, C) bool, channels that are taken away; see `channels.py`.
        absent_ranks: (N, C) order of the channels, by which one stays where all would go.
        in_plane: Whether rotation, scaling and low resolution leave S alone.
        keep_zeros: Channels whose voxels of exactly 0 stay so, as outside of a non-zero mask.
    """

    flips: Array
    angles: Array
    scales: Array
    noise_sd: Array
    noise_seeds: Array
    blur_sigma_vox: Array
    gains: Array
    contrasts: Array
    resolutions: Array
    gammas_inverted: Array
    gammas: Array
    previous_order: Array
    previous_shapes: Array
    previous_radii_vox: Array
    previous_parts: Array
    curves: Array
    label_shifts: Array
    absent: Array
    absent_ranks: Array
    in_plane: bool = False
    keep_zeros: tuple[int, ...] = ()

    def part(self, places: slice) -> Changes:
        """The changes of some patches of the batch."""
        arrays: dict[str, Any] = {
            one.name: value[places]
            for one in fields(self)
            if isinstance(value := getattr(self, one.name), np.ndarray)
        }
        return replace(self, **arrays)


def no_changes(n: int, channels: int = 1, n_previous: int = 0) -> Changes:
    """Changes that only cut the rim off; more channels than stated are left alone as well."""
    ones = np.ones((n, channels))
    nothing = np.zeros((n, n_previous))
    present = _all_present(n, channels)
    return Changes(
        flips=np.zeros((n, 3), dtype=bool),
        angles=np.zeros((n, 3)),
        scales=np.ones(n),
        noise_sd=np.zeros(n),
        noise_seeds=np.zeros(n, dtype=np.int64),
        blur_sigma_vox=np.zeros((n, channels, 3)),
        gains=ones,
        contrasts=ones,
        resolutions=ones,
        gammas_inverted=ones,
        gammas=ones,
        previous_order=nothing.astype(int) + np.arange(n_previous),
        previous_shapes=nothing.astype(int),
        previous_radii_vox=nothing,
        previous_parts=nothing + np.nan,
        curves=np.full((n, channels, 0), np.nan),
        label_shifts=np.zeros((n, channels, 0)),
        absent=present["absent"],
        absent_ranks=present["absent_ranks"],
    )


def flip_axes(plan: Plan) -> tuple[bool, bool, bool]:
    """Whether patches may be flipped along S, R and Q under the plan.

    Raises:
        PlanError: The plan leaves the axes open.
    """
    train = plan.settings.train
    if train.mirror_axes == "auto":
        raise PlanError(
            "train.mirror_axes must be anatomical axes when training starts; got 'auto'. "
            "Make the plan again, or set train.mirror_axes, e.g. [X]."
        )
    allowed = {axis for axis in train.mirror_axes if axis != "X" or train.mirroring != "none"}
    slices, rows, columns = (axis in allowed for axis in plan.axes)
    return slices and plan.n_dims == 3, rows, columns


def draw_changes(plan: Plan, n: int, rng: np.random.Generator) -> Changes:
    """Random changes of `n` patches; the caller's generator is the only randomness.

    Raises:
        PlanError: The plan leaves open which axes may be flipped.
    """
    settings, channels = plan.settings.augment, len(plan.dataset.channel_names)
    in_plane = plan.n_dims == 2 or settings.rotate_planes == "in_plane"
    flips = (rng.random((n, 3)) < settings.flip) & np.array(flip_axes(plan))
    limit = math.radians(settings.rotate_degrees)
    turns = rng.uniform(-limit, limit, (n, 3)) * (1, not in_plane, not in_plane)
    angles = np.where(rng.random((n, 1)) < settings.rotate, turns, 0.0)
    scales = np.where(rng.random(n) < settings.scale, _scales(rng, settings.scale_range, n), 1.0)
    noise = np.where(rng.random(n) < settings.noise, rng.uniform(0, settings.noise_sd, n), 0.0)
    seeds = rng.integers(2**62, size=n)
    sigmas = rng.uniform(*settings.blur_sigma_vox, (n, channels, 3)) * (plan.n_dims == 3, 1, 1)
    blurred = _some_channels(rng, settings.blur, n, channels)

    def factors(probability: float, between: tuple[float, float]) -> Array:
        chosen = rng.random((n, 1)) < probability
        drawn: Array = np.where(chosen, _factors(rng, between, (n, channels)), 1.0)
        return drawn

    gains = factors(settings.brightness, settings.brightness_range)
    contrasts = factors(settings.contrast, settings.contrast_range)
    coarse = _some_channels(rng, settings.low_res, n, channels)
    resolutions = np.where(coarse, rng.uniform(*settings.low_res_range, (n, channels)), 1.0)
    return Changes(
        flips=flips,
        angles=angles,
        scales=scales,
        noise_sd=noise,
        noise_seeds=seeds,
        blur_sigma_vox=np.where(blurred[:, :, None], sigmas, 0.0),
        gains=gains,
        contrasts=contrasts,
        resolutions=resolutions,
        gammas_inverted=factors(settings.gamma_inverted, settings.gamma_range),
        gammas=factors(settings.gamma, settings.gamma_range),
        **_draw_previous(settings, n, len(plan.previous_values), rng),
        **_draw_absent(settings, n, channels, rng),
        curves=_draw_curves(settings, n, channels, rng),
        label_shifts=_draw_label_shifts(plan, n, channels, rng),
        in_plane=in_plane,
        keep_zeros=_masked_channels(plan.settings.prepare, channels),
    )


def _masked_channels(settings: PrepareSettings, n_channels: int) -> tuple[int, ...]:
    """Channels that were scored within the non-zero region only, and are 0 outside of it."""
    if not settings.normalise_nonzero:
        return ()
    schemes = channel_normalisation(settings, n_channels)
    return tuple(n for n, (how, _) in enumerate(schemes) if how == "z_score")


def _scales(rng: np.random.Generator, between: tuple[float, float], n: int) -> Array:
    """Magnifications whose inverse, the step between sampled voxels, is uniform, as nnU-Net's."""
    low, high = between
    drawn: Array = 1 / rng.uniform(1 / high, 1 / low, n)
    return drawn


def _factors(
    rng: np.random.Generator, between: tuple[float, float], shape: tuple[int, ...]
) -> Array:
    """nnU-Net's: half of them below 1 and half above, uniform in each half."""
    low, high = between
    below = rng.random(shape) < 0.5
    share = rng.random(shape)
    if not low < 1 < high:
        return low + share * (high - low)
    drawn: Array = np.where(below, low + share * (1 - low), 1 + share * (high - 1))
    return drawn


def _draw_previous(
    settings: AugmentSettings, n: int, labels: int, rng: np.random.Generator
) -> dict[str, Array]:
    """What happens to the labels that a cascade shows; nothing is drawn without one."""
    order = np.argsort(rng.random((n, labels)), axis=1)
    reshaped = _some_channels(rng, settings.previous_shape, n, labels)
    shapes = np.where(reshaped, rng.integers(1, 5, (n, labels)), 0)
    radii = rng.uniform(*PREVIOUS_RADII_VOX, (n, labels))
    removed = _some_channels(rng, settings.previous_removal, n, labels)
    return {
        "previous_order": order,
        "previous_shapes": shapes,
        "previous_radii_vox": radii,
        "previous_parts": np.where(removed, rng.random((n, labels)), np.nan),
    }


def _draw_absent(
    settings: AugmentSettings, n: int, channels: int, rng: np.random.Generator
) -> dict[str, Array]:
    """Which channels are taken away; after all others, and only where any can be, so that other
    draws do not depend on it."""
    if settings.channel_dropout == 0 or channels == 1:
        return _all_present(n, channels)
    return {
        "absent": rng.random((n, channels)) < settings.channel_dropout,
        "absent_ranks": np.argsort(rng.random((n, channels)), axis=1),
    }


def _draw_curves(
    settings: AugmentSettings, n: int, channels: int, rng: np.random.Generator
) -> Array:
    """Random curves, drawn after all others and only where any is wanted. They begin at 0: air,
    the darkest of a scan, stays the darkest."""
    if settings.curve == 0:
        return np.full((n, channels, 0), np.nan)
    knots = rng.random((n, channels, settings.curve_knots))
    knots[..., 0] = 0.0
    drawn: Array = np.where(rng.random((n, 1, 1)) < settings.curve, knots, np.nan)
    return drawn


def _draw_label_shifts(plan: Plan, n: int, channels: int, rng: np.random.Generator) -> Array:
    """A shift for each label value and channel, drawn last of all and only where any is wanted."""
    settings = plan.settings.augment
    if settings.label_shift == 0:
        return np.zeros((n, channels, 0))
    n_values = 1 + max(value for values in plan.label_values for value in values)
    most = settings.label_shift_most
    shifts = rng.uniform(-most, most, (n, channels, n_values))
    shifts[..., 0] = 0.0
    drawn: Array = np.where(rng.random((n, 1, 1)) < settings.label_shift, shifts, 0.0)
    return drawn


def _all_present(n: int, channels: int) -> dict[str, Array]:
    absent = np.zeros((n, channels), dtype=bool)
    return {"absent": absent, "absent_ranks": absent.astype(int) + np.arange(channels)}


def _some_channels(rng: np.random.Generator, probability: float, n: int, channels: int) -> Array:
    """(N, C) bool, which channels of which patches."""
    chosen: Array = (rng.random((n, 1)) < probability) & (rng.random((n, channels)) < CHANNEL_SHARE)
    return chosen
