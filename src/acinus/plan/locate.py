"""Whether structures are found before they are segmented, and what the segment stage then sees.

Enters: a fingerprint and a recipe. Leaves: decisions on the locate stage, and the fingerprint of
the boxes, from which the rules decide spacing, patch and network of the segment stage as if the
boxes were the scans.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from acinus.cohort import Dataset, mirror_partners
from acinus.errors import PlanError, unknown_name
from acinus.plan.fingerprint import CaseFacts, Fingerprint
from acinus.plan.nnunet import BY_CHANNEL_NAME
from acinus.plan.rules import Decision
from acinus.plan.settings import LocateSettings, Recipe
from acinus.scans import read_grid
from acinus.types import Array

MOST_SHARE = 0.05
"""Boxes around all structures fill at most this share of the median scan where they are found
first."""

LEAST_SCAN_VOX = 2**23
"""Smaller scans are segmented whole: there a network is through in less time than two take."""

OVERVIEW_VOX = 2**21
"""About as many voxels has the median scan when structures are sought in it."""

COARSE_MM = (3.0, 6.0)
"""Finest and coarsest spacing at which structures are sought."""

HEAD_MM = (280.0, 250.0, 200.0)
"""(Z, Y, X) box of an adult's head, as the rules find it."""

Places = tuple[tuple[str, tuple[str, ...]], ...]
"""Each place with its labels."""


def places_of(dataset: Dataset) -> Places:
    """The places of a dataset: its ``structures``, then every other label by itself.

    A label that several structures list belongs to the first.
    """
    places: dict[str, tuple[str, ...]] = {}
    taken: set[str] = set()
    for place, labels in dataset.structures.items():
        mine = tuple(label for label in labels if label not in taken)
        if mine:
            places[place] = mine
            taken |= set(mine)
    for label in dataset.labels:
        if label not in taken:
            places[label if label not in places else f"{label} alone"] = (label,)
    return tuple(places.items())


def decide_locate(
    dataset: Dataset, fingerprint: Fingerprint, recipe: Recipe
) -> dict[str, Decision]:
    """Decisions on the locate stage; none where the scans are segmented whole.

    Raises:
        PlanError: The user asks for a stage that this dataset or recipe cannot have.
    """
    wanted = recipe.locate.stage
    if wanted == "off":
        return {}
    locate = recipe.locate
    places = locate.places or places_of(dataset)
    facts = _facts(fingerprint, places, locate.margin_mm)
    is_tiny = facts["share_of_scan_in_boxes"] <= MOST_SHARE
    if wanted == "auto" and not (is_tiny and facts["median_scan_voxels"] >= LEAST_SCAN_VOX):
        return {}
    _refuse_impossible(dataset, recipe, places)
    stage = "network" if wanted == "auto" else wanted
    chosen = Decision(
        value=stage,
        rule=(
            f"structures are found first where boxes around them fill at most {MOST_SHARE:.0%} of "
            f"the median scan and it has at least {LEAST_SCAN_VOX / 1e6:.1f} million voxels"
        ),
        source="data",
        facts=facts,
    )
    if wanted != "auto":
        source = "user" if recipe.provenance.get("locate.stage") == "user" else "ours"
        rule = "asked for" if source == "user" else f"recipe {recipe.name}"
        chosen = Decision(value=stage, rule=rule, source=source, facts=facts)
    stated = f"recipe {recipe.name}"
    decisions = {
        "locate.stage": chosen,
        "locate.spacing_mm": _spacing(fingerprint, locate.spacing_mm),
        "locate.margin_mm": Decision(value=locate.margin_mm, rule=stated, source="ours"),
        "locate.growths": Decision(value=locate.growths, rule=stated, source="ours"),
        "locate.config": Decision(value=locate.config, rule=stated, source="ours"),
        "locate.places": Decision(
            value=[[name, list(labels)] for name, labels in places],
            rule="'structures' of dataset.json; every label that it does not list by itself",
            source="data",
        ),
    }
    mirrored = _mirrored(dataset, places) if stage == "network" else ()
    is_asked_for = recipe.provenance.get("locate.mirrored") == "user"
    if is_asked_for:
        _refuse_unknown_mirrored(locate.mirrored, mirrored)
    if mirrored or is_asked_for:
        decisions["locate.mirrored"] = Decision(
            value=locate.mirrored if is_asked_for else mirrored,
            rule="boxes of left labels are seen as in a mirror, by the names of their partners",
            source="data",
        )
    if locate.box_mm is not None:
        rule = "about the centre of what is found; ends with the scan"
        decisions["locate.box_mm"] = Decision(value=list(locate.box_mm), rule=rule, source="ours")
    for name in decisions:
        if recipe.provenance.get(name) == "user":
            decisions[name] = decisions[name].model_copy(
                update={"source": "user", "rule": stated if name != "locate.stage" else "asked for"}
            )
    return decisions


