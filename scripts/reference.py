"""Write the reference pages that can be read off the code.

Enters: the package. Leaves: pages under ``docs/reference``, see `pages`. A
test compares them with the code, so that they cannot fall behind; what needs
words beyond the docstrings stands in the other pages.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args, get_origin

import annotated_types

import acinus
from acinus.cli.commands import app
from acinus.cohort.convert import ExportMapping
from acinus.cohort.finding import CODES
from acinus.config import Settings
from acinus.plan.settings import Choice, Recipe
from acinus.registry import Entry
from acinus.study.schema import Study

ROOT = Path(__file__).resolve().parents[1]
MADE = "<!-- Written by `make reference` from the code; not edited by hand. -->\n"


def pages() -> dict[str, str]:
    """File name under ``docs/reference`` to its text, for every page made here."""
    return {
        "commands.md": commands_page(),
        "recipe-settings.md": settings_page(),
        "study-settings.md": study_page(),
        "mapping.md": mapping_page(),
        "faults.md": faults_page(),
        "measures.md": measures_page(),
        "losses.md": losses_page(),
        "networks.md": networks_page(),
    }


def commands_page() -> str:
    """Every command with its arguments, options and examples."""
    text = app.generate_docs(output_format="markdown", include_hidden=False)
    body = text.split("## acinus demo", 1)[1]
    body = re.sub(r" -m \w+(?= |$)", "", body, flags=re.MULTILINE)  # how the parent was started
    head = (
        "# Commands\n\n"
        "What each command takes. `acinus COMMAND --help` says the same.\n\n"
        "Exit status: 0 done; 1 `acinus check` found errors; 2 wrong use or unusable input; "
        "3 done, but some cases failed (they are named); 130 stopped by Ctrl-C. "
        "`--debug` with any command shows where in the code a fault arose.\n\n"
    )
    return MADE + head + "## acinus demo" + body.rstrip() + "\n"


def settings_page() -> str:
    """Every setting of a recipe, and what each recipe sets."""
    parts = [
        MADE,
        "# Settings of a recipe\n",
        "A recipe is a YAML file that states how it differs from the defaults below; "
        "`--set train.lr=0.01` changes one setting for one run. An unknown key is refused with "
        "the nearest known one. A value is shown as it would stand in YAML.\n",
    ]
    rows = list(_setting_rows(Recipe, ""))
    parts.append(_table(("setting", "kind", "default", "meaning"), rows))
    parts.append(
        "\n# Recipes\n\n`source` says where a value comes from: *paper*, stated by the published "
        "study; *ours*, chosen by us. What the data or the budget decide stands in the "
        "`plan.yaml` of a run with the rule and its facts.\n"
    )
    for name, summary in acinus.list_recipes():
        recipe = acinus.load_recipe(name)
        parts.append(f"\n## {name}\n\n{summary[:1].upper()}{summary[1:]}.\n")
        parts.append(_table(("setting", "value", "source"), _recipe_rows(recipe)))
    return "\n".join(parts).rstrip() + "\n"


def study_page() -> str:
    """Every key of a study."""
    head = (
        "# Keys of a study\n\n"
        "A study is a YAML file. Keys that are left out have the default below; an unknown key "
        "is refused with the nearest known one. `arms.NAME.dataset` stands for the dataset of "
        "the arm that you call NAME. The files under `studies/` are examples.\n\n"
    )
    rows = _setting_rows(Study, "")
    return MADE + head + _table(("key", "kind", "default", "meaning"), rows)


def mapping_page() -> str:
    """Every key of a mapping."""
    head = (
        "# Keys of a mapping\n\n"
        "`acinus convert --map` takes a YAML file. Keys that are left out have the default below; "
        "an unknown key is refused with the nearest known one. NAME stands for the channel or "
        "label that you call so; [the how-to](../how-to/dicom-export.md) has a worked example.\n\n"
    )
    rows = _setting_rows(ExportMapping, "")
    return MADE + head + _table(("key", "kind", "default", "meaning"), rows)


def faults_page() -> str:
    """Every code of a finding with what it means."""
    head = (
        "# Faults that check finds\n\n"
        "`acinus check DATASET` looks for all of them and never stops at the first. An *error* "
        "makes a case or the dataset unusable as it is; a *warning* is for you to judge. "
        "`--json` prints the code of each finding; programs may rely on codes.\n\n"
    )
    return MADE + head + _table(("code", "what was found"), CODES.items())


def measures_page() -> str:
    """Every measure with its definition."""
    parts = [
        MADE,
        "# Measures\n",
        "Each measure compares a reference with a prediction, structure by structure, on the "
        "grid of the reference. An undefined value is a value with a reason, never a number in "
        "disguise: `scores.csv` keeps it with the status `undefined`, and every table says how "
        "many there were.\n",
        "A word in braces stands for a number that is part of the name: "
        "`surface_dice_{tolerance}mm` is asked for as `surface_dice_1.5mm`.\n",
    ]
    titles = {one.shown: one.form_title for one in acinus.MEASURES.families}
    for entry in acinus.MEASURES.shown():
        measure = entry.factory
        title = titles.get(entry.name, measure.title)
        facts = f"*{title}*; unit {measure.unit}; better: {measure.better}."
        parts.append(f"## {entry.name}\n\n{facts}\n\n{_prose(entry)}\n")
    return "\n".join(parts).rstrip() + "\n"


def losses_page() -> str:
    """Every loss with its formula and settings."""
    head = (
        "# Losses\n\nEach loss is a number to minimise, never negative. Settings go under "
        "`loss: {name: …, config: {…}}` of a recipe.\n"
    )
    return MADE + head + _parts_with_settings(list(acinus.LOSSES))


def networks_page() -> str:
    """Every network with its source and settings."""
    head = (
        "# Networks and samplings\n\nSettings go under `network: {name: …, config: {…}}` and "
        "`sampling: {name: …, config: {…}}` of a recipe.\n"
    )
    networks = _parts_with_settings(list(acinus.NETWORKS))
    samplings = _parts_with_settings(list(acinus.SAMPLINGS))
    return MADE + head + "\n# Networks\n" + networks + "\n# Samplings\n" + samplings


def _parts_with_settings(entries: list[Entry[Any]]) -> str:
    parts = []
    for entry in entries:
        parts.append(f"\n## {entry.name}\n\n{_prose(entry)}\n")
        rows = list(_setting_rows(entry.config, ""))
        if rows:
            parts.append(_table(("setting", "kind", "default", "meaning"), rows))
    return "\n".join(parts).rstrip() + "\n"


def _prose(entry: Entry[Any]) -> str:
    """The docstring without its Args, and with section names in bold."""
    text = inspect.cleandoc(entry.factory.__doc__ or "")
    lines, is_skipped = [], False
    for line in text.splitlines():
        heading = line.rstrip(":")
        is_heading = line.endswith(":") and heading.isalpha()
        if line and not line.startswith(" "):
            is_skipped = is_heading and heading in ("Args", "Raises")
        if is_heading and heading not in ("Args", "Raises"):
            lines.append(f"**{heading}**\n")
        elif not is_skipped:
            lines.append(line.strip())
    return re.sub("\n{3,}", "\n\n", "\n".join(lines)).replace("``", "`").strip()


def _setting_rows(model: type[Settings], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    meanings = _meanings(model)
    for name, field in model.model_fields.items():
        dotted = f"{prefix}{name}"
        kind = field.annotation
        inner, step = _inner_settings(kind)
        if inner is not None:
            yield from _setting_rows(inner, f"{dotted}.{step}")
            continue
        required = field.is_required()
        default = "must be given" if required else field.get_default(call_default_factory=True)
        limits = ", ".join(_limit(limit) for limit in field.metadata)
        meaning = meanings.get(name, "")
        yield dotted, _kind(kind) + (f", {limits}" if limits else ""), _value(default), meaning


def _inner_settings(annotation: Any) -> tuple[type[Settings] | None, str]:
    """Settings within a field, and ``NAME.`` where they are a mapping of named ones."""
    if annotation is Choice:
        return None, ""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return annotation, ""
    step = "NAME." if get_origin(annotation) is dict else ""
    for part in get_args(annotation):
        if isinstance(part, type) and issubclass(part, Settings) and part is not Choice:
            return part, step
    return None, ""


def _recipe_rows(recipe: Recipe) -> Iterator[tuple[str, str, str]]:
    defaults = {row[0]: row[2] for row in _setting_rows(Recipe, "")}
    for name in defaults:
        if name in ("name", "summary", "provenance"):
            continue
        value: Any = recipe
        for part in name.split("."):
            value = getattr(value, part)
        source = _source(recipe, name)
        if isinstance(value, Choice):
            source = _source(recipe, f"{name}.name")
            source += f" (config: {_source(recipe, f'{name}.config')})" if value.config else ""
        if _value(value) != defaults[name] or source != "ours":
            yield name, _value(value), source


def _source(recipe: Recipe, name: str) -> str:
    parts = name.split(".")
    stated = (recipe.provenance.get(".".join(parts[:n])) for n in range(len(parts), 0, -1))
    return next((source for source in stated if source), "ours")


def _meanings(model: type[Settings]) -> dict[str, str]:
    """Field to the docstring under it, of a model and its bases."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if not (isinstance(base, type) and issubclass(base, Settings)) or base is Settings:
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
        for field, text in pairwise(body):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
                and isinstance(text.value.value, str)
            ):
                found[field.target.id] = " ".join(text.value.value.split())
    return found


