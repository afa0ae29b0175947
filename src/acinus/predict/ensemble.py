"""Which models predict best together, and the folder that holds them.

Enters: what validation says about single models and pairs. Leaves: a choice with its numbers,
and a folder that `load_model` opens like any model. As in nnU-Net singles and pairs are
compared by mean Dice over the labels; larger ensembles were rejected with it: each member
costs its whole time at every prediction.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from acinus.errors import DataError, PlanError
from acinus.files import whole_folder, write_json
from acinus.predict.folder import (
    ENSEMBLE_CARD,
    EnsembleCard,
    MemberFolder,
    check_one_locator,
    copy_model,
    is_ensemble,
    read_card,
)
from acinus.predict.postprocess import Cleaning


@dataclass(frozen=True)
class EnsembleChoice:
    """The best of single models and pairs.

    Attributes:
        members: Names of the chosen ones.
        validation_dice: Names, joined by `` + ``, to mean Dice on validation.
    """

    members: tuple[str, ...]
    validation_dice: dict[str, float]


def singles_and_pairs(n_models: int) -> list[tuple[int, ...]]:
    """Indices of what is compared: every model alone, then every pair."""
    return [
        *((index,) for index in range(n_models)),
        *itertools.combinations(range(n_models), 2),
    ]


def choose_ensemble(dice: Mapping[tuple[str, ...], float | None]) -> EnsembleChoice:
    """The candidate with the highest mean Dice; of equal ones the smaller, then the first.

    Args:
        dice: Names of the models of a candidate to its mean Dice on validation; None where no
            case defines one.

    Raises:
        DataError: No candidate has a Dice.
    """
    known = {names: value for names, value in dice.items() if value is not None}
    if not known:
        raise DataError(
            "models can be compared only on validation cases in which a label occurs; got none."
        )
    best = min(known, key=lambda names: (-known[names], len(names)))
    return EnsembleChoice(best, {" + ".join(names): value for names, value in known.items()})


def write_ensemble(
    folder: Path,
    members: Mapping[str, Path],
    postprocess: Mapping[str, Cleaning],
    *,
    validation_dice: Mapping[str, float],
    n_validation_cases: int,
) -> EnsembleCard:
    """Copy models into one folder and state what they are for.

    Args:
        folder: To be written, whole or not at all; an ensemble that is there is replaced.
        members: Name to model folder; at least one.
        postprocess: Label name to what is removed of it.
        validation_dice: Of everything that was compared.
        n_validation_cases: How many cases that rests on.

    Raises:
        PlanError: The folder holds something else, a member is no model folder, or members look
            in different boxes.
    """
    refuse_other_folder(folder)
    check_one_locator(list(members.values()))
    cards = {name: read_card(source) for name, source in members.items()}
    card = EnsembleCard(
        members=tuple(
            MemberFolder(folder=f"members/{name}", plan_hash=one.plan_hash)
            for name, one in cards.items()
        ),
        postprocess=dict(postprocess),
        validation_dice=dict(validation_dice),
        n_validation_cases=n_validation_cases,
    )
    with whole_folder(folder) as beside:
        for name, source in members.items():
            copy_model(source, beside / "members" / name)
        write_json(beside / ENSEMBLE_CARD, card.model_dump(mode="json"))
    return card


def refuse_other_folder(folder: Path) -> None:
    """Raise PlanError if a folder cannot become an ensemble's: it is a file, or holds others."""
    if folder.exists() and (
        not folder.is_dir() or (not is_ensemble(folder) and any(folder.iterdir()))
    ):
        what = "holds other files" if folder.is_dir() else "is a file"
        raise PlanError(
            f"{folder}: must be a new folder or hold an ensemble; it {what}. Choose another --out."
        )


def member_names(folders: Sequence[Path]) -> list[str]:
    """A name a folder, taken from its path; equal ones are numbered."""
    names = [folder.resolve().name or "model" for folder in folders]
    taken = {name for name in names if names.count(name) == 1}
    for at, name in enumerate(names):
        if name not in taken:
            number = at + 1
            while (other := f"{name}-{number}") in taken:
                number += 1
            names[at] = other
            taken.add(other)
    return names
