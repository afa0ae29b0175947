"""What the page needs to know of a figure or table, whether it could be made or not.

Enters: paths of pictures, rows of tables, their words. Leaves: two records that
the template reads. A figure that could not be drawn keeps its number and says
why, so that figures of two reports can be compared by number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from acinus.files import whole_file


@dataclass(frozen=True)
class FigureView:
    """A figure of the report.

    Attributes:
        number: Its number in the report, from 1.
        title: Short heading.
        parts: PNG files with the plain text under each; empty if it could not be made.
        csv: Names of the files under ``tables/`` that hold its numbers.
        absent: Why there is no picture; empty if there is one.
    """

    number: int
    title: str
    parts: tuple[tuple[Path, str], ...] = ()
    csv: tuple[str, ...] = ()
    absent: str = ""

    def placed(self, places: Mapping[str, str]) -> FigureView:
        """The figure with its place in a published study behind its title, if it has one.

        Args:
            places: ``figure-N`` to words such as ``Figure 8``.
        """
        place = places.get(f"figure-{self.number}")
        return self if place is None else replace(self, title=f"{self.title} [{place}]")

    @property
    def paths(self) -> tuple[Path, ...]:
        """The PNG files."""
        return tuple(path for path, _ in self.parts)


@dataclass(frozen=True)
class TableView:
    """A table of the report.

    Attributes:
        title: Heading after its number.
        header: Column heads.
        rows: Cells as shown, a row as long as the header.
        caption: Plain text below: n, method, policy for undefined values.
        csv: Name of the file under ``tables/`` with the same numbers.
        numeric: Indices of columns set flush right.
        key: What the page puts it under, e.g. ``"characteristics"``.
        absent: Why there is no table; empty if there is one.
    """

    title: str
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    caption: str = ""
    csv: str = ""
    numeric: frozenset[int] = frozenset()
    key: str = ""
    absent: str = ""


def write_table(frame: pd.DataFrame, path: Path) -> str:
    """Write a table as CSV, whole or not at all; returns the file's name."""
    with whole_file(path) as beside:
        frame.to_csv(beside, index=False, lineterminator="\n")
    return path.name


@dataclass(frozen=True)
class Folders:
    """Where a report is written: ``out/figures`` and ``out/tables``."""

    out: Path

    @property
    def figures(self) -> Path:
        """Folder of the PNG files."""
        return self.out / "figures"

    @property
    def tables(self) -> Path:
        """Folder of the CSV files."""
        return self.out / "tables"
