"""Prediction: tiles, models, post-processing, batches of scans."""

from acinus.predict.batch import PredictOutcome, predict_paths, table_text
from acinus.predict.findings import examine, finding_rows
from acinus.predict.model import (
    KeepLargest,
    Model,
    Postprocess,
    load_model,
    network_from,
    predict_prepared,
    weight_name,
    write_model,
)
from acinus.predict.source import Scan, find_scans

__all__ = [
    "KeepLargest",
    "Model",
    "Postprocess",
    "PredictOutcome",
    "Scan",
    "examine",
    "find_scans",
    "finding_rows",
    "load_model",
    "network_from",
    "predict_paths",
    "predict_prepared",
    "table_text",
    "weight_name",
    "write_model",
]
