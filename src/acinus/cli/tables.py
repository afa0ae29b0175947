"""Tables on standard output: fitted to a terminal, unfolded in a pipe or file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

UNFOLDED_WIDTH = 240
"""Characters a line may have where no terminal sets a limit."""


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under column names; texts are shown as they are, without markup.

    Args:
        columns: Names of the columns.
        rows: Texts, one for each column.
    """
    table = Table(box=box.SIMPLE, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(text) for text in row))
    width = None if sys.stdout.isatty() else UNFOLDED_WIDTH
    Console(file=sys.stdout, width=width).print(table)
