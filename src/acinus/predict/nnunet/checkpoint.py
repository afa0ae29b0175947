"""What a checkpoint of nnU-Net holds, read without running anything that is in it.

Enters: ``checkpoint_final.pth`` of a fold. Leaves: its weights and the few facts beside them.
torch's weights-only loader builds tensors and plain values and nothing else. Genuine
checkpoints also hold NumPy numbers in their log; the names that rebuild these are allowed, and
stand for nothing here, as the log is not needed. Every other class or function is refused by
its name. Loading the pickle freely was rejected: whoever made the file could then run a program
here. So was NumPy's own rebuilding: the state of a forged dtype corrupts the memory.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from acinus.errors import DataError

NUMPY_NAMES = (
    "numpy.dtype",
    "numpy.ndarray",
    "numpy.core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
)
"""What pickles of NumPy 1 and 2 call to rebuild types, arrays and numbers."""

UNREADABLE = (
    pickle.UnpicklingError,
    RuntimeError,
    ValueError,
    EOFError,
    OSError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
)
"""What torch and pickle raise for files that are damaged or of another kind."""


class Unread:
    """A number, array or type of NumPy that was passed over."""

    def __init__(self, *_: Any) -> None:
        """Take whatever it would be rebuilt from."""

    def __setstate__(self, _: Any) -> None:
        """Take whatever its state would be."""


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
    try:
        with _numbers_passed_over():
            data = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except UNREADABLE as error:
        raise _refusal(path, error) from None
    if not isinstance(data, Mapping):
        raise DataError(f"{path}: must hold a mapping; got {type(data).__name__}. {_REMEDY}")
    weights = _entry(data, "network_weights", Mapping, path)
    arguments = _entry(data, "init_args", Mapping, path)
    axes = data.get("inference_allowed_mirroring_axes") or ()
    if not isinstance(axes, tuple | list) or any(axis not in (0, 1, 2) for axis in axes):
        raise DataError(
            f"{path}: 'inference_allowed_mirroring_axes' must be among 0, 1, 2; got {axes!r}. "
            f"{_REMEDY}"
        )
    if any(not isinstance(value, Tensor) for value in weights.values()):
        raise DataError(f"{path}: 'network_weights' must hold tensors only. {_REMEDY}")
    return Checkpoint(
        weights={str(name): value for name, value in weights.items()},
        configuration=_entry(arguments, "configuration", str, path),
        trainer=_entry(data, "trainer_name", str, path),
        mirror_axes=tuple(axes),
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


def _numbers_passed_over() -> safe_globals:
    """Context in which NumPy's names are allowed and build `Unread`."""
    allowed: list[Callable[..., Any] | tuple[Callable[..., Any], str]]
    allowed = [(Unread, name) for name in NUMPY_NAMES]
    return safe_globals(allowed)


def _refusal(path: Path, error: Exception) -> DataError:
    """Why a file cannot be read, naming what it must not hold."""
    try:
        with _numbers_passed_over():
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
