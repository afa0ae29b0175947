"""Public datasets: what there is, where it comes from, and how to get it.

Enters: ``datasets.yaml``. Leaves: a catalogue, and files that were downloaded, checked and turned
into our layout.
"""

from acinus.cohort.catalogue.entries import PublicDataset, PublicFile, dataset_entry, read_catalogue
from acinus.cohort.catalogue.getting import Got, get_dataset

__all__ = ["Got", "PublicDataset", "PublicFile", "dataset_entry", "get_dataset", "read_catalogue"]
