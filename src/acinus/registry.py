"""One registry for everything a recipe or study can name.

Enters: an explicit lower-case name and a configuration type. Leaves: the
registered object by name. Nothing walks folders; a package's ``__init__``
imports its members openly. Silent overwriting by a duplicate was rejected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from acinus.config import Settings, validate
from acinus.errors import ConfigError, unknown_name

T = TypeVar("T")


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A registered part: its name, its factory and the type of its settings."""

    name: str
    factory: T
    config: type[Settings]

    @property
    def summary(self) -> str:
        """First line of the factory's docstring."""
        return (self.factory.__doc__ or "").strip().split("\n")[0]


class Registry(Generic[T]):
    """Names to parts of one kind (networks, losses, samplings, measures)."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry[T]] = {}

    def register(self, name: str, *, config: type[Settings] = Settings) -> Callable[[T], T]:
        """Decorator that files a factory under a name; a duplicate raises ConfigError."""

        def file(factory: T) -> T:
            if name in self._entries:
                raise ConfigError(f"{self.kind} '{name}' is registered twice; choose another name.")
            self._entries[name] = Entry(name, factory, config)
            return factory

        return file

    def __getitem__(self, name: str) -> Entry[T]:
        if name not in self._entries:
            raise ConfigError(unknown_name(self.kind, name, self._entries))
        return self._entries[name]

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[Entry[T]]:
        return iter(self._entries[name] for name in sorted(self._entries))

    def names(self) -> list[str]:
        """All registered names, sorted."""
        return sorted(self._entries)

    def configure(self, name: str, settings: Mapping[str, Any]) -> Settings:
        """Validated settings of the named part; ConfigError names an unknown key."""
        return validate(self[name].config, settings, where=f"{self.kind} '{name}'")
