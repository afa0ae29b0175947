"""Studies: the whole chain from a YAML file to a report, on a clock, resumable."""

from acinus.study.benchmark import benchmark
from acinus.study.demo import run_demo
from acinus.study.ensembling import EnsembleOutcome, ensemble_runs
from acinus.study.explaining import explain_image
from acinus.study.failures import failed_cases
from acinus.study.profile import Profile, profile_network
from acinus.study.profile_text import profile_text
from acinus.study.run import (
    RunOutcome,
    evaluate_run,
    plan_dataset,
    plan_outlook,
    prepare_run,
    report_run,
    run_dataset,
    run_study,
    train_part,
    train_run,
)
from acinus.study.schema import Study, read_study
from acinus.study.slurm import Request as SlurmRequest
from acinus.study.slurm import slurm_dataset, slurm_study

__all__ = [
    "EnsembleOutcome",
    "Profile",
    "RunOutcome",
    "SlurmRequest",
    "Study",
    "benchmark",
    "ensemble_runs",
    "evaluate_run",
    "explain_image",
    "failed_cases",
    "plan_dataset",
    "plan_outlook",
    "prepare_run",
    "profile_network",
    "profile_text",
    "read_study",
    "report_run",
    "run_dataset",
    "run_demo",
    "run_study",
    "slurm_dataset",
    "slurm_study",
    "train_part",
    "train_run",
]
