"""What a network costs: parameters, operations, memory, and the time of a prediction.

Enters: a model folder, or the name of a recipe or network, and the size of an input. Leaves: a
`Profile`. The count is that of `acinus.networks.operations`; time is that of 100 passes if nothing
else is said, as in the paper of PanSegNet. Timing the steps of a training was rejected: `acinus
benchmark` does.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from acinus import progress
from acinus.config import merge, validate
from acinus.errors import ConfigError, DataError, unknown_name
from acinus.networks import (
    NETWORKS,
    SegmentationNetwork,
    build_network,
    check_size,
    nearest_valid_size,
)
from acinus.networks.device import autocast, free_bytes, has_fast_bfloat16, is_out_of_memory
from acinus.networks.instance_norm import InstanceNorm
from acinus.networks.operations import Operations, count_operations, count_parameters
from acinus.plan import list_recipes, load_recipe, parse_settings
from acinus.plan.settings import Recipe
from acinus.predict import load_model, prediction_device
from acinus.predict.device import PRECISIONS, use_precision
from acinus.predict.folder import is_ensemble, read_card, read_ensemble_card
from acinus.predict.memory import LIBRARY_COPIES
from acinus.study.machine import describe_machine, package_versions

N_RUNS = 100
N_WARM_UP = 10

EXAMPLE_VOX = {2: 256, 3: 64}
"""Edge of the patch that a message suggests, by number of axes."""

GIGA = 1e9


@dataclass(frozen=True)
class Seconds:
    """Time of the runs, seconds each.

    Attributes:
        n_runs: How many were timed.
        n_warm_up: How many went before and were not.
        median: Over the runs.
        mean: Over the runs.
        sd: Standard deviation of the sample; None of a single run.
        smallest: Over the runs.
        largest: Over the runs.
    """

    n_runs: int
    n_warm_up: int
    median: float
    mean: float
    sd: float | None
    smallest: float
    largest: float


@dataclass(frozen=True)
class Profile:
    """What `profile_network` found.

    Attributes:
        target: As it was asked for.
        kind: model, recipe or network.
        network: Registered name.
        config: Settings of the network.
        n_networks: Networks that a prediction of the target runs through, a fold each.
        input_shape: (N, C, Y, X) or (N, C, Z, Y, X).
        n_classes: Outputs.
        parameters: Of each part.
        operations: Of one pass at prediction.
        all_heads: The same with the coarse heads of deep supervision, which only training needs;
            None where there are none.
        weights_bytes: Weights and buffers.
        gpu_peak_bytes: Most memory allocated on a GPU during the runs, weights included; None on
            other devices.
        seconds: Time of one pass.
        device: cpu, cuda or mps, with the name of a GPU.
        threads: That torch computes with on the CPU.
        precision: Of the products in the timed runs.
        machine: System, processor, memory.
        versions: Of the packages that can change a number.
    """

    target: str
    kind: str
    network: str
    config: Mapping[str, Any]
    n_networks: int
    input_shape: tuple[int, ...]
    n_classes: int
    parameters: Mapping[str, int]
    operations: Operations
    all_heads: Operations | None
    weights_bytes: int
    gpu_peak_bytes: int | None
    seconds: Seconds
    device: str
    threads: int
    precision: str
    machine: str
    versions: Mapping[str, str]

    @property
    def n_parameters(self) -> int:
        """Parameters of the network."""
        return sum(self.parameters.values())

    def as_data(self) -> dict[str, Any]:
        """Everything as plain data for JSON, with what follows from the counts."""
        data = {**asdict(self), "config": dict(self.config), "versions": dict(self.versions)}
        data["n_parameters"] = self.n_parameters
        data["operations"] = _operations_data(self.operations)
        data["all_heads"] = None if self.all_heads is None else _operations_data(self.all_heads)
        return data


@dataclass(frozen=True)
class _Subject:
    """What is profiled, before anything is built."""

    kind: str
    name: str
    config: Mapping[str, Any]
    patch_vox: tuple[int, ...] | None
    n_channels: int
    n_classes: int
    build: Callable[[torch.device], SegmentationNetwork]
    precision: Callable[[torch.device], str]
    n_networks: int = 1


def profile_network(
    target: Path | str,
    *,
    patch: Sequence[int] | None = None,
    batch: int = 1,
    channels: int | None = None,
    classes: int | None = None,
    runs: int = N_RUNS,
    warm_up: int = N_WARM_UP,
    device: str = "auto",
    precision: str = "auto",
    settings: Sequence[str] = (),
) -> Profile:
    """Parameters, operations, memory and time of a network at prediction.

    Args:
        target: Model folder, recipe (or its YAML file) or network.
        patch: (Y, X) or (Z, Y, X) of the input; None: the model's, or what the recipe states.
        batch: Inputs at once.
        channels: Of the input; None: the model's, else 1.
        classes: Outputs, with background; None: the model's, else 2.
        runs: Timed passes.
        warm_up: Passes before them that are not timed.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        precision: ``float32``, ``bfloat16``, or ``auto``: as a prediction would.
        settings: Changes to a recipe or network, such as ``network.config.n_layers=4``.

    Raises:
        ConfigError: The target is unknown, a number or setting cannot be, or no patch is known.
        PlanError: A model folder is not whole.
        DataError: The memory of the device does not suffice.
    """
    for name, number, least in (("batch", batch, 1), ("runs", runs, 1), ("warm-up", warm_up, 0)):
        if number < least:
            raise ConfigError(f"--{name} must be at least {least}; got {number}.")
    if precision not in PRECISIONS:
        raise ConfigError(unknown_name("precision", precision, PRECISIONS))
    where = prediction_device(device)
    one = _find(target, channels, classes, settings)
    with torch.device("meta"):
        bare = build_network(
            one.name, one.config, n_channels=one.n_channels, n_classes=one.n_classes, seed=0
        ).eval()
    size = _size(one, patch, bare, str(target))
    operations = count_operations(bare, size, batch=batch)
    all_heads = count_operations(bare, size, batch=batch, all_heads=True)
    weights = sum(
        tensor.numel() * tensor.element_size() for tensor in (*bare.parameters(), *bare.buffers())
    )
    _check_memory(weights, operations.peak_bytes, where, size, batch)
    products = one.precision(where) if precision == "auto" else precision
    try:
        seconds, gpu_peak = _time(
            one, (batch, one.n_channels, *size), where, products, runs, warm_up
        )
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise _too_large(weights + operations.peak_bytes, None, where, size, batch) from None
    return Profile(
        target=str(target),
        kind=one.kind,
        network=one.name,
        config=one.config,
        n_networks=one.n_networks,
        input_shape=(batch, one.n_channels, *size),
        n_classes=one.n_classes,
        parameters=count_parameters(bare),
        operations=operations,
        all_heads=None if all_heads == operations else all_heads,
        weights_bytes=weights,
        gpu_peak_bytes=gpu_peak,
        seconds=seconds,
        device=_device_name(where),
        threads=torch.get_num_threads(),
        precision=products,
        machine=describe_machine(),
        versions=package_versions(),
    )


def _find(
    target: Path | str, channels: int | None, classes: int | None, settings: Sequence[str]
) -> _Subject:
    """The model, recipe or network that is meant."""
    text, recipes = str(target), [name for name, _ in list_recipes()]
    if text in recipes or text.endswith((".yaml", ".yml")):
        return _untrained("recipe", load_recipe(text, parse_settings(settings)), channels, classes)
    if text in NETWORKS:
        stated = merge({"name": text, "network": {"name": text}}, parse_settings(settings))
        recipe = validate(Recipe, stated, where=f"network '{text}'")
        return _untrained("network", recipe, channels, classes)
    if not Path(target).is_dir():
        known = (*recipes, *NETWORKS.names())
        raise ConfigError(unknown_name("model folder, recipe or network", text, known))
    if channels is not None or classes is not None or settings:
        raise ConfigError(
            f"{text}: --channels, --classes and --set go with a recipe or network; a model has its "
            "own. Leave them out."
        )
    return _trained(Path(target))


def _untrained(kind: str, recipe: Recipe, channels: int | None, classes: int | None) -> _Subject:
    name, train = recipe.network.name, recipe.train
    config = dict(recipe.network.config)
    if train.deep_supervision and "deep_supervision" in NETWORKS[name].config.model_fields:
        config.setdefault("deep_supervision", True)
    n_channels = 1 if channels is None else channels
    n_classes = 2 if classes is None else classes

    def build(device: torch.device) -> SegmentationNetwork:
        return build_network(name, config, n_channels=n_channels, n_classes=n_classes, seed=0).to(
            device
        )

    def precision(device: torch.device) -> str:
        is_exact = train.precision == "float32"
        return "bfloat16" if has_fast_bfloat16(device) and not is_exact else "float32"

    # Rules of nnU-Net and of auto fit the patch to the data; what stands there then is no choice.
    is_stated = "patch_vox" in train.model_fields_set or (
        kind == "recipe" and recipe.rules == "slices"
    )
    return _Subject(
        kind=kind,
        name=name,
        config=config,
        patch_vox=train.patch_vox if is_stated else None,
        n_channels=n_channels,
        n_classes=n_classes,
        build=build,
        precision=precision,
    )


def _trained(folder: Path) -> _Subject:
    if is_ensemble(folder):
        members = [str(folder / one.folder) for one in read_ensemble_card(folder).members]
        raise ConfigError(
            f"{folder}: an ensemble must be profiled model by model; give one of "
            f"{', '.join(members)}."
        )
    folds = [weights.fold for weights in read_card(folder).weights]
    # One fold stands for all: they differ in their weights alone.
    model = load_model(folder, folds=folds[:1], device="cpu")
    plan = model.plan
    return _Subject(
        kind="model",
        name=plan.settings.network.name,
        config=plan.settings.network.config,
        patch_vox=plan.settings.train.patch_vox,
        n_channels=plan.n_channels,
        n_classes=plan.n_classes,
        build=lambda device: model.networks[0].to(device),
        precision=lambda device: use_precision("auto", plan, device),
        n_networks=len(folds),
    )


def _size(
    one: _Subject, patch: Sequence[int] | None, network: SegmentationNetwork, target: str
) -> tuple[int, ...]:
    """The input's size, checked against the network."""
    size = one.patch_vox if patch is None else tuple(patch)
    if size is None:
        edges = (EXAMPLE_VOX[network.n_dims],) * network.n_dims
        example = ",".join(str(n) for n in nearest_valid_size(edges, network.stride))
        raise ConfigError(
            f"--patch must be given: {one.kind} '{target}' states none. Its network has stride "
            f"{network.stride}: --patch {example}, for example."
        )
    what = "--patch" if patch is not None else "the patch"
    check_size(size, network.stride, what=what)
    if tuple(size) == tuple(network.stride) and any(
        isinstance(module, InstanceNorm) for module in network.modules()
    ):
        larger = tuple(2 * step for step in network.stride)
        raise ConfigError(
            f"{what} must leave more than one voxel at the deepest level, where instances are "
            f"normalised; got {tuple(size)}, one. Double one length, or all: {larger}."
        )
    return tuple(size)


