"""Datasets: nnU-Net raw folders, their participants, checks and splits."""

from acinus.cohort.channels import select_channels
from acinus.cohort.check import check_dataset
from acinus.cohort.dataset import (
    Case,
    Dataset,
    mirror_partners,
    mirror_table,
    open_dataset,
    write_dataset_json,
)
from acinus.cohort.finding import CODES, CheckReport, Finding
from acinus.cohort.participants import participant_of, read_participants, write_participants
from acinus.cohort.pool import column_values, value_text
from acinus.cohort.split import (
    Split,
    check_split,
    make_shares_split,
    make_split,
    read_split,
    write_split,
)

__all__ = [
    "CODES",
    "Case",
    "CheckReport",
    "Dataset",
    "Finding",
    "Split",
    "check_dataset",
    "check_split",
    "column_values",
    "make_shares_split",
    "make_split",
    "mirror_partners",
    "mirror_table",
    "open_dataset",
    "participant_of",
    "read_participants",
    "read_split",
    "select_channels",
    "value_text",
    "write_dataset_json",
    "write_participants",
    "write_split",
]
