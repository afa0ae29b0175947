"""Curves of a training: a row an epoch, as CSV and for TensorBoard.

Enters: one row after every epoch. Leaves: ``history.csv`` (rewritten whole, so
that a kill cannot leave half a line) and TensorBoard events.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from acinus.files import write_text

Row = dict[str, float | int]
"""Columns fold, epoch, step, seconds, learning_rate, train_loss, validation_loss,
validation_dice and validation_dice_<label>; an undefined Dice is absent."""


class History:
    """The rows of one fold and their two outlets.

    Args:
        folder: Of the training; None: nothing is written.
        labels: Names of the labels.
    """

    def __init__(self, folder: Path | None, labels: Mapping[str, int]) -> None:
        self.rows: list[Row] = []
        self._path = None if folder is None else folder / "history.csv"
        self._columns = [
            "fold",
            "epoch",
            "step",
            "seconds",
            "learning_rate",
            "train_loss",
            "validation_loss",
            "validation_dice",
            *(f"validation_dice_{name}" for name in labels),
        ]
        self._events = None if folder is None else _writer(folder / "tensorboard")

    def add(self, row: Row) -> None:
        """Append a row and write both outlets."""
        self.rows.append(row)
        self.write()
        if self._events is None:
            return
        for name, value in row.items():
            if name not in ("fold", "epoch", "step"):
                self._events.add_scalar(name, value, global_step=int(row["step"]))

    def write(self) -> None:
        """Write ``history.csv`` from the rows."""
        if self._path is None:
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {key: f"{value:.6g}" if isinstance(value, float) else value for key, value in r.items()}
            for r in self.rows
        )
        write_text(self._path, text.getvalue())

    def close(self) -> None:
        """Flush the events."""
        if self._events is not None:
            self._events.close()


def _writer(folder: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(log_dir=str(folder))
