"""The documentation: its code runs, its links hold, its tables agree with the code.

A fence marked ``python test`` or ``console test`` is run, page by page, in an
empty folder. Lines after a ``$ acinus …`` must be in what the command prints.
"""

from __future__ import annotations

import importlib.util
import itertools
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from acinus.cli import main
from acinus.cohort.header import Header
from acinus.evaluate.score_table import SCORE_COLUMNS
from acinus.plan import load_recipe
from acinus.plan.recipe import parse_settings
from acinus.report.content import HISTORY_COLUMNS
from acinus.study.schema import read_study

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    [*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
)
FENCE = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Snippet:
    """A fence of a page: its language, its mark, its line in the page and its text."""

    language: str
    mark: str
    line: int
    text: str


def snippets(page: Path) -> Iterator[Snippet]:
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 2
        yield Snippet(found[1], found[2].strip(), line, found[3])


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


WITH_CODE = [page for page in PAGES if any(found.mark == "test" for found in snippets(page))]


@pytest.mark.parametrize("page", WITH_CODE, ids=name)
def test_marked_code_runs(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": page.stem}
    for snippet in snippets(page):
        if snippet.mark != "test":
            continue
        if snippet.language == "python":
            blank = "\n" * (snippet.line - 1)
            exec(compile(blank + snippet.text, str(page), "exec"), namespace)
        else:
            run_console(snippet, capsys)


def run_console(snippet: Snippet, capsys: pytest.CaptureFixture[str]) -> None:
    printed = ""
    for line in snippet.text.splitlines():
        if line.startswith("$ "):
            program, *words = shlex.split(line.removeprefix("$ "))
            assert program == "acinus", f"only acinus is run; got {line}"
            capsys.readouterr()
            status = main(words)
            captured = capsys.readouterr()
            printed = captured.out
            assert status == 0, f"{line}: exit status {status}; {captured.err}"
        else:
            assert line.strip() in printed, f"'{line}' is not in what was printed:\n{printed}"


def test_the_runner_of_examples_can_fail(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AssertionError, match="is not in what was printed"):
        run_console(Snippet("console", "test", 1, "$ acinus list recipes\nno-such-recipe"), capsys)
    with pytest.raises(AssertionError, match="exit status 2"):
        run_console(Snippet("console", "test", 1, "$ acinus list colours"), capsys)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_examples_are_python(page: Path) -> None:
    for snippet in snippets(page):
        if snippet.language == "python":
            compile(snippet.text, f"{page}:{snippet.line}", "exec")


def test_study_examples_are_studies(tmp_path: Path) -> None:
    path = tmp_path / "example.yaml"
    found = 0
    for page in PAGES:
        for snippet in snippets(page):
            if snippet.language == "yaml" and snippet.text.startswith("study:"):
                path.write_text(snippet.text, encoding="utf-8")
                assert read_study(path).arms, name(page)
                found += 1
    assert found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    lost = [
        target
        for target in LINK.findall(prose(page))
        if "://" not in target and not (page.parent / target.split("#")[0]).exists()
    ]
    assert not lost


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_in_the_pages_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every ``acinus …`` line of a console fence names a command and options that it has."""
    for snippet in snippets(page):
        if snippet.language != "console":
            continue
        for line in snippet.text.splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if not words or Path(words[0]).name != "acinus" or not words[1:]:
                continue
            if words[1].isupper() or "[OPTIONS]" in words:
                continue
            depth = 2 if words[1] in ("phantom", "import", "datasets") else 1
            assert main([*words[1 : 1 + depth], "--help"]) == 0, line
            helped = capsys.readouterr().out
            for option in (word for word in words if word.startswith("--")):
                assert option.split("=")[0] in helped, f"{line}: no option {option}"


def test_settings_in_the_pages_are_settings() -> None:
    """Every ``--set`` of a console fence and every ``key=value`` in code is taken by a recipe."""
    stated = {}
    for page in PAGES:
        for snippet in snippets(page):
            words = (
                shlex.split(snippet.text, comments=True) if snippet.language == "console" else ()
            )
            follow = [after for word, after in itertools.pairwise(words) if word == "--set"]
            stated |= dict.fromkeys(follow, page)
        text = prose(page)
        stated |= dict.fromkeys(
            re.findall(r"`(?:--set )?([a-z]+\.[a-z_]+=[a-z0-9.]+)`", text), page
        )
    assert {"locate.stage=off", "train.compile=on"} <= set(stated)
    for setting, page in stated.items():
        recipe = "pansegnet-3d" if "attention" in setting else "auto"
        if "…" not in setting:
            assert load_recipe(recipe, parse_settings([setting])), name(page)


def test_every_page_can_be_found_from_the_index() -> None:
    reachable = {DOCS / "index.md"}
    waiting = [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        for target in LINK.findall(prose(page)):
            linked = (page.parent / target.split("#")[0]).resolve()
            if linked.suffix == ".md" and linked.exists() and linked not in reachable:
                reachable.add(linked)
                waiting.append(linked)
    lost = [name(page) for page in DOCS.rglob("*.md") if page not in reachable]
    assert not lost, f"pages that nothing links to: {lost}"


def reference() -> ModuleType:
    """The script that writes the reference pages."""
    path = ROOT / "scripts" / "reference.py"
    spec = importlib.util.spec_from_file_location("acinus_reference_pages", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reference_pages_agree_with_the_code() -> None:
    pages = reference().pages()
    assert set(pages) <= {page.name for page in (DOCS / "reference").glob("*.md")}
    for file, text in pages.items():
        written = (DOCS / "reference" / file).read_text(encoding="utf-8")
        assert written == text, f"docs/reference/{file} is behind the code; run 'make reference'"


def test_columns_are_documented() -> None:
    text = (DOCS / "reference" / "artefacts.md").read_text(encoding="utf-8")
    missing = [column for column in (*SCORE_COLUMNS, *HISTORY_COLUMNS) if f"`{column}`" not in text]
    assert not missing


def test_keys_of_a_dataset_are_documented() -> None:
    page = (DOCS / "how-to" / "own-scans.md").read_text(encoding="utf-8")
    own = ("sides", "mirror_pairs", "structures", "synthetic", "allow_missing_channels", "exclude")
    own = (*own, "annotated")
    assert set(own) <= set(Header.__dataclass_fields__)
    assert [key for key in own if f"`{key}`" not in page] == []


def test_no_page_names_a_private_place() -> None:
    places = re.compile(r"/(home|root|Users|tmp|work)/")
    assert [name(page) for page in PAGES if places.search(page.read_text(encoding="utf-8"))] == []
