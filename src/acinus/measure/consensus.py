"""One mask from the masks of several readers: majority vote and STAPLE.

Enters: bool masks ``(Z, Y, X)`` of one structure on one grid, one a reader.
Leaves: what most readers marked, or the probability that a voxel is part of the
structure together with how well each reader found it. Running STAPLE over the
whole scan was rejected: voxels far outside, on which everybody agrees, drive
every specificity to 1 and the prior to 0, and the answer then depends on how
much of the body was scanned.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acinus.errors import ConfigError, DataError, GridError
from acinus.measure.pair import checked_mask
from acinus.scans.components import bounding_box
from acinus.types import Array, Mask

START = 0.99999
"""Sensitivity and specificity of every reader before the first step, as in ITK."""

TOLERANCE = 1e-9
"""Steps end when no sensitivity or specificity moves by more than this."""

LARGEST_NUMBER_OF_READERS = 63
"""The answers of all readers to a voxel are the bits of one integer."""

_EDGE = 1e-12
"""Sensitivities and specificities stay this far from 0 and 1 inside logarithms."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Consensus:
    """STAPLE's estimate of a structure and of its readers.

    Attributes:
        probability: (Z, Y, X) float64 in [0, 1]. Outside the region: the share of
            readers who marked the voxel, which by default is 0 or 1.
        sensitivity: Of each reader, share of the structure in the region that the
            reader marked, [0, 1]; None if the region holds none of it.
        specificity: Of each reader, share of the rest of the region that the reader
            left out, [0, 1]; None if the region holds nothing else.
        prior: Probability of the structure in a voxel of the region before any
            reader is asked; None if nothing had to be estimated.
        n_voxels: Voxels of the region.
        n_iterations: Steps taken; 0 if nothing had to be estimated.
        has_converged: Whether the last step moved less than `TOLERANCE`.
    """

    probability: Floats
    sensitivity: tuple[float | None, ...]
    specificity: tuple[float | None, ...]
    prior: float | None
    n_voxels: int
    n_iterations: int
    has_converged: bool

    @property
    def mask(self) -> Mask:
        """(Z, Y, X) bool, where the probability is at least one half."""
        return np.asarray(self.probability >= 0.5)


class _Answers(NamedTuple):
    """Distinct answers of the k readers to the voxels of a region."""

    marked: Floats  # (m, k) 1 where the reader marked
    n_voxels: Floats  # (m,) voxels with these answers
    of_voxel: NDArray[np.intp]  # (n,) which answers each voxel got


def majority_vote(masks: Sequence[Mask]) -> Mask:
    """Voxels that more than half of the readers marked, (Z, Y, X) bool.

    A tie of an even number of readers is not a majority.

    Args:
        masks: At least one (Z, Y, X) bool mask, all on one grid.

    Raises:
        DataError: There is no mask, or one is not bool.
        GridError: The masks differ in shape.
    """
    readers = _checked_readers(masks)
    return np.asarray(2 * _n_marked(readers) > len(readers))


def staple(
    masks: Sequence[Mask],
    *,
    region: Mask | None = None,
    prior: float | None = None,
    max_iterations: int = 1000,
) -> Consensus:
    """Probability of the structure, and performance of the readers, that explain their masks best.

    Expectation-maximisation with sensitivity p_j and specificity q_j of reader j,
    who answers d_j. Expectation: w = f a / (f a + (1 - f) b), with the prior f, a the
    product of p_j where d_j = 1 and 1 - p_j elsewhere, b that of 1 - q_j and q_j.
    Maximisation: p_j is the share of w that the reader marked, q_j the share of
    1 - w left out. Readers count as independent given the truth, voxels too (no
    Markov field). The estimate depends on region and prior, so both are returned.

    Args:
        masks: At least one (Z, Y, X) bool mask, all on one grid.
        region: (Z, Y, X) bool, voxels that the readers are judged on. None: the
            smallest box that holds all voxels they disagree on.
        prior: In (0, 1). None: the mean share of the region that a reader marked.
        max_iterations: >= 1.

    Returns:
        Where nobody disagrees in the region, the readers' own mask without a step.
        Two readers cannot be told apart by their masks alone; three or more can.

    Raises:
        ConfigError: The prior is not in (0, 1), or `max_iterations` is below 1.
        DataError: There is no mask, one is not bool, or there are more than 63.
        GridError: The masks, or the region, differ in shape.

    Source: Warfield, Zou and Wells 2004, IEEE Transactions on Medical Imaging
    23(7):903-921.
    """
    readers = _checked_readers(masks)
    if prior is not None and not 0.0 < prior < 1.0:
        raise ConfigError(f"prior must lie between 0 and 1; got {prior:g}.")
    if max_iterations < 1:
        raise ConfigError(f"max_iterations must be at least 1; got {max_iterations}.")
    n_marked = _n_marked(readers)
    probability = n_marked / len(readers)
    disputed = (n_marked > 0) & (n_marked < len(readers))
    where = _place(region, disputed)
    if where is None or not disputed[where].any():
        return _unanimous(probability, where, len(readers))
    answers = _answers([mask[where] for mask in readers])
    share = float(answers.n_voxels @ answers.marked.mean(axis=1) / answers.n_voxels.sum())
    prior = share if prior is None else prior
    weights, p, q, n_iterations, has_converged = _maximise(answers, prior, max_iterations)
    probability[where] = weights[answers.of_voxel].reshape(probability[where].shape)
    in_structure, in_rest = answers.n_voxels @ weights, answers.n_voxels @ (1.0 - weights)
    return Consensus(
        probability,
        tuple(float(one) if in_structure > 0.0 else None for one in p),
        tuple(float(one) if in_rest > 0.0 else None for one in q),
        prior,
        int(answers.n_voxels.sum()),
        n_iterations,
        has_converged,
    )


