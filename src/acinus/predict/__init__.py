"""Prediction: tiles, models, ensembles, post-processing, batches of scans."""

from acinus.predict.batch import PredictOutcome, predict_paths, table_text
from acinus.predict.case import class_maps, network_input, predict_labels, predict_prepared
from acinus.predict.device import prediction_device
from acinus.predict.findings import examine, finding_rows
from acinus.predict.folder import network_from, weight_name, write_model
from acinus.predict.model import Member, Model, Postprocess, load_model
from acinus.predict.nnunet import import_nnunet
from acinus.predict.postprocess import Cleaning, Evidence, clean
from acinus.predict.source import Scan, find_scans

__all__ = [
    "Cleaning",
    "Evidence",
    "Member",
    "Model",
    "Postprocess",
    "PredictOutcome",
    "Scan",
    "class_maps",
    "clean",
    "examine",
    "find_scans",
    "finding_rows",
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
