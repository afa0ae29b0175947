"""How many parameters a network has, what one forward pass computes, and what it holds.

Enters: a network and the size of its input. Leaves: counts, whole and by part. The pass runs on
torch's meta device, which knows shapes and no values, so that a count costs no memory and hardly
any time; every operation is seen where torch carries it out, so that products written as `@` or
`einsum` within an attention count as those of a layer do. Hooks on layers were rejected: they miss
what is no layer; torch's own FlopCounterMode sees products alone.

The counting. A multiply-add is one product and one sum, and makes two FLOPs: those of
convolutions (padding counts), transposed convolutions, linear layers and matrix products.
Element-wise operations are FLOPs too: a normalised value takes 5 (less one each without scale and
shift, less 3 where statistics are fixed, as fvcore counts them), a softmax 5, a value of a pooling
its window, a linear interpolation of 2, 4 or 8 values 3, 7 or 15; the bias of a product, and any
sum, product, function or choice of one value, 1. Copies, views and concatenation are free.

Table 5 of PanSegNet (Zhang et al. 2025, arXiv 2405.12367) counts otherwise, and calls it Gflops:
one for a multiply-add, plus normalisations as above, and nothing else:
`Operations.as_in_table_5`.
"""

from __future__ import annotations

import copy
import math
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from acinus.networks.contract import SegmentationNetwork

NORM_FLOPS = 5
"""Of a value that is normalised by statistics of the input, then scaled and shifted."""

FIXED_NORM_FLOPS = 2
"""Of one whose statistics are known before, so that a factor and a summand are left."""

SOFTMAX_FLOPS = 5
"""Largest value, difference, exponential, sum, quotient."""

REST = "rest"
"""Part of what belongs to no module of a network."""


@dataclass(frozen=True)
class Operations:
    """What one forward pass computes; see the module for how it is counted.

    Attributes:
        multiply_adds: Of products.
        norm_flops: Of normalisations.
        other_flops: Of all other element-wise operations.
        parts: Part of the network to its multiply-adds, from the input to the output.
        peak_bytes: Most memory that tensors take at once in float32, without weights and without
            the scratch space of a library, with the input.
    """

    multiply_adds: int
    norm_flops: int
    other_flops: int
    parts: Mapping[str, int]
    peak_bytes: int

    @property
    def flops(self) -> int:
        """Two for each multiply-add, and the element-wise ones."""
        return 2 * self.multiply_adds + self.norm_flops + self.other_flops

    @property
    def as_in_table_5(self) -> int:
        """What PanSegNet's Table 5 calls Gflops: multiply-adds and normalisations."""
        return self.multiply_adds + self.norm_flops


def count_parameters(network: SegmentationNetwork) -> dict[str, int]:
    """Parameters of every part, from the input to the output; shared ones count once.

    A part is what the names of `depths` begin with (encoder, bottleneck, decoder), else the
    module right below the network.
    """
    part_of = _parts(network)
    counts = dict.fromkeys(part_of.values(), 0)
    seen: set[int] = set()
    for module in network.modules():
        for weight in module.parameters(recurse=False):
            if id(weight) not in seen:
                seen.add(id(weight))
                part = part_of.get(id(module), REST)
                counts[part] = counts.get(part, 0) + weight.numel()
    return {part: n for part, n in counts.items() if n}


