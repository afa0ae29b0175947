"""Which prediction belongs to which reference, in two folders of any program.

Enters: a folder of references and one of predictions. Leaves: pairs by file
name. Pairing by order was rejected: one missing file would shift all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from acinus.errors import DataError
from acinus.evaluate.reading import JUDGED_SUFFIXES, case_name
from acinus.evaluate.scoring import Pair


def pair_folders(
    references: Path | str,
    predictions: Path | str,
    participants: Mapping[str, str] | None = None,
    clusters: Mapping[str, str] | None = None,
) -> list[Pair]:
    """Pairs of every reference with the prediction of the same name, sorted by case.

    A reference without prediction gives a pair whose prediction is missing, so
    that the score table says so; a prediction without reference is left out.

    Args:
        references: Folder of label maps that an expert drew.
        predictions: Folder of label maps of the program; another known suffix will do.
        participants: Case to participant; by default each case is its own.
        clusters: Case to what counts as one observation; by default its participant.

    Raises:
        DataError: A folder is missing or holds no label maps, a case has two
            files, or `participants` lacks a case.
    """
    drawn, predicted = label_maps(Path(references)), label_maps(Path(predictions))
    unknown = [case for case in drawn if participants is not None and case not in participants]
    if unknown:
        raise DataError(
            f"{references}: every case must have a participant; case '{unknown[0]}' has none "
            f"({len(unknown)} in all)."
        )
    return [
        Pair(
            case,
            case if participants is None else participants[case],
            path,
            predicted.get(case, Path(predictions) / path.name),
            "" if clusters is None else clusters[case],
        )
        for case, path in sorted(drawn.items())
    ]


def label_maps(folder: Path) -> dict[str, Path]:
    """Label maps of a folder by their name without suffix, sorted.

    Args:
        folder: Of files with one of `JUDGED_SUFFIXES`; other and hidden files are passed over.

    Raises:
        DataError: The folder is missing or holds no label maps, or a case has two files.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: must be a folder of label maps; there is none.")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if not path.name.lower().endswith(JUDGED_SUFFIXES) or path.name.startswith("."):
            continue
        case = case_name(path)
        if case in found:
            raise DataError(
                f"{path}: a case must have one file; '{found[case].name}' is of the same case. "
                "Take one of them away."
            )
        found[case] = path
    if not found:
        raise DataError(
            f"{folder}: must hold label maps ({', '.join(JUDGED_SUFFIXES)}); found none."
        )
    return found
