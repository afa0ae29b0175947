"""One training: a fold of a plan, from its first step or from where it stopped.

Enters: a plan, a store and the cases of a fold. Leaves: weights in the model
folder, curves, and a checkpoint after every epoch. The randomness of a step
follows from seed, fold and step alone, so that a training killed anywhere ends
with the weights of an uninterrupted one (same CPU, same number of threads).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from acinus import progress
from acinus.errors import AcinusError, PlanError
from acinus.files import hash_file, read_json, whole_file, write_json
from acinus.losses import build_loss
from acinus.networks import SegmentationNetwork, build_network
from acinus.plan import Plan
from acinus.plan.settings import TrainSettings
from acinus.prepare import Store
from acinus.train.allocator import keep_memory
from acinus.train.augment import apply_changes, draw_changes, no_changes, side_swap
from acinus.train.checkpoint import load_checkpoint, save_checkpoint
from acinus.train.history import History, Row
from acinus.train.patches import PatchSource
from acinus.train.schedule import Correction, Schedule

N_VALIDATION_PATCHES = 32
"""Patches that are measured after every epoch; the same ones each time."""

VALIDATION_STREAM = 2**40
"""Stream of random numbers that validation patches are drawn from, apart from all steps."""


@dataclass(frozen=True)
class FoldJob:
    """What one training needs.

    Attributes:
        plan: Frozen decisions.
        store: Prepared cases.
        fold: Index of the fold.
        train_cases: Case ids that are learned from.
        validation_cases: Case ids of the held-out part.
        folder: For curves and checkpoint, ``training/fold_K``.
        weights: File that receives the final weights.
        seconds_left: Wall time that this training may still take, s; None without a clock.
    """

    plan: Plan
    store: Store
    fold: int
    train_cases: tuple[str, ...]
    validation_cases: tuple[str, ...]
    folder: Path
    weights: Path
    seconds_left: Callable[[], float] | None = None

    def key(self) -> dict[str, Any]:
        """What the result depends on; a folder with another key is refused."""
        return {
            "plan": self.plan.hash(),
            "fold": self.fold,
            "train_cases": list(self.train_cases),
        }


def train_fold(job: FoldJob) -> None:
    """Train, or go on training, until the weights file is written.

    Raises:
        PlanError: The folder belongs to another plan, seed or split, or its weights are not
            those that the training wrote.
        AcinusError: The loss is not finite.
    """
    done = job.folder / "done.json"
    if done.is_file():
        facts = read_json(done)
        _refuse_other_key(job, facts, done)
        if job.weights.is_file():
            _refuse_altered(job.weights, facts)
            return
    keep_memory()
    with pinned_threads(job.plan.settings.train.threads):
        training = Training(job)
        try:
            training.run()
        finally:
            training.history.close()


class Training:
    """A training under way: its state in memory, and the loop over its epochs."""

    def __init__(self, job: FoldJob) -> None:
        settings = job.plan.settings
        self.job, self.train = job, settings.train
        self.network = seeded_network(job.plan, job.fold)
        self.loss = build_loss(settings.loss.name, settings.loss.config, job.plan.n_classes)
        self.optimiser = build_optimiser(self.network, self.train)
        self.averaged = _weights(self.network) if self.train.average_decay else None
        self.source = PatchSource(job.store, job.train_cases, settings.sampling, _patch(job.plan))
        self.validation = _validation_batch(job)
        self.swap = side_swap(job.plan)
        self.schedule = Schedule(self.train, self.train.epochs, self.train.steps_per_epoch or 1)
        self.history = History(job.folder, job.plan.dataset.labels)
        self.epoch, self.elapsed_s = 0, 0.0
        self.epoch_seconds: list[float] = []
        self._since = time.monotonic()
        self.checkpoint = job.folder / "checkpoint.safetensors"
        if self.checkpoint.is_file():
            self._resume()

    def run(self) -> None:
        """Train until the last epoch, then write the weights."""
        job, spe = self.job, self.schedule.steps_per_epoch
        total = self.schedule.last_epoch * spe
        title = f"Training fold {job.fold + 1}"
        with progress.stage(title, total=total, unit="step") as bar:
            bar.resume_at(self.epoch * spe)
            while self.epoch < self.schedule.last_epoch:
                losses = []
                for step in range(self.epoch * spe, (self.epoch + 1) * spe):
                    losses.append(self.step(step))
                    bar.advance(1)
                row = self.close_epoch(float(np.mean(losses)))
                epoch_s = float(np.mean(self.epoch_seconds[-5:]))
                if job.seconds_left is not None and self.schedule.correct(
                    self.epoch, epoch_s, job.seconds_left()
                ):
                    bar.retotal(self.schedule.last_epoch * spe)
                    self._save()
                bar.advance(0, note=f"Dice {row.get('validation_dice', float('nan')):.2f}")
        self._finish()

    def step(self, step: int) -> float:
        """One optimiser step; the loss of its batch."""
        job = self.job
        rng = np.random.default_rng([job.plan.seed, job.fold, step])
        batch = self.source.batch(self.train.batch, rng)
        changes = draw_changes(job.plan, self.train.batch, rng)
        image, label = apply_changes(batch, changes, self.swap)
        for group in self.optimiser.param_groups:
            group["lr"] = self.schedule.lr(step)
        self.network.train()
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.loss(self.network(image), label)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise AcinusError(
                f"training fold {job.fold + 1}: the loss must be finite; got {value} at step "
                f"{step} (cases {', '.join(sorted(set(batch.cases)))}). Lower train.lr, or run "
                "'acinus check' on the dataset."
            )
        loss.backward()
        if self.train.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.train.gradient_clip)
        self.optimiser.step()
        if self.averaged is not None and self.train.average_decay is not None:
            _average(self.averaged, self.network, self.train.average_decay, step)
        return value

    def close_epoch(self, train_loss: float) -> Row:
        """Validate, add a row to the curves and write the checkpoint."""
        job = self.job
        step = (self.epoch + 1) * self.schedule.steps_per_epoch
        row: Row = {
            "fold": job.fold,
            "epoch": self.epoch + 1,
            "step": step,
            "learning_rate": self.schedule.lr(step - 1),
            "train_loss": train_loss,
        }
        with _weights_of(self.network, self.averaged):
            row.update(measure_patches(self.network, self.loss, self.validation, job.plan))
        self.epoch += 1
        now = time.monotonic()
        self.epoch_seconds.append(now - self._since)
        self.elapsed_s, self._since = self.elapsed_s + now - self._since, now
        row["seconds"] = round(self.elapsed_s, 3)
        self.history.add(row)
        self._save()
        return row

    def _save(self) -> None:
        state = {
            **self.job.key(),
            "epoch": self.epoch,
            "elapsed_s": self.elapsed_s,
            "corrections": [[c.from_epoch, c.n_epochs] for c in self.schedule.corrections],
            "history": self.history.rows,
        }
        save_checkpoint(self.checkpoint, self.network, self.optimiser, self.averaged, state)

    def _resume(self) -> None:
        state = load_checkpoint(self.checkpoint, self.network, self.optimiser, self.averaged)
        _refuse_other_key(self.job, state, self.checkpoint)
        self.epoch, self.elapsed_s = int(state["epoch"]), float(state["elapsed_s"])
        self.schedule.corrections = [Correction(*pair) for pair in state["corrections"]]
        self.history.rows = list(state["history"])
        self.history.write()
        progress.say(f"Fold {self.job.fold + 1} goes on after epoch {self.epoch}.")

    def _finish(self) -> None:
        weights = self.averaged or _weights(self.network)
        with whole_file(self.job.weights) as beside:
            save_file({key: value.contiguous() for key, value in weights.items()}, beside)
        facts = {
            **self.job.key(),
            "epochs": self.epoch,
            "steps": self.epoch * self.schedule.steps_per_epoch,
            "seconds": round(self.elapsed_s, 2),
            "corrections": [[c.from_epoch, c.n_epochs] for c in self.schedule.corrections],
            "sha256": hash_file(self.job.weights),
        }
        write_json(self.job.folder / "done.json", facts)
        self.checkpoint.unlink(missing_ok=True)


def seeded_network(plan: Plan, fold: int) -> SegmentationNetwork:
    """An untrained network whose weights follow from the plan's seed and the fold."""
    return build_network(
        plan.settings.network.name,
        plan.settings.network.config,
        n_channels=len(plan.dataset.channel_names),
        n_classes=plan.n_classes,
        seed=int(np.random.default_rng([plan.seed, fold]).integers(2**62)),
    )