def count_operations(
    network: SegmentationNetwork,
    size_vox: Sequence[int],
    *,
    batch: int = 1,
    all_heads: bool = False,
) -> Operations:
    """Operations and memory of a forward pass at prediction.

    Args:
        network: On any device; nothing is computed with it and it is left as it is.
        size_vox: (Y, X) or (Z, Y, X) of the input.
        batch: Inputs at once.
        all_heads: Whether the coarse heads of deep supervision count, as in training.

    Raises:
        ConfigError: The size does not fit the network.
    """
    twin = _meta_twin(network)
    images = torch.empty(batch, network.n_channels, *size_vox, device="meta")
    counter = _Counter(_parts(twin), [*twin.parameters(), *twin.buffers()])
    counter.hold(images)
    for module in twin.modules():
        module.register_forward_pre_hook(counter.enter)
        module.register_forward_hook(counter.leave)
    with torch.no_grad(), counter:
        if all_heads:
            twin.forward_levels(images)
        else:
            twin(images)
    counts = counter.counts
    order = dict.fromkeys((*_parts(twin).values(), *counts.parts))
    return Operations(
        multiply_adds=sum(counts.parts.values()),
        norm_flops=counts.norm_flops,
        other_flops=counts.other_flops,
        parts={part: counts.parts[part] for part in order if counts.parts[part]},
        peak_bytes=counts.peak,
    )


def _meta_twin(network: SegmentationNetwork) -> SegmentationNetwork:
    """The network in evaluation mode without values; no memory is taken for it."""
    memo: dict[int, Any] = {
        id(weight): nn.Parameter(weight.detach().to("meta"), requires_grad=False)
        for weight in network.parameters()
    }
    memo.update({id(buffer): buffer.to("meta") for buffer in network.buffers()})
    return copy.deepcopy(network, memo).eval()


def _parts(network: SegmentationNetwork) -> dict[int, str]:
    """Identity of every module below the network to the name of its part."""
    part_of = {}
    for name, child in network.named_children():
        part_of.update({id(module): name for module in child.modules()})
    try:
        depths = network.depths
    except AttributeError:  # the contract leaves them open to a network that is not explained
        depths = []
    for name, depth in depths:
        part_of.update({id(module): name.split()[0] for module in depth.modules()})
    return part_of


@dataclass
class _Counts:
    parts: Counter[str] = field(default_factory=Counter)
    norm_flops: int = 0
    other_flops: int = 0
    live: int = 0
    peak: int = 0


class _Counter(TorchDispatchMode):
    """Sees every operation that torch carries out.

    Args:
        part_of: Identity of a module to its part.
        weights: Tensors that are no features.
    """

    def __init__(self, part_of: Mapping[int, str], weights: Sequence[Tensor]) -> None:
        super().__init__()
        self.counts = _Counts()
        self._part_of = part_of
        self._within = [REST]
        self._known = {weight.untyped_storage()._cdata for weight in weights}

    def enter(self, module: nn.Module, _inputs: Any) -> None:
        """What follows belongs to the part of `module`."""
        self._within.append(self._part_of.get(id(module), self._within[-1]))

    def leave(self, _module: nn.Module, _inputs: Any, _output: Any) -> None:
        """What follows belongs to the part that was left for this module."""
        self._within.pop()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if not _is_counted(func, name):
            with self:  # an operation that is made of others is counted by them
                made = func.decompose(*args, **kwargs)
            if made is not NotImplemented:
                return made
        answer = func(*args, **kwargs)
        self._count(func, name, args, kwargs, answer)
        for one in _tensors(answer):
            self.hold(one)
        return answer

    def hold(self, tensor: Tensor) -> None:
        """Count the bytes of a tensor until it is let go."""
        storage = tensor.untyped_storage()
        key, n_bytes = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self.counts.live += n_bytes
        self.counts.peak = max(self.counts.peak, self.counts.live)
        weakref.finalize(storage, self._release, key, n_bytes)

    def _release(self, key: int, n_bytes: int) -> None:
        self._known.discard(key)
        self.counts.live -= n_bytes

    def _count(self, func: Any, name: str, args: Any, kwargs: Any, answer: Any) -> None:
        counts, part = self.counts, self._within[-1]
        out = next(_tensors(answer), None)
        if out is None:
            return
        if name in PRODUCTS:
            multiply_adds, n_biased = PRODUCTS[name](args, out)
            counts.parts[part] += multiply_adds
            counts.other_flops += n_biased
        elif func.overloadpacket in flop_registry:  # a fused attention: two FLOPs each
            counts.parts[part] += (
                flop_registry[func.overloadpacket](*args, **kwargs, out_val=answer) // 2
            )
        elif name in NORMS:
            counts.norm_flops += NORMS[name](args) * args[0].numel()
        elif name in OTHERS:
            counts.other_flops += OTHERS[name](args, out)
        elif torch.Tag.pointwise in func.tags and name not in COPIES:
            counts.other_flops += out.numel()
        elif torch.Tag.reduction in func.tags:
            counts.other_flops += args[0].numel()


