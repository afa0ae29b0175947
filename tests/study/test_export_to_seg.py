"""The whole way from a PACS export to a result for the PACS, as the how-to page tells it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

import acinus
from acinus.cli import main
from acinus.scans import list_series, read_dicom_seg
from acinus.scans.series import choose_series

MAPPING = Path(__file__).parents[2] / "benchmarks" / "six_glands.yaml"
N_PATIENTS = 8


@pytest.mark.long
def test_from_an_export_of_whole_bodies_to_dicom_seg(tmp_path: Path) -> None:
    (cohort,) = acinus.make_headneck_cohort(
        tmp_path / "cohort", patients=N_PATIENTS, seed=7, body="whole", jobs=2
    )
    export, dataset, run = tmp_path / "export", tmp_path / "Dataset001_Glands", tmp_path / "run"
    assert main(["phantom", "dicom", str(cohort), "--out", str(export)]) == 0
    words = ["--map", str(MAPPING), "--jobs", "2"]
    assert main(["convert", str(export), str(dataset), *words]) == 0
    told = json.loads((dataset / "dataset.json").read_text(encoding="utf-8"))
    assert told["numTraining"] == N_PATIENTS
    assert main(["check", str(dataset)]) == 0

    shape = [
        "locate.stage=rules",
        "train.patch_vox=[32,48,48]",
        "network.config.features=[8,16,32]",
        "prepare.spacing_mm=[6,5,5]",
    ]
    settings = [word for one in shape for word in ("--set", one)]
    steps = ["--budget", "6steps", "--folds", "1", "--holdout", "2"]
    assert main(["run", str(dataset), "--out", str(run), *steps, *settings]) == 0
    assert (run / "report.html").is_file()
    found = pd.read_csv(run / "localisation.csv")
    assert set(found["outcome"]) <= {"found", "cut"}

    study = sorted(path for path in export.iterdir() if path.is_dir())[0]
    words = ["--format", "dicom-seg", "--allow-wrong-side"]
    assert main(["predict", str(run / "model"), str(study), str(tmp_path / "seg"), *words]) == 0
    (written,) = (tmp_path / "seg").glob("*.dcm")
    series = choose_series(list_series(study))
    read = read_dicom_seg(written)
    assert read.series_uid == series.uid
    assert list(read.names) == list(yaml.safe_load(MAPPING.read_text(encoding="utf-8"))["labels"])
