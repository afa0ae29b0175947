"""Predictions against references: the score table and the tables made from it.

Enters: label maps of an expert and of any program. Leaves: ``scores.csv`` and
tables. Knows no network and imports no torch.
"""

from acinus.evaluate.comparing import Comparisons, compare_scores
from acinus.evaluate.folders import FolderScores, evaluate_folders
from acinus.evaluate.inside import (
    CONFUSION_COLUMNS,
    PROFILE_COLUMNS,
    VALUE_COLUMNS,
    confusion_table,
    label_values,
    profile_table,
    value_table,
)
from acinus.evaluate.localisation import judge_boxes
from acinus.evaluate.model_and_readers import (
    ModelAgainstReaders,
    compare_model_with_readers,
)
from acinus.evaluate.pairs import pair_folders
from acinus.evaluate.readers import ReaderAgreement, compare_readers
from acinus.evaluate.score_table import (
    NOT_ANNOTATED,
    SCORE_COLUMNS,
    annotated_scores,
    read_scores,
    score_table,
    write_scores,
)
from acinus.evaluate.scoring import Pair, score_cases, score_labelmaps, score_pair

__all__ = [
    "CONFUSION_COLUMNS",
    "NOT_ANNOTATED",
    "PROFILE_COLUMNS",
    "SCORE_COLUMNS",
    "VALUE_COLUMNS",
    "Comparisons",
    "FolderScores",
    "ModelAgainstReaders",
    "Pair",
    "ReaderAgreement",
    "annotated_scores",
    "compare_model_with_readers",
    "compare_readers",
    "compare_scores",
    "confusion_table",
    "evaluate_folders",
    "judge_boxes",
    "label_values",
    "pair_folders",
    "profile_table",
    "read_scores",
    "score_cases",
    "score_labelmaps",
    "score_pair",
    "score_table",
    "value_table",
    "write_scores",
]
