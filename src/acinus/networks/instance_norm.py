"""Instance normalisation by the kernel that is fastest where the features are.

Enters: features (N, C, ...spatial). Leaves: each channel of each sample with mean 0 and standard
deviation 1, then scaled and shifted per channel. Group normalisation with a group a channel is
the same, and on a CPU its kernels made a training step of nnU-Net's 3D network 9 to 14 % faster
in float32 and 3 to 5 % in bfloat16 (32 to 256 features, batch 2 of 40×56×40, one thread). On
other devices PyTorch's own kernels stay, which nnU-Net uses too: the other was not measured there.

Rejected: a normalisation of our own that works channels last, sample by sample. It gained 4 to
6 % more, since convolutions are faster in that layout, but is not worth its code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import group_norm, instance_norm

EPSILON = 1e-5
"""Added to the variance."""


class InstanceNorm(nn.Module):
    """Instance normalisation with a scale and a shift per channel.

    Args:
        width: C of the features.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, features: Tensor) -> Tensor:
        """Features of the same shape."""
        if features.device.type == "cpu":
            return group_norm(features, features.shape[1], self.weight, self.bias, EPSILON)
        return instance_norm(features, weight=self.weight, bias=self.bias, eps=EPSILON)
