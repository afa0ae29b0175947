"""The tables of the record: how it was trained and planned, and how to repeat it.

Enters: what the report is made from. Leaves: drafts of tables, which `acinus.report.tables`
numbers and writes. One table of all settings was rejected: what was decided for this run
drowned among eighty that the recipe states.
"""

from __future__ import annotations

import pandas as pd

from acinus.report.content import ReportContent
from acinus.report.numbers import count_text, number_text, seconds_text

Draft = tuple[str, str, pd.DataFrame | None, pd.DataFrame, str]
"""Key, title, unrounded numbers (None if absent), as shown, caption or why absent."""

NOTHING = pd.DataFrame()

_SOURCES = {
    "paper": "published",
    "ours": "our choice",
    "data": "from the data",
    "budget": "from the budget",
    "user": "asked for",
}


def draft_trainings(content: ReportContent) -> Draft:
    """A row a training: how long, on how many, how it ended."""
    title = "Trainings"
    tables = [arm.trainings.assign(arm=arm.name) for arm in content.arms if len(arm.trainings)]
    if not tables:
        return "trainings", title, None, NOTHING, "No record of the trainings was kept."
    raw = pd.concat(tables, ignore_index=True)
    lost = raw["lost"].astype(str)
    shown = pd.DataFrame(
        {
            "Scan type": raw["arm"],
            "Fold": [str(int(fold) + 1) for fold in raw["fold"]],
            "Trained on": [f"{count_text(n)} cases" for n in raw["train_cases"]],
            "Validated on": [f"{count_text(n)} cases" for n in raw["validation_cases"]],
            "Epochs": [count_text(n) for n in raw["epochs"]],
            "Steps": [count_text(n) for n in raw["steps"]],
            "Time": [seconds_text(seconds) for seconds in raw["seconds"]],
            "Dice at the last look": [number_text(dice) for dice in raw["validation_dice"]],
            "Weights kept": ["of the best look" if k == "best" else "last" for k in raw["kept"]],
            "Labels lost": [names or "none" for names in lost],
        }
    )
    caption = (
        "Dice at the last look: on some patches of the cases that the fold left out, for a quick "
        "look only. A label is lost if it was learned and its Dice then fell to 0 and stayed there."
    )
    return "trainings", title, raw, shown, caption


def draft_decisions(content: ReportContent) -> Draft:
    """What was decided for this run, each with its reason; the rest is `draft_recipe`."""
    title = "Decisions made for this run"
    raw = _decided(content)
    if raw.empty:
        return "decisions", title, None, NOTHING, "No plan was recorded."
    raw = raw[~_is_stated(raw)].reset_index(drop=True)
    if raw.empty:
        return "decisions", title, None, NOTHING, "The recipe stated all settings."
    shown = pd.DataFrame(
        {
            "Decision": _named(raw),
            "Value": raw["value"],
            "Why": [
                "asked for" if source == "user" and rule.startswith("recipe ") else rule
                for rule, source in zip(raw["rule"], raw["source"], strict=True)
            ],
            "Source": [_SOURCES.get(source, source) for source in raw["source"]],
            "Facts it rests on": raw["facts"],
            "Scan type": raw["arms"],
        }
    )
    if len(content.arms) == 1:
        shown = shown.drop(columns="Scan type")
    caption = "Each decision with its value, the rule that made it and the facts that it used."
    return "decisions", title, raw, shown, caption


def draft_recipe(content: ReportContent) -> Draft:
    """The settings that the recipe states."""
    title = "Settings that the recipe states"
    raw = _decided(content)
    raw = raw[_is_stated(raw)].reset_index(drop=True) if len(raw) else raw
    if raw.empty:
        return "recipe", title, None, NOTHING, ""
    shown = pd.DataFrame(
        {
            "Setting": raw["words"].where(raw["words"] != "", raw["name"]),
            "Name": raw["name"],
            "Value": raw["value"],
            "Source": [_SOURCES.get(source, source) for source in raw["source"]],
            "Scan type": raw["arms"],
        }
    )
    if len(content.arms) == 1:
        shown = shown.drop(columns="Scan type")
    return "recipe", title, raw, shown, "As the recipe has them; nothing in the data changed them."


def _decided(content: ReportContent) -> pd.DataFrame:
    """Decisions of all arms; one that differs between them has a row for each value."""
    columns = ("name", "words", "value", "rule", "source", "facts")
    rows: dict[tuple[str, ...], list[str]] = {}
    for arm in content.arms:
        for row in arm.decisions.to_dict("records"):
            key = tuple("" if pd.isna(row.get(c)) else str(row.get(c)) for c in columns)
            rows.setdefault(key, []).append(arm.name)
    order = {name: i for i, name in enumerate(dict.fromkeys(key[0] for key in rows))}
    found = sorted(rows.items(), key=lambda item: order[item[0][0]])
    raw = pd.DataFrame([key for key, _ in found], columns=list(columns), dtype="str")
    everyone = len(content.arms)
    raw["arms"] = ["all" if len(names) == everyone else ", ".join(names) for _, names in found]
    return raw


def _is_stated(decisions: pd.DataFrame) -> pd.Series:
    """Whether the recipe states a value, and neither data nor budget nor a person changed it."""
    by_recipe = decisions["rule"].str.startswith("recipe ") & (decisions["facts"] == "")
    return by_recipe & decisions["source"].isin(["paper", "ours"])


def _named(decisions: pd.DataFrame) -> list[str]:
    """The name in plain words, and below it as in ``plan.yaml``."""
    return [
        f"{words}\n{name}" if words and words != name else name
        for words, name in zip(decisions["words"], decisions["name"], strict=True)
    ]


def draft_split(content: ReportContent) -> Draft:
    """Who is kept for the test, and whom each fold validates on."""
    title = "Hold-out and folds"
    rows = [("hold-out", one) for one in content.split.get("holdout", ())]
    for k, fold in enumerate(content.split.get("folds", ()), start=1):
        rows += [(f"fold {k}", one) for one in fold]
    if not rows:
        return "split", title, None, NOTHING, "The split was not recorded."
    raw = pd.DataFrame(rows, columns=["part", "participant"])
    shown = pd.DataFrame(
        [
            {"Part": part, "n": len(some), "Participants": ", ".join(map(str, some["participant"]))}
            for part, some in raw.groupby("part", sort=False)
        ]
    )
    caption = "By participant: nobody is in two parts. Folds: validation of that fold's model."
    return "split", title, raw, shown, caption


_PROVENANCE = {
    "command": "Command",
    "started": "Started",
    "seconds": "Seconds used",
    "budget": "Budget",
    "seed": "Seed",
    "machine": "Machine",
}


def draft_provenance(content: ReportContent) -> Draft:
    """Command, machine, versions and hashes."""
    title = "How to repeat it"
    facts = content.provenance
    rows = [(head, "", str(facts[key])) for key, head in _PROVENANCE.items() if facts.get(key)
            not in (None, "")]  # fmt: skip
    rows += [
        ("Dataset", arm.name, str(arm.dataset_folder or arm.dataset_name)) for arm in content.arms
    ]
    for key, head in (("versions", "Version"), ("hashes", "SHA-256")):
        group = facts.get(key) or {}
        rows += [(head, str(name), str(value)) for name, value in dict(group).items()]
    for key, value in facts.items():
        if key not in _PROVENANCE and key not in ("versions", "hashes"):
            rows.append((str(key).replace("_", " ").capitalize(), "", str(value)))
    raw = pd.DataFrame(rows, columns=["What", "Of", "Value"])
    caption = "The same command, data, seed and device give the same numbers."
    return "provenance", title, raw, raw, caption