def build_optimiser(network: nn.Module, train: TrainSettings) -> torch.optim.Optimizer:
    """The optimiser of a recipe."""
    weights = network.parameters()
    if train.optimiser == "sgd":
        return torch.optim.SGD(
            weights, train.lr, momentum=0.99, nesterov=True, weight_decay=train.weight_decay
        )
    kind = torch.optim.Adam if train.optimiser == "adam" else torch.optim.AdamW
    return kind(weights, train.lr, weight_decay=train.weight_decay)


@torch.no_grad()
def measure_patches(
    network: nn.Module,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    patches: tuple[torch.Tensor, torch.Tensor] | None,
    plan: Plan,
) -> Row:
    """Loss and Dice of validation patches; Dice pools the voxels of all patches.

    A quick look for the curves, not a result: reports use whole cases.
    """
    if patches is None:
        return {}
    network.eval()
    sums: dict[str, list[float]] = {name: [0.0, 0.0] for name in plan.dataset.labels}
    losses = []
    for image, label in zip(patches[0].split(8), patches[1].split(8), strict=True):
        logits = network(image)
        losses.append(float(loss(logits, label)))
        predicted = logits.argmax(dim=1)
        for name, value in plan.dataset.labels.items():
            ours, theirs = predicted == value, label == value
            sums[name][0] += 2.0 * float((ours & theirs).sum())
            sums[name][1] += float(ours.sum() + theirs.sum())
    dice = {name: both / total for name, (both, total) in sums.items() if total}
    row: Row = {"validation_loss": float(np.mean(losses))}
    if dice:
        row["validation_dice"] = float(np.mean(list(dice.values())))
    row.update({f"validation_dice_{name}": value for name, value in dice.items()})
    return row


