"""A synthetic dataset as a DICOM export, as an archive of images hands it out.

Enters: a synthetic dataset. Leaves: for each patient one study with an image series a channel
and, where the case has a reference, an RTSTRUCT of it. Folders and files are named by identifiers
and have no endings, as in real exports, so that only headers tell what is what.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from acinus import progress
from acinus.cohort.dataset import Case, Dataset, open_dataset
from acinus.errors import DataError
from acinus.files import whole_folder
from acinus.scans import (
    LabelledStructure,
    Origin,
    Volume,
    list_series,
    read_labelmap,
    read_volume,
    write_rtstruct,
    write_series,
)

WARNING = "SYNTHETIC: made by a phantom, no patient"
"""Study description of every series."""


def make_dicom_export(dataset: Path | str, out: Path | str) -> Path:
    """Write a synthetic dataset as DICOM images and RTSTRUCT.

    The same dataset gives the same images; the date of making stands in the RTSTRUCT.

    Args:
        dataset: Folder of a dataset that says it is synthetic.
        out: Folder of the export; a folder for each study is made in it. Studies that are there
            already are left as they are, so that the same call goes on.

    Returns:
        The folder of the export.

    Raises:
        DataError: The dataset cannot be read or is not synthetic, or nothing can be written.
    """
    opened = open_dataset(dataset)
    if not opened.synthetic:
        raise DataError(
            f"{dataset}: only synthetic datasets are written as a DICOM export, since who was "
            "scanned would be made up; 'synthetic' in dataset.json is not true."
        )
    out = Path(out)
    with progress.stage("Writing DICOM", total=len(opened.cases), unit="case") as bar:
        for case in opened.cases:
            study = out / _name(opened.name, case.case_id)
            if not study.exists():
                with whole_folder(study) as aside:
                    _write_study(opened, case, aside)
            bar.advance(1)
    return out


def _write_study(dataset: Dataset, case: Case, folder: Path) -> None:
    for number, (channel, path) in enumerate(zip(dataset.channel_names, case.images, strict=True)):
        if path is None:
            continue
        description = f"{channel} {dataset.name}"
        image = read_volume(path)
        written = write_series(
            image,
            folder / _name(case.case_id, channel),
            modality=_modality(channel, image),
            # No word of the mark: whatever hides names would hide the mark with it.
            patient_id=f"MADE-{_name(dataset.name, case.participant_id)}",
            description=description,
            seed=f"{dataset.name} {case.case_id}",
            tags={
                "StudyDescription": WARNING,
                "SyntheticData": "YES",
                "SeriesNumber": number + 1,
                "StudyID": case.case_id[:16],
                **_person(dataset, case),
            },
        )
        for file in sorted(written.iterdir()):
            file.rename(file.with_name(_name(case.case_id, channel, file.name)))
    if case.label is not None:
        first = next(
            series
            for series in list_series(folder)
            if series.description == f"{dataset.channel_names[0]} {dataset.name}"
        )
        write_rtstruct(
            read_labelmap(case.label),
            [
                LabelledStructure(name, values, dataset.sides.get(name))
                for name, values in dataset.values.items()
            ],
            first,
            folder / _name(case.case_id, "structures"),
            origin=Origin("acinus phantom", warning=WARNING),
        )


def _modality(channel: str, image: Volume) -> str:
    """CT for HU, by the name of the channel or, of any contrast, by what only they reach."""
    is_ct = channel.upper().startswith("CT") or float(image.array.min()) < 0
    return "CT" if is_ct else "MR"


def _person(dataset: Dataset, case: Case) -> dict[str, str]:
    """Age and sex, where the table of participants has them."""
    table = dataset.participants
    if table is None:
        return {}
    rows = table[table["participant_id"].astype(str) == case.participant_id]
    found: dict[str, str] = {}
    if len(rows) and "sex" in rows:
        sex = str(rows["sex"].iloc[0])[:1].upper()
        found["PatientSex"] = sex if sex in ("M", "F", "O") else ""  # unknown has no letter
    if len(rows) and "age" in rows and np.isfinite(float(rows["age"].iloc[0])):
        found["PatientAge"] = f"{int(float(rows['age'].iloc[0])):03d}Y"
    return found


def _name(*parts: str) -> str:
    """A name that tells nothing, the same for the same parts."""
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:16].upper()
