"""Public datasets in the layouts in which they are published, one file each.

Enters: a folder as it was downloaded and unpacked. Leaves: a dataset in our layout. A layout is
one file with one registration; what all have in common stands in `importing`.
"""

from acinus.cohort.importers.abdomenct_1k import AbdomenCT1K
from acinus.cohort.importers.amos import Amos
from acinus.cohort.importers.bids import Bids
from acinus.cohort.importers.brats import Brats
from acinus.cohort.importers.btcv import Btcv
from acinus.cohort.importers.han_seg import HanSeg
from acinus.cohort.importers.head_neck_oar import HeadNeckOar
from acinus.cohort.importers.importing import Imported, import_dataset
from acinus.cohort.importers.msd import Msd
from acinus.cohort.importers.nih_pancreas import NihPancreas
from acinus.cohort.importers.pansegdata import PanSegData
from acinus.cohort.importers.pddca import Pddca
from acinus.cohort.importers.segrap import SegRap
from acinus.cohort.importers.source import IMPORTERS
from acinus.cohort.importers.tom500 import Tom500
from acinus.cohort.importers.word import Word

__all__ = [
    "IMPORTERS",
    "AbdomenCT1K",
    "Amos",
    "Bids",
    "Brats",
    "Btcv",
    "HanSeg",
    "HeadNeckOar",
    "Imported",
    "Msd",
    "NihPancreas",
    "PanSegData",
    "Pddca",
    "SegRap",
    "Tom500",
    "Word",
    "import_dataset",
]