def may_locate(dataset: Dataset, recipe: Recipe) -> bool:
    """Whether a plan of this dataset may have a network that locates, for who must know before.

    Args:
        dataset: Headers of its scans are read, until one is large enough for `auto`.
        recipe: With its wish.
    """
    if recipe.locate.stage != "auto":
        return recipe.locate.stage == "network"
    firsts = (next((path for path in case.images if path), None) for case in dataset.labelled_cases)
    return any(path and math.prod(read_grid(path).shape) >= LEAST_SCAN_VOX for path in firsts)


def in_boxes(fingerprint: Fingerprint, locate: LocateSettings) -> Fingerprint:
    """The fingerprint of the boxes: a case a box, as large as the locate stage will cut it.

    Sizes are estimates from centroids and extents; where the rules find the head, it is one box
    of `HEAD_MM`. Intensities are those of the whole scans.
    """
    cases: dict[str, CaseFacts] = {}
    for case_id, case in fingerprint.cases.items():
        for place, labels in locate.places:
            size_mm = _box_mm(case, labels, locate.margin_mm)
            if locate.stage == "rules":
                place, labels, size_mm = "head", tuple(fingerprint.labels), np.array(HEAD_MM)
            if size_mm is None:
                continue
            size_mm = size_mm if locate.box_mm is None else np.array(locate.box_mm)
            steps = np.array(case.spacing_mm)
            shape = np.minimum(np.maximum(np.round(size_mm / steps), 1), case.shape_vox)
            cases[f"{case_id}, {place}"] = case.model_copy(
                update={
                    "shape_vox": tuple(int(n) for n in shape),
                    "cropped_vox": tuple(int(n) for n in shape),
                    "cropped_share": 1.0,
                    "volume_ml": _only(case.volume_ml, labels, 0.0),
                    "voxels": _only(case.voxels, labels, 0),
                    "extent_mm": {k: v for k, v in case.extent_mm.items() if k in labels},
                    "centroid_mm": {k: v for k, v in case.centroid_mm.items() if k in labels},
                }
            )
    return fingerprint.model_copy(update={"cases": cases or fingerprint.cases})


def _facts(fingerprint: Fingerprint, places: Places, margin_mm: float) -> dict[str, Any]:
    shares, structures, sizes = [], [], []
    for case in fingerprint.cases.values():
        scan_mm = np.multiply(case.shape_vox, case.spacing_mm)
        boxes = [_box_mm(case, labels, margin_mm) for _, labels in places]
        found = [np.minimum(box, scan_mm).prod() for box in boxes if box is not None]
        sizes.append(math.prod(case.shape_vox))
        if found:  # a scan without any structure tells nothing of their size
            shares.append(float(sum(found) / scan_mm.prod()))
            structures.append(sum(case.volume_ml.values()) * 1000 / float(scan_mm.prod()))
    return {
        "share_of_scan_in_boxes": round(float(np.median(shares or [0.0])), 4),
        "share_of_scan_in_structures": round(float(np.median(structures or [0.0])), 6),
        "median_scan_voxels": int(np.median(sizes)),
        "n_places": len(places),
    }


def _box_mm(case: CaseFacts, labels: tuple[str, ...], margin_mm: float) -> Array | None:
    """(Z, Y, X) size of the box around some labels with its margins, mm; None without any."""
    seen = [label for label in labels if label in case.extent_mm]
    if not seen:
        return None
    centres = np.array([case.centroid_mm[label] for label in seen])
    halves = np.array([case.extent_mm[label] for label in seen]) / 2
    size: Array = (centres + halves).max(axis=0) - (centres - halves).min(axis=0) + 2 * margin_mm
    return size