def _validation_batch(job: FoldJob) -> tuple[torch.Tensor, torch.Tensor] | None:
    if not job.validation_cases:
        return None
    sampling = job.plan.settings.sampling.model_copy(update={"name": "region", "config": {}})
    source = PatchSource(job.store, job.validation_cases, sampling, _patch(job.plan))
    rng = np.random.default_rng([job.plan.seed, job.fold, VALIDATION_STREAM])
    batch = source.batch(N_VALIDATION_PATCHES, rng)
    return apply_changes(batch, no_changes(N_VALIDATION_PATCHES), side_swap(job.plan))


def _patch(plan: Plan) -> tuple[int, ...]:
    return plan.settings.train.patch_vox


def _weights(network: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.detach().clone() for key, value in network.state_dict().items()}


def _average(
    averaged: dict[str, torch.Tensor], network: nn.Module, decay: float, step: int
) -> None:
    """Exponential running average; its decay rises so that the first weights are forgotten."""
    keep = min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if value.is_floating_point():
                averaged[key].lerp_(value, 1 - keep)
            else:
                averaged[key].copy_(value)


@contextmanager
def _weights_of(network: nn.Module, averaged: dict[str, torch.Tensor] | None) -> Iterator[None]:
    """The network with its averaged weights for the length of the block."""
    if averaged is None:
        yield
        return
    own = _weights(network)
    network.load_state_dict(averaged)
    try:
        yield
    finally:
        network.load_state_dict(own)


@contextmanager
def pinned_threads(n: int) -> Iterator[None]:
    """The plan's number of threads for the length of the block: results depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _refuse_other_key(job: FoldJob, state: dict[str, Any], path: Path) -> None:
    for name, ours in job.key().items():
        if state.get(name) != ours:
            raise PlanError(
                f"{path}: must belong to this plan, seed and split; its {name} differs. "
                "Choose another --out folder, or delete this one."
            )


def _refuse_altered(weights: Path, facts: dict[str, Any]) -> None:
    found = hash_file(weights)
    if found != facts.get("sha256"):
        raise PlanError(
            f"{weights}: must be the weights that this training wrote (SHA-256 "
            f"{str(facts.get('sha256'))[:12]}…); found {found[:12]}…. Put the file back, or delete "
            "it to train this fold again."
        )


def check_cases(store: Store, cases: Sequence[str]) -> list[str]:
    """Sentences about cases of which cropping removed a part of a label."""
    return [
        f"case '{case}': cropping to the planned size cut {', '.join(cut)}"
        for case in cases
        if (cut := store.facts(case).cut_labels)
    ]
