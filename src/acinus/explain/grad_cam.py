"""Grad-CAM at every depth of a segmentation network, in one backward pass.

Enters: a network, one image and a label. Leaves: one heat map per depth, in [0, 1] on the
image's grid; as a file for the judging wing, which knows no network.

Method: Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via
Gradient-based Localization", ICCV 618-626; for segmentation Vinogradova et al. 2020,
"Towards Interpretable Semantic Segmentation via Gradient-Weighted Class Activation Mapping",
AAAI 34:13943-13944: the score is the sum of the label's logits over a region. Gradients are
those of this score; the lacrimal study's text speaks of the loss, its program (pytorch-grad-cam)
takes a score. A map is divided by its largest value and not shifted by its smallest, unlike
there: 0 keeps its meaning, no positive evidence.

Rejected: captum and pytorch-grad-cam, since one forward and one backward pass with hooks give
all depths at once, where they need one each; and averaging signs without the ReLU, which mixes
evidence for and against.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from acinus.errors import ConfigError, GridError
from acinus.files import whole_file
from acinus.networks import SegmentationNetwork, padded_size
from acinus.predict.tile import Padding, cut_out, pad_to
from acinus.types import Array

Region = Literal["predicted", "all"]

SMALLEST_PEAK = 1e-20
"""Maps whose largest value is not above this are flat: their shape would be rounding error."""

_LINEAR_MODE = {2: "bilinear", 3: "trilinear"}


@dataclass(frozen=True)
class HeatMap:
    """Where one depth of the network found evidence for a label.

    Attributes:
        depth: Number of the depth, from 1 at the input.
        name: Its name, e.g. ``"encoder 1"``.
        map: (Y, X) or (Z, Y, X) float32 in [0, 1]; the largest value is 1, or all are 0.
        peak: Largest value before it was scaled to 1; comparable only within a depth.
        note: Why the map is flat; empty if it is not.
    """

    depth: int
    name: str
    map: NDArray[np.float32]
    peak: float
    note: str = ""


def grad_cam(
    network: SegmentationNetwork,
    image: Tensor,
    label: int,
    *,
    region: Tensor | Array | Region = "predicted",
    padding: Padding = "zero",
) -> list[HeatMap]:
    """Heat maps of one label at all depths of a network, from the input to the output.

    The network is used in evaluation mode; its mode, gradients and hooks are afterwards as
    before.

    Args:
        network: On the device of `image`.
        image: (C, Y, X) or (C, Z, Y, X), a whole slice or volume as the network saw it in
            training; padded to the network's stride and the maps cut back.
        label: Class to explain, from 0 to K - 1.
        region: Pixels whose logits are summed: those predicted as the label, all, or the true
            ones of a mask (Y, X) or (Z, Y, X), e.g. the reference.
        padding: What the image is padded with, see `acinus.predict.tile.pad_to`.

    Returns:
        One map per depth. Flat zero with a note where the region is empty or the gradient
        vanishes.

    Raises:
        ConfigError: The label or region is unknown, or the image does not fit the network.
        GridError: The region does not lie on the image's grid.
    """
    _check(network, image, label, region)
    size = padded_size(image.shape[1:], network.stride)
    padded, inside = pad_to(image.detach(), size, padding)
    with torch.enable_grad(), _evaluation(network), _outputs(network) as outputs:
        # The image asks for gradients so that frozen weights cut nothing off.
        logits = network(padded[None].clone().requires_grad_())[0]
        chosen = _region(region, cut_out(logits, inside), label)
        score = cut_out(logits[label], inside)[chosen].sum()
        gradients = torch.autograd.grad(score, outputs, allow_unused=True)
    empty = "" if bool(chosen.any()) else _why_empty(region)
    maps: list[HeatMap] = []
    for number, ((name, _), activation, gradient) in enumerate(
        zip(network.depths, outputs, gradients, strict=True), start=1
    ):
        evidence = _evidence(activation.detach(), gradient, size)
        maps.append(_heat_map(number, name, cut_out(evidence, inside), empty))
    return maps


def write_heat_maps(
    path: Path | str,
    maps: Sequence[HeatMap],
    *,
    image: Array,
    reference: Array,
    case: str,
    slice_index: int,
    label: str,
) -> None:
    """Write the maps of one slice as .npz, for the report's figure.

    Args:
        path: File to write, whole or not at all.
        maps: D maps from `grad_cam`.
        image: (Y, X) what the network saw.
        reference: (Y, X) mask of the label.
        case: Case of the slice.
        slice_index: Index of the slice in its volume, from 0.
        label: Name of the label.

    The file holds image and reference (Y, X), maps (D, Y, X) float32, names and notes (D,),
    case, slice_index and label; it is read without pickle.
    """
    arrays: dict[str, Any] = {
        "image": np.asarray(image, dtype=np.float32),
        "reference": np.asarray(reference, dtype=bool),
        "maps": np.stack([heat.map for heat in maps]),
        "names": np.array([heat.name for heat in maps]),
        "notes": np.array([heat.note for heat in maps]),
        "case": np.array(case),
        "slice_index": np.array(slice_index),
        "label": np.array(label),
    }
    with whole_file(path) as beside, beside.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


@contextmanager
def _evaluation(network: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards every module is in the mode it was in."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def _outputs(network: SegmentationNetwork) -> Iterator[list[Tensor]]:
    """List that the depths' outputs (1, F, ...) are appended to while the network runs."""
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        outputs.append(output)

    handles = [module.register_forward_hook(keep) for _, module in network.depths]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _region(region: Tensor | Array | Region, logits: Tensor, label: int) -> Tensor:
    """(...spatial) bool of the pixels whose logits are summed."""
    if isinstance(region, str):
        if region == "all":
            return torch.ones_like(logits[0], dtype=torch.bool)
        return logits.argmax(dim=0) == label
    return torch.as_tensor(region, device=logits.device).bool()


