"""How well volumes agree, and what a Dice says about a volume.

Enters: reference and predicted volumes, or Dice coefficients. Leaves: the line
through the volumes, their errors in mL and %, and the bounds within which the
relative volume error

    vpe = (V_prediction - V_reference) / V_reference

lies for a given Dice d. With the overlap O <= min(V_prediction, V_reference) and
q = V_prediction / V_reference = 1 + vpe, d <= 2 min(q, 1) / (1 + q); hence

    2 / (2 - d) - 2 <= vpe <= 2 / d - 2

and both ends are reached, by a part of the reference and by a mask around it.
These are equations 9 and 10 of PanSegNet (Zhang et al. 2025, Medical Image
Analysis 99:103382), whose equation 6 is misprinted. Its equations 13 and 14, a
bound on the mean error from the mean Dice, were rejected: 2 / d is convex, so
2 / mean(d) - 2 lies below the mean of 2 / d - 2. Dice of 1 and 0.5 allow errors
of 0 and 2, mean 1, which that bound (2/3) excludes.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import scipy
from numpy.typing import NDArray

from acinus.errors import ConfigError, DataError
from acinus.measure.statistics.agreement import concordance
from acinus.measure.statistics.bootstrap import (
    CLUSTER_BOOTSTRAP,
    CONFIDENCE,
    FEWEST_CLUSTERS,
    SEED,
    are_alone,
    cluster_codes,
    percentile_interval,
    resampled_sums,
)
from acinus.measure.statistics.values import (
    Floats,
    defined_in_both,
    is_constant,
    too_few,
    with_gaps,
)

LINE_T = "t, n - 2 degrees of freedom"
"""How the intervals of a line through independent volumes are made, in words."""

UNBOUNDED = "a Dice of 0 allows any overestimation"

_LINE_FIGURES = (
    "r",
    "r_squared",
    "identity_r_squared",
    "concordance",
    "slope",
    "slope_low",
    "slope_high",
    "intercept_ml",
    "intercept_low_ml",
    "intercept_high_ml",
)

_LINE_ENDS = ("slope_low", "slope_high", "intercept_low_ml", "intercept_high_ml")


@dataclass(frozen=True)
class Volumetry:
    """Agreement of predicted with reference volumes; figures are None where undefined.

    Attributes:
        n: Cases with both volumes.
        n_undefined: Cases left out because a volume is undefined.
        n_reference_zero: Cases of the n whose reference is 0 mL: in all figures but
            percentages.
        n_clusters: Patients that the cases are of; as many as cases where nothing else is said.
        line_interval: How the intervals of the line are made, in words.
        r: Pearson's correlation, [-1, 1].
        r_squared: Its square, [0, 1]: share of the variance of the predictions that
            the fitted line explains. Blind to bias and scale.
        identity_r_squared: Share of the variance of the references that the
            predictions explain as they are, at most 1; below 0 if the mean
            reference would predict better.
        concordance: Lin's concordance correlation, [-1, 1].
        slope: Of the line prediction = intercept + slope · reference (least squares).
        slope_low: Lower end of its 95% interval.
        slope_high: Upper end.
        intercept_ml: Of the same line, mL.
        intercept_low_ml: Lower end of its 95% interval.
        intercept_high_ml: Upper end.
        bias_ml: Mean of prediction minus reference, mL.
        bias_percent: Mean of the same in % of each reference.
        absolute_error_ml: Mean of the absolute difference, mL.
        absolute_error_percent: Mean of the same in % of each reference.
        reasons: Figure to reason, for each figure that is None.
    """

    n: int
    n_undefined: int
    n_reference_zero: int
    n_clusters: int
    line_interval: str
    r: float | None = None
    r_squared: float | None = None
    identity_r_squared: float | None = None
    concordance: float | None = None
    slope: float | None = None
    slope_low: float | None = None
    slope_high: float | None = None
    intercept_ml: float | None = None
    intercept_low_ml: float | None = None
    intercept_high_ml: float | None = None
    bias_ml: float | None = None
    bias_percent: float | None = None
    absolute_error_ml: float | None = None
    absolute_error_percent: float | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class VolumeErrorBounds:
    """Range of the relative volume error (V_prediction - V_reference) / V_reference.

    Attributes:
        low: Largest underestimation, [-1, 0]; None if the Dice is undefined.
        high: Largest overestimation, >= 0; None if undefined or without bound.
        reason: Why an end is None; empty if none is.
    """

    low: float | None = None
    high: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class MeanVolumeErrorBound:
    """Largest mean of the absolute relative volume errors that the Dice of the cases allow.

    Attributes:
        n: Cases with a Dice.
        n_undefined: Cases without.
        value: Share of the reference volume, >= 0; None without bound.
        reason: Why it is None; empty if it is not.
    """

    n: int
    n_undefined: int
    value: float | None = None
    reason: str = ""


def volume_comparison(
    reference_ml: Sequence[float | None],
    prediction_ml: Sequence[float | None],
    cluster: Sequence[Hashable] | None = None,
    *,
    seed: int = SEED,
) -> Volumetry:
    """Correlation, line, bias and errors of predicted volumes.

    Args:
        reference_ml: Volume that an expert drew, mL, >= 0; None or NaN where undefined.
        prediction_ml: Predicted volume of the same structures, in the same order.
        cluster: Patient of each structure, where one patient has several: the intervals of the
            line then come from resampling patients. By default each structure is its own.
        seed: Of the bootstrap.

    Returns:
        Correlations and line are undefined below 3 cases or if one list is
        constant, percentages if all references are 0, intervals of clustered volumes below
        `FEWEST_CLUSTERS` patients.

    Raises:
        DataError: The lists differ in length, or a volume is infinite or negative.
    """
    reference, prediction, both = defined_in_both(reference_ml, prediction_ml)
    negative = [one for one in (*reference, *prediction) if one < 0]
    if negative:
        raise DataError(f"volumes must be at least 0 mL; got {negative[0]:g} mL.")
    n = int(reference.size)
    members = None if cluster is None else [c for c, k in zip(cluster, both, strict=True) if k]
    codes, n_clusters = cluster_codes(members, n)
    is_clustered = not are_alone(codes, n_clusters)
    errors = prediction - reference
    positive = reference > 0
    reasons: dict[str, str] = {}
    figures: dict[str, float] = {}
    if n == 0:
        reasons |= dict.fromkeys(("bias_ml", "absolute_error_ml"), "no case has both volumes")
    else:
        figures["bias_ml"] = float(errors.mean())
        figures["absolute_error_ml"] = float(np.abs(errors).mean())
    if positive.any():
        percent = 100.0 * errors[positive] / reference[positive]
        figures["bias_percent"] = float(percent.mean())
        figures["absolute_error_percent"] = float(np.abs(percent).mean())
    else:
        why = "no case has a reference above 0 mL" if n else "no case has both volumes"
        reasons |= dict.fromkeys(("bias_percent", "absolute_error_percent"), why)
    lack = _lack_of_line(reference, prediction)
    if lack:
        reasons |= dict.fromkeys(_LINE_FIGURES, lack)
    else:
        figures |= _line(reference, prediction)
        if is_clustered and n_clusters < FEWEST_CLUSTERS:
            why = "an interval " + too_few(FEWEST_CLUSTERS, n_clusters, "patients")
            for name in _LINE_ENDS:
                del figures[name]
            reasons |= dict.fromkeys(_LINE_ENDS, why)
        elif is_clustered:
            ends = _line_interval(reference, prediction, codes, n_clusters, seed)
            figures |= dict(zip(_LINE_ENDS, ends, strict=True))
    return Volumetry(
        n,
        int(both.size) - n,
        int(np.count_nonzero(~positive)),
        n_clusters,
        CLUSTER_BOOTSTRAP if is_clustered else LINE_T,
        **figures,
        reasons=reasons,
    )


def volume_error_bounds(dice: float | None) -> VolumeErrorBounds:
    """Range of relative volume errors that a Dice allows: 2/(2-d) - 2 to 2/d - 2.

    Args:
        dice: In [0, 1]; None or NaN if undefined.

    Raises:
        DataError: The Dice lies outside [0, 1].
    """
    if dice is None or math.isnan(dice):
        return VolumeErrorBounds(reason="the Dice is undefined")
    _check_dice(dice)
    low = 2.0 / (2.0 - dice) - 2.0
    if dice == 0.0:
        return VolumeErrorBounds(low, None, UNBOUNDED)
    return VolumeErrorBounds(low, 2.0 / dice - 2.0)


def dice_for_volume_error(volume_error: float) -> float:
    """Smallest Dice that guarantees an absolute relative volume error of at most `volume_error`.

    2 / (2 + e), from the upper bound, which is always the wider one: 0.976 for 5 %,
    0.952 for 10 %.

    Args:
        volume_error: Share of the reference volume, >= 0 and finite, e.g. 0.05.

    Raises:
        ConfigError: It is negative or not finite.
    """
    if not (math.isfinite(volume_error) and volume_error >= 0):
        raise ConfigError(
            f"volume_error must be a finite share of at least 0; got {volume_error:g}."
        )
    return 2.0 / (2.0 + volume_error)


def mean_volume_error_bound(dices: Iterable[float | None]) -> MeanVolumeErrorBound:
    """Bound on the mean absolute relative volume error: the mean of 2/d - 2.

    The mean Dice gives no bound; see the module.

    Args:
        dices: Dice of each case, [0, 1]; None or NaN where undefined.

    Returns:
        Undefined without cases, or if a Dice is 0.

    Raises:
        DataError: A Dice lies outside [0, 1].
    """
    given = with_gaps(dices)
    kept = given[~np.isnan(given)]
    for one in kept:
        _check_dice(float(one))
    known = MeanVolumeErrorBound(int(kept.size), int(given.size - kept.size))
    if kept.size == 0:
        return replace(known, reason="no case has a Dice")
    n_zero = int(np.count_nonzero(kept == 0))
    if n_zero:
        return replace(known, reason=f"{UNBOUNDED}; {n_zero} of {kept.size} cases have it")
    return replace(known, value=float((2.0 / kept - 2.0).mean()))


def _lack_of_line(reference: Floats, prediction: Floats) -> str:
    """Why there is no correlation or line, in words; ``""`` if there is."""
    if reference.size < 3:
        return too_few(3, int(reference.size), "cases")
    if is_constant(reference):
        return "all reference volumes are equal"
    return "all predicted volumes are equal" if is_constant(prediction) else ""


def _line(reference: Floats, prediction: Floats) -> dict[str, float]:
    line = scipy.stats.linregress(reference, prediction)
    t = float(scipy.stats.t.ppf((1.0 + CONFIDENCE) / 2.0, reference.size - 2))
    agreement = concordance(reference.tolist(), prediction.tolist())
    unexplained = float(((prediction - reference) ** 2).sum())
    spread = float(((reference - reference.mean()) ** 2).sum())
    values = (
        line.rvalue,
        line.rvalue**2,
        1.0 - unexplained / spread,
        agreement.value,
        line.slope,
        line.slope - t * line.stderr,
        line.slope + t * line.stderr,
        line.intercept,
        line.intercept - t * line.intercept_stderr,
        line.intercept + t * line.intercept_stderr,
    )
    return {name: float(value) for name, value in zip(_LINE_FIGURES, values, strict=True)}


def _line_interval(
    x: Floats, y: Floats, codes: NDArray[np.intp], n_clusters: int, seed: int
) -> tuple[float, float, float, float]:
    """Ends of slope and intercept when whole patients are resampled.

    Resamples whose references are equal have no line and are left out.
    """
    center, scale = float(x.mean()), float(x.std())
    scaled = (x - center) / scale
    terms = np.stack([np.ones_like(x), scaled, y, scaled**2, scaled * y], axis=1)
    n, sx, sy, sxx, sxy = resampled_sums(terms, codes, n_clusters, seed=seed)
    spread = n * sxx - sx**2
    usable = spread > 1e-9 * n**2
    slopes = (n * sxy - sx * sy)[usable] / spread[usable]
    at_center = (sy[usable] - slopes * sx[usable]) / n[usable]
    slopes = slopes / scale
    return (*percentile_interval(slopes), *percentile_interval(at_center - slopes * center))


def _check_dice(dice: float) -> None:
    if not 0.0 <= dice <= 1.0:
        raise DataError(f"a Dice must lie in [0, 1]; got {dice:g}.")
