"""One training: a fold of a plan, from its first step or from where it stopped.

Enters: a plan, a store and the cases of a fold. Leaves: weights in the model
folder, curves, and a checkpoint after every epoch. The randomness of a step
follows from seed, fold and step alone, so that a training killed anywhere ends
with the weights of an uninterrupted one (same CPU, same number of threads).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from acinus import progress
from acinus.errors import AcinusError
from acinus.files import hash_file, whole_file, write_json
from acinus.losses import DeepSupervision
from acinus.networks import SegmentationNetwork
from acinus.networks.device import autocast, is_out_of_memory, open_device
from acinus.prepare import Store
from acinus.train.allocator import keep_memory
from acinus.train.augment import (
    Changes,
    apply_changes,
    draw_changes,
    mirrored_annotation,
    side_swap,
)
from acinus.train.average import average_in, weights_of, with_weights
from acinus.train.build import (
    build_optimiser,
    plan_loss,
    seeded_dropout,
    seeded_network,
    training_forward,
)
from acinus.train.checkpoint import load_checkpoint, save_checkpoint
from acinus.train.history import History, Row
from acinus.train.job import FoldJob, is_trained, refuse_other_key
from acinus.train.memory import step_bytes
from acinus.train.patches import Batch, PatchSource
from acinus.train.pretrained import load_what_fits
from acinus.train.recorded import Compute, Recorded
from acinus.train.schedule import Correction, Schedule
from acinus.train.stream import Ahead
from acinus.train.team import Alone, Team
from acinus.train.watch import draw_look, is_best, lost_labels, measure_look

READ_AHEAD = 3
"""Batches read ahead by threads where the data do not stay on the device."""

LOOK_BACK = 20
"""Steps on a GPU between two looks at the losses: each look makes it wait."""


def train_fold(job: FoldJob, team: Team | None = None) -> None:
    """Train, or go on training, until the weights file is written.

    Args:
        job: What to train.
        team: Who takes part; None: this process alone. See `train_on_devices`.

    Raises:
        PlanError: The folder belongs to another plan, seed or split, or its weights are not
            those that the training wrote.
        AcinusError: The loss is not finite, or the memory does not suffice.
    """
    if is_trained(job):
        return
    keep_memory()
    with pinned_threads(job.plan.settings.train.threads):
        training = None
        try:
            training = Training(job, team)
            training.run()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            epoch = training.epoch if training is not None else 0
            raise AcinusError(_out_of_memory(job, epoch)) from error
        finally:
            if training is not None:
                training.close()


class Training:
    """A training under way: its state in memory, and the loop over its epochs.

    Args:
        job: What to train.
        team: Who takes part, None: this process alone. Member 0 alone looks, saves and writes.
    """

    def __init__(self, job: FoldJob, team: Team | None = None) -> None:
        settings = job.plan.settings
        self.job, self.train, self.team = job, settings.train, team or Alone()
        is_first = self.team.rank == 0
        self.device = open_device(self.train.device)
        self.checkpoint = job.folder / "checkpoint.safetensors"
        self.best = job.folder / "best.safetensors"
        is_new = not self.checkpoint.is_file()
        self.network = self._first_network() if is_new else seeded_network(job.plan, job.fold)
        self.network.to(self.device)
        layers = self.network.modules()
        self.drops = any(isinstance(layer, nn.Dropout) and layer.p > 0 for layer in layers)
        self.team.arrange(self.network)
        self.loss = plan_loss(job.plan)
        self.levels_loss = DeepSupervision(self.loss) if self.train.deep_supervision else None
        self.optimiser = build_optimiser(self.network, self.train)
        self.averaged = weights_of(self.network) if self.train.average_decay else None
        self.source = PatchSource(
            job.store,
            job.train_cases,
            settings.sampling,
            self.train.patch_vox,
            device=self.device,
            annotated=job.annotation_flags(),
            reach=bool(settings.augment.rotate or settings.augment.scale),
            kept_free=step_bytes(job.plan) if self.device.type == "cuda" else 0.0,
            previous_values=job.plan.previous_values,
            regions=job.plan.label_values if job.plan.dataset.regions else None,
        )
        self.batches = Ahead(self._draw, 0 if self.source.is_resident else READ_AHEAD)
        self.look = draw_look(job, self.device) if is_first else None
        self.swap = side_swap(job.plan)
        self.schedule = Schedule(self.train, self.train.epochs, self.train.steps_per_epoch or 1)
        self.history = History(job.folder if is_first else None, job.plan.dataset.labels)
        self.forward = training_forward(self.network, self.train)
        self.loss_and_gradients: Compute = self._compute
        if self.device.type == "cuda" and self.train.compile != "off" and self.train.devices == 1:
            self.loss_and_gradients = Recorded(self._compute)
        self.epoch, self.elapsed_s, self.attempt = 0, 0.0, 0
        self.epoch_seconds: list[float] = []
        self._since = time.monotonic()
        self._unseen: list[tuple[int, torch.Tensor]] = []
        if not is_new:
            self._resume()

    def run(self) -> None:
        """Train until the last epoch, then write the weights."""
        job, spe = self.job, self.schedule.steps_per_epoch
        total = self.schedule.last_epoch * spe
        title = f"Training fold {job.fold + 1}"
        with progress.stage(title, total=total, unit="step") as bar:
            bar.resume_at(self.epoch * spe)
            while self.epoch < self.schedule.last_epoch:
                try:
                    losses = []
                    for step in range(self.epoch * spe, (self.epoch + 1) * spe):
                        losses.append(self.step(step))
                        bar.advance(1)
                    self._look_back()
                    self._refuse_broken_weights()
                except _NotFiniteError as fault:
                    self._go_back(fault)
                    bar.resume_at(self.epoch * spe)
                    continue
                row = self.close_epoch(float(torch.stack(losses).mean()))
                if job.seconds_left is not None:
                    epoch_s = float(np.mean(self.epoch_seconds[-5:]))
                    if self.schedule.correct(self.epoch, epoch_s, job.seconds_left()):
                        bar.retotal(self.schedule.last_epoch * spe)
                        self._save()
                self.schedule.corrections = self.team.tell(self.schedule.corrections)
                if "validation_dice" in row:
                    bar.advance(0, note=f"Dice {row['validation_dice']:.2f}")
        if self.team.rank == 0:
            self._finish()

    def step(self, step: int) -> torch.Tensor:
        """One optimiser step; the loss of its batch as a scalar tensor on the device."""
        batch, changes = self.batches.take(step)
        image, label = apply_changes(batch, changes, self.swap, self.job.plan.n_dims)
        annotated = mirrored_annotation(batch.annotated, changes.flips, self.job.plan)
        for group in self.optimiser.param_groups:
            group["lr"] = self.schedule.lr(step)
        self.network.train()
        drops = seeded_dropout(self._seed(step), self.team.rank, self.device)
        with drops if self.drops else nullcontext():
            loss = self.loss_and_gradients(image, label, annotated)
        self.team.sum_gradients(self.network)
        looked_at = loss
        if self.train.gradient_clip is not None:
            norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.train.gradient_clip)
            looked_at = loss + 0.0 * norm  # a gradient that is not finite is told of its own step
        self._unseen.append((step, looked_at))
        if self.device.type == "cpu" or len(self._unseen) >= LOOK_BACK:
            self._look_back()
        self.optimiser.step()
        if self.averaged is not None and self.train.average_decay is not None:
            average_in(self.averaged, self.network, self.train.average_decay, step)
        return loss

    def close_epoch(self, train_loss: float) -> Row:
        """Look at the held-out patches, add a row to the curves and write the checkpoint."""
        job = self.job
        if self.team.rank != 0:
            self.epoch += 1
            return {}
        step = (self.epoch + 1) * self.schedule.steps_per_epoch
        row: Row = {
            "fold": job.fold,
            "epoch": self.epoch + 1,
            "step": step,
            "learning_rate": self.schedule.lr(step - 1),
            "train_loss": train_loss,
        }
        is_last = self.epoch + 1 >= self.schedule.last_epoch
        if is_last or (self.epoch + 1) % self.train.look_every == 0:
            with with_weights(self.network, self.averaged):
                row.update(measure_look(self.network, self.loss, self.look, job.plan))
        self.epoch += 1
        now = time.monotonic()
        self.epoch_seconds.append(now - self._since)
        self.elapsed_s, self._since = self.elapsed_s + now - self._since, now
        row["seconds"] = round(self.elapsed_s, 3)
        before = lost_labels(self.history.rows, list(job.plan.dataset.labels))
        self.history.add(row)
        after = lost_labels(self.history.rows, list(job.plan.dataset.labels))
        if is_best(self.history.rows):
            _save_weights(self.averaged or weights_of(self.network), self.best)
        for name in [name for name in after if name not in before]:
            progress.say(
                f"Fold {job.fold + 1}: label '{name}' has collapsed: its validation Dice fell to "
                "0 and stays there. The best state so far is kept."
            )
        self._save()
        return row

    def close(self) -> None:
        """Stop reading ahead and flush the curves."""
        self.batches.close()
        self.history.close()

    def _first_network(self) -> SegmentationNetwork:
        """The network before the first step: as seeded, or with another model's weights."""
        network = seeded_network(self.job.plan, self.job.fold)
        if self.train.pretrained is not None:
            said = load_what_fits(network, Path(self.train.pretrained), self.job.fold)
            progress.say(f"Fold {self.job.fold + 1} begins with {said}")
        return network

    def _compute(
        self, image: torch.Tensor, label: torch.Tensor, annotated: torch.Tensor | None
    ) -> torch.Tensor:
        """Loss of a batch, with all that the team has, and the gradients in the weights."""
        self.network.zero_grad(set_to_none=True)
        with autocast(self.device, self.train.precision):
            levels = self.forward(image)
        levels, label, annotated = self.team.gather(levels, label, annotated)
        loss_of = self.loss if self.levels_loss is None else self.levels_loss
        loss: torch.Tensor = loss_of(levels, label, annotated)
        loss.backward()
        return loss.detach()

    def _draw(self, step: int) -> tuple[Batch, Changes]:
        """Batch and changes of a step, from nothing but seed, fold, step and attempt."""
        rng = np.random.default_rng(self._seed(step))
        part = self.team.part(self.train.batch)
        batch = self.source.batch(self.train.batch, rng, part)
        return batch, draw_changes(self.job.plan, self.train.batch, rng).part(part)

    def _seed(self, step: int) -> list[int]:
        seed = [self.job.plan.seed, self.job.fold, step]
        return [*seed, self.attempt] if self.attempt else seed

    def _look_back(self) -> None:
        """Raise for the first step since the last look whose loss or gradient is not finite."""
        if not self._unseen:
            return
        values = self.team.agree(torch.stack([loss for _, loss in self._unseen])).cpu()
        steps = [step for step, _ in self._unseen]
        self._unseen.clear()
        for step, value in zip(steps, values.tolist(), strict=True):
            if not np.isfinite(value):
                raise _NotFiniteError(step, value)

    def _refuse_broken_weights(self) -> None:
        """Raise if the last step of an epoch broke the weights: the state would be kept."""
        weights = [one for one in self.network.state_dict().values() if one.is_floating_point()]
        broken = torch.stack([(~torch.isfinite(one)).any() for one in weights]).any()
        if float(self.team.agree(broken.float())):  # statistics of a batch are each member's own
            step = (self.epoch + 1) * self.schedule.steps_per_epoch - 1
            raise _NotFiniteError(step, float("nan"))

    def _go_back(self, fault: _NotFiniteError) -> None:
        """To the last good state, once; the batch is kept for a look at it."""
        batch, changes = self._draw(fault.step)
        image, label = apply_changes(batch, changes, self.swap, self.job.plan.n_dims)
        member = f"_of_process_{self.team.rank + 1}" if self.train.devices > 1 else ""
        kept = self.job.folder / f"not_finite_step_{fault.step}{member}.safetensors"
        with whole_file(kept) as beside:
            tensors = {"image": image.cpu().contiguous(), "label": label.cpu().contiguous()}
            save_file(tensors, beside, metadata={"cases": ",".join(batch.cases)})
        said = (
            f"training fold {self.job.fold + 1}: the loss must be finite; got {fault.value} at "
            f"step {fault.step} (cases {', '.join(sorted(set(batch.cases)))}; the batch is in "
            f"{kept})."
        )
        if self.attempt:
            raise AcinusError(
                f"{said} It happened before, and going back to the last good state did not help. "
                "Lower train.lr, or run 'acinus check' on the dataset."
            )
        self.attempt += 1
        self.batches.close()
        self.batches = Ahead(self._draw, self.batches.n_ahead)
        if self.checkpoint.is_file():
            attempt = self.attempt
            self._resume()
            self.attempt = attempt
        else:
            self.network.load_state_dict(self._first_network().state_dict())
            self.optimiser = build_optimiser(self.network, self.train)
            self.averaged = weights_of(self.network) if self.averaged is not None else None
        progress.say(
            f"Warning: {said} Going back to the state after epoch {self.epoch} and on with other "
            "batches."
        )

    def _save(self) -> None:
        state = {
            **self.job.key(),
            "epoch": self.epoch,
            "elapsed_s": self.elapsed_s,
            "attempt": self.attempt,
            "corrections": [[c.from_epoch, c.n_epochs] for c in self.schedule.corrections],
            "history": self.history.rows,
        }
        save_checkpoint(self.checkpoint, self.network, self.optimiser, self.averaged, state)

    def _resume(self) -> None:
        state = load_checkpoint(self.checkpoint, self.network, self.optimiser, self.averaged)
        refuse_other_key(self.job, state, self.checkpoint)
        self.epoch, self.elapsed_s = int(state["epoch"]), float(state["elapsed_s"])
        self.attempt = int(state["attempt"])
        self.schedule.corrections = [Correction(*pair) for pair in state["corrections"]]
        self.history.rows = list(state["history"])
        self.history.write()
        progress.say(f"Fold {self.job.fold + 1} goes on after epoch {self.epoch}.")

    def _finish(self) -> None:
        lost = lost_labels(self.history.rows, list(self.job.plan.dataset.labels), looks=1)
        weights = self.averaged or weights_of(self.network)
        keeps_best = bool(lost) and self.best.is_file()
        if keeps_best:
            weights = load_file(self.best)
        _save_weights(weights, self.job.weights)
        facts = {
            **self.job.key(),
            "epochs": self.epoch,
            "steps": self.epoch * self.schedule.steps_per_epoch,
            "seconds": round(self.elapsed_s, 2),
            "corrections": [[c.from_epoch, c.n_epochs] for c in self.schedule.corrections],
            "collapsed": list(lost),
            "kept": "best" if keeps_best else "last",
            "sha256": hash_file(self.job.weights),
        }
        write_json(self.job.folder / "done.json", facts)
        self.checkpoint.unlink(missing_ok=True)
        self.best.unlink(missing_ok=True)


