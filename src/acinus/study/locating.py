"""The locate stage of an arm: the arm of its coarse network, and the boxes of its cases.

Enters: an arm and its plan. Leaves: what the segment stage learns from and is judged in. A case
that is judged is located by what has not learned from it: of the coarse network the fold that held
it out, hence it has every fold that the segment stage has, and the budget of few folds is not spent
on many. What is learned from are boxes around the references, with margins drawn at random, so
that the segment stage meets boxes that are tighter and looser than intended; where rules find the
head, it learns from the head as they find it, since a box of it holds much else. Boxes that the
coarse network found in the training cases were rejected for training: a missed box would teach
nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from acinus.cohort import Case, mirror_partners
from acinus.config import merge
from acinus.errors import DataError, PlanError
from acinus.plan import Decision, Plan, load_recipe, read_plan
from acinus.predict import (
    HeadLocator,
    KnownPlaces,
    Located,
    Model,
    Postprocess,
    boxes_of,
    find_head,
)
from acinus.predict.locate import Locator, places_in, sized
from acinus.predict.locate.locators import HEAD_OVERVIEW_MM, values_of
from acinus.prepare import CaseBoxes
from acinus.scans import Volume, read_labelmap
from acinus.scans.box import Box, Slices, voxels_in
from acinus.scans.nifti import geometry_codes
from acinus.scans.slabs import VolumeSlabs, open_slabs, overview, write_pieces
from acinus.study.cascade import first_share
from acinus.study.folders import RunFolder
from acinus.study.job import ArmJob

LOCATOR = "locator"
"""Folder of the coarse network within that of its arm, and name of its model."""

TIME_SHARE = 0.3
"""Share of the arm's time that the coarse network gets."""

OVERLAP = 0.25
"""Overlap of the tiles of the coarse network: a box needs no smooth seams, and a body is long."""

MARGIN_SHARES = (0.3, 2.0)
"""Margins of the boxes that are learned from are drawn between these shares of the margin."""


def locator_arm(job: ArmJob, plan: Plan) -> ArmJob | None:
    """The arm of the coarse network; None where no network locates.

    Args:
        job: With its clock, of which the coarse network gets `TIME_SHARE`.
        plan: Of the arm.
    """
    locate, train = plan.settings.locate, plan.settings.train
    if locate.stage != "network":
        return None
    fixed: dict[str, Any] = {
        "locate": {"stage": "off"},
        "prepare": {"spacing_mm": [locate.spacing_mm] * 3, "grow_mm": locate.spacing_mm},
        "train": {"device": train.device, "threads": train.threads},
        "predict": {"overlap": OVERLAP, "postprocess": "none"},
        "folds": plan.settings.folds,
        "folds_trained": len(plan.folds_to_train),
    }
    dropout = plan.settings.augment.channel_dropout
    if dropout:
        # Who segments without a channel must be found without it.
        fixed["augment"] = {"channel_dropout": dropout}
    recipe = load_recipe("auto", merge(fixed, locate.config))
    return replace(
        job,
        model=job.name_of_first(LOCATOR),
        recipe=recipe.model_copy(update={"name": "auto"}),
        folder=RunFolder(job.folder.root / LOCATOR),
        store=job.store.parent / LOCATOR / job.store.name,
        explain=False,
        is_judged=False,
        share_left_s=first_share(job.share_left_s, TIME_SHARE),
    )


def predict_located(
    model: Model, images: Sequence[Path | None], target: Path, *, postprocess: Postprocess
) -> Located:
    """A case through both stages, its label map written.

    Args:
        model: With a locate stage.
        images: A file a channel; None is missing.
        target: File of the label map.
        postprocess: What is done after the network.
    """
    sources = [None if path is None else open_slabs(path) for path in images]
    located = model.predict_located(sources, postprocess=postprocess)
    first = next(one for one in sources if one is not None)
    write_pieces(located.parts(), located.grid, geometry_codes(first.meta), target)
    return located


def segment_share(share_left_s: Callable[[], float] | None) -> Callable[[], float] | None:
    """Seconds that an arm keeps for its segment stage, before its locator is trained."""
    if share_left_s is None:
        return None
    kept_s = (1 - TIME_SHARE) * share_left_s()
    return lambda: min(share_left_s(), kept_s)


