"""Prediction: tiles, models, ensembles, post-processing, batches of scans."""

from acinus.predict.batch import PredictOutcome, predict_paths
from acinus.predict.case import class_maps, network_input, predict_labels, predict_prepared
from acinus.predict.device import device_at_hand, prediction_device
from acinus.predict.findings import examine, examine_located, finding_rows, table_text
from acinus.predict.folder import network_from, weight_name, write_model
from acinus.predict.locate import HeadLocator, KnownPlaces, Located, boxes_of, find_head
from acinus.predict.located import BOX_COLUMNS, box_rows
from acinus.predict.model import Member, Model, Postprocess, load_model
from acinus.predict.nnunet import import_nnunet
from acinus.predict.postprocess import Cleaning, Evidence, clean
from acinus.predict.source import ALL_SERIES, Scan, find_scans, holds_dicom

__all__ = [
    "ALL_SERIES",
    "BOX_COLUMNS",
    "Cleaning",
    "Evidence",
    "HeadLocator",
    "KnownPlaces",
    "Located",
    "Member",
    "Model",
    "Postprocess",
    "PredictOutcome",
    "Scan",
    "box_rows",
    "boxes_of",
    "class_maps",
    "clean",
    "device_at_hand",
    "examine",
    "examine_located",
    "find_head",
    "find_scans",
    "finding_rows",
    "holds_dicom",
    "import_nnunet",
    "load_model",
    "network_from",
    "network_input",
    "predict_labels",
    "predict_paths",
    "predict_prepared",
    "prediction_device",
    "table_text",
    "weight_name",
    "write_model",
]
