"""Recipes: named presets as YAML files beside this module.

Enters: a recipe's name and the user's ``--set key=value`` changes. Leaves: one
validated `Recipe`. Inheritance between recipes was rejected: each states its
differences from the defaults and can be read alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from acinus.config import key_lines, merge, nest, read_yaml_mapping, validate
from acinus.errors import ConfigError, unknown_name
from acinus.plan.settings import Recipe

PARTS = ("network", "loss", "sampling")
"""Settings that name a registered part."""

RULED_NETWORKS = ("plain_unet", "resenc_unet")
"""Networks whose levels the rules decide."""


def list_recipes() -> list[tuple[str, str]]:
    """Name and one-line summary of every recipe, sorted by name."""
    return [(name, load_recipe(name).summary) for name in sorted(_files())]


def load_recipe(name: str, changes: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe of that name, or of that YAML file, with changes laid over it.

    Args:
        name: A known recipe, or the path of a ``.yaml`` file.
        changes: Nested settings; marked as the user's in the provenance.

    Raises:
        ConfigError: Unknown recipe, key or value.
    """
    is_own = name.endswith((".yaml", ".yml"))
    path = Path(name) if is_own else _files().get(name)
    if path is None:
        raise ConfigError(unknown_name("recipe", name, _files()))
    stated = read_yaml_mapping(path)
    stated.setdefault("name", path.stem)
    if is_own and isinstance(stated.get("provenance", {}), Mapping):
        stated["provenance"] = {**_chosen_in(stated), **stated.get("provenance", {})}
    lines = key_lines(path.read_text(encoding="utf-8"))
    recipe = validate(Recipe, stated, where=f"recipe {path.name}", lines=lines)
    if not changes:
        return recipe
    whole = _whole_choices(changes)
    merged = merge(_without_replaced_parts(stated, whole, recipe), whole)
    merged["provenance"] = {
        **recipe.provenance,
        **{dotted: "user" for dotted in flatten(whole) if not dotted.startswith("provenance")},
    }
    return validate(Recipe, merged, where=f"recipe '{recipe.name}' with changes")


def parse_settings(assignments: Iterable[str]) -> dict[str, Any]:
    """Nested settings from ``train.lr=0.01`` texts; values are read as YAML.

    Raises:
        ConfigError: An assignment has no ``=``, its value is not YAML, or it sets a part
            of what another assignment sets.
    """
    flat: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set must be key=value such as train.lr=0.01; got '{assignment}'.")
        try:
            flat[key.strip()] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ConfigError(
                f"--set {key}: the value must be YAML such as 0.01 or [8, 16]; got '{text}'."
            ) from None
    for whole in flat:
        inner = next((key for key in flat if key.startswith(f"{whole}.")), None)
        if inner is not None:
            raise ConfigError(
                f"--set {inner} must not go with --set {whole}: one is a part of the other. "
                "Give one of them."
            )
    return nest(flat)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys of nested settings; a part's ``config`` stays one value."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping) and key != "config":
            flat.update(flatten(value, f"{dotted}."))
        else:
            flat[dotted] = value
    return flat


def _chosen_in(stated: Mapping[str, Any]) -> dict[str, str]:
    """What a user's own file states, so that no rule decides it; but for the networks that the
    rules give their levels, whose name alone says nothing that a rule might overrule."""
    chosen = flatten(_whole_choices(stated))
    if "network.config" not in chosen and chosen.get("network.name") in RULED_NETWORKS:
        chosen.pop("network.name")
    return {
        name: "user"
        for name in chosen
        if name not in ("name", "summary", "rules") and not name.startswith("provenance")
    }


def _whole_choices(changes: Mapping[str, Any]) -> dict[str, Any]:
    """``loss: dice`` as ``loss: {name: dice}``, since a bare name is enough."""
    whole: dict[str, Any] = dict(changes)
    for part in PARTS:
        if isinstance(whole.get(part), str):
            whole[part] = {"name": whole[part]}
    return whole


def _without_replaced_parts(
    stated: Mapping[str, Any], whole: Mapping[str, Any], recipe: Recipe
) -> dict[str, Any]:
    """The recipe's text without the parts that another takes the place of.

    Settings of one loss mean nothing to another, so they go with it.
    """
    replaced = {
        part
        for part in PARTS
        if isinstance(whole.get(part), Mapping)
        and whole[part].get("name", getattr(recipe, part).name) != getattr(recipe, part).name
    }
    return {key: value for key, value in stated.items() if key not in replaced}


def _files() -> dict[str, Path]:
    folder = resources.files("acinus.plan") / "recipes"
    return {
        Path(str(file)).stem: Path(str(file))
        for file in folder.iterdir()
        if file.name.endswith(".yaml")
    }
