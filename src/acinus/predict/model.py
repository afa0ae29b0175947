"""A trained model in memory: volumes in, label maps on the same grid out.

Enters: a model folder (``model.json``, ``plan.yaml``, one safetensors file a
fold). Leaves: label maps. Prediction starts no process, writes no file and
keeps no state, so that one model serves several threads. Averaging logits was
rejected: the study averages predictions, and probabilities of folds that
disagree stay comparable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from acinus.config import Settings, validate
from acinus.errors import DataError, PlanError
from acinus.files import hash_file, read_json, write_json
from acinus.networks import SegmentationNetwork, build_network
from acinus.plan import Plan, read_plan, write_plan
from acinus.predict.postprocess import keep_largest_component
from acinus.predict.tile import Slab, stream_tiled
from acinus.prepare import PreparedCase, prepare_case, restore
from acinus.scans import Volume
from acinus.version import __version__

FORMAT = 1

Postprocess = Literal["plan", "none", "largest_component"]
"""What is done after the network: as the plan decided, nothing, or keep the
largest component of every label."""


class WeightFile(Settings):
    """Weights of one fold."""

    fold: int
    file: str
    sha256: str


class KeepLargest(Settings):
    """Whether only the largest component of a label is kept, and why."""

    keep: bool
    rule: str
    facts: dict[str, float | int | None] = Field(default_factory=dict)


class ModelCard(Settings):
    """``model.json``: what is in a model folder and how to use it."""

    format: int = FORMAT
    acinus: str = __version__
    plan_hash: str
    weights: tuple[WeightFile, ...]
    postprocess: dict[str, KeepLargest]
    n_training_cases: int
    n_training_participants: int


@dataclass(frozen=True, eq=False)
class Model:
    """A model ready to predict; made by `load_model`.

    Attributes:
        plan: The plan it was trained by.
        card: What `model.json` says.
        networks: One network a fold, in evaluation mode.
    """

    plan: Plan
    card: ModelCard
    networks: tuple[SegmentationNetwork, ...]

    @property
    def labels(self) -> dict[str, int]:
        """Label name to value."""
        return dict(self.plan.dataset.labels)

    def predict(
        self, volume: Volume | Sequence[Volume | None], *, postprocess: Postprocess = "plan"
    ) -> Volume:
        """Label map of one case on the grid of its input.

        Args:
            volume: The image, or one volume a channel in the model's order.
            postprocess: What is done after the network.

        Returns:
            (Z, Y, X) uint8 label map with the input's affine, to the voxel.

        Raises:
            DataError: The number of channels differs from the model's.
            GridError: Channels lie on different grids.
        """
        return self.predict_prepared(self.prepare(volume), postprocess=postprocess)

    def prepare(self, volume: Volume | Sequence[Volume | None]) -> PreparedCase:
        """One case as the networks see it; arguments and errors as of `predict`."""
        channels = [volume] if isinstance(volume, Volume) else list(volume)
        names = self.plan.dataset.channel_names
        if len(channels) != len(names):
            raise DataError(
                f"this model needs {len(names)} channel(s) ({', '.join(names)}) on one grid; "
                f"got {len(channels)}."
            )
        for name, channel in zip(names, channels, strict=True):
            if channel is not None and not (finite := np.isfinite(channel.array)).all():
                raise DataError(
                    f"channel '{name}': voxel values must be finite; "
                    f"{finite.size - int(finite.sum())} of {finite.size} are not. "
                    "Export the scan again, or replace them by the value of air."
                )
        if all(channel is None for channel in channels):
            raise DataError(f"at least one of the channels ({', '.join(names)}) must be there.")
        return prepare_case(channels, self.plan.settings.prepare)

    def predict_prepared(
        self, prepared: PreparedCase, *, postprocess: Postprocess = "plan"
    ) -> Volume:
        """Label map of a case that was prepared by this model's plan."""
        return predict_prepared(self.networks, self.plan, prepared, self.kept_largest(postprocess))

    def kept_largest(self, postprocess: Postprocess) -> tuple[int, ...]:
        """Values of the labels of which only the largest component is kept."""
        if postprocess == "none":
            return ()
        keep_all = postprocess == "largest_component"
        return tuple(
            value
            for name, value in self.labels.items()
            if keep_all or (name in self.card.postprocess and self.card.postprocess[name].keep)
        )


def predict_prepared(
    networks: Sequence[nn.Module],
    plan: Plan,
    prepared: PreparedCase,
    keep_largest: Sequence[int] = (),
) -> Volume:
    """Label map on the native grid: tiles, folds averaged, restored, post-processed.

    Args:
        networks: In evaluation mode; their probabilities are averaged.
        plan: Patch, overlap and blending.
        prepared: Image on the prepared grid.
        keep_largest: Values of the labels of which only the largest component stays.
    """
    with torch.inference_mode():
        slabs = tile_probabilities(networks, plan, prepared)
        labels = restore((slab.maps for slab in slabs), prepared.geometry, most_probable)
    if keep_largest:
        labels = labels.with_array(keep_largest_component(labels.array, keep_largest))
    return labels


def most_probable(probs: torch.Tensor) -> torch.Tensor:
    """(n, R, Q) uint8 index of the largest of (n, K, R, Q); ties go to the lower one."""
    return probs.argmax(dim=1).to(torch.uint8)


