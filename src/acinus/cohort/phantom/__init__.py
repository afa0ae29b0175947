"""Synthetic cohorts with known truth."""

from acinus.cohort.phantom.counts import Patient, draw_patients
from acinus.cohort.phantom.orbit import ALL_SEQUENCES, make_orbit_cohort
from acinus.cohort.phantom.tissues import SEQUENCES

__all__ = ["ALL_SEQUENCES", "SEQUENCES", "Patient", "draw_patients", "make_orbit_cohort"]
