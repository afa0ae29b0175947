"""What a checkpoint of nnU-Net holds, read without running anything that is in it.

Enters: ``checkpoint_final.pth`` of a fold. Leaves: its weights and the few facts beside them.
torch's weights-only loader builds tensors and plain values and nothing else. Genuine
checkpoints also hold NumPy numbers in their log, so their reconstruction is allowed, for
numeric types alone; every other class or function is refused by its name. Loading the pickle
freely was rejected: whoever made the file could then run a program here.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from acinus.errors import DataError

NUMBERS = ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
"""NumPy's numeric types that a log may hold."""

Allowed = Callable[..., Any] | tuple[Callable[..., Any], str]
"""A class or function, under its own or another name."""

UNREADABLE = (
    pickle.UnpicklingError,
    RuntimeError,
    ValueError,
    EOFError,
    OSError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    AssertionError,
)
"""What torch and pickle raise for files that are damaged or of another kind."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """One fold of a trained model.

    Attributes:
        weights: Name to tensor, as nnU-Net names them; lie in the file until they are used.
        configuration: Which of the plans' configurations it is.
        trainer: Class of its trainer.
        mirror_axes: Spatial axes of the patch that may be mirrored in prediction.
    """

    weights: dict[str, Tensor]
    configuration: str
    trainer: str
    mirror_axes: tuple[int, ...]


def read_checkpoint(path: Path) -> Checkpoint:
    """A checkpoint of nnU-Net version 2.

    Raises:
        DataError: The file is missing, damaged, holds anything but numbers and plain values,
            or is not such a checkpoint.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file. Give a results folder of nnU-Net that was trained.")
    allowed = _numpy_numbers()
    try:
        with safe_globals(allowed):
            data = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except UNREADABLE as error:
        raise _refusal(path, error, allowed) from None
    if not isinstance(data, Mapping):
        raise DataError(f"{path}: must hold a mapping; got {type(data).__name__}. {_REMEDY}")
    weights = _entry(data, "network_weights", Mapping, path)
    arguments = _entry(data, "init_args", Mapping, path)
    axes = data.get("inference_allowed_mirroring_axes")
    if any(not isinstance(value, Tensor) for value in weights.values()):
        raise DataError(f"{path}: 'network_weights' must hold tensors only. {_REMEDY}")
    return Checkpoint(
        weights={str(name): value for name, value in weights.items()},
        configuration=_entry(arguments, "configuration", str, path),
        trainer=_entry(data, "trainer_name", str, path),
        mirror_axes=tuple(int(axis) for axis in axes or ()),
    )


_REMEDY = "Give a checkpoint that nnU-Net version 2 wrote."


def _entry(data: Mapping[Any, Any], key: str, kind: type, path: Path) -> Any:
    if not isinstance(data.get(key), kind):
        found = ", ".join(str(name) for name in list(data)[:6])
        raise DataError(
            f"{path}: must be a checkpoint of nnU-Net version 2 with '{key}'; found {found}. "
            f"{_REMEDY}"
        )
    return data[key]


def _numpy_numbers() -> list[Allowed]:
    """Reconstruction of NumPy's numbers and arrays, under the names of NumPy 1 and 2."""
    scalar: Any = np.float32(0).__reduce__()[0]
    array: Any = np.zeros(1).__reduce__()[0]
    names: list[Allowed] = [np.dtype, np.ndarray]
    for home in ("numpy.core.multiarray", "numpy._core.multiarray"):
        names += [(scalar, f"{home}.scalar"), (array, f"{home}._reconstruct")]
    # torch asks for the class of a type (numpy.dtypes.Float32DType) when it sets its state.
    return [*names, *(type(np.dtype(number)) for number in NUMBERS)]


def _refusal(path: Path, error: Exception, allowed: list[Allowed]) -> DataError:
    """Why a file cannot be read, naming what it must not hold."""
    try:
        with safe_globals(allowed):
            strange = sorted(get_unsafe_globals_in_checkpoint(path))
    except UNREADABLE:
        strange = []
    if strange:
        return DataError(
            f"{path}: a checkpoint must hold tensors, numbers and texts only, since anything else "
            f"could run a program when it is read; found {', '.join(strange)}. Have its author "
            "save the weights without it."
        )
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return DataError(f"{path}: must be a readable checkpoint; {reason}. Copy it again.")
