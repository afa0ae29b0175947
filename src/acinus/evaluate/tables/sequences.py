"""Which sequences are needed: models of subsets of the channels against the model of all.

Enters: scores of arms that differ in their channels alone, tested on the same cases. Leaves: for
each subset its mean and the difference from the full set with interval, one-sided p and verdict at
a stated margin; and the smallest set that is not inferior. Taking the best mean was rejected:
among many sets the best one is best by chance too, and asks for sequences that add nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from acinus.evaluate.clusters import COUNTS, group_words, note_on_clusters, observed
from acinus.evaluate.structures import MISSED, select, structures
from acinus.evaluate.tables.numbers import Kind, records, table_of
from acinus.evaluate.tables.summaries import on_lines, shown_table
from acinus.evaluate.wording import decimals, metric_title, p_value, signed
from acinus.measure import MEASURES
from acinus.measure.statistics import adjusted_p, noninferiority
from acinus.measure.statistics.bootstrap import SEED

ONE_SIDED_LEVEL = 0.025
"""Level of the one-sided tests: that of a two-sided 95% interval against the margin."""

SEQUENCE_COLUMNS: dict[str, Kind] = {
    "set": "str",
    "channels": "str",
    "n_channels": "int64",
    "role": "str",
    "measure": "str",
    "n": "int64",
    **COUNTS,
    "mean": "float64",
    "n_undefined": "int64",
    "n_missed": "int64",
    "n_pairs": "int64",
    "n_lost": "int64",
    "difference": "float64",
    "low": "float64",
    "high": "float64",
    "bootstrap_low": "float64",
    "bootstrap_high": "float64",
    "margin": "float64",
    "p": "float64",
    "p_adjusted": "float64",
    "verdict_alone": "str",
    "verdict": "str",
    "reason": "str",
}
"""role: ``full`` for the set that the others are compared with, else ``subset``; n: structures
with a value; mean: of the clusters' means; n_missed: drawn, and nothing predicted; n_lost: the
full set has a value and this set has none; difference: > 0 if this set is better than the full
one, mean over clusters, with its 95% intervals by t (low, high) and by bootstrap; p: one-sided, of
"short by the margin or more"; p_adjusted: by Holm over the subsets; verdict_alone: before that."""


def sequence_table(
    scores: pd.DataFrame,
    sets: Mapping[str, Sequence[str]],
    *,
    margin: float,
    measure: str = "dice",
    model: str = "final",
    seed: int = SEED,
) -> pd.DataFrame:
    """Every set of channels against the full one on the hold-out.

    A subset is not inferior if both 95% intervals of its difference lie above minus the margin
    and its one-sided p, corrected by Holm for the number of subsets, lies below
    `ONE_SIDED_LEVEL`; inferior if both intervals lie below; else undecided. A structure that has
    a value with the full set and none with the subset would be left out of the difference; where
    there is one, the subset is not called "not inferior". Nothing is decided against a full set
    whose own mean is not above the margin: nothing could fall short of it by that much.

    Args:
        scores: Score table whose arms are the sets.
        sets: Arm to its channels; the last is the full set.
        margin: Loss that would not matter, in the unit of the measure, > 0.
        measure: What is compared.
        model: Which model of each arm.
        seed: Of the bootstrap.

    Returns:
        Columns of `SEQUENCE_COLUMNS`, in the order of `sets`; empty without scores.

    Source: Piaggio et al. 2012, JAMA 308(24):2594-2604; Holm 1979, Scandinavian Journal of
    Statistics 6(2):65-70.
    """
    wide = _of_measure(scores, measure, model)
    if wide.empty:
        return table_of([], SEQUENCE_COLUMNS)
    full = list(sets)[-1]
    reference = wide[wide["arm"] == full]
    rows = []
    for name, channels in sets.items():
        own = wide[wide["arm"] == name]
        row = {"set": name, "channels": ", ".join(channels), "n_channels": len(channels)}
        row |= {"measure": measure, "margin": margin, "p_adjusted": None}
        row |= _summary(own)
        if name == full:
            row |= {"role": "full", **_NOT_COMPARED}
        else:
            row |= {"role": "subset", **_against(own, reference, measure, margin, seed)}
        rows.append(row)
    _correct(rows)
    _refuse_without_ground(rows, margin, measure)
    return table_of(rows, SEQUENCE_COLUMNS)


def smallest_set(numbers: pd.DataFrame) -> dict[str, Any] | None:
    """The row of the smallest set that is not inferior, of several the one of best mean.

    Args:
        numbers: Of `sequence_table`.
    """
    fit = [row for row in records(numbers) if row["verdict"] == "not inferior"]
    if not fit:
        return None
    sign = 1.0 if _is_higher_better(str(fit[0]["measure"])) else -1.0
    return min(fit, key=lambda row: (row["n_channels"], -sign * row["mean"]))


def sequence_sentence(numbers: pd.DataFrame) -> str:
    """Which set is the smallest that is not inferior, or that none is shown to be."""
    full = next(row for row in records(numbers) if row["role"] == "full")
    subsets = [row for row in records(numbers) if row["role"] == "subset"]
    counts = {
        verdict: sum(row["verdict"] == verdict for row in subsets)
        for verdict in ("not inferior", "inferior", "undecided")
    }
    tally = ", ".join(f"{n} {verdict}" for verdict, n in counts.items())
    title = metric_title(str(full["measure"]))
    found = smallest_set(numbers)
    if found is None:
        return (
            f"No smaller set is shown to be not inferior to all {full['n_channels']} sequences at "
            f"a margin of {full['margin']:g} in {title} ({tally} of {len(subsets)} sets). "
            "Undecided is not inferior: more patients could tell."
        )
    alike = sum(
        row["verdict"] == "not inferior" and row["n_channels"] == found["n_channels"]
        for row in subsets
    )
    among = f"; of {alike} such sets of this size it has the best mean" if alike > 1 else ""
    return (
        f"The smallest set that is not inferior to all {full['n_channels']} sequences at a margin "
        f"of {full['margin']:g} in {title} is {found['channels']} ({decimals(found['mean'], 3)} "
        f"against {decimals(full['mean'], 3)}, difference {_difference(found)}, one-sided p "
        f"{p_value(found['p_adjusted'])} corrected by Holm{among}). {tally} of {len(subsets)} sets."
    )


def display_sequences(
    numbers: pd.DataFrame, names: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """A row a set, smallest first."""
    rows = []
    for row in records(numbers):
        is_full = row["role"] == "full"
        difference = on_lines(signed(row["difference"], 3), row["low"], row["high"], 3)
        corrected = f"{p_value(row['p'])}\n({p_value(row['p_adjusted'])})"
        reason = f"\n({row['reason']})" if row["reason"] else ""
        rows.append(
            {
                "Sequences": row["channels"],
                "n": f"{row['n']} in {row['n_participants']}{group_words(row)}",
                f"{metric_title(row['measure'])}, mean": decimals(row["mean"], 3),
                "Missed / undefined": f"{row['n_missed']} / {row['n_undefined']}",
                "Difference\n(95% interval)": "compared with" if is_full else difference,
                "p, one-sided\n(Holm)": "" if is_full else corrected,
                "Verdict": "" if is_full else row["verdict"] + reason,
            }
        )
    return shown_table(rows, ("Sequences", "n"))


def note_on_sequences(numbers: pd.DataFrame) -> str:
    """What was compared with what, how, and how the number of sets was allowed for."""
    margin = f"{numbers['margin'].iloc[0]:g}, " if len(numbers) else ""
    return (
        "All sets learned from the same participants and were tested on the same hold-out; n: "
        "structures in participants; mean: over units. Missed: drawn, and nothing was "
        "predicted. Compared with all sequences together, which hold all that any subset holds; "
        "the best set would be chosen by the same data. Difference: this set minus all, > 0 if it "
        "is better, within units, one value each; 95% interval by t. Margin "
        f"{margin}stated beforehand. p: one-sided, of a loss of the margin or more; "
        "in brackets corrected by Holm over the subsets, as no order of sets was fixed beforehand. "
        "Not inferior: the intervals by t and by bootstrap lie above minus the margin and the "
        f"corrected p below {ONE_SIDED_LEVEL:g}; inferior: both intervals lie below, not "
        f"corrected; otherwise undecided. {note_on_clusters(numbers)}"
    )


def _of_measure(scores: pd.DataFrame, measure: str, model: str) -> pd.DataFrame:
    """A row per structure of the hold-out, its value in column ``value``."""
    wide = structures(select(scores, model=model, part="holdout"))
    if measure not in wide:
        return wide.iloc[:0]
    return wide.assign(value=wide[measure])


def _summary(own: pd.DataFrame) -> dict[str, Any]:
    """How the structures of one set came out."""
    means = own.groupby("cluster")["value"].mean().dropna()
    return {
        "n": int(own["value"].notna().sum()),
        **observed(own[own["value"].notna()]),
        "mean": float(means.mean()) if means.size else None,
        "n_undefined": int(own["value"].isna().sum()),
        "n_missed": int((own["outcome"] == MISSED).sum()),
    }


_NOT_COMPARED: dict[str, Any] = {
    "n_pairs": 0,
    "n_lost": 0,
    **dict.fromkeys(("difference", "low", "high", "bootstrap_low", "bootstrap_high", "p")),
    **dict.fromkeys(("verdict_alone", "verdict", "reason"), ""),
}
"""What the full set has in place of a comparison."""


def _against(
    own: pd.DataFrame, reference: pd.DataFrame, measure: str, margin: float, seed: int
) -> dict[str, Any]:
    """A subset against the full set, over the structures of the full one.

    A case that has none of the subset's channels is one that the subset lost.
    """
    keys = ["case", "cluster", "label"]
    both = reference[[*keys, "value"]].merge(own[[*keys, "value"]], on=keys, how="left")
    full, tested = both["value_x"], both["value_y"]
    found = noninferiority(
        tested.tolist(),
        full.tolist(),
        both["cluster"].tolist(),
        margin=margin,
        higher_is_better=_is_higher_better(measure),
        seed=seed,
    )
    verdict, reason = str(found.verdict), found.reason
    n_lost = int((tested.isna() & full.notna()).sum())
    if n_lost and verdict == "not inferior":
        verdict, reason = "undecided", f"no value for {n_lost} that the full set has one for"
    return {
        "n_pairs": found.n,
        "n_lost": n_lost,
        "difference": found.mean,
        "low": found.low,
        "high": found.high,
        "bootstrap_low": found.bootstrap_low,
        "bootstrap_high": found.bootstrap_high,
        "p": found.p,
        "verdict_alone": verdict,
        "verdict": verdict,
        "reason": reason,
    }


def _correct(rows: list[dict[str, Any]]) -> None:
    """p and verdict of every subset with the number of subsets allowed for, in place."""
    subsets = [row for row in rows if row["role"] == "subset"]
    for row, p in zip(subsets, adjusted_p([row["p"] for row in subsets]).p, strict=True):
        row["p_adjusted"] = p
        if row["verdict"] == "not inferior" and (p is None or p >= ONE_SIDED_LEVEL):
            row["verdict"] = "undecided"
            row["reason"] = "not inferior if it were the only set"


def _refuse_without_ground(rows: list[dict[str, Any]], margin: float, measure: str) -> None:
    """Decide nothing where the full set is so poor that no set could lose the margin, in place."""
    full = rows[-1]["mean"]
    if not _is_higher_better(measure) or full is None or full > margin:
        return
    for row in rows[:-1]:
        row["verdict"] = "undecided"
        row["reason"] = "the mean of the full set is not above the margin"


def _is_higher_better(measure: str) -> bool:
    return MEASURES[measure].factory.better == "higher"


def _difference(row: Mapping[str, Any]) -> str:
    return on_lines(signed(row["difference"], 3), row["low"], row["high"], 3).replace("\n", " ")
