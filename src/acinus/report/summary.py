"""The summary in plain words, for a reader who opens no table.

Enters: what the report is made from and its numbers. Leaves: sentences with their
n. They say what was measured, and leave conclusions to the reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from acinus.evaluate.clusters import group_words
from acinus.evaluate.tables import EXTERNAL, INTERNAL
from acinus.evaluate.wording import ALL_LABELS, interval, label_title, p_value, signed
from acinus.measure.statistics import ALPHA
from acinus.report.centres import centre_dice
from acinus.report.choose import overall
from acinus.report.content import ArmContent, ReportContent
from acinus.report.numbers import (
    count_text,
    in_sentence,
    is_number,
    join_words,
    number_text,
    plural,
)
from acinus.report.sequences import sequence_words
from acinus.report.tables import Numbers

NOT_CLINICAL = (
    "Research software. Not a medical device and not for clinical use: no number or outline here "
    "may guide the care of a patient."
)

SYNTHETIC = (
    "SYNTHETIC IMAGES. All or some images of this report were made by a program, not acquired "
    "from patients. The numbers show that the method runs; they say nothing about patients or "
    "scanners."
)


def summarise_in_words(content: ReportContent, numbers: Numbers) -> list[str]:
    """Paragraphs: what was done, on what, what came out, how sure it is."""
    paragraphs = [_what_was_done(content)]
    paragraphs += [_result(arm, numbers) + _by_centre(content, arm) for arm in content.arms]
    paragraphs += list(dict.fromkeys(text for arm in content.arms for text in arm.caveats))
    paragraphs += sequence_words(content)
    comparison = _comparison(content, numbers)
    if comparison:
        paragraphs.append(comparison)
    paragraphs.append(
        "Dice says how well two outlines agree, from 0 (no overlap) to 1 (identical). HD95 says "
        "how far their surfaces lie apart, in mm. The 95% interval says where the mean could lie "
        "with other participants of the same kind; with few participants it is rough."
    )
    return paragraphs


def _what_was_done(content: ReportContent) -> str:
    labels = join_words([in_sentence(label_title(name)) for name in content.labels])
    arms = join_words([arm.name for arm in content.arms])
    words = [content.what_it_is] if content.what_it_is else []
    each = "a network was" if len(content.arms) == 1 else "one network each was"
    words.append(f"On {arms}, {each} trained to outline {labels}.")
    for arm in content.cohorts:
        slices = (
            f", {plural(arm.n_training_slices, 'slice')}"
            if arm.n_training_slices is not None
            else ""
        )
        who = arm.name if len(content.cohorts) > 1 or len(content.arms) == 1 else "All alike"
        words.append(
            f"{who}: {plural(len(arm.train_participants), 'participant')} for training and "
            f"validation{slices}, {plural(len(arm.holdout_participants), 'participant')} kept "
            "aside for one test."
        )
    words += _folds(content)
    return " ".join(words)


def _folds(content: ReportContent) -> list[str]:
    """How many networks were trained, of how many folds."""
    n_folds = len(content.split.get("folds", ()))
    if n_folds < 2:
        return []
    counts = {
        n_folds if arm.trained_folds is None else len(arm.trained_folds) for arm in content.arms
    }
    if counts == {n_folds}:
        return [f"Training went in {n_folds} folds by participant."]
    if len(counts) == 1:
        n = counts.pop()
        return [f"Of {n_folds} folds by participant {n} {'was' if n == 1 else 'were'} trained."]
    each = [
        f"{n_folds if arm.trained_folds is None else len(arm.trained_folds)} on {arm.name}"
        for arm in content.arms
    ]
    return [f"Of {n_folds} folds by participant {join_words(each)} were trained."]


def _result(arm: ArmContent, numbers: Numbers) -> str:
    dice = overall(numbers.evaluation, arm.name, "dice")
    if dice is None or not is_number(dice["mean"]):
        return f"{arm.name}: no prediction of the hold-out could be scored."
    text = f"{arm.name}: mean Dice {number_text(dice['mean'])} on the hold-out ("
    if is_number(dice["low"]):
        text += f"95% interval {interval(dice['low'], dice['high'])}; "
    text += (
        f"n = {plural(int(dice['n']), 'structure')} in "
        f"{plural(int(dice['n_participants']), 'participant')}{group_words(dice)})."
    )
    text += _volumes(arm, numbers)
    missed = int(dice["n_missed"])
    if missed:
        verbs = ("was", "counts") if missed == 1 else ("were", "count")
        text += f" {count_text(missed)} {verbs[0]} missed altogether and {verbs[1]} as Dice 0."
    if dice["n_failed"]:
        text += f" {plural(int(dice['n_failed']), 'structure')} could not be judged (see below)."
    return text


def _volumes(arm: ArmContent, numbers: Numbers) -> str:
    """How volumes correlate: over the two sides of one organ, else from label to label."""
    volume = overall(numbers.agreement, arm.name)
    rows = numbers.agreement[numbers.agreement["arm"] == arm.name]
    found = rows["r"].dropna() if volume is None else pd.Series([volume["r"]]).dropna()
    if found.empty:
        return ""
    low, high = number_text(found.min()), number_text(found.max())
    if low == high:
        return f" Predicted and reference volumes correlate with r = {low}."
    return (
        f" Predicted and reference volumes of a structure correlate with r = {low} to {high} "
        f"({plural(len(found), 'structure')})."
    )


def _by_centre(content: ReportContent, arm: ArmContent) -> str:
    """What the external centres, which are the hold-out, lose against the internal ones."""
    if not arm.site_column:
        return ""
    table = centre_dice(content, arm)
    inside = table.loc[table["role"] == INTERNAL, "dice"].dropna()
    outside = table.loc[table["role"] == EXTERNAL, "dice"].dropna()
    if inside.empty or outside.empty or not inside.mean() > 0:
        return ""
    change = 100 * (outside.mean() / inside.mean() - 1)
    return (
        f" The hold-out is of other centres; within the centres that it learned from, out of fold, "
        f"the mean Dice is {number_text(inside.mean())}: a change of {signed(change, 1)}%."
    )


def _comparison(content: ReportContent, numbers: Numbers) -> str:
    table = numbers.comparison
    if table.empty:
        return ""
    rows = table[(table["metric"] == "dice")]
    pooled = rows[rows["label"] == ALL_LABELS]
    sentences = []
    for row in (pooled if len(pooled) else rows).to_dict("records"):
        if not is_number(row["difference"]):
            continue
        word = "higher" if row["difference"] >= 0 else "lower"
        text = (
            f"On the {plural(int(row['n_participants']), 'participant')}{group_words(row)} that "
            "both have, "
            f"{row['a']} scored {abs(row['difference']):.2f} {word} in mean Dice than {row['b']}"
        )
        sentences.append(f"{text}{_evidence(row)}.")
    return " ".join(sentences)


def _evidence(row: Mapping[Any, Any]) -> str:
    """Interval and p-value of a difference, and whether they leave open which is better."""
    if not is_number(row["wilcoxon_p"]):
        return f" ({row['reason']})" if row["reason"] else ""
    has_interval = is_number(row["low"])
    words = "too few for an interval of the difference"
    if has_interval:
        words = f"95% interval of the difference {interval(row['low'], row['high'])}"
    p, corrected = p_value(row["wilcoxon_p"]), p_value(row["wilcoxon_p_holm"])
    text = f" ({words}; Wilcoxon p {p if p.startswith('<') else '= ' + p}, corrected {corrected})"
    if not has_interval or row["low"] <= 0 <= row["high"] or row["wilcoxon_p_holm"] >= ALPHA:
        text += ", which leaves open which is better"
    return text
