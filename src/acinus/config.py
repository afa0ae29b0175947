"""Settings as frozen pydantic models, and YAML files read into them.

Enters: YAML or mappings that state differences only. Leaves: validated,
immutable settings. Every fault becomes one of our sentences, with the line of
the file and the nearest known key. Defaults are written once, on the model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from acinus.errors import ConfigError

M = TypeVar("M", bound="Settings")

_PYDANTIC_SUBJECT = re.compile(r"^(Input|Dictionary|List|Tuple|Set|String|Value) should ")
"""How pydantic's own sentences begin; the key stands before them here."""


class Settings(BaseModel):
    """Base of all settings: frozen, validated, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _on_and_off_are_words(cls, data: Any) -> Any:
        """YAML takes on and off for true and false; where a setting knows the words, it gets them.

        Source: YAML 1.1, https://yaml.org/type/bool.html.
        """
        if not isinstance(data, Mapping):
            return data
        fields = cls.model_fields
        return {
            key: _as_word(value, fields[key].annotation)
            if isinstance(value, bool) and key in fields
            else value
            for key, value in data.items()
        }


def _as_word(value: bool, annotation: Any) -> bool | str:
    """``on`` or ``off`` where an annotation has that word among its literals."""
    word = "on" if value else "off"
    return word if word in _literals(annotation) else value


def _literals(annotation: Any) -> set[object]:
    if get_origin(annotation) is Literal:
        return set(get_args(annotation))
    return {word for part in get_args(annotation) for word in _literals(part)}


def read_yaml(path: Path | str, model: type[M]) -> M:
    """Settings from a YAML file.

    Raises:
        ConfigError: The file is missing, is not YAML, or a key or value does
            not fit; the message names the line.
    """
    path = Path(path)
    data = read_yaml_mapping(path)
    lines = key_lines(path.read_text(encoding="utf-8"))
    return validate(model, data, where=str(path), lines=lines)


def read_yaml_mapping(path: Path | str) -> dict[str, Any]:
    """The mapping in a YAML file; ConfigError when missing, unreadable or no mapping."""
    path = Path(path)
    try:
        data = deepcopy(_loaded(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give the path of a YAML file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: must be a readable UTF-8 YAML file; {error}.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}{_yaml_fault(error)}") from None
    if data is None:
        raise ConfigError(f"{path}: must hold 'key: value' lines; it is empty.")
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: must hold 'key: value' lines; got {type(data).__name__}.")
    return data


def validate(
    model: type[M],
    data: Mapping[str, Any],
    *,
    where: str,
    lines: Mapping[tuple[str, ...], int] | None = None,
) -> M:
    """Settings from a mapping; faults become sentences.

    Args:
        model: Settings type.
        data: Values that differ from the defaults.
        where: File or part that the message names.
        lines: Line number of each key path, from `key_lines`.

    Raises:
        ConfigError: With every fault, one sentence each.
    """
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        sentences = [_sentence(model, fault, where, lines or {}) for fault in error.errors()]
        raise ConfigError("\n".join(sentences)) from None


@lru_cache(maxsize=64)
def _loaded(text: str) -> Any:
    """What a YAML text holds; recipes are read again and again."""
    return yaml.safe_load(text)


@lru_cache(maxsize=64)
def key_lines(text: str) -> dict[tuple[str, ...], int]:
    """Line number (from 1) of every key path in a YAML text."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    return dict(_walk(root, ())) if root is not None else {}


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """``{'train.lr': 0.1}`` as ``{'train': {'lr': 0.1}}``."""
    tree: dict[str, Any] = {}
    for dotted, value in flat.items():
        *parents, leaf = dotted.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[leaf] = value
    return tree


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, mapping by mapping; neither is altered."""
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def _yaml_fault(error: yaml.YAMLError) -> str:
    """Line and kind of a fault in YAML, to follow the name of the file."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or " ".join(str(error).split())
    place = f" line {mark.line + 1}" if mark is not None else ""
    return f"{place}: must be valid YAML; {problem}."


def _walk(node: yaml.Node, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, str(key.value))
            yield here, key.start_mark.line + 1
            yield from _walk(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*path, str(index)), value.start_mark.line + 1
            yield from _walk(value, (*path, str(index)))


def _sentence(
    model: type[BaseModel],
    fault: Any,
    where: str,
    lines: Mapping[tuple[str, ...], int],
) -> str:
    path = tuple(str(part) for part in fault["loc"])
    line = next((lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in lines), None)
    place = f"{where} line {line}" if line else where
    dotted = ".".join(path)
    if fault["type"] == "extra_forbidden":
        known = _keys_at(model, path[:-1])
        near = get_close_matches(path[-1], known, n=1, cutoff=0.5)
        hint = f" Did you mean '{near[0]}'?" if near else f" Known: {', '.join(known)}."
        return f"{place}: unknown key '{dotted}'.{hint}"
    if fault["type"] == "missing":
        return f"{place}: '{dotted}' must be given and is missing."
    message = str(fault["msg"]).removeprefix("Value error, ")
    if not dotted:
        return f"{place}: {message}"
    if message.endswith(("?", ".")):
        return f"{place}: '{dotted}': {message}"
    message = _PYDANTIC_SUBJECT.sub("must ", message)
    return f"{place}: '{dotted}': {message}; got {fault['input']!r}."


def _keys_at(model: type[BaseModel], path: tuple[str, ...]) -> list[str]:
    current: Any = model
    for part in path:
        fields = getattr(current, "model_fields", {})
        if part not in fields:
            # A mapping of named settings: its value type holds the keys.
            continue
        current = _model_in(fields[part].annotation)
    return sorted(getattr(current, "model_fields", {}))


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found is not None:
            return found
    return None
