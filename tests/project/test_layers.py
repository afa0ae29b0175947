"""The direction of imports: a room imports only from rooms above it.

The checker below reads the sources without importing them; its own tests show
that it can fail.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"

LEVELS = (
    ("errors", "types", "version", "registry", "config", "files", "progress"),
    ("scans",),
    ("networks", "losses", "measure"),
    ("cohort",),
    ("plan",),
    ("prepare",),
    ("predict",),
    ("train",),
    ("evaluate",),
    ("explain",),
    ("report",),
    ("study",),
    ("cli",),
)
FOUNDATION = frozenset(LEVELS[0])
LEVEL_OF = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
MAKING = frozenset({"networks", "losses", "plan", "prepare", "predict", "train", "explain"})
JUDGING = frozenset({"scans", "cohort", "measure", "evaluate", "report"})
LEARNING_LIBRARIES = frozenset({"torch", "safetensors", "tensorboard", "monai"})


@dataclass(frozen=True)
class Import:
    """One imported module: where, what, and whether at the top of the file."""

    line: int
    target: str
    is_top: bool


def imports(source: str, modules: frozenset[str]) -> Iterator[Import]:
    """Every module that a source imports; ``from package import module`` names the module."""
    tree = ast.parse(source)
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        is_top = id(node) in top
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name, is_top)
        elif isinstance(node, ast.ImportFrom):
            base = ("." * node.level) + (node.module or "")
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield Import(node.lineno, inner if inner in modules else base, is_top)


def room_of(module: str) -> str:
    """``acinus.scans.volume`` is in ``scans``; the package's own face counts as ``cli``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] != "__main__" else "cli"


def faults(module: str, source: str, modules: frozenset[str]) -> list[str]:
    """Sentences about every import of a module that goes against the direction."""
    found = []
    room = room_of(module)
    for entry in imports(source, modules):
        where = f"{module} line {entry.line}"
        if entry.target.startswith("."):
            found.append(f"{where}: relative import; name the module in full")
            continue
        own = entry.target == "acinus" or entry.target.startswith("acinus.")
        if not own:
            if room in JUDGING and entry.target.split(".")[0] in LEARNING_LIBRARIES:
                found.append(f"{where}: {room} judges and must not import {entry.target}")
            continue
        if not entry.is_top:
            found.append(f"{where}: {entry.target} must be imported at the top of the file")
        if module == "acinus" or entry.target.startswith("acinus.__"):
            continue
        target_room = room_of(entry.target)
        if target_room == room or {room, target_room} <= FOUNDATION:
            continue
        if LEVEL_OF[target_room] >= LEVEL_OF[room]:
            found.append(f"{where}: {room} must not import {target_room} ({entry.target})")
        elif room in JUDGING and target_room in MAKING:
            found.append(f"{where}: {room} judges and must not import {entry.target}")
    return found


def sources() -> dict[str, str]:
    """Dotted name to text of every module of the package."""
    texts = {}
    for path in sorted((SOURCE / "acinus").rglob("*.py")):
        parts = list(path.relative_to(SOURCE).with_suffix("").parts)
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        texts[name] = path.read_text(encoding="utf-8")
    return texts


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """Modules along one import cycle, or nothing."""
    done: set[str] = set()

    def visit(module: str, way: list[str]) -> list[str]:
        if module in way:
            return [*way[way.index(module) :], module]
        if module in done:
            return []
        for target in sorted(graph.get(module, ())):
            found = visit(target, [*way, module])
            if found:
                return found
        done.add(module)
        return []

    for module in sorted(graph):
        found = visit(module, [])
        if found:
            return found
    return []


def test_every_room_has_a_level() -> None:
    rooms = {name.split(".")[1] for name in sources() if name.count(".") >= 1} - {"__main__"}
    assert rooms <= set(LEVEL_OF), f"rooms without a level: {sorted(rooms - set(LEVEL_OF))}"


def test_rooms_import_only_from_rooms_above() -> None:
    texts = sources()
    found = [
        fault for name, text in texts.items() for fault in faults(name, text, frozenset(texts))
    ]
    assert not found, "\n".join(found)


def test_no_module_imports_itself_in_a_circle() -> None:
    texts = sources()
    modules = frozenset(texts)
    graph = {
        name: {entry.target for entry in imports(text, modules) if entry.target in modules}
        for name, text in texts.items()
    }
    assert not cycle(graph), " → ".join(cycle(graph))


def test_no_star_imports() -> None:
    starred = [
        f"{name} line {node.lineno}"
        for name, text in sources().items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
    ]
    assert not starred


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("acinus.scans.nifti", "from acinus.cohort import Dataset", "scans must not import cohort"),
        ("acinus.losses.dice", "from acinus.networks import x", "losses must not import networks"),
        ("acinus.report.page", "import acinus.plan.plan", "report judges and must not import"),
        ("acinus.measure.surface", "import torch", "measure judges and must not import torch"),
        (
            "acinus.evaluate.pairs",
            "def f():\n    from safetensors import safe_open",
            "evaluate judges and must not import safetensors",
        ),
        (
            "acinus.train.run",
            "def f():\n    from acinus.plan import Plan",
            "must be imported at the top",
        ),
        (
            "acinus.train.run",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import acinus.plan",
            "must be imported at the top",
        ),
        ("acinus.train.run", "from . import history", "relative import"),
        ("acinus.train.run", "import acinus", "train must not import cli"),
        ("acinus.errors", "from acinus.scans import Volume", "errors must not import scans"),
    ],
)
def test_the_checker_finds(module: str, source: str, complaint: str) -> None:
    found = faults(module, source, frozenset(sources()))
    assert any(complaint in fault for fault in found), found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("acinus.train.run", "from acinus.measure import MEASURES\nimport torch"),
        ("acinus.evaluate.pairs", "from acinus.measure import measure_case"),
        ("acinus.scans.dicom", "def f():\n    import pydicom"),
        ("acinus.cli.run", "import acinus"),
    ],
)
def test_the_checker_allows(module: str, source: str) -> None:
    assert faults(module, source, frozenset(sources())) == []


def test_the_checker_finds_a_circle() -> None:
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
