"""The model folder: what is in it, how it is written and how it is read back.

Enters: plans, weights and decisions on post-processing. Leaves: ``model.json``, ``plan.yaml``
and one safetensors file a fold; for an ensemble ``ensemble.json`` and its members, each a model
folder of its own. Every file is checked against the hash that the card states. Pickles were
rejected: opening one runs whatever it holds.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file

from acinus.config import Settings, validate
from acinus.errors import PlanError
from acinus.files import hash_file, read_json, whole_folder, write_json
from acinus.networks import SegmentationNetwork, build_network
from acinus.plan import Plan, read_plan, write_plan
from acinus.plan.settings import LocateSettings
from acinus.predict.postprocess import Cleaning
from acinus.version import __version__

FORMAT = 2

MODEL_CARD = "model.json"
ENSEMBLE_CARD = "ensemble.json"
PREVIOUS = "previous"
"""Folder, within that of a cascade's model, of the model at low resolution."""
LOCATOR = "locator"
"""Folder, within that of a model with a locate stage, of the network that finds the places."""


class WeightFile(Settings):
    """Weights of one fold."""

    fold: int
    file: str
    sha256: str


class ModelCard(Settings):
    """``model.json``: what is in a model folder and how to use it."""

    format: int = FORMAT
    acinus: str = __version__
    plan_hash: str
    weights: tuple[WeightFile, ...]
    postprocess: dict[str, Cleaning]
    n_training_cases: int
    n_training_participants: int
    previous: str | None = None
    """Hash of the plan of the model in ``previous``, whose labels this one sees (a cascade)."""
    locator: str | None = None
    """Hash of the plan of the model in ``locator``, which finds the boxes that this one sees."""
    lacked_channels: tuple[str, ...] = ()
    """Channels that some of the training cases lacked; the model may be given cases that do."""


class MemberFolder(Settings):
    """One model of an ensemble."""

    folder: str
    """Below the ensemble's folder."""
    plan_hash: str


class EnsembleCard(Settings):
    """``ensemble.json``: the models whose probabilities are averaged, and why these."""

    format: int = FORMAT
    acinus: str = __version__
    members: tuple[MemberFolder, ...] = Field(min_length=1)
    postprocess: dict[str, Cleaning]
    validation_dice: dict[str, float] = Field(default_factory=dict)
    """Mean Dice of every single model and pair that was compared."""
    n_validation_cases: int = 0


Card = TypeVar("Card", ModelCard, EnsembleCard)


def is_ensemble(folder: Path) -> bool:
    """Whether a folder holds an ensemble rather than one model."""
    return (folder / ENSEMBLE_CARD).is_file()


def read_card(folder: Path) -> ModelCard:
    """``model.json``; PlanError when it is missing or of another format."""
    path = folder / MODEL_CARD
    if not path.is_file():
        raise PlanError(
            f"{folder}: must be a model folder with {MODEL_CARD}; there is none. {_nearby(folder)}"
        )
    return _read(path, ModelCard)


def read_ensemble_card(folder: Path) -> EnsembleCard:
    """``ensemble.json``; PlanError when it is of another format."""
    return _read(folder / ENSEMBLE_CARD, EnsembleCard)


def _read(path: Path, kind: type[Card]) -> Card:
    data = read_json(path)
    found = data.get("format") if isinstance(data, dict) else type(data).__name__
    if not isinstance(data, dict) or found != FORMAT:
        raise PlanError(
            f"{path}: must describe a model in format {FORMAT}; got {found!r}. {_remedy(data)}"
        )
    return validate(kind, data, where=str(path))


def _remedy(data: Any) -> str:
    made = data.get("acinus") if isinstance(data, dict) else None
    found = data.get("format") if isinstance(data, dict) else None
    if isinstance(found, int) and found > FORMAT:
        maker = f"Acinus {made}" if made else "a newer Acinus"
        return f"It was written by {maker}; this is {__version__}. Update Acinus."
    if isinstance(found, int):
        return "Train the model again, or use the version of Acinus that made it."
    return "Copy the model folder again, or use the version of Acinus that made it."


def _nearby(folder: Path) -> str:
    """Where the model may lie instead, if the folder of a run or study was given."""
    near = sorted({*folder.glob("model/model.json"), *folder.glob("arms/*/model/model.json")})
    if not near:
        return "A run's model lies in RUN/model."
    return f"Give {' or '.join(str(card.parent) for card in near)}."


def read_model_plan(folder: Path, plan_hash: str) -> Plan:
    """The plan in a model folder; PlanError when it is missing or was altered."""
    path = folder / "plan.yaml"
    if not path.is_file():
        raise PlanError(
            f"{path}: the plan that the model was trained by must be here and is missing. "
            "Copy the model folder whole."
        )
    plan = read_plan(path)
    if plan.hash() != plan_hash:
        raise PlanError(
            f"{path}: must be the plan that the model was trained by; it was altered. "
            "Restore the model folder from where it came from."
        )
    return plan


