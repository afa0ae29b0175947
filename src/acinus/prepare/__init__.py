"""Preparation: scans to arrays, the store, and the way back to the native grid."""

from acinus.prepare.case import (
    Geometry,
    PreparedCase,
    prepare_case,
    restore_array,
    restore_slab,
)
from acinus.prepare.normalise import normalise
from acinus.prepare.store import (
    Store,
    load_case,
    prepare_labelled_case,
    prepare_store,
    store_key,
)

__all__ = [
    "Geometry",
    "PreparedCase",
    "Store",
    "load_case",
    "normalise",
    "prepare_case",
    "prepare_labelled_case",
    "prepare_store",
    "restore_array",
    "restore_slab",
    "store_key",
]