class _NotFiniteError(ArithmeticError):
    """The loss of a step is not finite."""

    def __init__(self, step: int, value: float) -> None:
        super().__init__(f"loss {value} at step {step}")
        self.step, self.value = step, value


def _save_weights(weights: dict[str, torch.Tensor], path: Path) -> None:
    with whole_file(path) as beside:
        save_file({key: value.cpu().contiguous() for key, value in weights.items()}, beside)


def _out_of_memory(job: FoldJob, epoch: int) -> str:
    train = job.plan.settings.train
    kept = f"the state after epoch {epoch} is kept" if epoch else "nothing is lost"
    smaller = (
        f"--set train.batch={train.batch // 2}"
        if train.batch > 1
        else "a smaller train.patch_vox, or fewer network features"
    )
    return (
        f"training fold {job.fold + 1}: the memory of {train.device} must hold a batch of "
        f"{train.batch} patches {train.patch_vox} and does not; {kept}. Close other programs and "
        f"start the same command again, or plan anew in another folder with {smaller}."
    )


@contextmanager
def pinned_threads(n: int) -> Iterator[None]:
    """The plan's number of threads for the length of the block: results depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def check_cases(store: Store, cases: Sequence[str]) -> list[str]:
    """Sentences about cases of which cropping removed a part of a label."""
    return [
        f"case '{case}': cropping to the planned size cut {', '.join(cut)}"
        for case in cases
        if (cut := store.facts(case).cut_labels)
    ]