def _evidence(activation: Tensor, gradient: Tensor | None, size: Sequence[int]) -> Tensor:
    """ReLU of the activations (1, F, ...) weighted by their mean gradients, resized to `size`."""
    if gradient is None:
        return activation.new_zeros(tuple(size))
    spatial = tuple(range(2, activation.ndim))
    weights = gradient.mean(dim=spatial, keepdim=True)
    coarse = functional.relu((weights * activation).sum(dim=1, keepdim=True))
    fine = functional.interpolate(
        coarse, size=list(size), mode=_LINEAR_MODE[len(size)], align_corners=False
    )
    return fine[0, 0]


def _heat_map(depth: int, name: str, evidence: Tensor, empty: str) -> HeatMap:
    values = evidence.float().cpu().numpy()
    peak = float(values.max(initial=0.0))
    if not np.isfinite(peak) or peak <= SMALLEST_PEAK:
        note = empty or "no positive evidence at this depth: the weighted activations are flat"
        return HeatMap(depth, name, np.zeros(values.shape, dtype=np.float32), 0.0, note)
    return HeatMap(depth, name, (values / peak).astype(np.float32), peak)


def _why_empty(region: Tensor | Array | Region) -> str:
    if isinstance(region, str):
        return "the network predicts no pixel of this label"
    return "the given region has no pixel"


def _check(
    network: SegmentationNetwork, image: Tensor, label: int, region: Tensor | Array | Region
) -> None:
    if image.ndim != network.n_dims + 1 or image.shape[0] != network.n_channels:
        axes = "(C, Z, Y, X)" if network.n_dims == 3 else "(C, Y, X)"
        raise ConfigError(
            f"the image to explain must be {axes} with C = {network.n_channels}; "
            f"got {tuple(image.shape)}."
        )
    if not 0 <= label < network.n_classes:
        raise ConfigError(
            f"the label to explain must be from 0 to {network.n_classes - 1}; got {label}."
        )
    if isinstance(region, str):
        if region not in ("predicted", "all"):
            raise ConfigError(f"region must be 'predicted', 'all' or a mask; got '{region}'.")
    elif tuple(region.shape) != tuple(image.shape[1:]):
        raise GridError(
            f"region must lie on the image's grid {tuple(image.shape[1:])}; "
            f"got {tuple(region.shape)}."
        )
