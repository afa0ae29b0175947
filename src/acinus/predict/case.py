"""One prepared case through the networks of a plan.

Enters: a prepared array. Leaves: its class maps slab by slab, its labels on the prepared grid,
or its label map on the native grid. Nothing holds the class maps of a whole volume.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from acinus.errors import DataError
from acinus.plan import Plan
from acinus.predict.decode import decoder
from acinus.predict.device import device_of, tile_batch, use_precision, within_memory
from acinus.predict.forward import make_forward
from acinus.predict.tile import Slab, stream_tiled
from acinus.prepare import PreparedCase, restore
from acinus.scans import Volume
from acinus.types import Array


def predict_prepared(
    networks: Sequence[nn.Module], plan: Plan, prepared: PreparedCase, *, precision: str = "auto"
) -> Volume:
    """Label map on the native grid: tiles, folds averaged, restored; not post-processed.

    Where the memory of a GPU does not suffice, fewer tiles go at once, and at last the CPU
    does the work; a sentence says so.

    Args:
        networks: In evaluation mode, on one device.
        plan: Patch, overlap, blending and mirroring.
        prepared: Image on the prepared grid.
        precision: See `load_model`.

    Raises:
        DataError: The memory of this machine does not suffice.
    """
    decode = decoder(plan, plan.settings.predict.average)

    def work(networks: Sequence[nn.Module], batch: int) -> Volume:
        with torch.inference_mode():
            slabs = class_maps(networks, plan, prepared, batch=batch, precision=precision)
            return restore((slab.maps for slab in slabs), prepared.geometry, decode)

    return within_memory(work, networks, plan)


def predict_labels(
    networks: Sequence[nn.Module], plan: Plan, prepared: PreparedCase, *, precision: str = "auto"
) -> Array:
    """(S, R, Q) uint8 labels on the prepared grid; arguments and errors as above."""
    decode = decoder(plan, plan.settings.predict.average)

    def work(networks: Sequence[nn.Module], batch: int) -> Array:
        slabs = class_maps(networks, plan, prepared, batch=batch, precision=precision)
        labels = [decode(slab.maps.transpose(0, 1)).cpu().numpy() for slab in slabs]
        return np.asarray(np.concatenate(labels))

    return within_memory(work, networks, plan)


def class_maps(
    networks: Sequence[nn.Module],
    plan: Plan,
    prepared: PreparedCase,
    *,
    batch: int | None = None,
    precision: str = "auto",
) -> Iterator[Slab]:
    """Class maps on the prepared grid, averaged over networks and mirrorings, slab by slab.

    Args:
        networks: In evaluation mode, on one device.
        plan: Patch, overlap, blending, mirroring; whether maps are probabilities or logits.
        prepared: Image on the prepared grid.
        batch: Most tiles at once; None: what suits the device.
        precision: See `load_model`.
    """
    settings, device = plan.settings, device_of(networks)
    return stream_tiled(
        make_forward(networks, plan, device, use_precision(precision, plan, device)),
        torch.from_numpy(_seen(plan, prepared)),
        settings.train.patch_vox,
        overlap=settings.predict.overlap,
        blend=settings.predict.blend,
        batch=tile_batch(plan, device) if batch is None else batch,
        padding="zero",
        device=device,
    )


def network_input(plan: Plan, prepared: PreparedCase) -> Array:
    """(C, S, R, Q) float32 as the networks get it: of a cascade with a channel a label."""
    if not plan.previous_values:
        return prepared.image
    seen = _seen(plan, prepared)
    shown = [seen[-1] == value for value in plan.previous_values]
    return np.concatenate([prepared.image, np.stack(shown).astype(np.float32)])


def _seen(plan: Plan, prepared: PreparedCase) -> Array:
    """(C, S, R, Q) float32 image; of a cascade with the labels of its low resolution, as values.

    Tiles of them become a channel a label, so that not all of these are held at once.
    """
    if not plan.previous_values:
        return prepared.image
    if prepared.previous is None:
        raise DataError(
            "a cascade must be given what its low resolution found in a case; nothing is. Prepare "
            "the case with the model."
        )
    return np.concatenate([prepared.image, prepared.previous[None].astype(np.float32)])
