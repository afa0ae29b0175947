"""``acinus list``: what a recipe or study can name."""

from __future__ import annotations

from typing import Literal

import acinus
from acinus.cli.tables import print_table

Kind = Literal["networks", "losses", "recipes", "measures", "sampling"]


def list_parts(kind: Kind, /) -> int:
    """List the networks, losses, recipes, measures or samplings that can be named.

    ```console
    acinus list losses
    ```

    Args:
        kind: What to list.
    """
    print_table(("name", "what it is"), describe(kind))
    return 0


def describe(kind: Kind) -> list[tuple[str, str]]:
    """Name and one-line summary of every part of a kind, sorted by name.

    Args:
        kind: What to list.
    """
    if kind == "recipes":
        return acinus.list_recipes()
    if kind == "networks":
        return [(entry.name, entry.summary) for entry in acinus.NETWORKS]
    if kind == "losses":
        return [(entry.name, entry.summary) for entry in acinus.LOSSES]
    if kind == "measures":
        return [(entry.name, entry.summary) for entry in acinus.MEASURES.shown()]
    return [(entry.name, entry.summary) for entry in acinus.SAMPLINGS]
