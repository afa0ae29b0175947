"""What can be said about many scores: summaries, differences, agreement.

Enters: values with gaps where a measure is undefined. Leaves: small frozen
results with their number of observations and, where a figure cannot be
computed, the reason. Few, equal or missing values never raise; infinite values
and lists of different length do.
"""

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
from acinus.measure.statistics.paired import PairedDifference, paired_difference
from acinus.measure.statistics.summary import Normality, Summary, shapiro_wilk, summarise

__all__ = [
    "ChiSquared",
    "ClusteredCorrelation",
    "Correlation",
    "Normality",
    "PairedDifference",
    "Summary",
    "TwoSampleT",
    "chi_squared",
    "clustered_pearson",
    "paired_difference",
    "pearson",
    "shapiro_wilk",
    "summarise",
    "t_from_summaries",
    "two_sample_t",
]
