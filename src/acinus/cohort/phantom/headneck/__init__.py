"""The synthetic head and neck: procedural, or built around real organ maps."""

from acinus.cohort.phantom.headneck.cohort import DATASETS, make_headneck_cohort
from acinus.cohort.phantom.headneck.contrast import CONTRASTS, Contrast
from acinus.cohort.phantom.headneck.organs import GLANDS
from acinus.cohort.phantom.headneck.protocol import Size
from acinus.cohort.phantom.headneck.torso import Extent

__all__ = ["CONTRASTS", "DATASETS", "GLANDS", "Contrast", "Extent", "Size", "make_headneck_cohort"]
