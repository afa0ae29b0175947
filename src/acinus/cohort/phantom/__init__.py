"""Synthetic cohorts with known truth."""

from acinus.cohort.phantom.abdomen import make_abdomen_cohort
from acinus.cohort.phantom.abdomen_people import LEAST_PEOPLE
from acinus.cohort.phantom.abdomen_sites import DATASETS as ABDOMEN_DATASETS
from acinus.cohort.phantom.counts import Patient, draw_patients
from acinus.cohort.phantom.dicom_export import make_dicom_export
from acinus.cohort.phantom.headneck import DATASETS as HEADNECK_DATASETS
from acinus.cohort.phantom.headneck import make_headneck_cohort
from acinus.cohort.phantom.orbit import ALL_SEQUENCES, make_orbit_cohort
from acinus.cohort.phantom.orbit_registered import REGISTERED, make_registered_orbits
from acinus.cohort.phantom.tissues import SEQUENCES

ORBIT_DATASETS = {name: sequence.dataset for name, sequence in SEQUENCES.items()}
"""Sequence to the folder that it is written to."""

__all__ = [
    "ABDOMEN_DATASETS",
    "ALL_SEQUENCES",
    "HEADNECK_DATASETS",
    "LEAST_PEOPLE",
    "ORBIT_DATASETS",
    "REGISTERED",
    "SEQUENCES",
    "Patient",
    "draw_patients",
    "make_abdomen_cohort",
    "make_dicom_export",
    "make_headneck_cohort",
    "make_orbit_cohort",
    "make_registered_orbits",
]
