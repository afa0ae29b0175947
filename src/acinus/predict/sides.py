"""Predicted parts of a structure on the other side of the patient: told, and renamed if asked.

Enters: label maps, of a scan or of its boxes, and the scan. Leaves: the parts that
`acinus.cohort.side_parts` finds, what is said of them, and label maps in which they have the name
of their partner.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from acinus.cohort import mirror_partners
from acinus.cohort.side_parts import SidePart, parts_beyond_midline
from acinus.plan import Plan
from acinus.predict.locate import Located, Piece, Place
from acinus.scans import Volume
from acinus.scans.slabs import paste
from acinus.types import Labelmap, Mask

Now = Callable[[SidePart], Labelmap]
"""A part to the labels, (n,), that its voxels have in the label map that is written."""


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


def labels_of_part(labelmap: Volume) -> Now:
    """What parts of a scan that was segmented whole became; see `Now`."""
    return lambda part: labelmap.array[part.box][part.mask]


def labels_of_box_part(before: Located, after: Located) -> Now:
    """The same of a scan in boxes.

    Args:
        before: Where the parts were found.
        after: What is written.
    """

    def now(part: SidePart) -> Labelmap:
        piece = before.pieces[part.piece % len(before.pieces)]
        if piece.part is None:
            return np.zeros(0, dtype=np.uint8)
        z, y, x = (
            slice(edge.start + own.start, edge.start + own.stop)
            for edge, own in zip(piece.part, part.box, strict=True)
        )
        planes = np.zeros((z.stop - z.start, *after.grid.shape[1:]), dtype=np.uint8)
        paste(after.parts(), z.start, planes)
        found: Labelmap = planes[:, y, x][part.mask]
        return found

    return now


def side_notes(
    parts: Sequence[SidePart], plan: Plan, now: Now, *, are_relabelled: bool = False
) -> dict[str, str]:
    """Structure to what must be said of its parts on the wrong side, as they were predicted.

    Args:
        parts: Those parts.
        plan: Labels and their partners.
        now: What became of them: post-processing may have removed them, or another box may show
            what the box of the partner has no place for.
        are_relabelled: Whether those that are sure were given to their partners.
    """
    values, partners = values_by_label(plan), partners_of(plan)
    volumes: dict[tuple[str, str], list[float]] = {}
    for one in parts:
        labels = now(one)
        own, moved = np.isin(labels, values[one.label]), np.zeros(len(labels), dtype=bool)
        kept, partner = "", partners.get(one.label)
        if are_relabelled and partner is not None:
            if one.is_sure:
                moved = np.isin(labels, values[partner]) & ~own
            else:
                kept = ", not relabelled: the image may show one side only"
        fates = [
            # What one box has no place for and another shows is told of that one.
            (kept, own & (not one.is_left_out)),
            (f", relabelled as {partner}", moved),
            (", left out of the label map", ~own & ~moved),
        ]
        for fate, voxels in fates:
            if voxels.any():
                volume_ml = one.volume_ml * float(voxels.mean())
                volumes.setdefault((one.label, fate), []).append(volume_ml)
    notes: dict[str, list[str]] = {}
    for (name, fate), found in volumes.items():
        in_parts = f" in {len(found)} parts" if len(found) > 1 else ""
        notes.setdefault(name, []).append(f"{sum(found):.2f} mL{in_parts} on the wrong side{fate}")
    return {name: "; ".join(said) for name, said in notes.items()}


def relabelled(labelmap: Volume, parts: Sequence[SidePart], plan: Plan) -> Volume:
    """The label map with its parts given to their partners, where they have one and it is sure."""
    array, table = np.array(labelmap.array), np.array(plan.mirror_table)
    for one in (one for one in parts if one.is_sure):
        # From what was predicted: of nested structures the inner one is a part of both.
        array[one.box][one.mask] = table[labelmap.array[one.box][one.mask]]
    return labelmap.with_array(array)


def relabelled_pieces(located: Located, parts: Sequence[SidePart], plan: Plan) -> Located:
    """The same for a scan in boxes; what gets a name that its box has not is a piece of its own."""
    partners, pieces = partners_of(plan), list(located.pieces)
    n_pieces = len(pieces)
    moving = [one for one in parts if one.label in partners and one.is_sure]
    for index in sorted({one.piece for one in moving}):
        piece, own = pieces[index % n_pieces], [one for one in moving if one.piece == index]
        source = piece.labelmap if index < n_pieces else piece.astray
        if source is None or piece.labelmap is None:
            continue
        if index >= n_pieces:  # names of the partner's place become those of this one
            new = np.where(_voxels(source, own), relabelled(source, own, plan).array, 0)
            array = np.where(piece.labelmap.array == 0, new, piece.labelmap.array)
            left = np.where(_voxels(source, own), 0, source.array)
            pieces[index % n_pieces] = replace(
                piece, labelmap=source.with_array(array), astray=source.with_array(left)
            )
            continue
        here = [one for one in own if partners[one.label] in piece.place.labels]
        there = [one for one in own if partners[one.label] not in piece.place.labels]
        kept = relabelled(source, here, plan)
        if there:
            leaving = _voxels(source, there)
            moved = source.with_array(
                np.where(leaving, relabelled(source, there, plan).array, 0).astype(np.uint8)
            )
            kept = kept.with_array(np.where(leaving, 0, kept.array).astype(np.uint8))
            names = tuple(dict.fromkeys(partners[one.label] for one in there))
            place = Place(piece.place.name, names, piece.place.box)
            pieces.append(Piece(place, piece.part, moved, piece.n_growths, is_moved=True))
        pieces[index] = replace(piece, labelmap=kept)
    return replace(located, pieces=tuple(pieces))


def _voxels(source: Volume, parts: Sequence[SidePart]) -> Mask:
    """Where parts lie."""
    mask = np.zeros(source.shape, dtype=bool)
    for one in parts:
        mask[one.box] |= one.mask
    return mask