def _spacing(fingerprint: Fingerprint, wanted_mm: float | None) -> Decision:
    volumes = [
        float(np.prod(np.multiply(case.shape_vox, case.spacing_mm)))
        for case in fingerprint.cases.values()
    ]
    fine, coarse = COARSE_MM
    edge = (float(np.median(volumes)) / OVERVIEW_VOX) ** (1 / 3)
    return Decision(
        value=wanted_mm or round(min(max(edge, fine), coarse), 2),
        rule=(
            f"the median scan has about {OVERVIEW_VOX / 1e6:.0f} million voxels at it; "
            f"{fine:g} to {coarse:g} mm"
        ),
        source="data",
        facts={"median_scan_litres": round(float(np.median(volumes)) / 1e6, 2)},
    )


def _mirrored(dataset: Dataset, places: Places) -> tuple[str, ...]:
    """Places of left labels alone, whose partners lie together in another place."""
    partner = mirror_partners(dataset.mirror_pairs)
    place_of = {label: name for name, labels in places for label in labels}
    found = []
    for name, labels in places:
        others = {place_of.get(partner.get(label, "")) for label in labels}
        is_left = all(dataset.sides.get(label) == "left" for label in labels)
        if is_left and len(others) == 1 and others.isdisjoint({None, name}):
            found.append(name)
    return tuple(found)


def _refuse_unknown_mirrored(wanted: tuple[str, ...], possible: tuple[str, ...]) -> None:
    """Raise PlanError unless the places that the user wants mirrored have partners."""
    if unknown := sorted(set(wanted) - set(possible)):
        raise PlanError(
            "locate.mirrored must name places of left labels whose partners in 'mirror_pairs' lie "
            f"together in another place ({', '.join(possible) or 'there is none'}); got "
            f"{', '.join(unknown)}."
        )


def _refuse_impossible(dataset: Dataset, recipe: Recipe, places: Places) -> None:
    if recipe.rules == "nnunet" and recipe.nnunet.configuration == "3d_cascade":
        raise PlanError(
            "a cascade sees the whole scan at low resolution already, so that locate.stage must be "
            f"off; got {recipe.locate.stage}. Choose the recipe nnunet-3d for a locate stage."
        )
    if fixed := [name for name in ("folds", "folds_trained") if name in recipe.locate.config]:
        raise PlanError(
            "locate.config must leave the folds to the segment stage, whose cases they locate; "
            f"got {', '.join(fixed)}. Set folds or --folds for both stages."
        )
    if not places:
        raise PlanError(f"dataset '{dataset.name}': must have labels to be located; it has none.")
    for _, labels in places:
        for label in labels:
            if label not in dataset.labels:
                raise PlanError(f"locate.places: {unknown_name('label', label, dataset.labels)}")
    placed = [label for _, labels in places for label in labels]
    for what, given in (("place", [name for name, _ in places]), ("label", placed)):
        if twice := [name for name in given if given.count(name) > 1]:
            raise PlanError(
                f"locate.places must name each {what} once, since a label has one place; "
                f"'{twice[0]}' stands there {given.count(twice[0])} times."
            )
    if empty := [name for name, labels in places if not labels]:
        raise PlanError(f"locate.places must give each place a label; '{empty[0]}' has none.")
    if lost := [label for label in dataset.labels if label not in placed]:
        raise PlanError(
            f"locate.places must hold every label, or it would never be predicted; "
            f"{', '.join(lost)} is in none. Add it to a place."
        )
    first = dataset.channel_names[0]
    if recipe.locate.stage == "rules" and BY_CHANNEL_NAME.get(first.casefold()) != "ct":
        raise PlanError(
            "locate.stage=rules finds the head on a CT, so that the first channel must be CT; "
            f"got '{first}'. Choose locate.stage=network."
        )


def _only(values: dict[str, Any], labels: tuple[str, ...], other: Any) -> dict[str, Any]:
    return {name: value if name in labels else other for name, value in values.items()}
