"""A scan in the world: volumes, grids, orientation, readers and writers per format."""

from acinus.scans.components import component_volumes_ml, label_components, largest_component
from acinus.scans.dicom import read_series
from acinus.scans.dicom_seg import read_dicom_seg
from acinus.scans.dicom_seg_writer import write_dicom_seg
from acinus.scans.dicom_segments import DicomSegments
from acinus.scans.dicom_source import LabelledStructure, Origin
from acinus.scans.formats import (
    KNOWN_SUFFIXES,
    read_grid,
    read_labelmap,
    read_volume,
    strip_suffix,
    write_volume,
)
from acinus.scans.orientation import (
    axis_codes,
    canonical,
    on_grid_of,
    oriented,
    place_on_grid,
    require_axis_codes,
)
from acinus.scans.references import StoredSegmentation
from acinus.scans.resample import resample_onto
from acinus.scans.rtstruct import read_rtstruct
from acinus.scans.rtstruct_writer import write_rtstruct
from acinus.scans.segments import (
    Segment,
    read_named_segments,
    read_segments,
    segments_of,
    write_segments,
)
from acinus.scans.series import (
    Export,
    Series,
    choose_series,
    describe_series,
    list_export,
    list_series,
    mixed_values,
    require_series,
)
from acinus.scans.series_writer import write_series
from acinus.scans.slices import Kind
from acinus.scans.stack import oblique_degrees, stack_grid, tilt_degrees
from acinus.scans.stored import on_disk
from acinus.scans.volume import GRID_TOLERANCE_MM, Grid, Volume

__all__ = [
    "GRID_TOLERANCE_MM",
    "KNOWN_SUFFIXES",
    "DicomSegments",
    "Export",
    "Grid",
    "Kind",
    "LabelledStructure",
    "Origin",
    "Segment",
    "Series",
    "StoredSegmentation",
    "Volume",
    "axis_codes",
    "canonical",
    "choose_series",
    "component_volumes_ml",
    "describe_series",
    "label_components",
    "largest_component",
    "list_export",
    "list_series",
    "mixed_values",
    "oblique_degrees",
    "on_disk",
    "on_grid_of",
    "oriented",
    "place_on_grid",
    "read_dicom_seg",
    "read_grid",
    "read_labelmap",
    "read_named_segments",
    "read_rtstruct",
    "read_segments",
    "read_series",
    "read_volume",
    "require_axis_codes",
    "require_series",
    "resample_onto",
    "segments_of",
    "stack_grid",
    "strip_suffix",
    "tilt_degrees",
    "write_dicom_seg",
    "write_rtstruct",
    "write_segments",
    "write_series",
    "write_volume",
]
