"""The public names: each one exists where the stub says, and a wrong one is refused."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import acinus

STUB = Path(acinus.__file__).with_name("__init__.pyi")


def stubbed() -> list[str]:
    tree = ast.parse(STUB.read_text(encoding="utf-8"))
    return [
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]


@pytest.mark.parametrize("name", stubbed())
def test_every_public_name_exists(name: str) -> None:
    assert getattr(acinus, name) is not None
    assert name in dir(acinus)


def test_every_public_name_is_documented() -> None:
    silent = [
        name
        for name in stubbed()
        if callable(getattr(acinus, name)) and not (getattr(acinus, name).__doc__ or "").strip()
    ]
    assert not silent


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'acinus' has no attribute 'segmentify'"):
        acinus.segmentify  # noqa: B018
