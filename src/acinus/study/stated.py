"""The study that a command line states: by a file and changes to it, or by options alone.

Enters: a YAML file or a dataset, and options. Leaves: a checked `Study`; a fault
in what an option said is told in the words of that option.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acinus.cohort.layout import HEADER
from acinus.config import merge, validate
from acinus.errors import ConfigError, unknown_name
from acinus.files import read_json
from acinus.plan import parse_settings
from acinus.study.claim import check_parts
from acinus.study.schema import Study, read_study
from acinus.study.sequences import SequencesSettings

OPTIONS = {
    "recipe": "--recipe",
    "budget": "--budget",
    "folds_trained": "--folds",
    "split.seed": "--seed",
    "split.holdout": "--holdout",
}
"""Keys of a study that options of the command line stand for."""


def study_of_file(
    path: Path,
    *,
    budget: str | None,
    folds: int | None,
    seed: int | None,
    settings: Sequence[str],
    data: Path | None,
    arms: Sequence[str] | None,
    vary: bool,
    full: bool = False,
    anatomy: Path | None = None,
) -> Study:
    """A study from its file with the changes of a command line; arguments as for `run_study`.

    What the study states as ``small`` lies between both, unless the whole is asked for.

    Raises:
        ConfigError: A key, name or value does not fit, or there is no such arm.
    """
    changes: dict[str, Any] = {}
    if budget is not None:
        changes["budget"] = budget
    if folds is not None:
        changes["folds_trained"] = folds
    if seed is not None:
        changes["split"] = {"seed": seed}
    if settings:
        changes["set"] = parse_settings(settings)
    if data is not None:
        changes["data"] = str(data.resolve())
    if anatomy is not None:
        changes["phantom"] = {"anatomy": str(anatomy.resolve())}
    stated = read_study(path).model_dump(mode="json", exclude_unset=True)
    small = stated.pop("small", {})
    if not full:
        stated = merge(stated, small)
    _resolve_places(stated)
    _resolve_places(changes)
    if anatomy is not None and "phantom" not in stated:
        raise ConfigError(
            f"{path}: --anatomy gives a synthetic cohort its shapes, so that the study must have "
            "a 'phantom'; it has none. Leave --anatomy out."
        )
    if settings:
        changes |= _for_all(stated, changes["set"])
    study = validate(Study, merge(stated, changes), where=str(path))
    _refuse_names(study, path)
    if data is not None and study.phantom is not None and not _is_made(study):
        study = _of_other_data(study)
    if arms is not None:
        for name in arms:
            if name not in study.arms:
                raise ConfigError(unknown_name("arm", name, study.arms))
        if study.sequences is not None:
            changes = merge(changes, {"sequences": _of_sets(study.sequences, arms)})
            study = validate(Study, merge(stated, changes), where=str(path))
        else:
            study = _of_arms(study, arms)
    if not vary:
        study = study.model_copy(update={"vary": {}, "benchmark": None})
    check_parts(study, where=str(path))
    return study


def _resolve_places(stated: dict[str, Any]) -> None:
    """Paths from here as paths from anywhere: later commands may run in another folder."""
    phantom, unlabelled = stated.get("phantom"), stated.get("unlabelled")
    for group in (stated, *stated.get("arms", {}).values()):
        train = ((group or {}).get("set") or {}).get("train")
        if isinstance(train, dict) and isinstance(train.get("pretrained"), str):
            train["pretrained"] = str(Path(train["pretrained"]).resolve())
    if stated.get("data") is not None:
        stated["data"] = str(Path(stated["data"]).resolve())
    if phantom and phantom.get("anatomy") is not None:
        phantom["anatomy"] = str(Path(phantom["anatomy"]).resolve())
    if unlabelled:
        scans = unlabelled["scans"]
        unlabelled["scans"] = {name: str(Path(one).resolve()) for name, one in scans.items()}


def _for_all(stated: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """What was asked on the command line, also where an arm or network says otherwise."""
    own: dict[str, Any] = {}
    for name, arm in stated.get("arms", {}).items():
        if isinstance(arm, dict) and arm.get("set"):
            own.setdefault("arms", {})[name] = {"set": settings}
    for name, network in (stated.get("benchmark") or {}).get("networks", {}).items():
        if isinstance(network, dict) and network.get("set"):
            networks = own.setdefault("benchmark", {}).setdefault("networks", {})
            networks[name] = {"set": settings}
    return own


def _refuse_names(study: Study, path: Path) -> None:
    """Raise ConfigError if an arm's name cannot be that of a folder on every system."""
    seen: dict[str, str] = {}
    for name in study.arms:
        if re.search(r'[\x00-\x1f<>:"/\\|?*]', name) or name.strip(" .") != name:
            raise ConfigError(
                f"{path}: arms: names of arms name folders, so that they must not hold any of "
                f'/ \\ : * ? " < > | nor begin or end with a blank or a dot; got {name!r}.'
            )
        if name.casefold() in seen:
            raise ConfigError(
                f"{path}: arms: '{seen[name.casefold()]}' and '{name}' would share a folder where "
                "capitals do not count. Name one otherwise."
            )
        seen[name.casefold()] = name


