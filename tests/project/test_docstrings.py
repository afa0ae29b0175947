"""Docstrings: every module and public function has one, and its Args are the parameters.

Read from the sources, so that nothing needs to be imported.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "acinus"

Function = ast.FunctionDef | ast.AsyncFunctionDef
SECTION = re.compile(
    r"^(Args|Attributes|Returns|Yields|Raises|Source|Example|Examples|Note|Notes):$"
)
ENTRY = re.compile(r"^\*{0,2}(\w+(?:, \w+)*)(?: \([^)]*\))?:")


def documented(docstring: str) -> list[str] | None:
    """Names under ``Args:``, or None where there is no such section."""
    lines = docstring.expandtabs().splitlines()
    starts = [n for n, line in enumerate(lines) if line.strip() == "Args:"]
    if not starts:
        return None
    indent = len(lines[starts[0]]) - len(lines[starts[0]].lstrip())
    names = []
    for line in lines[starts[0] + 1 :]:
        depth = len(line) - len(line.lstrip())
        if line.strip() and depth <= indent:
            break
        entry = ENTRY.match(line.strip())
        if entry and depth == indent + 4:
            names += entry[1].split(", ")
    return names


def parameters(function: Function, *, is_method: bool) -> list[str]:
    """Names of the parameters, without self or cls, in their order."""
    given = function.args
    names = [argument.arg for argument in (*given.posonlyargs, *given.args)]
    is_static = any(
        isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in function.decorator_list
    )
    if is_method and not is_static:
        names = names[1:]
    names += [given.vararg.arg] if given.vararg else []
    names += [argument.arg for argument in given.kwonlyargs]
    names += [given.kwarg.arg] if given.kwarg else []
    return names


def functions(tree: ast.Module) -> Iterator[tuple[str, Function, bool]]:
    """Public functions, and public methods of public classes, of a module."""
    for node in tree.body:
        if isinstance(node, Function) and not node.name.startswith("_"):
            yield node.name, node, False
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for member in node.body:
                if isinstance(member, Function) and not member.name.startswith("_"):
                    yield f"{node.name}.{member.name}", member, True


def constructors(tree: ast.Module) -> Iterator[tuple[str, Function, str]]:
    """Public classes with an ``__init__`` and the docstring that documents it."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for member in node.body:
                if isinstance(member, Function) and member.name == "__init__":
                    text = ast.get_docstring(member) or ast.get_docstring(node) or ""
                    yield node.name, member, text


def disagreements(source: str) -> list[str]:
    """Sentences about every docstring whose Args are not the parameters."""
    tree = ast.parse(source)
    found = []
    candidates = [
        (name, parameters(node, is_method=is_method), ast.get_docstring(node) or "")
        for name, node, is_method in functions(tree)
    ]
    candidates += [
        (name, parameters(node, is_method=True), text) for name, node, text in constructors(tree)
    ]
    for name, actual, text in candidates:
        stated = documented(text)
        if stated is not None and stated != actual:
            found.append(f"{name}: Args name {stated}, the parameters are {actual}")
    return found


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_docstrings_agree_with_signatures(path: Path) -> None:
    found = disagreements(path.read_text(encoding="utf-8"))
    assert not found, "\n".join(f"{path.relative_to(PACKAGE)}: {line}" for line in found)


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(PACKAGE))
        for path in sorted(PACKAGE.rglob("*.py"))
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not silent


def test_every_public_function_has_a_docstring() -> None:
    silent = [
        f"{path.relative_to(PACKAGE)}: {name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for name, node, _ in functions(ast.parse(path.read_text(encoding="utf-8")))
        if not ast.get_docstring(node) and not _is_overload(node)
    ]
    assert not silent, "\n".join(silent)


def _is_overload(node: Function) -> bool:
    return any(isinstance(mark, ast.Name) and mark.id == "overload" for mark in node.decorator_list)


def test_the_checker_can_fail() -> None:
    source = '''
def scale(image, low, high, *, factor):
    """Scaled image.

    Args:
        image: (Z, Y, X) array
            of many lines: with a colon.
        low, high: Limits.
        amount: A number.

    Returns:
        image: the same.
    """
'''
    assert disagreements(source) == [
        "scale: Args name ['image', 'low', 'high', 'amount'], "
        "the parameters are ['image', 'low', 'high', 'factor']"
    ]
    assert disagreements(source.replace("amount:", "factor:")) == []
