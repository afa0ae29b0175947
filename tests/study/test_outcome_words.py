"""The sentence on the Dice that a run ends with."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from acinus.evaluate import score_table
from acinus.study.run import dice_sentences


@pytest.mark.parametrize(
    ("dice", "words"),
    [
        ({"a": 0.5}, "Dice 0.50 ± – over 1 structures of 1 hold-out cases, 0 undefined; a 0.50"),
        ({"a": 0.5, "b": None}, "Dice 0.50 ± – over 1 structures of 1 hold-out cases, 1 undef"),
        ({"a": None}, "Dice undefined over 0 structures of 1 hold-out cases, 1 undefined; a –"),
    ],
)
def test_one_value_is_a_mean_and_none_is_not(dice: dict[str, float | None], words: str) -> None:
    scores = score_table(
        [
            {
                "case": "c",
                "participant": "p",
                "arm": "T1",
                "model": "final",
                "part": "holdout",
                "label": label,
                "metric": "dice",
                "value": value,
                "unit": "1",
                "status": "undefined" if value is None else "ok",
                "reason": "",
            }
            for label, value in dice.items()
        ]
    )
    (sentence,) = dice_sentences(scores, {"T1": SimpleNamespace(synthetic=False)})  # type: ignore[dict-item]
    assert sentence.startswith(f"T1: {words}")
    failed = scores.assign(case="d", status="failed", value=float("nan"))
    both = pd.concat([scores, failed], ignore_index=True)
    (sentence,) = dice_sentences(both, {"T1": SimpleNamespace(synthetic=False)})  # type: ignore[dict-item]
    n_undefined = sum(value is None for value in dice.values())
    assert f"of 2 hold-out cases, {n_undefined} undefined, {len(dice)} failed;" in sentence
