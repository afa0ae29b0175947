"""What can be said about many scores: summaries, differences, agreement.

Enters: values with gaps where a measure is undefined. Leaves: small frozen
results with their number of observations and, where a figure cannot be
computed, the reason. Few, equal or missing values never raise; infinite values
and lists of different length do.
"""

from acinus.measure.statistics.agreement import (
    Concordance,
    Kappa,
    cohens_kappa,
    concordance,
)
from acinus.measure.statistics.correlation import (
    ClusteredCorrelation,
    Correlation,
    clustered_pearson,
    pearson,
)
from acinus.measure.statistics.groups import (
    ChiSquared,
    TwoSampleT,
    chi_squared,
    t_from_summaries,
    two_sample_t,
)
from acinus.measure.statistics.intraclass import (
    ICC_FORMS,
    IntraclassCorrelation,
    intraclass_correlation,
)
from acinus.measure.statistics.limits import LimitsOfAgreement, limits_of_agreement
from acinus.measure.statistics.multiple import CORRECTIONS, AdjustedP, adjusted_p
from acinus.measure.statistics.noninferiority import NonInferiority, noninferiority
from acinus.measure.statistics.paired import (
    PairedDifference,
    PairedEffect,
    paired_difference,
    paired_effect,
)
from acinus.measure.statistics.power import ALPHA, detectable_difference, least_rank_p
from acinus.measure.statistics.summary import Normality, Summary, shapiro_wilk, summarise
from acinus.measure.statistics.unpaired import UnpairedDifference, unpaired_difference
from acinus.measure.statistics.volumetry import (
    MeanVolumeErrorBound,
    VolumeErrorBounds,
    Volumetry,
    dice_for_volume_error,
    mean_volume_error_bound,
    volume_comparison,
    volume_error_bounds,
)

__all__ = [
    "ALPHA",
    "CORRECTIONS",
    "ICC_FORMS",
    "AdjustedP",
    "ChiSquared",
    "ClusteredCorrelation",
    "Concordance",
    "Correlation",
    "IntraclassCorrelation",
    "Kappa",
    "LimitsOfAgreement",
    "MeanVolumeErrorBound",
    "NonInferiority",
    "Normality",
    "PairedDifference",
    "PairedEffect",
    "Summary",
    "TwoSampleT",
    "UnpairedDifference",
    "VolumeErrorBounds",
    "Volumetry",
    "adjusted_p",
    "chi_squared",
    "clustered_pearson",
    "cohens_kappa",
    "concordance",
    "detectable_difference",
    "dice_for_volume_error",
    "intraclass_correlation",
    "least_rank_p",
    "limits_of_agreement",
    "mean_volume_error_bound",
    "noninferiority",
    "paired_difference",
    "paired_effect",
    "pearson",
    "shapiro_wilk",
    "summarise",
    "t_from_summaries",
    "two_sample_t",
    "unpaired_difference",
    "volume_comparison",
    "volume_error_bounds",
]
