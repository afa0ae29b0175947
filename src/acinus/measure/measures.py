"""The registry of measures, and all wanted measures of one case at once.

Enters: two bool masks ``(Z, Y, X)`` and their spacing. Leaves: a `Score` for
each wanted measure. Every measure is written as a function of a `MaskPair`, so
that voxels are counted and distances transformed once; called with bare masks
it makes the pair itself. Measures never raise on empty masks: the overlap of
two empty masks and the distance to an empty one are undefined, with a reason.
Measures of sides need the partner's reference besides; without it they are undefined.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from acinus.measure.pair import MaskPair
from acinus.measure.score import Score
from acinus.registry import Registry
from acinus.types import Mask, Spacing

Better = Literal["higher", "lower", "neither"]


class Measure:
    """A measure of a prediction against a reference.

    Attributes:
        name: Registered name, e.g. ``"hausdorff_95_mm"``.
        title: As a table's column shows it, e.g. ``"HD95 (in mm)"``.
        unit: ``"1"``, ``"mm"``, ``"mL"`` or ``"count"``.
        better: Whether higher or lower values are better.
        of: The function of a `MaskPair`.
    """

    def __init__(
        self, name: str, title: str, unit: str, better: Better, of: Callable[[MaskPair], Score]
    ) -> None:
        self.name = name
        self.title = title
        self.unit = unit
        self.better = better
        self.of = of
        self.__doc__ = of.__doc__

    def __call__(
        self,
        reference: Mask,
        prediction: Mask,
        spacing_mm: Spacing,
        *,
        partner: Mask | None = None,
    ) -> Score:
        """The score of a prediction.

        Args:
            reference: (Z, Y, X) bool, what an expert drew.
            prediction: (Z, Y, X) bool, same grid.
            spacing_mm: (Z, Y, X) distance between voxel centres, mm, > 0.
            partner: (Z, Y, X) bool, reference of the partner on the other side, for the
                measures of sides; None: there is none.

        Raises:
            GridError: The masks differ in shape.
            DataError: A mask is not bool, or the spacing is not positive.
        """
        return self.of(MaskPair(reference, prediction, spacing_mm, partner=partner))

    def undefined(self, reason: str) -> Score:
        """A score of this measure without value."""
        return Score.undefined(reason, self.unit)


MEASURES: Registry[Measure] = Registry("measure")


def measure(
    name: str, *, title: str, unit: str, better: Better
) -> Callable[[Callable[[MaskPair], Score]], Measure]:
    """Decorator that files a function of a `MaskPair` as a measure."""

    def file(of: Callable[[MaskPair], Score]) -> Measure:
        return MEASURES.register(name)(Measure(name, title, unit, better, of))

    return file


def measure_case(
    reference: Mask,
    prediction: Mask,
    spacing_mm: Spacing,
    names: Sequence[str],
    *,
    voxel_volume_ml: float | None = None,
    ignored: Mask | None = None,
    partner: Mask | None = None,
) -> dict[str, Score]:
    """The wanted scores of one structure; counts and distances are shared.

    Args:
        reference: (Z, Y, X) bool, what an expert drew.
        prediction: (Z, Y, X) bool, same grid.
        spacing_mm: (Z, Y, X) distance between voxel centres, mm, > 0.
        names: Registered measures.
        voxel_volume_ml: Volume of a voxel, mL; by default the product of the spacing.
        ignored: (Z, Y, X) bool, voxels taken out of all masks; None: there are none.
        partner: (Z, Y, X) bool, reference of the partner on the other side, for the measures
            of sides; None: there is none, and they are undefined.

    Returns:
        Name to score, in the order of `names`.

    Raises:
        ConfigError: A measure is unknown.
        GridError: The masks differ in shape.
        DataError: A mask is not bool, or the spacing is not positive.
    """
    wanted = [MEASURES[name].factory for name in names]
    pair = MaskPair(
        reference, prediction, spacing_mm, voxel_volume_ml, ignored=ignored, partner=partner
    )
    return {one.name: one.of(pair) for one in wanted}
