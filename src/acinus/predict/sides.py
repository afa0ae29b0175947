"""Predicted parts of a structure on the other side of the patient: told, and renamed if asked.

Enters: label maps, of a scan or of its boxes, and the scan. Leaves: the parts that
`acinus.cohort.side_parts` finds, what is said of them, and label maps in which they have the name
of their partner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from acinus.cohort import mirror_partners
from acinus.cohort.side_parts import SidePart, parts_beyond_midline
from acinus.plan import Plan
from acinus.predict.locate import Located, Piece, Place
from acinus.scans import Volume


def parts_on_wrong_side(
    labelmaps: Sequence[Volume | None],
    image: Volume,
    plan: Plan,
    sought: Sequence[Sequence[str]] | None = None,
) -> list[SidePart]:
    """What `parts_beyond_midline` finds of the structures of a plan."""
    dataset = plan.dataset
    return parts_beyond_midline(
        labelmaps, image, values_by_label(plan), dataset.sides, dataset.mirror_pairs, sought
    )


def values_by_label(plan: Plan) -> dict[str, tuple[int, ...]]:
    """Structure to the values that stand for it in the label maps."""
    return dict(zip(plan.dataset.labels, plan.label_values, strict=True))


def parts_of_boxes_on_wrong_side(located: Located, plan: Plan) -> list[SidePart]:
    """The same of a scan that was segmented in boxes, seen in its overview.

    In a box the network may call a part by the name of the partner, whose own box is elsewhere;
    `SidePart.piece` of those counts on from the number of pieces.
    """
    partners, n_pieces = partners_of(plan), len(located.pieces)
    parts = parts_on_wrong_side(
        [piece.labelmap for piece in located.pieces] + [piece.astray for piece in located.pieces],
        located.overview,
        plan,
        [piece.place.labels for piece in located.pieces]
        + [
            [partners[name] for name in piece.place.labels if name in partners]
            for piece in located.pieces
        ],
    )
    return [replace(one, is_left_out=one.piece >= n_pieces) for one in parts]


def partners_of(plan: Plan) -> dict[str, str]:
    """Structure to that with which it changes places when right and left do."""
    return mirror_partners(plan.dataset.mirror_pairs)


def side_notes(
    parts: Sequence[SidePart], partners: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Structure to what must be said of its parts on the wrong side.

    Args:
        parts: Those parts.
        partners: To whom they were given; None: they are as they were.
    """
    notes: dict[str, list[str]] = {}
    kinds = [(one.label, one.is_left_out, one.is_sure) for one in parts]
    for name, is_left_out, is_sure in dict.fromkeys(kinds):
        alike = (name, is_left_out, is_sure)
        volumes = [one.volume_ml for one, kind in zip(parts, kinds, strict=True) if kind == alike]
        in_parts = f" in {len(volumes)} parts" if len(volumes) > 1 else ""
        done = ", left out of the label map" if is_left_out else ""
        if partners and name in partners:
            done = f", relabelled as {partners[name]}"
            if not is_sure:
                done = ", not relabelled: the image may show one side only"
        said = f"{sum(volumes):.2f} mL{in_parts} on the wrong side{done}"
        notes.setdefault(name, []).append(said)
    return {name: "; ".join(said) for name, said in notes.items()}


def relabelled(labelmap: Volume, parts: Sequence[SidePart], plan: Plan) -> Volume:
    """The label map with its parts given to their partners, where they have one and it is sure."""
    array, table = np.array(labelmap.array), np.array(plan.mirror_table)
    for one in (one for one in parts if one.is_sure):
        # From what was predicted: of nested structures the inner one is a part of both.
        array[one.box][one.mask] = table[labelmap.array[one.box][one.mask]]
    return labelmap.with_array(array)


def relabelled_pieces(located: Located, parts: Sequence[SidePart], plan: Plan) -> Located:
    """The same for a scan in boxes; what changes its name becomes a piece of its own."""
    partners, pieces = partners_of(plan), list(located.pieces)
    n_pieces = len(pieces)
    moving = [one for one in parts if one.label in partners and one.is_sure]
    for index in sorted({one.piece for one in moving}):
        piece, own = pieces[index % n_pieces], [one for one in moving if one.piece == index]
        source = piece.labelmap if index < n_pieces else piece.astray
        if source is None:
            continue
        kept, moved = np.array(source.array), np.zeros_like(source.array)
        new = relabelled(source, own, plan).array
        for one in own:
            moved[one.box][one.mask] = new[one.box][one.mask]
            kept[one.box][one.mask] = 0
        left = source.with_array(kept)
        pieces[index % n_pieces] = (
            replace(piece, labelmap=left) if index < n_pieces else replace(piece, astray=left)
        )
        names = tuple(dict.fromkeys(partners[one.label] for one in own))
        place = Place(piece.place.name, names, piece.place.box)
        pieces.append(Piece(place, piece.part, source.with_array(moved), piece.n_growths))
    return replace(located, pieces=tuple(pieces))
