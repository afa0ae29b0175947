"""Acinus: from scans with some segmentations to a model, its evaluation and a report.

Everything the command line does, Python does with one call of a name that is
listed in ``__init__.pyi``. A name is loaded on first use, so that ``import
acinus`` stays light; importing everything at once was rejected, as torch alone
takes seconds.
"""

from __future__ import annotations

import ast
from functools import cache
from importlib import import_module, resources
from typing import Any

from acinus.version import __version__ as __version__


@cache
def _homes() -> dict[str, str]:
    """Public name to the module that holds it, as ``__init__.pyi`` imports them."""
    tree = ast.parse(resources.files("acinus").joinpath("__init__.pyi").read_text(encoding="utf-8"))
    return {
        alias.name: node.module
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


def __getattr__(name: str) -> Any:
    if name.startswith("__") or name not in _homes():
        raise AttributeError(f"module 'acinus' has no attribute '{name}'")
    value = getattr(import_module(_homes()[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_homes()})
