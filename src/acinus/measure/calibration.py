"""Whether probabilities mean what they say, and how well they rank voxels.

Enters: the probability that a structure is at each voxel, and a reference mask. Leaves: a
`Score`. Most voxels of a scan are background that every model is sure of, so that a scan as a
whole is always calibrated: give the voxels of a stated region, for example a box around the
structure. Binary and per structure; a softmax over classes is judged class by class.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from acinus.errors import DataError, GridError
from acinus.measure.score import Score
from acinus.types import Array, Mask

N_BINS = 15
"""Bins of the calibration error, of equal width, as in Guo et al. 2017."""

LEAST_PROBABILITY = 1e-7
"""A certain error costs no more than -log of this, so that one voxel does not decide a mean."""

NO_VOXEL = "no voxel"
NO_POSITIVE = "reference empty"


def brier(reference: Mask, probs: Array) -> Score:
    """Brier score: mean squared difference of probability and truth.

    Args:
        reference: Bool, any shape.
        probs: Same shape, in [0, 1].

    Returns:
        In [0, 1], lower is better. Undefined without a voxel.

    Raises:
        GridError: The shapes differ.
        DataError: A probability is not in [0, 1].

    Source: Brier 1950, Mon Weather Rev 78(1):1-3.
    """
    truth, p = _checked(reference, probs)
    if p.size == 0:
        return Score.undefined(NO_VOXEL)
    return Score(float(np.mean(np.square(p - truth))))


def negative_log_likelihood(reference: Mask, probs: Array) -> Score:
    """Mean of -log of the probability given to what is true.

    Args:
        reference: Bool, any shape.
        probs: Same shape, in [0, 1]; kept `LEAST_PROBABILITY` away from 0 and 1.

    Returns:
        In [0, 16.2], lower is better. Undefined without a voxel.

    Raises:
        GridError: The shapes differ.
        DataError: A probability is not in [0, 1].
    """
    truth, p = _checked(reference, probs)
    if p.size == 0:
        return Score.undefined(NO_VOXEL)
    given = np.where(truth, p, 1 - p)
    return Score(float(-np.mean(np.log(np.maximum(given, LEAST_PROBABILITY)))))


def expected_calibration_error(reference: Mask, probs: Array, *, n_bins: int = N_BINS) -> Score:
    """How far the share of structure lies from the stated probability, averaged over bins.

    Args:
        reference: Bool, any shape.
        probs: Same shape, in [0, 1].
        n_bins: Bins of equal width over [0, 1]; a probability on an edge belongs to the upper
            bin, 1 to the last.

    Returns:
        Σ n_b / n |share of structure - mean probability| in [0, 1], lower is better. Undefined
        without a voxel.

    Raises:
        GridError: The shapes differ.
        DataError: A probability is not in [0, 1], or there is no bin.

    Source: Naeini et al. 2015, AAAI 2901-2907; Guo et al. 2017, ICML 1321-1330, there of the
    probability of the predicted class.
    """
    if n_bins < 1:
        raise DataError(f"n_bins must be at least 1; got {n_bins}.")
    truth, p = _checked(reference, probs)
    if p.size == 0:
        return Score.undefined(NO_VOXEL)
    bins = np.minimum((p * n_bins).astype(np.intp), n_bins - 1)
    apart = np.bincount(bins, weights=truth - p, minlength=n_bins)
    return Score(float(np.abs(apart).sum() / p.size))


def average_precision(reference: Mask, probs: Array) -> Score:
    """Area under the precision-recall curve, by steps: Σ (R_n - R_n-1) P_n.

    Args:
        reference: Bool, any shape.
        probs: Same shape, in [0, 1]; equal ones are one threshold.

    Returns:
        In [0, 1], higher is better; of random probabilities the share of structure. Undefined if
        the reference is empty. Interpolating between the points would be too kind.

    Raises:
        GridError: The shapes differ.
        DataError: A probability is not in [0, 1].

    Source: Davis and Goadrich 2006, ICML 233-240.
    """
    truth, p = _checked(reference, probs)
    n_positive = int(truth.sum())
    if n_positive == 0:
        return Score.undefined(NO_POSITIVE)
    order = np.argsort(-p, kind="stable")
    ranked, found = p[order], np.cumsum(truth[order])
    last = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    precision = found[last] / (last + 1)
    recall = found[last] / n_positive
    return Score(float(np.sum(np.diff(np.r_[0.0, recall]) * precision)))


def _checked(reference: Mask, probs: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Truth and probabilities as (n,) float64."""
    reference, probs = np.asarray(reference), np.asarray(probs, dtype=np.float64)
    if reference.dtype != np.bool_:
        raise DataError(
            f"the reference must be a bool mask of one structure; got {reference.dtype}. "
            "Compare the label map with a value: labelmap == 1."
        )
    if reference.shape != probs.shape:
        raise GridError(
            f"reference and probabilities must share a grid; got shapes {reference.shape} and "
            f"{probs.shape}."
        )
    if probs.size and not (probs.min() >= 0 and probs.max() <= 1):
        raise DataError(
            "probabilities must lie between 0 and 1; got "
            f"{probs.min():g} to {probs.max():g}. Give probabilities, not logits."
        )
    return reference.ravel().astype(np.float64), probs.ravel()
