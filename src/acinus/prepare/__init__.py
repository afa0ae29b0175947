"""Preparation: scans to arrays, the store, and the way back to the native grid."""

from acinus.prepare.case import PreparedCase, prepare_case, prepare_labelmap
from acinus.prepare.geometry import Geometry
from acinus.prepare.mirror import mirrored, mirrored_labels, with_other_side
from acinus.prepare.native import native_maps, restore, to_native
from acinus.prepare.normalise import normalise
from acinus.prepare.sites import label_sites
from acinus.prepare.store import (
    CaseBoxes,
    Store,
    is_prepared,
    load_case,
    load_labelled_case,
    prepare_store,
    store_key,
)
from acinus.prepare.whole import WholeScan, look_over

__all__ = [
    "CaseBoxes",
    "Geometry",
    "PreparedCase",
    "Store",
    "WholeScan",
    "is_prepared",
    "label_sites",
    "load_case",
    "load_labelled_case",
    "look_over",
    "mirrored",
    "mirrored_labels",
    "native_maps",
    "normalise",
    "prepare_case",
    "prepare_labelmap",
    "prepare_store",
    "restore",
    "store_key",
    "to_native",
    "with_other_side",
]
