"""A scan in the world: volumes, grids, orientation, readers and writers per format."""

from acinus.scans.components import component_volumes_ml, label_components, largest_component
from acinus.scans.formats import (
    KNOWN_SUFFIXES,
    read_grid,
    read_labelmap,
    read_volume,
    strip_suffix,
    write_volume,
)
from acinus.scans.orientation import axis_codes, canonical, on_grid_of
from acinus.scans.resample import resample_onto
from acinus.scans.volume import GRID_TOLERANCE_MM, Grid, Volume

__all__ = [
    "GRID_TOLERANCE_MM",
    "KNOWN_SUFFIXES",
    "Grid",
    "Volume",
    "axis_codes",
    "canonical",
    "component_volumes_ml",
    "label_components",
    "largest_component",
    "on_grid_of",
    "read_grid",
    "read_labelmap",
    "read_volume",
    "resample_onto",
    "strip_suffix",
    "write_volume",
]
