"""Scripts with which a cluster under Slurm runs a study: arrays of trainings between two jobs.

Enters: a study, its output folder and what to ask the cluster for. Leaves:
``slurm/*.sh`` in that folder: one job that plans and prepares, an array with a task for
each training, and one job that completes, evaluates and reports. What the trainings of a
cascade or of a locate stage need is trained in an array before. Each task is a
command that goes on where it was stopped. Submitting from here was rejected: a
cluster's rules are for a person to read before anything is sent.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from acinus.errors import ConfigError
from acinus.files import explain_os_errors, write_text
from acinus.plan import may_locate
from acinus.study.cascade import LOW_RESOLUTION
from acinus.study.content import FINAL
from acinus.study.folders import StudyFolder
from acinus.study.job import ArmJob, is_cascade
from acinus.study.locating import LOCATOR
from acinus.study.schema import Study
from acinus.study.session import open_session
from acinus.study.shares import n_cores_of
from acinus.study.stated import study_of_dataset, study_of_file


@dataclass(frozen=True)
class Request:
    """What each job asks the cluster for.

    Attributes:
        partition: Of the cluster; None: its default.
        time: Longest time of a job, such as ``4:00:00``; None: the partition's.
        memory: Such as ``16G``; None: the cluster's default.
        cpus: Cores of a job; None: the threads that a training computes with.
        gpus: GPUs of a job.
        at_a_time: Most trainings at a time; None: as many as the cluster gives.
        further: Options of sbatch as they stand, such as ``--account=glands``.
    """

    partition: str | None = None
    time: str | None = None
    memory: str | None = None
    cpus: int | None = None
    gpus: int = 0
    at_a_time: int | None = None
    further: Sequence[str] = field(default_factory=tuple)

    def options(self, n_threads: int) -> list[str]:
        """The options of sbatch that all jobs share."""
        stated = {
            "--partition": self.partition,
            "--time": self.time,
            "--mem": self.memory,
            "--cpus-per-task": str(self.cpus or n_threads),
            "--gres": f"gpu:{self.gpus}" if self.gpus else None,
        }
        return [*(f"{key}={value}" for key, value in stated.items() if value), *self.further]


def slurm_dataset(
    dataset: Path,
    *,
    recipe: str = "auto",
    budget: str | None = None,
    out: Path,
    folds: int | None = None,
    seed: int = 2018,
    settings: Sequence[str] = (),
    holdout: int | float | None = None,
    request: Request,
) -> Path:
    """Write scripts with which a cluster under Slurm does what `run_dataset` does here.

    Arguments as for `run_dataset`, and what to ask the cluster for.

    Returns:
        ``slurm/submit.sh`` in the output folder.
    """
    study = study_of_dataset(
        dataset,
        recipe=recipe,
        budget=budget,
        out=out,
        folds=folds,
        seed=seed,
        settings=settings,
        holdout=holdout,
    )
    return write_slurm(study, StudyFolder(out, is_run=True), request)


def slurm_study(
    path: Path,
    *,
    out: Path,
    budget: str | None = None,
    folds: int | None = None,
    seed: int | None = None,
    settings: Sequence[str] = (),
    data: Path | None = None,
    arms: Sequence[str] | None = None,
    vary: bool = True,
    full: bool = False,
    anatomy: Path | None = None,
    request: Request,
) -> Path:
    """Write scripts with which a cluster under Slurm does what `run_study` does here.

    Arguments as for `run_study`, and what to ask the cluster for.

    Returns:
        ``slurm/submit.sh`` in the output folder.
    """
    study = study_of_file(
        path,
        budget=budget,
        folds=folds,
        seed=seed,
        settings=settings,
        data=data,
        arms=arms,
        vary=vary,
        full=full,
        anatomy=anatomy,
    )
    return write_slurm(study, StudyFolder(out), request)


def write_slurm(study: Study, folder: StudyFolder, request: Request) -> Path:
    """Write the scripts of a study; nothing is planned, trained or submitted.

    Args:
        study: As for a study or run on this machine.
        folder: Output folder, on a disk that all machines of the cluster share.
        request: What to ask the cluster for.

    Returns:
        ``slurm/submit.sh``, which submits all jobs in their order.

    Raises:
        ConfigError: A number is not positive, or an option cannot stand on one line.
        PlanError: The folder belongs to something else.
    """
    _refuse_impossible(request)
    session = open_session(study, folder, jobs=1)
    jobs = session.arm_jobs()
    for job in jobs:
        with explain_os_errors(job.folder.root):
            job.folder.root.mkdir(parents=True, exist_ok=True)
    arrays = {
        "first": [words for job in jobs for words in _first_parts(job)],
        "train": [words for job in jobs for words in _parts(job)],
    }
    arrays = {stage: parts for stage, parts in arrays.items() if parts}
    place = folder.root.resolve()
    scripts = place / "slurm"
    with explain_os_errors(scripts):
        (scripts / "logs").mkdir(parents=True, exist_ok=True)
    asked = request.options(max(n_cores_of(job.recipe.train) for job in jobs))
    acinus, run = f"{shlex.quote(sys.executable)} -m acinus", shlex.quote(str(place))
    n_trainings = len(arrays["train"])
    n_places = min(n_trainings, request.at_a_time or n_trainings)
    commands = [f"{acinus} train {run} --prepare-only --jobs {n_places}"]
    write_text(scripts / "prepare.sh", _script(study, scripts, "prepare", asked, commands))
    for stage, parts in arrays.items():
        commands = ['case "$SLURM_ARRAY_TASK_ID" in']
        commands += [f"  {index}) part=({shlex.join(part)}) ;;" for index, part in enumerate(parts)]
        commands += ["esac", f'{acinus} train {run} "${{part[@]}}"']
        limit = f"%{min(len(parts), request.at_a_time)}" if request.at_a_time else ""
        array = f"--array=0-{len(parts) - 1}{limit}"
        text = _script(study, scripts, stage, [array, *asked], commands)
        write_text(scripts / f"{stage}.sh", text)
    if "first" not in arrays:
        (scripts / "first.sh").unlink(missing_ok=True)
    commands = [f"{acinus} {verb} {run}" for verb in ("train", "evaluate", "report")]
    write_text(scripts / "finish.sh", _script(study, scripts, "finish", asked, commands))
    write_text(scripts / "submit.sh", _submit(study, list(arrays), n_trainings))
    return folder.root / "slurm" / "submit.sh"


SUBMIT = """\
#!/bin/bash
# Submits study '{study}': preparation, {n} training(s), evaluation and report.
# Submitted again, it goes on where it was stopped.
set -euo pipefail
cd "$(dirname "$0")"
submit() {{ sbatch --parsable --kill-on-invalid-dep=yes "$@"; }}
{jobs}
echo "submitted: {told}"
"""


def _submit(study: Study, arrays: Sequence[str], n_trainings: int) -> str:
    """Every job waits for the one before; the last one also goes on where trainings failed."""
    stages = ["prepare", *arrays, "finish"]
    jobs = ["prepare=$(submit prepare.sh)"]
    for before, stage in pairwise(stages):
        when = "afterany" if stage == "finish" else "afterok"
        jobs.append(f'{stage}=$(submit --dependency="{when}:${{{before}%%;*}}" {stage}.sh)')
    told = ", ".join(f"{stage} ${{{stage}%%;*}}" for stage in stages)
    return SUBMIT.format(study=_plain(study.study), n=n_trainings, jobs="\n".join(jobs), told=told)


def _script(
    study: Study, scripts: Path, stage: str, options: Sequence[str], commands: Sequence[str]
) -> str:
    """A batch script; a job that the cluster sends back to the queue goes on."""
    is_array = stage in ("first", "train")
    log = f"{stage}-%a.log" if is_array else f"{stage}.log"
    options = [
        f"--job-name=acinus-{stage}-{_plain(study.study)}",
        f"--chdir={Path.cwd()}",
        f"--output={scripts / 'logs' / log}",
        "--open-mode=append",
        "--requeue",
        "--nodes=1",
        "--ntasks=1",
        *options,
    ]
    lines = ["#!/bin/bash", *(f"#SBATCH {_one_word(option)}" for option in options)]
    return "\n".join([*lines, "set -euo pipefail", *commands]) + "\n"


def _parts(job: ArmJob) -> list[list[str]]:
    """The words after ``acinus train RUN`` for each fold that may have to be trained."""
    words = ["--arm", job.name]
    if job.model != FINAL:
        words += ["--variant", job.model]
    return [[*words, "--fold", str(fold + 1)] for fold in range(_n_folds(job))]


def _first_parts(job: ArmJob) -> list[list[str]]:
    """The words of each training that must be done before those of `_parts`.

    A cascade learns from every case as the fold has it that has not seen it, hence all folds of
    its low resolution are trained; of a locate stage those that the segment stage has. Where the
    plan may decide on a locate stage or none, the tasks have nothing to do without one.
    """
    if is_cascade(job.recipe):
        stage, n_folds = LOW_RESOLUTION, job.recipe.folds
    elif may_locate(job.dataset, job.recipe):
        stage, n_folds = LOCATOR, _n_folds(job)
    else:
        return []
    words = ["--arm", job.name, "--variant", job.name_of_first(stage)]
    return [[*words, "--fold", str(fold + 1)] for fold in range(n_folds)]


def _n_folds(job: ArmJob) -> int:
    """Folds that may have to be trained: where the plan may decide on fewer, all of them."""
    return min(job.recipe.folds_trained or job.recipe.folds, job.recipe.folds)


def _one_word(option: str) -> str:
    """An option as a line of a batch script has it: quoted where it has spaces."""
    name, equals, value = option.partition("=")
    if not equals or not any(character.isspace() for character in value):
        return option
    return f'{name}="{value}"'


def _plain(name: str) -> str:
    """A name of letters, digits and dashes."""
    return "".join(one if one.isalnum() else "-" for one in name)


def _refuse_impossible(request: Request) -> None:
    numbers = {"--cpus": request.cpus, "--at-a-time": request.at_a_time}
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise ConfigError(f"{name} must be at least 1; got {number}.")
    if request.gpus < 0:
        raise ConfigError(f"--gpus must be at least 0; got {request.gpus}.")
    stated = [request.partition, request.time, request.memory, *request.further]
    for text in stated:
        if text is not None and (not text.strip() or "\n" in text or '"' in text):
            raise ConfigError(
                f"an option for sbatch must be one line without quotation marks; got {text!r}."
            )
    for option in request.further:
        if not option.startswith("-"):
            raise ConfigError(
                f"--sbatch must be an option of sbatch, such as --account=glands; got '{option}'."
            )
