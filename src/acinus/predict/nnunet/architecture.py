"""The network of nnU-Net's plans as the configuration of one of ours.

Enters: one configuration of ``plans.json``. Leaves: name and settings of `plain_unet` or
`resenc_unet`. Whatever the plans state beyond what these two can do is refused by name;
building a network that is nearly the same was rejected.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acinus.errors import PlanError
from acinus.plan import Choice

PLAIN = "PlainConvUNet"
RESIDUAL = "ResidualEncoderUNet"

OURS = {PLAIN: "plain_unet", RESIDUAL: "resenc_unet"}

FIXED: dict[str, tuple[Any, ...]] = {
    "norm_op_kwargs": ({"eps": 1e-05, "affine": True},),
    "dropout_op": (None,),
    "dropout_op_kwargs": (None, {}),
    "nonlin": ("torch.nn.LeakyReLU", "torch.nn.modules.activation.LeakyReLU"),
    "nonlin_kwargs": ({"inplace": True}, {}, None),
    "nonlin_first": (False,),
    "bottleneck_channels": (None,),
    "stem_channels": (None,),
    "block": ("dynamic_network_architectures.building_blocks.residual.BasicBlockD",),
}
"""Arguments that must be one of these where they are given: our networks know no other."""

READ = (
    "n_stages",
    "features_per_stage",
    "kernel_sizes",
    "strides",
    "conv_bias",
    "conv_op",
    "norm_op",
    "n_conv_per_stage",
    "n_blocks_per_stage",
    "n_conv_per_stage_decoder",
    "deep_supervision",
)
"""Arguments that our configuration is made from, or that follow from it."""


def read_architecture(configuration: Mapping[str, Any], where: str) -> Choice:
    """Our network of one configuration.

    Args:
        configuration: Of nnU-Net's plans, inheritance resolved.
        where: How messages begin.

    Raises:
        PlanError: It is another network than nnU-Net's two, or a variant of them.
    """
    stated = configuration.get("architecture") or _before_2_5(configuration, where)
    name = str(stated.get("network_class_name", "")).rsplit(".", 1)[-1]
    arguments = stated.get("arch_kwargs")
    if name not in OURS or not isinstance(arguments, Mapping):
        raise PlanError(
            f"{where}: the network must be {PLAIN} or {RESIDUAL}; got "
            f"'{stated.get('network_class_name')}'. Networks of other trainers cannot be imported."
        )
    for key, value in arguments.items():
        if key in FIXED and value not in FIXED[key]:
            allowed = " or ".join(repr(one) for one in FIXED[key])
            raise PlanError(f"{where}: '{key}' of the network must be {allowed}; got {value!r}.")
        if key not in FIXED and key not in READ:
            raise PlanError(
                f"{where}: '{key}' of the network is not known here (its value is {value!r}), so "
                "what it does cannot be kept."
            )
    try:
        return Choice(name=OURS[name], config=_config(name, arguments))
    except (KeyError, TypeError, ValueError) as error:
        raise PlanError(
            f"{where}: the network must state its stages, features, kernels, strides and "
            f"convolutions; {type(error).__name__}: {error}."
        ) from None


def _config(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    n_stages = int(arguments["n_stages"])
    n_dims = 2 if str(arguments["conv_op"]).endswith("2d") else 3
    norm = f"InstanceNorm{n_dims}d"
    if not str(arguments["norm_op"]).endswith(norm):
        raise ValueError(f"'norm_op' must be {norm}, got '{arguments['norm_op']}'")
    count = "n_conv_per_stage" if name == PLAIN else "n_blocks_per_stage"
    return {
        "features": _each(arguments["features_per_stage"], n_stages),
        "kernels": [_axes(one, n_dims) for one in _each(arguments["kernel_sizes"], n_stages)],
        "strides": [_axes(one, n_dims) for one in _each(arguments["strides"], n_stages)],
        ("convs_per_stage" if name == PLAIN else "blocks_per_stage"): _each(
            arguments[count], n_stages
        ),
        "convs_per_stage_decoder": _each(arguments["n_conv_per_stage_decoder"], n_stages - 1),
        "conv_bias": bool(arguments.get("conv_bias", False)),
        "deep_supervision": True,  # nnU-Net builds the heads whether it uses them or not
    }


def _each(value: Any, n: int) -> list[Any]:
    """One entry for each stage; a single number stands for all."""
    entries = [value] * n if isinstance(value, int) else list(value)
    if len(entries) != n:
        raise ValueError(f"{n} entries wanted, got {entries}")
    return entries


def _axes(value: Any, n_dims: int) -> list[int]:
    return [value] * n_dims if isinstance(value, int) else [int(one) for one in value]


def _before_2_5(configuration: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The network as releases before 2.5 stated it."""
    try:
        name = str(configuration["UNet_class_name"])
        counts = list(configuration["n_conv_per_stage_encoder"])
        kernels = configuration["conv_kernel_sizes"]
        base, most = configuration["UNet_base_num_features"], configuration["unet_max_num_features"]
        n_dims = len(configuration["patch_size"])
        return {
            "network_class_name": name,
            "arch_kwargs": {
                "n_stages": len(counts),
                "features_per_stage": [min(base * 2**n, most) for n in range(len(counts))],
                "conv_op": f"Conv{n_dims}d",
                "norm_op": f"InstanceNorm{n_dims}d",
                "kernel_sizes": kernels,
                "strides": configuration["pool_op_kernel_sizes"],
                ("n_conv_per_stage" if name == PLAIN else "n_blocks_per_stage"): counts,
                "n_conv_per_stage_decoder": configuration["n_conv_per_stage_decoder"],
                "conv_bias": True,
            },
        }
    except (KeyError, TypeError) as error:
        raise PlanError(
            f"{where}: the network must be stated under 'architecture', or as releases before 2.5 "
            f"did, with 'UNet_class_name' and its features and kernels; {error} is missing or of "
            "another kind."
        ) from None
