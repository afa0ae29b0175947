"""Training: samplings, patches, augmentation, schedule, checkpoints, the fold."""

from acinus.train.fold import FoldJob, check_cases, plan_loss, seeded_network, train_fold
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
