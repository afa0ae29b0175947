"""What can be said about many scores: summaries, differences, agreement.

Enters: values with gaps where a measure is undefined. Leaves: small frozen
results with their number of observations and, where a figure cannot be
computed, the reason. Nothing here raises on few, equal or missing values.
"""

from acinus.measure.statistics.summary import Normality, Summary, shapiro_wilk, summarise

__all__ = ["Normality", "Summary", "shapiro_wilk", "summarise"]
