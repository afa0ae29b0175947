"""Prediction: tiles, models, ensembles, post-processing, batches of scans."""

from acinus.predict.batch import PredictOutcome, predict_paths, table_text
from acinus.predict.case import class_maps, predict_labels, predict_prepared
from acinus.predict.findings import examine, finding_rows
from acinus.predict.folder import network_from, weight_name, write_model
from acinus.predict.model import Member, Model, Postprocess, load_model
from acinus.predict.postprocess import Cleaning, choose_cleaning, clean
from acinus.predict.source import Scan, find_scans

__all__ = [
    "Cleaning",
    "Member",
    "Model",
    "Postprocess",
    "PredictOutcome",
    "Scan",
    "choose_cleaning",
    "class_maps",
    "clean",
    "examine",
    "find_scans",
    "finding_rows",
    "load_model",
    "network_from",
    "predict_labels",
    "predict_paths",
    "predict_prepared",
    "table_text",
    "weight_name",
    "write_model",
]