def _checked_readers(masks: Sequence[Mask]) -> list[Mask]:
    readers = [checked_mask(mask, f"mask of reader {i + 1}") for i, mask in enumerate(masks)]
    if not 1 <= len(readers) <= LARGEST_NUMBER_OF_READERS:
        raise DataError(
            f"a consensus needs 1 to {LARGEST_NUMBER_OF_READERS} masks; got {len(readers)}."
        )
    for i, mask in enumerate(readers):
        _check_shape(mask, readers[0], f"the mask of reader {i + 1}")
    return readers


def _check_shape(mask: Mask, first: Array, name: str) -> None:
    if mask.shape != first.shape:
        raise GridError(
            f"{name} must share the grid of the first reader; "
            f"got shapes {mask.shape} and {first.shape}."
        )


def _n_marked(readers: list[Mask]) -> NDArray[np.uint8]:
    """How many readers marked each voxel, (Z, Y, X)."""
    total = np.zeros(readers[0].shape, dtype=np.uint8)
    for mask in readers:
        total += mask
    return total


def _place(region: Mask | None, disputed: Mask) -> tuple[slice, ...] | Mask | None:
    """What to index the region with; None if there is no voxel in it."""
    if region is None:
        return bounding_box(disputed)
    region = checked_mask(region, "region")
    _check_shape(region, disputed, "the region")
    return region if region.any() else None


def _unanimous(
    probability: Floats, where: tuple[slice, ...] | Mask | None, n_readers: int
) -> Consensus:
    """Result where the readers agree on all voxels of the region, or everywhere."""
    inside = probability if where is None else probability[where]
    sensitivity = 1.0 if (inside == 1.0).any() else None
    specificity = 1.0 if (inside == 0.0).any() else None
    n_voxels = 0 if where is None else int(inside.size)
    return Consensus(
        probability, (sensitivity,) * n_readers, (specificity,) * n_readers, None, n_voxels, 0, True
    )


def _answers(readers: list[Array]) -> _Answers:
    """At most 2^k distinct answers stand for all voxels, so a step costs next to nothing."""
    codes = np.zeros(readers[0].size, dtype=np.int64)
    for j, mask in enumerate(readers):
        codes |= mask.reshape(-1).astype(np.int64) << j
    distinct, of_voxel, count = np.unique(codes, return_inverse=True, return_counts=True)
    marked = (distinct[:, None] >> np.arange(len(readers))) & 1
    return _Answers(marked.astype(np.float64), count.astype(np.float64), of_voxel)


def _maximise(
    answers: _Answers, prior: float, max_iterations: int
) -> tuple[Floats, Floats, Floats, int, bool]:
    """Probability of each answer (m,), sensitivities and specificities (k,), steps, convergence."""
    marked, left_out = answers.marked, 1.0 - answers.marked
    p = np.full(marked.shape[1], START)
    q = np.full(marked.shape[1], START)
    odds = math.log(prior) - math.log1p(-prior)
    weights = np.empty(len(marked))
    for step in range(1, max_iterations + 1):
        log_p, log_q = np.log(np.clip(p, _EDGE, 1.0)), np.log(np.clip(q, _EDGE, 1.0))
        log_not_p, log_not_q = np.log(np.clip(1 - p, _EDGE, 1)), np.log(np.clip(1 - q, _EDGE, 1))
        evidence = odds + marked @ (log_p - log_not_q) + left_out @ (log_not_p - log_q)
        weights = 1.0 / (1.0 + np.exp(np.clip(-evidence, -700.0, 700.0)))
        structure, rest = answers.n_voxels * weights, answers.n_voxels * (1.0 - weights)
        last_p, last_q = p, q
        p = structure @ marked / structure.sum() if structure.sum() > 0.0 else p
        q = rest @ left_out / rest.sum() if rest.sum() > 0.0 else q
        moved = max(float(np.abs(p - last_p).max()), float(np.abs(q - last_q).max()))
        if moved <= TOLERANCE:
            return weights, p, q, step, True
    return weights, p, q, max_iterations, False
