"""An export of DICOM files as a dataset."""

from acinus.cohort.convert.export import ConvertOutcome, convert_export
from acinus.cohort.convert.listing import ExportListing, ListedSeries, list_scans
from acinus.cohort.convert.mapping import ExportMapping, read_mapping

__all__ = [
    "ConvertOutcome",
    "ExportListing",
    "ExportMapping",
    "ListedSeries",
    "convert_export",
    "list_scans",
    "read_mapping",
]
