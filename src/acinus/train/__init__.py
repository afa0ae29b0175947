"""Training: samplings, patches, augmentation, schedule, checkpoints, the fold."""

from acinus.train.build import plan_loss, seeded_network
from acinus.train.fold import check_cases, train_fold
from acinus.train.job import FoldJob
from acinus.train.patches import PatchSource
from acinus.train.sampling import SAMPLINGS

__all__ = [
    "SAMPLINGS",
    "FoldJob",
    "PatchSource",
    "check_cases",
    "plan_loss",
    "seeded_network",
    "train_fold",
]
