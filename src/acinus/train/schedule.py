"""The learning rate over a training, and its corrections when the clock asks for them.

Enters: the plan's number of epochs, and the time left. Leaves: a learning rate
for every step that ends fully decayed. The number of epochs is fixed by the
plan; where a time budget would be missed by more than `TOLERANCE`, it is
corrected at the end of an epoch, the correction is written into the
checkpoint, and the schedule goes on smoothly from the progress reached.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from acinus.plan.settings import TrainSettings

TOLERANCE = 0.02
"""Share of the time left by which a forecast may miss before epochs are corrected."""


@dataclass(frozen=True)
class Correction:
    """From `from_epoch` on, the training ends after `n_epochs`."""

    from_epoch: int
    n_epochs: int


@dataclass
class Schedule:
    """Learning rates of a training.

    Attributes:
        settings: Peak rate, shape and warm-up.
        n_epochs: Planned epochs.
        steps_per_epoch: Steps of an epoch.
        corrections: In order of `from_epoch`.
    """

    settings: TrainSettings
    n_epochs: int
    steps_per_epoch: int
    corrections: list[Correction] = field(default_factory=list)

    @property
    def last_epoch(self) -> int:
        """Epochs of the whole training after all corrections."""
        return self.corrections[-1].n_epochs if self.corrections else self.n_epochs

    def progress(self, step: int) -> float:
        """Share of the training done before a step, in [0, 1); linear between corrections."""
        segments = [Correction(0, self.n_epochs), *self.corrections]
        done = 0.0
        for index, segment in enumerate(segments):
            begin = segment.from_epoch * self.steps_per_epoch
            end = segment.n_epochs * self.steps_per_epoch
            following = segments[index + 1] if index + 1 < len(segments) else None
            reach = step
            if following is not None:
                reach = min(step, following.from_epoch * self.steps_per_epoch)
            done += (1 - done) * (reach - begin) / max(1, end - begin)
            if following is None or step < following.from_epoch * self.steps_per_epoch:
                break
        return min(done, 1.0)

    def lr(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        settings = self.settings
        share = self.progress(step)
        if share < settings.warmup:
            # By progress and not by steps: a training made longer must not warm up again.
            first = 1 / (self.n_epochs * self.steps_per_epoch)
            return settings.lr * (share + first) / (settings.warmup + first)
        if settings.schedule == "constant":
            return settings.lr
        if settings.schedule == "polynomial":
            return float(settings.lr * (1 - share) ** 0.9)
        return settings.lr * 0.5 * (1 + math.cos(math.pi * share))

    def correct(self, epochs_done: int, epoch_s: float, left_s: float) -> bool:
        """Fit the remaining epochs to the time left.

        Args:
            epochs_done: Whole epochs done.
            epoch_s: Measured seconds of an epoch, validation included.
            left_s: Seconds that this training may still take.

        Returns:
            Whether the number of epochs was corrected.
        """
        remaining = self.last_epoch - epochs_done
        if remaining <= 0 or epoch_s <= 0:
            return False
        forecast_s = remaining * epoch_s
        slack_s = max(TOLERANCE * left_s, epoch_s)
        if abs(forecast_s - left_s) <= slack_s and forecast_s <= left_s + 0.5 * epoch_s:
            return False
        fits = max(1, math.floor(left_s / epoch_s))
        if fits == remaining:
            return False
        self.corrections.append(Correction(epochs_done, epochs_done + fits))
        return True
