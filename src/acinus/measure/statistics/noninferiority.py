"""Whether one thing is worse than another by less than a margin.

Enters: values of both in the same cases, such as the agreement of model and readers beside that
of readers among themselves, or the Dice of few sequences beside that of all; and the margin by
which the first may fall short. Leaves: the difference with intervals and a verdict. The usual
"not significantly worse" was rejected: the fewer the cases, the surer it passes.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import scipy

from acinus.errors import ConfigError
from acinus.measure.statistics.bootstrap import SEED, resampled_means
from acinus.measure.statistics.paired import paired_difference, patient_means

Verdict = Literal["not inferior", "inferior", "undecided"]


@dataclass(frozen=True)
class NonInferiority:
    """What is tested against its reference, within the same cases.

    Attributes:
        margin: By how much it may fall short, in the unit of the measure, > 0.
        higher_is_better: Whether larger values of the measure are better.
        verdict: ``"not inferior"``: both intervals lie above -margin; ``"inferior"``:
            both lie below; ``"undecided"`` otherwise.
        n: Cases with both values.
        n_undefined: Cases left out because a value is undefined.
        n_clusters: Patients; all figures below are over one value each.
        tested_mean: Mean of what is tested; None without cases.
        reference_mean: Mean of the reference.
        mean: Mean difference, > 0 if what is tested is better.
        low: Lower end of its 95% interval (t).
        high: Upper end.
        bootstrap_low: Lower end of its 95% bootstrap interval, patients resampled.
        bootstrap_high: Upper end.
        p: One-sided p-value of "the mean is -margin or less" (t); below 0.025 where
            `low` lies above -margin.
        bootstrap_p: The same, from the share of resampled means at or below -margin.
        reason: Why a figure is None; empty if none is.
    """

    margin: float
    higher_is_better: bool
    verdict: Verdict
    n: int
    n_undefined: int
    n_clusters: int
    tested_mean: float | None = None
    reference_mean: float | None = None
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    bootstrap_low: float | None = None
    bootstrap_high: float | None = None
    p: float | None = None
    bootstrap_p: float | None = None
    reason: str = ""


def noninferiority(
    tested: Sequence[float | None],
    reference: Sequence[float | None],
    cluster: Sequence[Hashable] | None = None,
    *,
    margin: float,
    higher_is_better: bool = True,
    seed: int = SEED,
) -> NonInferiority:
    """Verdict whether what is tested falls short of its reference by less than a margin.

    The margin is chosen before the data are seen; there is no default. A case has
    one value of each kind: of a model against readers the mean over the model's pairs
    with them, beside the mean over all pairs of them.

    Args:
        tested: A value in each case, e.g. Dice; None or NaN where undefined.
        reference: What it must not fall short of, same cases and order.
        cluster: Patient of each case, where one patient has several. By default
            each case is its own.
        margin: In the unit of the measure, > 0 and finite.
        higher_is_better: False for distances.
        seed: Of the bootstrap.

    Returns:
        ``"undecided"``, with a reason, below 2 patients or if all differences are equal.

    Raises:
        ConfigError: The margin is not positive and finite.
        DataError: The lists differ in length, or a value is infinite.

    Source: Piaggio et al. 2012, JAMA 308(24):2594-2604 (CONSORT for
    non-inferiority: the interval against the margin).
    """
    if not (math.isfinite(margin) and margin > 0):
        raise ConfigError(
            f"margin must be a finite number above 0; got {margin:g}. "
            "Give the loss that would not matter, in the unit of the measure."
        )
    first, second = tested, reference
    if not higher_is_better:
        first, second = second, first
    found = paired_difference(first, second, cluster, seed=seed)
    tested_mean, reference_mean = found.mean_a, found.mean_b
    if not higher_is_better:
        tested_mean, reference_mean = reference_mean, tested_mean
    known = NonInferiority(
        margin,
        higher_is_better,
        "undecided",
        found.n,
        found.n_undefined,
        found.n_clusters,
        tested_mean,
        reference_mean,
        found.mean,
        bootstrap_low=found.low,
        bootstrap_high=found.high,
        reason=found.reason,
    )
    if found.mean is None or found.sd is None or found.t_low is None or found.t_high is None:
        return known
    patients = patient_means(first, second, cluster)
    means = resampled_means(patients.first - patients.second, seed=seed)
    t = (found.mean + margin) / (found.sd / math.sqrt(found.n_clusters))
    known = replace(
        known,
        low=found.t_low,
        high=found.t_high,
        p=float(scipy.stats.t.sf(t, found.n_clusters - 1)),
        bootstrap_p=float((1 + (means <= -margin).sum()) / (1 + means.size)),
    )
    return replace(known, verdict=_verdict(known))


def _verdict(of: NonInferiority) -> Verdict:
    lows = [one for one in (of.low, of.bootstrap_low) if one is not None]
    highs = [one for one in (of.high, of.bootstrap_high) if one is not None]
    if min(lows) > -of.margin:
        return "not inferior"
    return "inferior" if max(highs) < -of.margin else "undecided"
