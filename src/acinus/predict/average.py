"""Several models on one case: their probabilities averaged on the native grid.

Enters: models with plans of their own. Leaves: one label map. Each model's class maps are
brought to the native grid plane by plane, so that spacings and patches may differ and no
volume of probabilities is ever held. Averaging on the grid of one of the models was rejected:
the coarser grid would win or the finer one would be invented.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from acinus.errors import PlanError
from acinus.plan import Plan
from acinus.predict.case import class_maps
from acinus.predict.decode import decoder, probabilities
from acinus.predict.device import device_of, tile_batch, within_memory
from acinus.prepare import PreparedCase, native_maps, to_native
from acinus.scans import Volume

Entry = tuple[Sequence[nn.Module], Plan, PreparedCase]
"""Networks, their plan, and the case as that plan prepares it."""


def average_members(entries: Sequence[Entry], precision: str = "auto") -> Volume:
    """Label map of one case on its native grid by all models together, not post-processed.

    Args:
        entries: One a model; all of the same labels, channels and axis of slices.
        precision: See `load_model`.

    Raises:
        PlanError: The models stack slices along different axes, or their labels differ.
        DataError: The memory of this machine does not suffice.
    """
    return average_subsets(entries, [tuple(range(len(entries)))], precision)[0]


def average_subsets(
    entries: Sequence[Entry], subsets: Sequence[tuple[int, ...]], precision: str = "auto"
) -> list[Volume]:
    """One label map a subset of the models, each model computed once.

    Args:
        entries: As of `average_members`.
        subsets: Indices of the models whose probabilities are averaged.
        precision: See `load_model`.
    """
    check_alike([plan for _, plan, _ in entries])
    plan, geometry = entries[0][1], entries[0][2].geometry
    decode = decoder(plan, "probs")

    def work(networks: Sequence[nn.Module], batch: int) -> list[Volume]:
        labels = [np.zeros(geometry.scanned_vox, dtype=np.uint8) for _ in subsets]
        left = iter(networks)
        streams = [
            _probabilities([next(left) for _ in own], plan, case, batch, precision)
            for own, plan, case in entries
        ]
        start = 0
        for pieces in _in_step(streams):
            stop = start + pieces[0].shape[1]
            for target, subset in zip(labels, subsets, strict=True):
                mean = torch.stack([pieces[index] for index in subset]).mean(dim=0)
                target[start:stop] = decode(mean.transpose(0, 1)).numpy()
            start = stop
        return [to_native(array, geometry) for array in labels]

    return within_memory(work, [network for own, _, _ in entries for network in own], plan)


def check_alike(plans: Sequence[Plan]) -> None:
    """Raise PlanError unless probabilities of these plans can be averaged."""
    first = plans[0]
    for other in plans[1:]:
        for what, ours, theirs in (
            ("labels", first.dataset.labels, other.dataset.labels),
            ("regions", first.dataset.regions, other.dataset.regions),
            ("channels", first.dataset.channel_names, other.dataset.channel_names),
            ("axis of slices", first.axes[0], other.axes[0]),
            ("orientation", *(p.settings.prepare.orientation for p in (first, other))),
        ):
            if ours != theirs:
                raise PlanError(
                    f"members of an ensemble must have the same {what}; '{first.recipe}' has "
                    f"{ours}, '{other.recipe}' has {theirs}. Choose models of one dataset."
                )


@torch.inference_mode()
def _probabilities(
    networks: Sequence[nn.Module], plan: Plan, prepared: PreparedCase, batch: int, precision: str
) -> Iterator[Tensor]:
    """(K, n, R, Q) probabilities on the scanned planes, in order, on the CPU."""
    batch = min(batch, tile_batch(plan, device_of(networks)))
    has_regions, average = bool(plan.dataset.regions), plan.settings.predict.average
    nothing = 0.0 if average == "probs" else -torch.inf
    background = [nothing] * plan.n_classes
    if not has_regions:
        background[0] = 1.0 if average == "probs" else 0.0
    slabs = class_maps(networks, plan, prepared, batch=batch, precision=precision)
    for maps in native_maps((slab.maps for slab in slabs), prepared.geometry, background):
        if average == "logits":
            maps = probabilities(maps.transpose(0, 1), has_regions=has_regions).transpose(0, 1)
        yield maps.cpu()


def _in_step(streams: Sequence[Iterator[Tensor]]) -> Iterator[list[Tensor]]:
    """The same planes of all streams, in pieces that all of them have reached."""
    held = [next(stream, None) for stream in streams]
    while True:
        pieces = [piece for piece in held if piece is not None]
        if len(pieces) < len(streams):
            return
        n_planes = min(piece.shape[1] for piece in pieces)
        yield [piece[:, :n_planes] for piece in pieces]
        held = [
            piece[:, n_planes:] if piece.shape[1] > n_planes else next(stream, None)
            for piece, stream in zip(pieces, streams, strict=True)
        ]
