"""Score tables against score tables: models, arms, subgroups, external centres."""

from acinus.evaluate.comparing.comparing import compare_scores, write_comparisons
from acinus.evaluate.comparing.result import Comparisons, Lack
from acinus.evaluate.comparing.rows import COMPARISON_COLUMNS

__all__ = [
    "COMPARISON_COLUMNS",
    "Comparisons",
    "Lack",
    "compare_scores",
    "write_comparisons",
]
