"""What every segmentation network owes: its stride, its depths, and a clear word on sizes.

Enters: an input size. Leaves: a `SegmentationNetwork` that a plan can fit a patch to and
that an explanation can look into. Padding a wrong size silently inside the network was
rejected: the tiler pads once, with a value that it knows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from acinus.errors import ConfigError

CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}
"""Layout by the number of dimensions in which a voxel's features lie side by side."""


class SegmentationNetwork(nn.Module):
    """A network from images to one logit per class and voxel, on the same grid.

    Attributes:
        n_dims: 2 for input (N, C, Y, X), 3 for input (N, C, Z, Y, X).
        stride: Spatial factor of the deepest level per axis; each input size must be
            divisible by it.
        n_channels: C of the input.
        n_classes: K of the output: labels and background, or one for each region.
        memory_format: Layout of weights and features in which it is fastest on a CPU.
    """

    memory_format: torch.memory_format = torch.contiguous_format
    n_dims: int
    stride: tuple[int, ...]
    n_channels: int
    n_classes: int

    def lay_out_weights(self) -> None:
        """Bring the weights of convolutions into the layout of `memory_format`."""
        for weight in self.parameters():
            if weight.ndim == self.n_dims + 2:
                # Not `contiguous`, which keeps the strides of weights of one channel: they would
                # pass for channels first, and the layer with them.
                laid_out = torch.empty_like(weight, memory_format=self.memory_format)
                weight.data = laid_out.copy_(weight.detach())

    @property
    def depths(self) -> list[tuple[str, nn.Module]]:
        """Representative layers from the input to the output, with their names."""
        raise AttributeError(f"{type(self).__name__} must name its depths.")

    def forward_levels(self, images: Tensor) -> list[Tensor]:
        """Logits for deep supervision, finest first, each at the size of its decoder level.

        A network without heads at the coarser levels answers with the full size alone.

        Args:
            images: (N, C, ...spatial).

        Returns:
            (N, K, ...spatial) as `forward` gives it, then coarser ones.
        """
        return [self(images)]

    def check_input(self, images: Tensor) -> None:
        """Raise ConfigError unless `images` (N, C, ...spatial) fits this network."""
        if images.ndim != self.n_dims + 2 or images.shape[1] != self.n_channels:
            axes = "(N, C, Z, Y, X)" if self.n_dims == 3 else "(N, C, Y, X)"
            raise ConfigError(
                f"network input must be {axes} with C = {self.n_channels}; "
                f"got {tuple(images.shape)}."
            )
        check_size(images.shape[2:], self.stride)


def check_size(size_vox: Sequence[int], stride: Sequence[int], *, what: str = "input size") -> None:
    """Raise ConfigError, naming the nearest valid size, unless `stride` divides `size_vox`.

    Args:
        size_vox: Spatial size, (Y, X) or (Z, Y, X).
        stride: Stride of the network, same order.
        what: What the message calls the size, e.g. ``"train.patch_vox"``.
    """
    if len(size_vox) == len(stride) and all(
        size > 0 and size % step == 0 for size, step in zip(size_vox, stride, strict=True)
    ):
        return
    if len(size_vox) != len(stride):
        raise ConfigError(
            f"{what} must have {len(stride)} axes like the network stride {tuple(stride)}; "
            f"got {tuple(size_vox)}."
        )
    raise ConfigError(
        f"{what} must be divisible by the network stride {tuple(stride)}; "
        f"got {tuple(size_vox)}. Nearest valid: {nearest_valid_size(size_vox, stride)}."
    )


def nearest_valid_size(size_vox: Sequence[int], stride: Sequence[int]) -> tuple[int, ...]:
    """The multiple of `stride` closest to `size_vox` per axis; ties go up, never below one."""
    return tuple(
        max(1, (2 * size + step) // (2 * step)) * step
        for size, step in zip(size_vox, stride, strict=True)
    )


def padded_size(size_vox: Sequence[int], stride: Sequence[int]) -> tuple[int, ...]:
    """The smallest multiple of `stride` per axis that holds `size_vox`."""
    return tuple(-(-size // step) * step for size, step in zip(size_vox, stride, strict=True))
