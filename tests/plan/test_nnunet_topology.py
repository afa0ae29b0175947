"""Levels of nnU-Net's networks: against its documented figures and against networks of ours."""

from __future__ import annotations

import math

import pytest
import torch

from acinus.errors import PlanError
from acinus.networks import build_network
from acinus.plan.nnunet.topology import (
    MIN_EDGE_VOX,
    PLAIN,
    RESIDUAL,
    Topology,
    choose_preset,
    count_values,
    decide_topology,
    fit_patch,
)


def test_an_isotropic_patch_is_halved_down_to_four_voxels() -> None:
    levels = decide_topology((1.0, 1.0, 1.0), (128, 128, 128))
    assert levels.strides == ((1, 1, 1), *[(2, 2, 2)] * 5)
    assert levels.kernels == ((3, 3, 3),) * 6
    assert levels.features == (32, 64, 128, 256, 320, 320)
    assert levels.divisor == (32, 32, 32)
    assert levels.sizes_vox[-1] == (MIN_EDGE_VOX,) * 3


def test_thick_slices_are_halved_within_themselves_first() -> None:
    # 3 mm over 0.5 mm: ratios 6, 3, 1.5 before each halving.
    levels = decide_topology((3.0, 0.5, 0.5), (32, 256, 256))
    assert levels.strides[:4] == ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2))
    assert levels.kernels[:3] == ((1, 3, 3), (1, 3, 3), (3, 3, 3))
    assert levels.kernels[-1] == (3, 3, 3)


@pytest.mark.parametrize(
    ("size", "halvings"),
    [((7, 7, 7), 0), ((8, 8, 8), 1), ((8, 7, 7), 0), ((11, 7, 7), 0), ((12, 7, 7), 1)],
)
def test_an_axis_that_is_left_alone_needs_three_times_the_least_edge(
    size: tuple[int, int, int], halvings: int
) -> None:
    assert decide_topology((1.0, 1.0, 1.0), size).n_levels == halvings + 1


def test_a_fractional_median_is_padded_up_to_the_divisor() -> None:
    levels = decide_topology((1.0, 1.0, 1.0), (35.5, 50.0, 36.0))
    assert levels.patch_vox == (40, 56, 40)
    assert all(n % step == 0 for n, step in zip(levels.patch_vox, levels.divisor, strict=True))


@pytest.mark.parametrize(
    ("size", "n_levels", "expected"),
    [((128, 128, 128), 6, 558_319_104), ((512, 512), 7, 129_793_792)],
)
def test_residual_networks_cost_what_nnunet_notes_beside_its_planner(
    size: tuple[int, ...], n_levels: int, expected: int
) -> None:
    # residual_encoder_unet_planners.py states both numbers, for three outputs and with heads at
    # all levels of the decoder; the planner itself counts the finest head only.
    n_dims = len(size)
    strides = ((1,) * n_dims, *[(2,) * n_dims] * (n_levels - 1))
    levels = Topology(size, strides, ((3,) * n_dims,) * n_levels, (2**n_levels,) * n_dims)
    coarse_heads = 3 * sum(math.prod(size) for size in levels.sizes_vox[1:-1])
    assert count_values(levels, RESIDUAL["m"], n_outputs=3) + coarse_heads == expected


@pytest.mark.parametrize("size", [(16, 32, 24), (40, 48)])
def test_a_plain_network_costs_what_its_convolutions_put_out(size: tuple[int, ...]) -> None:
    levels = decide_topology((1.0,) * len(size), size)
    config = {
        "features": levels.features,
        "kernels": levels.kernels,
        "strides": levels.strides,
        "convs_per_stage": levels.blocks(PLAIN),
        "convs_per_stage_decoder": [PLAIN.decoder_convs] * (levels.n_levels - 1),
    }
    network = build_network("plain_unet", config, n_channels=1, n_classes=3, seed=1)
    counted = []
    kinds = tuple(getattr(torch.nn, f"Conv{way}{len(size)}d") for way in ("", "Transpose"))
    for module in network.modules():
        if isinstance(module, kinds):
            module.register_forward_hook(lambda _m, _i, out: counted.append(out[0].numel()))
    with torch.inference_mode():
        network(torch.zeros(1, 1, *levels.patch_vox))
    assert count_values(levels, PLAIN, n_outputs=3) == sum(counted)


def test_the_patch_shrinks_until_it_fits_and_no_further_than_that() -> None:
    median = (200.0, 300.0, 300.0)

    def fit(memory_gb: float) -> tuple[int, int]:
        one = fit_patch((1.0,) * 3, median, median, PLAIN, memory_gb=memory_gb, n_outputs=2)
        assert one.values <= one.reference
        assert one.batch >= 2
        return math.prod(one.topology.patch_vox), one.values

    small, large = fit(8), fit(24)
    assert small[0] < large[0]
    assert small[1] < large[1]


def test_memory_that_holds_no_patch_is_refused() -> None:
    size = (64.0, 64.0, 64.0)
    with pytest.raises(PlanError, match=r"nnunet\.memory_gb must hold at least a patch of \["):
        fit_patch((1.0,) * 3, size, size, PLAIN, memory_gb=1e-7, n_outputs=2)


@pytest.mark.parametrize(("preset", "reference_gb"), [("m", 8), ("l", 24), ("xl", 40)])
def test_the_residual_preset_is_that_of_the_recipe(preset: str, reference_gb: float) -> None:
    """Whatever memory it is given: nnU-Net scales what the planner that was named was made with."""
    assert choose_preset("residual", preset).reference_gb == reference_gb
    assert choose_preset("plain", preset) is PLAIN
