"""Tables of protocols that not every study has: centres, readings, volumetry, networks, cost.

Enters: what the report is made from. Leaves: drafts of the tables that there is anything for; a
study without centres, readings or benchmark has none of them, and its tables keep their numbers.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from acinus.cohort.labels_file import JudgedLabels
from acinus.evaluate.readings import label_groups
from acinus.evaluate.tables import (
    BENCHMARK,
    MISSING_CHANNELS,
    READINGS,
    bound_table,
    centre_people,
    centre_table,
    display,
    display_human,
    human_table,
    missing_table,
    network_table,
    noninferiority_to_readings,
    note,
    reading_table,
    volumetry_table,
)
from acinus.report.choose import all_scores
from acinus.report.content import COUNTED, MEASURED, PUBLISHED, ArmContent, ReportContent
from acinus.report.numbers import MISSING, count_text, is_number, join_words, number_text
from acinus.report.record import NOTHING, Draft
from acinus.report.sequences import draft_sequences
from acinus.scans.coding import Side

MIB = 2**20


def draft_protocols(content: ReportContent) -> Iterator[Draft]:
    """Drafts of all tables of protocols that the study has, in the order of the page."""
    yield from draft_sequences(content)
    if content.has_centres:
        yield from _draft_centres(content)
    scores = all_scores(content)
    if (scores["part"] == MISSING_CHANNELS).any():
        yield _draft_missing(content)
    if (scores["part"] == READINGS).any() or content.readings_margin is not None:
        yield from _draft_readings(content)
    if (scores["part"] == BENCHMARK).any():
        yield _draft_networks(content)
    if len(content.costs):
        yield _draft_cost(content)


def _draft_centres(content: ReportContent) -> Iterator[Draft]:
    arms = [arm for arm in content.arms if arm.site_column]
    people = []
    for arm in arms:
        cases = [arm.participant(case) for case in arm.references]
        if arm.participants is not None:
            people.append(
                centre_people(
                    arm.name,
                    arm.participants,
                    arm.sites,
                    arm.external_sites,
                    {person: cases.count(person) for person in set(cases)},
                )
            )
    raw = pd.concat(people, ignore_index=True) if people else pd.DataFrame()
    yield _drafted("centre_people", "Participants of each centre", raw, "centres")
    scores = all_scores(content)
    networks = {arm.name: arm.external_model for arm in arms}
    raw = centre_table(scores, {arm.name: arm.sites for arm in arms}, networks=networks)
    yield _drafted("centre_table", "Results by centre, internal and external", raw, "drop")
    known = scores[scores["arm"].isin([arm.name for arm in arms])]
    yield _drafted("volumetry_table", "Volumetry", volumetry_table(known), "volumetry")
    title = "Which Dice guarantees which volume error"
    yield _drafted("bound_table", title, bound_table(known), "bounds")


def _draft_missing(content: ReportContent) -> Draft:
    raw = missing_table(all_scores(content))
    key, title, found, shown, caption = _drafted(
        "missing_table", "What a missing channel costs", raw, "missing"
    )
    arms = [arm for arm in content.arms if (raw["arm"] == arm.name).any()]
    for arm in arms:
        sets = raw.loc[raw["arm"] == arm.name, "missing"].nunique() - 1
        if sets < 2 ** len(arm.channel_names) - 2:
            caption += (
                f" {arm.name} has {len(arm.channel_names)} channels: each alone and all but one "
                "were left out, not every set."
            )
    return key, title, found, shown, caption


def _draft_readings(content: ReportContent) -> Iterator[Draft]:
    scores = all_scores(content)
    beside = human_table(scores)
    if len(beside):
        title = "Structure by structure: the model beside a second reader"
        published = _published_readers(content)
        shown = display_human(beside, published=published)
        source = (content.published or {}).get("source", "")
        words = f" Published readers: {source}" if published and source else ""
        yield "human", title, beside, shown, note("human_table", beside) + words
    title = "Agreement of observers"
    raw = reading_table(scores)
    missing = [arm.name for arm in content.arms if not (raw["arm"] == arm.name).any()]
    lack = f" {join_words(missing)}: no further readings." if missing else ""
    key, title, found, shown, caption = _drafted("reading_table", title, raw, "readings")
    yield key, title, found, shown, caption + lack
    if content.readings_margin is not None:
        groups = {arm.name: _structures(content, arm) for arm in content.arms}
        raw = noninferiority_to_readings(scores, groups, margin=content.readings_margin)
        title = "The model against the readers"
        yield _drafted("noninferiority_table", title, raw, "noninferiority")


def _structures(content: ReportContent, arm: ArmContent) -> list[tuple[str, str, list[str]]]:
    """Rows of a table by structure: right, left and both of a pair; else the label."""
    values = {label: arm.regions.get(label, (value,)) for label, value in arm.labels.items()}
    pairs = tuple(pair for pair in content.mirror_pairs if set(pair) <= set(values))
    sides: dict[str, Side] = {
        label: "right" if side == "right" else "left" for label, side in arm.sides.items()
    }
    return list(label_groups(JudgedLabels(values, mirror_pairs=pairs, sides=sides)))


def _published_readers(content: ReportContent) -> dict[str, tuple[float, float]]:
    """Label to the published agreement of readers by Dice, mean and standard deviation."""
    return {
        str(figure["label"]): (float(figure["value"]), float(figure.get("sd", float("nan"))))
        for figure in (content.published or {}).get("figures", ())
        if "reading" in figure and "label" in figure and figure.get("metric") == "dice"
    }


def _draft_networks(content: ReportContent) -> Draft:
    raw = network_table(all_scores(content))
    key, title, found, shown, caption = _drafted(
        "network_table", "Networks compared on one split", raw, "networks"
    )
    sizes = "; ".join(
        f"{arm} {n['train']} / {n['validation']} / {n['test']}"
        for arm, n in content.benchmark_split.items()
    )
    words = f" Participants for training / validation / test: {sizes}." if sizes else ""
    return key, title, found, shown, caption + words


def _draft_cost(content: ReportContent) -> Draft:
    raw = content.costs.reindex(columns=[*dict.fromkeys([*content.costs.columns, *_COSTS])])
    shown = pd.DataFrame(
        {
            "Network": raw["network"],
            **({"Source": raw["source"]} if raw["source"].nunique() > 1 else {}),
            "Input, voxels": raw["input_vox"],
            "Parameters": [count_text(n) for n in raw["parameters"]],
            "Multiply-adds\n(G)": _giga(raw["multiply_adds"]),
            "FLOPs (G)": _giga(raw["flops"]),
            "As published (G)\nin training": [
                one if training in (one, MISSING) else f"{one}\n{training}"
                for one, training in zip(
                    _giga(raw["as_in_table_5"]), _giga(raw["as_in_table_5_training"]), strict=True
                )
            ],
            "Seconds of a pass\nmean ± sd, median": [
                _pass_words(*took)
                for took in zip(
                    raw["pass_s_mean"], raw["pass_s_sd"], raw["pass_s_median"], strict=True
                )
            ],
            "Seconds of a case\nmean ± sd": [
                f"{number_text(mean)} ± {number_text(sd)}" if is_number(mean) else MISSING
                for mean, sd in zip(raw["case_s_mean"], raw["case_s_sd"], strict=True)
            ],
            "Memory (MiB)": [
                count_text(n / MIB) if is_number(n) else MISSING for n in raw["memory_bytes"]
            ],
        }
    ).fillna(MISSING)
    first = raw.iloc[0]
    caption = (
        f"One network, one patch: {count_text(first['n_runs'])} passes after "
        f"{count_text(first['n_warm_up'])} of warm-up, one network after the other when all "
        f"trainings were done, on {first['device']} with {count_text(first['threads'])} thread(s) "
        f"({first['machine']}). FLOPs count a multiply-add as two; as published: multiply-adds and "
        "normalisations, which the published table calls Gflops; the second number: of a pass in "
        "training, with the coarse heads of deep supervision."
        + (_NOTE_ON_TOPOLOGIES if (raw["source"] != MEASURED).any() else "")
        + " Seconds of a case: reading of "
        "the prepared scan to label map, as it went during the study, beside other work. Memory: "
        "weights and the largest sum of tensors alive in a pass, by count."
    )
    return "cost", "Cost of the networks", raw, shown, caption


_COSTS = (
    "as_in_table_5_training", "multiply_adds", "flops", "pass_s_mean", "pass_s_sd", "pass_s_median",
    "case_s_mean", "case_s_sd", "memory_bytes", "input_vox",
)  # fmt: skip

_NOTE_ON_TOPOLOGIES = (
    f" '{PUBLISHED}': as the paper prints it, on its own machine; '{COUNTED}': the network of the "
    "paper, counted and neither trained nor timed."
)


def _giga(numbers: pd.Series) -> list[str]:
    return [number_text(n / 1e9, 3) if is_number(n) else MISSING for n in numbers]


def _pass_words(mean: float, sd: float, median: float) -> str:
    if not is_number(mean):
        return MISSING
    spread = f" ± {number_text(sd, 4)}\n{number_text(median, 4)}" if is_number(median) else ""
    return f"{number_text(mean, 4)}{spread}"


def _drafted(table: str, title: str, raw: pd.DataFrame, key: str) -> Draft:
    if raw.empty:
        return key, title, None, NOTHING, "There is nothing to show."
    return key, title, raw, display(table, raw), note(table, raw)
