"""One answer from many: tiles through all folds and mirrorings, averaged.

Enters: the networks of a plan. Leaves: a function from a batch of tiles to class maps. Folds
and mirrorings are averaged tile by tile, so that one pass over the image does for all.
Mirroring the whole image was rejected: it would hold several maps of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from acinus.errors import PlanError
from acinus.networks.device import autocast
from acinus.plan import Plan
from acinus.predict.decode import probabilities
from acinus.predict.tile import Forward


@dataclass(frozen=True)
class Mirroring:
    """One way to mirror tiles (N, C, ...patch).

    Attributes:
        axes: Axes of the tiles that are flipped; none for the tiles as they are.
        order: Which class map of the flipped tile belongs to each class; None: its own.
        previous: The same of the labels that a cascade shows; None: their own.
    """

    axes: tuple[int, ...] = ()
    order: tuple[int, ...] | None = None
    previous: tuple[int, ...] | None = None

    def turn(self, tiles: Tensor, n_previous: int) -> Tensor:
        """Mirrored tiles (n, C, ...patch), the last channels of which show labels."""
        turned = tiles.flip(self.axes) if self.axes else tiles
        if self.previous is None or not n_previous:
            return turned
        n_channels = tiles.shape[1] - n_previous
        places = [*range(n_channels), *(n_channels + place for place in self.previous)]
        return turned[:, places]


def mirrorings(plan: Plan) -> tuple[Mirroring, ...]:
    """All combinations of axes that may be flipped, the tile as it is first.

    Where the plan swaps sides, a flip across the sagittal plane exchanges the maps of each
    mirror pair; where it mirrors plainly, as nnU-Net does, it does not; and where it does not
    mirror, tiles are never flipped across that plane.
    """
    settings = plan.settings
    if not settings.predict.use_mirroring:
        return (Mirroring(),)
    allowed = settings.train.mirror_axes
    if isinstance(allowed, str):
        raise PlanError(
            f"train.mirror_axes must be decided in a plan; got '{allowed}'. Make the plan anew."
        )
    how = settings.train.mirroring
    names = [
        (name, axis)
        for axis, name in enumerate(plan.axes[-plan.n_dims :], start=2)
        if name in allowed and not (name == "X" and how == "none")
    ]
    swap = swapped_classes(plan)
    found = []
    for n_axes in range(len(names) + 1):
        for chosen in itertools.combinations(names, n_axes):
            crosses = how == "swap" and any(name == "X" for name, _ in chosen)
            axes = tuple(axis for _, axis in chosen)
            found.append(
                Mirroring(axes, swap, plan.mirrored_labels) if crosses else Mirroring(axes)
            )
    return tuple(found)


def swapped_classes(plan: Plan) -> tuple[int, ...]:
    """(K,) for each class map the one that takes its place when right and left change places."""
    if plan.dataset.regions:
        return plan.mirrored_labels
    values, order = list(plan.dataset.labels.values()), list(range(plan.n_classes))
    for value, partner in zip(values, plan.mirrored_labels, strict=True):
        order[value] = values[partner]
    return tuple(order)


def make_forward(
    networks: Sequence[nn.Module], plan: Plan, device: torch.device, precision: str
) -> Forward:
    """Function from tiles (n, C, ...patch) on any device to class maps on this one.

    Of a cascade the last channel holds the labels of the low resolution, as values.

    Args:
        networks: On the device, in evaluation mode.
        plan: Mirrorings, and whether probabilities or logits are averaged.
        device: Where the networks are.
        precision: ``bfloat16`` or ``float32``.
    """
    ways = mirrorings(plan)
    has_regions = bool(plan.dataset.regions)
    averages_probs = plan.settings.predict.average == "probs"
    n_answers = len(ways) * len(networks)
    values = plan.previous_values

    @torch.inference_mode()
    def forward(tiles: Tensor) -> Tensor:
        tiles = show_previous(tiles.to(device), values)
        total: Tensor | None = None
        for way, network in itertools.product(ways, networks):
            with autocast(device, precision):
                maps = network(way.turn(tiles, len(values)))
            maps = maps.float()
            if averages_probs:
                maps = probabilities(maps, has_regions=has_regions)
            if way.axes:
                maps = maps.flip(way.axes)
            if way.order is not None:
                maps = maps[:, list(way.order)]
            total = maps if total is None else total.add_(maps)
        if total is None:
            raise PlanError("a model must have at least one network; got none.")
        return total.div_(n_answers) if n_answers > 1 else total

    return forward


def show_previous(tiles: Tensor, values: Sequence[int]) -> Tensor:
    """Tiles (n, C, ...patch) whose last channel of label values becomes a channel a value.

    Args:
        tiles: Image and labels; returned as they are if there are no values.
        values: Those that are shown, in the order of the channels.
    """
    if not values:
        return tiles
    wanted = torch.tensor(values, dtype=tiles.dtype, device=tiles.device)
    shape = (1, -1, *(1 for _ in tiles.shape[2:]))
    return torch.cat([tiles[:, :-1], (tiles[:, -1:] == wanted.view(shape)).to(tiles)], dim=1)
