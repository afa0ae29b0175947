"""Curves of a training: a row an epoch, as CSV and for TensorBoard.

Enters: one row after every epoch. Leaves: ``history.csv`` (rewritten whole, so
that a kill cannot leave half a line) and TensorBoard events.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from acinus.files import write_text

Row = dict[str, float | int]
"""Columns fold, epoch, step, seconds, learning_rate, train_loss, validation_loss,
validation_dice and validation_dice_<label>; an undefined Dice is absent."""


class History:
    """The rows of one fold and their two outlets."""

    def __init__(self, folder: Path, labels: Mapping[str, int]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.rows: list[Row] = []
        self._path = folder / "history.csv"
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
        self._events = SummaryWriter(log_dir=str(folder / "tensorboard"))

    def add(self, row: Row) -> None:
        """Append a row and write both outlets."""
        self.rows.append(row)
        self.write()
        for name, value in row.items():
            if name not in ("fold", "epoch", "step"):
                self._events.add_scalar(name, value, global_step=int(row["step"]))

    def write(self) -> None:
        """Write ``history.csv`` from the rows."""
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
        self._events.close()
