"""Weights under nnU-Net's names to weights under ours.

Enters: the state of a PlainConvUNet or ResidualEncoderUNet. Leaves: the state of our
`StagedUNet`. nnU-Net stores most tensors twice, once under the layer and once under
``all_modules``, and the encoder again under the decoder; the first of each is taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

WRAPPERS = ("module.", "_orig_mod.")
"""Put before every name by parallel training and by compilation."""

LAYER = r"(conv|norm)\.(weight|bias)"

ROUTES = (
    (rf"encoder\.stages\.(\d+)\.0\.convs\.(\d+)\.{LAYER}", "encoder.{0}.{1}.{2}.{3}"),
    (rf"encoder\.stem\.convs\.0\.{LAYER}", "encoder.0.0.{0}.{1}"),
    (rf"decoder\.stages\.(\d+)\.convs\.(\d+)\.{LAYER}", "decoder.{0}.{1}.{2}.{3}"),
    (r"decoder\.transpconvs\.(\d+)\.(weight|bias)", "up.{0}.{1}"),
    (r"decoder\.seg_layers\.(\d+)\.(weight|bias)", "heads.{0}.{1}"),
)
"""Their name to ours."""

RESIDUAL = rf"encoder\.stages\.(\d+)\.blocks\.(\d+)\.(conv1|conv2|skip\.\d+)\.{LAYER}"

PATHS = {"conv1": "first", "conv2": "second"}


def our_weights(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights under our names, float32 and contiguous, in memory of their own.

    Args:
        theirs: State of the network as nnU-Net saves it.

    Returns:
        Ours; names that belong to neither of its two networks are kept as they are, so that
        loading them fails with their names.
    """
    ours: dict[str, Tensor] = {}
    for full, value in theirs.items():
        name = _bare(full)
        if ".all_modules." in name or name.startswith("decoder.encoder."):
            continue
        ours[_our_name(name)] = value.to(torch.float32, copy=True).contiguous()
    return ours


def _bare(name: str) -> str:
    for wrapper in WRAPPERS:
        name = name.removeprefix(wrapper)
    return name


def _our_name(name: str) -> str:
    for pattern, route in ROUTES:
        found = re.fullmatch(pattern, name)
        if found:
            return route.format(*found.groups())
    found = re.fullmatch(RESIDUAL, name)
    if not found:
        return name
    stage, block, path, layer, kind = found.groups()
    # The stem is the first entry of our first stage.
    index = int(block) + (1 if stage == "0" else 0)
    ours = PATHS.get(path) or path.replace("skip", "shortcut")
    return f"encoder.{stage}.{index}.{ours}.{layer}.{kind}"