def _is_made(study: Study) -> bool:
    """Whether the given folder holds synthetic datasets, as the phantom of the study makes."""
    paths = (Path(study.data or "") / arm.dataset / HEADER for arm in study.arms.values())
    headers = [read_json(path) for path in paths if path.is_file()]
    return any(isinstance(header, dict) and bool(header.get("synthetic")) for header in headers)


def _of_other_data(study: Study) -> Study:
    """The study without what its file says of the synthetic cohort that it would have made."""
    split = study.split.model_copy(update={"group_by": None})
    return study.model_copy(update={"what_it_is": "", "departures": [], "split": split})


def _of_arms(study: Study, names: Sequence[str]) -> Study:
    """The study of some of its arms, and a benchmark on those of them that it names."""
    arms = {name: arm for name, arm in study.arms.items() if name in names}
    compared = [name for name in study.benchmark_arms() if name in names]
    benchmark = study.benchmark
    if benchmark is not None:
        benchmark = benchmark.model_copy(update={"arms": compared}) if compared else None
    return study.model_copy(update={"arms": arms, "benchmark": benchmark})


def _of_sets(sequences: SequencesSettings, names: Sequence[str]) -> dict[str, Any]:
    """Changes that leave some of the sets, and the full one, with which they are compared."""
    subsets = [list(channels) for name, channels in sequences.sets().items() if name in names]
    return {"subsets": subsets, "largest": None, "factors": None}


def study_of_dataset(
    dataset: Path,
    *,
    recipe: str,
    budget: str | None,
    out: Path,
    folds: int | None,
    seed: int,
    settings: Sequence[str],
    holdout: int | float | None,
) -> Study:
    """The study of one arm that the options of a run stand for; arguments as for `run_dataset`.

    Raises:
        ConfigError: An option is not valid; the message names it.
    """
    name = dataset.resolve().name
    stated = {
        "study": out.resolve().name or "run",
        "title": f"{name}: segmentation with {recipe}",
        "recipe": recipe,
        "set": parse_settings(settings),
        "arms": {name: {"dataset": str(dataset.resolve())}},
        "split": {"holdout": holdout, "seed": seed},
        "folds_trained": folds,
        "budget": budget,
    }
    _resolve_places(stated)
    try:
        study = validate(Study, stated, where="option")
    except ConfigError as error:
        raise ConfigError(_option_words(str(error))) from None
    check_parts(study)
    return study


def _option_words(text: str) -> str:
    """A fault in a study made from options, in the words of the options."""
    for key, option in OPTIONS.items():
        text = text.replace(f"option: '{key}': {option} ", f"{option} ")
        text = text.replace(f"option: '{key}': ", f"{option}: ")
    return text
