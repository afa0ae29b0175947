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
    """Label map of one case on its native grid, not post-processed.

    Args:
        entries: One a model; all of the same labels, channels and axis of slices.
        precision: See `load_model`.

    Raises:
        PlanError: The models stack slices along different axes, or their labels differ.
        DataError: The memory of this machine does not suffice.
    """
    check_alike([plan for _, plan, _ in entries])
    plan, geometry = entries[0][1], entries[0][2].geometry
    decode = decoder(plan, "probs")

    def work(networks: Sequence[nn.Module], batch: int) -> Volume:
        labels = np.zeros(geometry.scanned_vox, dtype=np.uint8)
        left = iter(networks)
        streams = [
            _probabilities([next(left) for _ in own], plan, case, batch, precision)
            for own, plan, case in entries
        ]
        start = 0
        for maps in _mean(streams):
            stop = start + maps.shape[1]
            labels[start:stop] = decode(maps.transpose(0, 1)).numpy()
            start = stop
        return to_native(labels, geometry)

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


def _mean(streams: Sequence[Iterator[Tensor]]) -> Iterator[Tensor]:
    """Mean of the streams, in pieces that all of them have reached."""
    held = [next(stream, None) for stream in streams]
    while all(piece is not None for piece in held):
        pieces = [piece for piece in held if piece is not None]
        n_planes = min(piece.shape[1] for piece in pieces)
        total = pieces[0][:, :n_planes].clone()
        for piece in pieces[1:]:
            total.add_(piece[:, :n_planes])
        yield total.div_(len(pieces))
        held = [
            piece[:, n_planes:] if piece.shape[1] > n_planes else next(stream, None)
            for piece, stream in zip(pieces, streams, strict=True)
        ]