def check_one_locator(folders: Sequence[Path]) -> None:
    """Raise PlanError unless models look in the same boxes, or all of them at whole scans.

    Boxes are the same where the settings of the locate stage are, and the same coarse network,
    weight by weight, proposes them.

    Args:
        folders: Model folders of what shall be averaged; at least one.
    """
    first, *others = folders
    for other in others:
        for what, ours, theirs in zip(
            ("settings of the locate stage", "network that locates"),
            _locator_of(first),
            _locator_of(other),
            strict=True,
        ):
            if ours != theirs:
                raise PlanError(
                    f"{other}: members of an ensemble must look in the same boxes; its {what} must "
                    f"be the same as of {first}, and is not. Train both with the same --seed, "
                    "--folds and settings of 'locate', and a budget in steps or none, since time "
                    "never gives two coarse networks the same steps; or with locate.stage=off."
                )


def _locator_of(folder: Path) -> tuple[LocateSettings | None, list[str]]:
    """How a model locates: by which settings, None without the stage, and by which weights."""
    card = read_card(folder)
    plan = read_model_plan(folder, card.plan_hash)
    settings = plan.settings.locate if plan.is_located else None
    weights = () if card.locator is None else read_card(folder / LOCATOR).weights
    return settings, [one.sha256 for one in weights]


def load_network(
    plan: Plan, folder: Path, weights: WeightFile, device: torch.device | str = "cpu"
) -> SegmentationNetwork:
    """The network of one fold in evaluation mode; PlanError when the file is not as it was."""
    file = folder / weights.file
    if not file.is_file():
        raise PlanError(
            f"{file}: the weights of fold {weights.fold} must be here and are missing. "
            "Copy the model folder whole."
        )
    found = hash_file(file)
    if found != weights.sha256:
        raise PlanError(
            f"{file}: must be the file that was trained (SHA-256 {weights.sha256[:12]}…); "
            f"it was altered or damaged (SHA-256 {found[:12]}…). Copy it again."
        )
    return network_from(plan, file, device)


def network_from(plan: Plan, file: Path, device: torch.device | str = "cpu") -> SegmentationNetwork:
    """A plan's network with the weights of a file, in evaluation mode.

    Args:
        plan: Names the network.
        file: Safetensors.
        device: Where it shall work.

    Raises:
        PlanError: The file does not hold the weights of this network.
    """
    network = build_network(
        plan.settings.network.name,
        plan.settings.network.config,
        n_channels=plan.n_channels,
        n_classes=plan.n_classes,
        seed=0,
    )
    try:
        network.load_state_dict(load_file(file))
    except (SafetensorError, RuntimeError, OSError) as error:
        # Torch names the first tensor that does not fit in the line after its heading.
        found = " ".join(" ".join(str(error).splitlines()[:2]).split()).rstrip(".")
        raise PlanError(
            f"{file}: must hold the weights of this plan's network; {found}. "
            "Copy the model folder again, or train it again."
        ) from None
    network.eval()
    return network.to(device)


def write_model(
    folder: Path,
    plan: Plan,
    folds: Sequence[int],
    postprocess: Mapping[str, Cleaning],
    *,
    n_training_cases: int,
    n_training_participants: int,
    previous: Path | None = None,
    locator: Path | None = None,
    lacked_channels: Sequence[str] = (),
) -> ModelCard:
    """Complete a model folder whose weights are there; ``model.json`` is written last.

    Args:
        folder: Of the model.
        plan: It was trained by.
        folds: That were trained.
        postprocess: Label name to what is removed of it.
        n_training_cases: It learned from.
        n_training_participants: They belong to.
        previous: Model folder of the low resolution, which is copied; None without a cascade.
        locator: Model folder of the network that finds the places, which is copied; None where
            there is none.
        lacked_channels: Channels that some of the training cases lacked.
    """
    write_plan(plan, folder / "plan.yaml")
    for inner, name in ((previous, PREVIOUS), (locator, LOCATOR)):
        if inner is not None:
            with whole_folder(folder / name) as beside:
                copy_model(inner, beside)
    card = ModelCard(
        plan_hash=plan.hash(),
        weights=tuple(
            WeightFile(
                fold=fold, file=weight_name(fold), sha256=hash_file(folder / weight_name(fold))
            )
            for fold in folds
        ),
        postprocess=dict(postprocess),
        n_training_cases=n_training_cases,
        n_training_participants=n_training_participants,
        previous=None if previous is None else read_card(previous).plan_hash,
        locator=None if locator is None else read_card(locator).plan_hash,
        lacked_channels=tuple(lacked_channels),
    )
    write_json(folder / MODEL_CARD, card.model_dump(mode="json"))
    return card


def copy_model(source: Path, target: Path) -> None:
    """Copy a model folder with all that it needs; ``model.json`` comes last.

    Raises:
        PlanError: The source is no model folder, or a file of it is missing.
    """
    card = read_card(source)
    for inner, name in ((card.previous, PREVIOUS), (card.locator, LOCATOR)):
        if inner is not None:
            copy_model(source / name, target / name)
    for name in ("plan.yaml", *(weights.file for weights in card.weights), MODEL_CARD):
        if not (source / name).is_file():
            raise PlanError(
                f"{source / name}: must be in the model folder and is missing. Copy it whole."
            )
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)


def weight_name(fold: int) -> str:
    """File of a fold's weights within the model folder."""
    return f"fold_{fold}/weights.safetensors"