def _kind(annotation: Any) -> str:
    if annotation is Choice:
        return "a name, or {name, config}"
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        return annotation.__name__
    text = str(annotation).replace("typing.", "").replace("NoneType", "None")
    if text.startswith("Literal["):
        return text.removeprefix("Literal[").removesuffix("]").replace(", ", " or ")
    return text


def _limit(limit: Any) -> str:
    signs = {
        annotated_types.Gt: ("gt", ">"),
        annotated_types.Ge: ("ge", "≥"),
        annotated_types.Lt: ("lt", "<"),
        annotated_types.Le: ("le", "≤"),
    }
    for kind, (name, sign) in signs.items():
        if isinstance(limit, kind):
            return f"{sign} {getattr(limit, name)}"
    if isinstance(limit, annotated_types.MinLen):
        return f"at least {limit.min_length}"
    return str(limit)


def _value(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, Settings):
        inner = {key: part for key, part in value.model_dump().items() if part not in ({}, None)}
        return "{" + ", ".join(f"{key}: {_value(part)}" for key, part in inner.items()) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_value(part) for part in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_value(part)}" for key, part in value.items()) + "}"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if value != "" else '""'


def _table(columns: tuple[str, ...], rows: Any) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        cells = [str(cell).replace("|", "\\|") for cell in row]
        cells[0] = f"`{cells[0]}`"
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write all pages."""
    for name, text in pages().items():
        (ROOT / "docs" / "reference" / name).write_text(text, encoding="utf-8")
        print(f"docs/reference/{name}")


if __name__ == "__main__":
    main()