def _is_counted(func: Any, name: str) -> bool:
    return (
        name in PRODUCTS
        or name in NORMS
        or name in OTHERS
        or name in COPIES
        or func.overloadpacket in flop_registry
    )


def _tensors(answer: Any) -> Iterator[Tensor]:
    if isinstance(answer, Tensor):
        yield answer
    elif isinstance(answer, tuple | list):
        for one in answer:
            yield from _tensors(one)


def _convolution(args: Any, out: Tensor) -> tuple[int, int]:
    images, weight, bias, *_, transposed, _padding, _groups = args[:9]
    # (outputs, inputs / groups, ...), transposed (inputs, outputs / groups, ...): each value of
    # the side that comes first meets all others of a filter.
    values = images if transposed else out
    return values.numel() * math.prod(weight.shape[1:]), 0 if bias is None else out.numel()


def _matrix_product(args: Any, out: Tensor) -> tuple[int, int]:
    return out.numel() * args[0].shape[-1], 0


def _biased_matrix_product(args: Any, out: Tensor) -> tuple[int, int]:
    return out.numel() * args[1].shape[-1], out.numel()


PRODUCTS: dict[str, Callable[[Any, Tensor], tuple[int, int]]] = {
    "convolution": _convolution,
    "_convolution": _convolution,
    "mm": _matrix_product,
    "bmm": _matrix_product,
    "mv": _matrix_product,
    "dot": lambda args, _out: (args[0].numel(), 0),
    "addmm": _biased_matrix_product,
    "baddbmm": _biased_matrix_product,
}
"""Operation of torch to its multiply-adds and the sums of its bias, of its arguments and output."""


def _norm(*, weight: int, training: int | None = None) -> Callable[[Any], int]:
    """FLOPs of a value from the places of the arguments that decide them."""

    def flops(args: Any) -> int:
        is_fixed = training is not None and not args[training]
        whole = FIXED_NORM_FLOPS if is_fixed else NORM_FLOPS
        return whole - (args[weight] is None)

    return flops


NORMS: dict[str, Callable[[Any], int]] = {
    "native_batch_norm": _norm(weight=1, training=5),
    "cudnn_batch_norm": _norm(weight=1, training=5),
    "native_layer_norm": _norm(weight=2),
    "native_group_norm": _norm(weight=1),
}
"""Operation of torch to the FLOPs of each value."""


def _window(args: Any, out: Tensor) -> int:
    axes = out.ndim - 2
    kernel = args[1] if len(args[1]) == axes else [*args[1]] * axes
    return out.numel() * math.prod(kernel)


def _softmax(_args: Any, out: Tensor) -> int:
    return SOFTMAX_FLOPS * out.numel()


OTHERS: dict[str, Callable[[Any, Tensor], int]] = {
    "_softmax": _softmax,
    "_log_softmax": _softmax,
    "_safe_softmax": _softmax,
    "max_pool2d_with_indices": _window,
    "max_pool3d_with_indices": _window,
    "avg_pool2d": _window,
    "avg_pool3d": _window,
    "upsample_linear1d": lambda _args, out: 3 * out.numel(),
    "upsample_bilinear2d": lambda _args, out: 7 * out.numel(),
    "upsample_trilinear3d": lambda _args, out: 15 * out.numel(),
}
"""Operation of torch to its FLOPs, where they are not one for each value that comes out."""

COPIES = frozenset({"clone", "fill", "copy", "_to_copy", "empty", "empty_like"})
"""Operations of torch that move values or make room for them."""