def tile_probabilities(
    networks: Sequence[nn.Module], plan: Plan, prepared: PreparedCase
) -> Iterator[Slab]:
    """Class probabilities on the prepared grid, averaged over networks, slab by slab."""
    settings = plan.settings
    mirror = plan.axes.index("X") if settings.predict.use_mirroring and "X" in plan.axes[1:] else 0
    table = torch.tensor(plan.mirror_table)

    def forward(tiles: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(())
        for network in networks:
            probs = network(tiles).softmax(dim=1)
            if mirror:
                flipped = network(tiles.flip(mirror + 1)).softmax(dim=1).flip(mirror + 1)
                probs = (probs + flipped.index_select(1, table)) / 2
            total = total + probs
        return total / len(networks)

    return stream_tiled(
        forward,
        torch.from_numpy(prepared.image),
        settings.train.patch_vox,
        overlap=settings.predict.overlap,
        blend=settings.predict.blend,
        batch=settings.train.batch,
        padding="zero",
    )


def load_model(path: Path | str, *, folds: Sequence[int] | None = None) -> Model:
    """A model from its folder.

    Args:
        path: Folder with ``model.json``.
        folds: Only these folds; None: all that were trained.

    Raises:
        PlanError: A file is missing, damaged or altered, or a fold is not there.
    """
    folder = Path(path)
    card_path = folder / "model.json"
    if not card_path.is_file():
        raise PlanError(
            f"{folder}: must be a model folder with model.json; there is none. {_nearby(folder)}"
        )
    card = _read_card(card_path)
    if not (folder / "plan.yaml").is_file():
        raise PlanError(
            f"{folder / 'plan.yaml'}: the plan that the model was trained by must be here and is "
            "missing. Copy the model folder whole."
        )
    plan = read_plan(folder / "plan.yaml")
    if plan.hash() != card.plan_hash:
        raise PlanError(
            f"{folder / 'plan.yaml'}: must be the plan that the model was trained by; it was "
            "altered. Restore the model folder from where it came from."
        )
    known = {weights.fold: weights for weights in card.weights}
    wanted = tuple(known) if folds is None else tuple(folds)
    unknown = sorted(set(wanted) - set(known))
    if unknown or not wanted:
        raise PlanError(f"{folder}: folds must be among {sorted(known)}; got {list(wanted)}.")
    return Model(plan, card, tuple(load_network(plan, folder, known[fold]) for fold in wanted))


def _read_card(path: Path) -> ModelCard:
    data = read_json(path)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        found = data.get("format") if isinstance(data, dict) else type(data).__name__
        raise PlanError(
            f"{path}: must describe a model in format {FORMAT}; got {found!r}. Copy the model "
            "folder again, or use the version of Acinus that made it."
        )
    return validate(ModelCard, data, where=str(path))


def _nearby(folder: Path) -> str:
    """Where the model may lie instead, if the folder of a run or study was given."""
    near = sorted({*folder.glob("model/model.json"), *folder.glob("arms/*/model/model.json")})
    if not near:
        return "A run's model lies in RUN/model."
    return f"Give {' or '.join(str(card.parent) for card in near)}."


def load_network(plan: Plan, folder: Path, weights: WeightFile) -> SegmentationNetwork:
    """The network of one fold in evaluation mode; PlanError when the file is not as it was."""
    file = folder / weights.file
    if not file.is_file():
        raise PlanError(
            f"{file}: the weights of fold {weights.fold} must be here and are missing. "
            "Copy the model folder whole."
        )
    found = hash_file(file)
    if found != weights.sha256:
        raise PlanError(
            f"{file}: must be the file that was trained (SHA-256 {weights.sha256[:12]}…); "
            f"it was altered or damaged (SHA-256 {found[:12]}…). Copy it again."
        )
    return network_from(plan, file)


def network_from(plan: Plan, file: Path) -> SegmentationNetwork:
    """A plan's network with the weights of a file, in evaluation mode."""
    network = build_network(
        plan.settings.network.name,
        plan.settings.network.config,
        n_channels=len(plan.dataset.channel_names),
        n_classes=plan.n_classes,
        seed=0,
    )
    try:
        network.load_state_dict(load_file(file))
    except (SafetensorError, RuntimeError, OSError) as error:
        # Torch names the first tensor that does not fit in the line after its heading.
        found = " ".join(" ".join(str(error).splitlines()[:2]).split()).rstrip(".")
        raise PlanError(
            f"{file}: must hold the weights of this plan's network; {found}. "
            "Copy the model folder again, or train it again."
        ) from None
    network.eval()
    return network


def write_model(
    folder: Path,
    plan: Plan,
    folds: Sequence[int],
    postprocess: Mapping[str, KeepLargest],
    *,
    n_training_cases: int,
    n_training_participants: int,
) -> ModelCard:
    """Complete a model folder whose weights are there; ``model.json`` is written last."""
    write_plan(plan, folder / "plan.yaml")
    card = ModelCard(
        plan_hash=plan.hash(),
        weights=tuple(
            WeightFile(
                fold=fold, file=weight_name(fold), sha256=hash_file(folder / weight_name(fold))
            )
            for fold in folds
        ),
        postprocess=dict(postprocess),
        n_training_cases=n_training_cases,
        n_training_participants=n_training_participants,
    )
    write_json(folder / "model.json", card.model_dump(mode="json"))
    return card


def weight_name(fold: int) -> str:
    """File of a fold's weights within the model folder."""
    return f"fold_{fold}/weights.safetensors"