def _check_memory(
    weights: int, tensors: int, device: torch.device, size: Sequence[int], batch: int
) -> None:
    copies = LIBRARY_COPIES if device.type == "cpu" else 1
    needed, free = weights + copies * tensors, free_bytes(device)
    if needed > free:
        raise _too_large(needed, free, device, size, batch)


def _too_large(
    needed: float, free: int | None, device: torch.device, size: Sequence[int], batch: int
) -> DataError:
    found = "it does not suffice" if free is None else f"{free / GIGA:.1f} GB are free"
    return DataError(
        f"the memory of the device '{device.type}' must hold weights and features of {batch} × "
        f"{'×'.join(map(str, size))} voxels, about {needed / GIGA:.1f} GB; {found}. Give a smaller "
        "--patch or --batch, or another --device."
    )


def _time(
    one: _Subject,
    shape: Sequence[int],
    device: torch.device,
    precision: str,
    runs: int,
    warm_up: int,
) -> tuple[Seconds, int | None]:
    """Seconds of a pass, and the GPU's peak in bytes."""
    network = one.build(device).eval()
    is_gpu = device.type == "cuda"
    images = torch.randn(*shape, generator=torch.Generator().manual_seed(0)).to(device)
    seconds = []
    if is_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    with (
        progress.stage("Timing", total=warm_up + runs, unit="run") as bar,
        torch.inference_mode(),
        autocast(device, precision),
    ):
        for _ in range(warm_up + runs):
            _wait(device)
            begin = time.perf_counter()
            network(images)
            _wait(device)
            seconds.append(time.perf_counter() - begin)
            bar.advance(1)
    timed = seconds[warm_up:]
    peak = torch.cuda.max_memory_allocated(device) if is_gpu else None
    return (
        Seconds(
            n_runs=runs,
            n_warm_up=warm_up,
            median=statistics.median(timed),
            mean=statistics.fmean(timed),
            sd=statistics.stdev(timed) if runs > 1 else None,
            smallest=min(timed),
            largest=max(timed),
        ),
        peak,
    )


def _wait(device: torch.device) -> None:
    """Until the device has done all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"cuda, {torch.cuda.get_device_name(device)}"
    return device.type


def _operations_data(one: Operations) -> dict[str, Any]:
    return {
        "multiply_adds": one.multiply_adds,
        "norm_flops": one.norm_flops,
        "other_flops": one.other_flops,
        "flops": one.flops,
        "as_in_table_5": one.as_in_table_5,
        "multiply_adds_by_part": dict(one.parts),
        "peak_bytes": one.peak_bytes,
    }
