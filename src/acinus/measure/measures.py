"""The registry of measures, and all wanted measures of one case at once.

Enters: two bool masks ``(Z, Y, X)`` and their spacing. Leaves: a `Score` for
each wanted measure. Every measure is written as a function of a `MaskPair`, so
that voxels are counted and distances transformed once; called with bare masks
it makes the pair itself. Measures never raise on empty masks: the overlap of
two empty masks and the distance to an empty one are undefined, with a reason.
Measures of sides need the partner's reference besides; without it they are undefined.

A measure that depends on a number, such as a tolerance, has it in its name
(``surface_dice_2mm``), so that no table can show one without it. Settings beside
the name were rejected: two columns of one name would mean different things.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from acinus.config import Settings
from acinus.errors import ConfigError, unknown_name
from acinus.measure.pair import MaskPair
from acinus.measure.score import Score
from acinus.registry import Entry, Registry
from acinus.types import Mask, Spacing

Better = Literal["higher", "lower", "neither"]


class Measure:
    """A measure of a prediction against a reference.

    Attributes:
        name: Registered name, e.g. ``"hausdorff_95_mm"``.
        title: As a table's column shows it, e.g. ``"HD95 (in mm)"``.
        unit: ``"1"``, ``"mm"``, ``"mL"``, ``"%"`` or ``"count"``.
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
            reference: (Z, Y, X) or (Y, X) bool, what an expert drew.
            prediction: (Z, Y, X) or (Y, X) bool, same grid.
            spacing_mm: Distance between voxel centres in the same order, mm, > 0.
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


@dataclass(frozen=True)
class Family:
    """Measures that differ in a number, which is part of their names.

    Attributes:
        form: Of the names, with ``{}`` for the number, e.g. ``"surface_dice_{}mm"``.
        title: As a table's column shows it, with ``{}`` for the number.
        meaning: Of the number, with its unit.
        low: The number must be above it.
        high: The number must be below it.
        make: The measure of a number.
        example: A number that is often asked for.
    """

    form: str
    title: str
    meaning: str
    low: float
    high: float
    make: Callable[[float], Measure]
    example: float

    @property
    def shown(self) -> str:
        """The form for people, e.g. ``surface_dice_{tolerance}mm``."""
        return self.form.format(self._word)

    @property
    def form_title(self) -> str:
        """The title for people, with the same word in place of the number."""
        return self.title.format(self._word)

    @property
    def _word(self) -> str:
        return "{" + self.meaning.split(",")[0].replace(" ", "_") + "}"

    def number_in(self, name: str) -> float | None:
        """The number in a name of this form, written without needless digits; None: other form."""
        pattern = re.escape(self.form).replace(re.escape("{}"), r"(\d+(?:\.\d+)?)")
        found = re.fullmatch(pattern, name)
        if found is None or f"{float(found[1]):g}" != found[1]:
            return None
        return float(found[1])


class MeasureRegistry(Registry[Measure]):
    """Measures by name: the registered ones, and those of families for every number."""

    def __init__(self) -> None:
        super().__init__("measure")
        self.families: list[Family] = []

    def __getitem__(self, name: str) -> Entry[Measure]:
        if super().__contains__(name):
            return super().__getitem__(name)
        for family in self.families:
            number = family.number_in(name)
            if number is None:
                continue
            if not family.low < number < family.high:
                raise ConfigError(
                    f"measure '{name}': the {family.meaning} must lie between {family.low:g} and "
                    f"{family.high:g}; got {number:g}."
                )
            return Entry(name, family.make(number), Settings)
        known = [*self.names(), *(family.shown for family in self.families)]
        raise ConfigError(unknown_name(self.kind, name, known))

    def shown(self) -> list[Entry[Measure]]:
        """All measures for people, sorted: a family once, with a word in place of its number."""
        named = [Entry(one.shown, one.make(one.example), Settings) for one in self.families]
        return sorted([*self, *named], key=lambda entry: entry.name)

    def __contains__(self, name: str) -> bool:
        try:
            self[name]
        except ConfigError:
            return False
        return True


MEASURES = MeasureRegistry()


def measure(
    name: str, *, title: str, unit: str, better: Better
) -> Callable[[Callable[[MaskPair], Score]], Measure]:
    """Decorator that files a function of a `MaskPair` as a measure."""

    def file(of: Callable[[MaskPair], Score]) -> Measure:
        return MEASURES.register(name)(Measure(name, title, unit, better, of))

    return file


def measure_family(
    form: str,
    *,
    title: str,
    unit: str,
    better: Better,
    meaning: str,
    low: float,
    high: float = float("inf"),
    example: float,
) -> Callable[[Callable[[MaskPair, float], Score]], Callable[[float], Measure]]:
    """Decorator that files a function of a `MaskPair` and a number as a family of measures.

    Args:
        form: Of the names, with ``{}`` for the number.
        title: As a table's column shows it, with ``{}`` for the number.
        unit: As of a `Measure`.
        better: As of a `Measure`.
        meaning: Of the number, with its unit after a comma.
        low: The number must be above it.
        high: The number must be below it.
        example: A number that is often asked for.

    Returns:
        The function from a number to its measure.
    """

    def file(of: Callable[[MaskPair, float], Score]) -> Callable[[float], Measure]:
        def make(number: float) -> Measure:
            def with_number(pair: MaskPair) -> Score:
                return of(pair, number)

            with_number.__doc__ = of.__doc__
            text = f"{number:g}"
            return Measure(form.format(text), title.format(text), unit, better, with_number)

        MEASURES.families.append(Family(form, title, meaning, low, high, make, example))
        return make

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