def bound_to_locator(plan: Plan, locator: Plan) -> Plan:
    """The plan of an arm that states on which plan of a coarse network it rests."""
    decision = plan.decisions["locate.stage"]
    facts = {**decision.facts, "plan_of_the_locator": locator.hash()}
    bound = Decision(value=decision.value, rule=decision.rule, source=decision.source, facts=facts)
    return plan.with_decisions({"locate.stage": bound})


def training_boxes(plan: Plan) -> CaseBoxes | None:
    """Where cases are cut to be learned from; None where there is no locate stage."""
    if not plan.is_located:
        return None

    def boxes(case: Case, channels: Sequence[Volume | None], label: Volume) -> Mapping[str, Slices]:
        found = (
            _head(channels, label, plan)
            if plan.settings.locate.stage == "rules"
            else _around_references(case, label, plan)
        )
        parts = {name: voxels_in(label.grid, box) for name, box in found.items()}
        return {name: part for name, part in parts.items() if part is not None}

    return boxes


def case_locator(job: ArmJob, plan: Plan, case: Case) -> Locator:
    """What locates a case that the segment stage has not seen, to judge both stages together.

    Raises:
        PlanError: The coarse network has not segmented it yet.
    """
    first = locator_arm(job, plan)
    if first is None:
        return HeadLocator(plan)
    grown_mm = read_plan(first.folder.plan).settings.prepare.grow_mm
    path = first.folder.predictions("validation") / f"{case.case_id}.nii.gz"
    if not path.is_file():
        raise PlanError(
            f"{path}: a fold of the locator must be trained before that of the segment stage; this "
            "case was not segmented. Run 'acinus train' on the whole run, or train each fold of it "
            f"with --variant {LOCATOR} first."
        )
    return KnownPlaces(boxes_of(read_labelmap(path), plan, grown_mm))


def entries_of(job: ArmJob, cases: Sequence[Case]) -> tuple[str, ...]:
    """Ids in the store of some prepared cases: with a locate stage one a box."""
    store = job.open_store()
    return tuple(entry for case in cases for entry in store.entries(case.case_id))


def annotated_entries(job: ArmJob) -> dict[str, tuple[str, ...]]:
    """Entry of the store to the labels annotated in its case; one that is not in it has all."""
    store = job.open_store()
    partner = mirror_partners(job.dataset.mirror_pairs)
    found = {}
    for case_id, labels in job.dataset.annotated.items():
        swapped = tuple(partner.get(name, name) for name in labels)
        for entry in store.entries(case_id):
            found[entry] = swapped if store.facts(entry).mirrored else labels
    return found


def _around_references(case: Case, label: Volume, plan: Plan) -> dict[str, Box]:
    """Boxes around the references of each place; those that a case lacks are left out."""
    locate = plan.settings.locate
    places = places_in(label, locate.places, values_of(plan), 0.0, large_only=False)
    boxes = {}
    for place in places:
        if place.box is None:
            continue
        text = f"{plan.seed}, {case.case_id}, {place.name}"
        seed = hashlib.sha256(text.encode()).digest()[:8]
        rng = np.random.default_rng(int.from_bytes(seed, "little"))
        low_mm, high_mm = locate.margin_mm * rng.uniform(*MARGIN_SHARES, size=(2, 3))
        boxes[place.name] = sized(place.box.grown(low_mm, high_mm), locate.box_mm)
    return boxes


def _head(channels: Sequence[Volume | None], label: Volume, plan: Plan) -> dict[str, Box]:
    """The head as the rules find it, with the references wherever they lie; else these alone.

    A box of fixed size stands about the head alone: what it leaves out is counted as cut.
    """
    labels = tuple(plan.dataset.labels)
    margin_mm, box_mm = plan.settings.locate.margin_mm, plan.settings.locate.box_mm
    (all_of_it,) = places_in(
        label, [("head", labels)], values_of(plan), margin_mm, large_only=False
    )
    box = all_of_it.box
    ct = channels[0]
    if ct is not None:
        try:
            head = find_head(overview(VolumeSlabs(ct), HEAD_OVERVIEW_MM))
            box = head if box is None or box_mm is not None else box.united(head)
        except DataError:
            pass  # It is judged by the same rules, and reported as missed there.
    return {} if box is None else {"head": sized(box, box_mm)}
