"""Locators: a scan at coarse resolution to a box a place.

Enters: the channels of a scan as an overview. Leaves: places with their boxes. Three kinds: a
coarse network, rules for the head on a CT, and the mask of another program.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from acinus import progress
from acinus.errors import DataError
from acinus.plan import Plan
from acinus.predict.locate.head import find_head
from acinus.predict.locate.place import LabelValues, Place, places_in, sized
from acinus.prepare.normalise import channel_normalisation
from acinus.scans import Volume
from acinus.scans.box import Box, box_of_voxels
from acinus.scans.slabs import label_box

HEAD_OVERVIEW_MM = 4.0
"""Largest spacing of the overview in which the rules look for bone."""

LEAST_SHARE = 0.5
"""Share of a mask's box that lies in the scan below which they hardly belong together."""

Watch = Callable[[int], None]
"""Told the bytes that a step will take, before it takes them; it may refuse them."""

Limits = Sequence[tuple[float, float] | None]
"""Lowest and highest value of each channel, None for none; empty: no channel has any."""


class Locator(Protocol):
    """Something that finds places in a scan."""

    @property
    def overview_mm(self) -> float:
        """Largest spacing that the overview may have."""

    @property
    def limits(self) -> Limits:
        """For each channel the values to which it is clipped before the overview is made."""

    def find(self, channels: Sequence[Volume | None], watch: Watch | None = None) -> list[Place]:
        """The places in a scan, found or not.

        Args:
            channels: Overviews of its channels on one grid.
            watch: Told the bytes that this will take, before it takes them.
        """


class CoarseModel(Protocol):
    """What a network locator needs of a model."""

    def predict(
        self,
        volume: Sequence[Volume | None],
        *,
        postprocess: Literal["none"],
        watch: Watch | None = None,
    ) -> Volume:
        """Label map on the grid of the channels, as of `Model.predict`."""


@dataclass(frozen=True, eq=False)
class NetworkLocator:
    """A model at coarse resolution whose labels are boxed.

    Attributes:
        model: The coarse model.
        plan: Of the segment stage: places, margin and labels.
        grown_mm: By how much the labels were grown that it learned.
        limits: Those of its plan, for channels that it clips.
    """

    model: CoarseModel
    plan: Plan
    grown_mm: float
    limits: Limits = ()

    @property
    def overview_mm(self) -> float:
        """The spacing of the coarse network; the overview is as fine or finer."""
        return float(self.plan.settings.locate.spacing_mm or 1.0)

    def find(self, channels: Sequence[Volume | None], watch: Watch | None = None) -> list[Place]:
        """Arguments as of `Locator`."""
        found = self.model.predict(channels, postprocess="none", watch=watch)
        return boxes_of(found, self.plan, self.grown_mm)


@dataclass(frozen=True, eq=False)
class HeadLocator:
    """The head on a CT as the only place, see `find_head`."""

    plan: Plan
    overview_mm: float = HEAD_OVERVIEW_MM
    limits: Limits = ()

    def find(self, channels: Sequence[Volume | None], watch: Watch | None = None) -> list[Place]:
        """Arguments as of `Locator`; the first channel is the CT."""
        labels = tuple(self.plan.dataset.labels)
        ct = channels[0]
        if ct is None:
            return [Place("head", labels, None, "no head was found: the CT is missing")]
        try:
            box = sized(find_head(ct), self.plan.settings.locate.box_mm)
            return [Place("head", labels, box)]
        except DataError as error:
            return [Place("head", labels, None, str(error).rstrip("."))]


@dataclass(frozen=True, eq=False)
class MaskLocator:
    """A mask that another program made of the same scan, such as a skull: one place around it.

    Attributes:
        path: Label map in the scan's world, on any grid; whatever is above 0 counts.
        plan: Labels and margin.
    """

    path: Path
    plan: Plan
    overview_mm: float = float("inf")
    limits: Limits = ()

    def find(self, channels: Sequence[Volume | None], watch: Watch | None = None) -> list[Place]:
        """Arguments as of `Locator`; of the scan only its place is looked at."""
        labels, margin_mm = tuple(self.plan.dataset.labels), self.plan.settings.locate.margin_mm
        found = label_box(self.path)
        if found is None:
            reason = f"the mask {self.path} is empty; give one of this scan"
            return [Place("mask", labels, None, reason)]
        scan = next(one for one in channels if one is not None)
        whole = box_of_voxels(scan.grid, [slice(0, n) for n in scan.shape])
        share = found.common_ml(whole) / found.volume_ml
        where = f"the mask {self.path} lies at {_ends(found)}, the scan at {_ends(whole)}"
        if not share:
            reason = f"{where}, outside of each other; give a mask of this scan"
            return [Place("mask", labels, None, reason)]
        if share < LEAST_SHARE:
            progress.say(
                f"Warning: {where}: only {share:.0%} of its box lie in the scan. Look whether it "
                "is a mask of this scan."
            )
        box = sized(found.grown(margin_mm, margin_mm), self.plan.settings.locate.box_mm)
        return [Place("mask", labels, box)]


def _ends(box: Box) -> str:
    """From where to where a box reaches, in the world."""
    pairs = zip(("R", "A", "S"), box.low_mm, box.high_mm, strict=True)
    return ", ".join(f"{axis} {low:.0f} to {high:.0f}" for axis, low, high in pairs) + " mm"


@dataclass(frozen=True, eq=False)
class KnownPlaces:
    """Places that were found before, such as those of a case by the fold that has not seen it."""

    places: Sequence[Place]
    overview_mm: float = float("inf")
    limits: Limits = ()

    def find(self, channels: Sequence[Volume | None], watch: Watch | None = None) -> list[Place]:
        """Arguments as of `Locator`; the scan itself is not looked at."""
        return list(self.places)


def clipping(plan: Plan) -> Limits:
    """The values to which a plan clips each channel before it resamples it."""
    schemes = channel_normalisation(plan.settings.prepare, len(plan.dataset.channel_names))
    return [
        (known.low, known.high) if how == "ct" and known is not None else None
        for how, known in schemes
    ]


def boxes_of(labelmap: Volume, plan: Plan, grown_mm: float) -> list[Place]:
    """The places of a plan in a label map of its coarse network.

    Args:
        labelmap: Any grid.
        plan: Of the segment stage.
        grown_mm: By how much the labels were grown that the coarse network learned.
    """
    locate = plan.settings.locate
    return places_in(
        labelmap,
        locate.places,
        values_of(plan),
        locate.margin_mm,
        box_mm=locate.box_mm,
        grown_mm=grown_mm,
    )


def values_of(plan: Plan) -> LabelValues:
    """What stands for each label in a predicted label map."""
    return {
        name: tuple(dict.fromkeys((*values, plan.dataset.labels[name])))
        for name, values in zip(plan.dataset.labels, plan.label_values, strict=True)
    }
