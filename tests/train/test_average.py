"""The running average of weights, against its formula."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from acinus.train.average import average_in, weights_of, with_weights


def made_network() -> nn.Module:
    torch.manual_seed(3)
    network = nn.Sequential(nn.Conv3d(2, 4, 3), nn.BatchNorm3d(4))
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return network


def test_the_average_follows_its_formula_and_forgets_the_first_weights() -> None:
    with torch.random.fork_rng():
        network = made_network()
        averaged = weights_of(network)
        expected = {key: value.double() for key, value in averaged.items()}
        for step in range(40):
            with torch.no_grad():
                for value in network.parameters():
                    value.add_(torch.randn(value.shape))
                network[1].running_mean.add_(1.0)
                network[1].num_batches_tracked.add_(1)
            average_in(averaged, network, 0.8, step)
            keep = min(0.8, (1 + step) / (10 + step))
            for key, value in network.state_dict().items():
                expected[key] = keep * expected[key] + (1 - keep) * value.double()
    count = averaged.pop("1.num_batches_tracked")
    assert int(count) == 40  # whole numbers are taken over, not averaged
    for key, value in averaged.items():
        assert torch.allclose(value.double(), expected[key], rtol=1e-5, atol=1e-6), key


def test_averaging_weights_that_stay_changes_nothing() -> None:
    with torch.random.fork_rng():
        network = made_network()
    averaged, before = weights_of(network), weights_of(network)
    for step in range(10):
        average_in(averaged, network, 0.99, step)
    for key, value in before.items():
        assert torch.allclose(averaged[key], value, rtol=1e-6), key


def test_other_weights_are_lent_and_given_back_even_after_an_error() -> None:
    with torch.random.fork_rng():
        network = made_network()
    own = weights_of(network)
    other = {key: torch.zeros_like(value) for key, value in own.items()}
    with with_weights(network, other):
        assert all(not value.any() for value in network.state_dict().values())
    with pytest.raises(KeyboardInterrupt), with_weights(network, other):
        raise KeyboardInterrupt
    with with_weights(network, None):
        pass
    for key, value in network.state_dict().items():
        assert torch.equal(value, own[key])


def test_a_copy_of_the_weights_is_a_copy() -> None:
    with torch.random.fork_rng():
        network = made_network()
    copied = weights_of(network)
    with torch.no_grad():
        network[0].weight.zero_()
    assert copied["0.weight"].any()
    assert not copied["0.weight"].requires_grad
