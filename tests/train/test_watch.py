"""A look at held-out patches, against Dice counted with numpy; collapse told from what is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from acinus.plan import Plan
from acinus.train.watch import Look, is_best, lost_labels, measure_look
from acinus.types import IGNORE
from made_plan import made_plan, unread_dataset

NAMES = ("gland_right", "gland_left")


class Painted(nn.Module):
    """Says logits that were made beforehand, as the image's channels."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images * self.weight


def made_look(
    n: int, size: tuple[int, ...], k: int, seed: int = 0, values: int = 3, ignored: bool = False
) -> Look:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, k, *size)).astype(np.float32)
    label = rng.integers(0, values, (n, *size))
    if ignored:
        label[:, :2] = IGNORE
    return Look(torch.from_numpy(logits), torch.from_numpy(label), None)


def mean_loss(logits: torch.Tensor, label: torch.Tensor, annotated: object) -> torch.Tensor:
    return logits.abs().mean()


def exact_plan(**dataset: Any) -> Plan:
    return made_plan({"train": {"precision": "float32"}}, dataset=unread_dataset(**dataset))


def dice(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()))


@pytest.mark.parametrize("size", [(16, 20), (4, 12, 10)])
@pytest.mark.parametrize("ignored", [False, True])
def test_dice_pools_the_voxels_of_all_patches(size: tuple[int, ...], ignored: bool) -> None:
    look = made_look(7, size, 3, ignored=ignored)
    row = measure_look(Painted(), mean_loss, look, exact_plan())
    label, winner = look.label.numpy(), look.image.numpy().argmax(axis=1)
    known = label != IGNORE
    expected = [dice((winner == v) & known, label == v) for v in (1, 2)]
    assert [row[f"validation_dice_{name}"] for name in NAMES] == pytest.approx(expected)
    assert row["validation_dice"] == pytest.approx(np.mean(expected))
    assert row["validation_loss"] == pytest.approx(float(look.image.abs().mean()), rel=1e-5)


def test_large_patches_are_looked_at_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    look = made_look(6, (16, 16), 3)
    expected = measure_look(Painted(), mean_loss, look, exact_plan())
    monkeypatch.setattr("acinus.train.watch.VOXELS_AT_ONCE", 2 * 16 * 16)
    seen = []
    network = Painted()
    network.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
    found = measure_look(network, mean_loss, look, exact_plan())
    assert seen == [2, 2, 2]
    assert found == pytest.approx(expected, rel=1e-5)


def test_regions_are_judged_by_the_values_that_they_unite() -> None:
    regions = {"whole": (1, 2), "core": (2,)}
    labels = {"whole": 1, "core": 2}
    plan = exact_plan(labels=labels, regions=regions, mirror_pairs=(), sides={})
    assert plan.label_values == ((1, 2), (2,))
    look = made_look(5, (12, 12), 2)
    row = measure_look(Painted(), mean_loss, look, plan)
    logits, label = look.image.numpy(), look.label.numpy()
    assert row["validation_dice_whole"] == pytest.approx(dice(logits[:, 0] > 0, label > 0))
    assert row["validation_dice_core"] == pytest.approx(dice(logits[:, 1] > 0, label == 2))


def test_cases_in_which_a_label_was_not_annotated_do_not_judge_it() -> None:
    look = made_look(4, (12, 12), 3)
    flags = torch.tensor([[True, True], [True, False], [False, True], [True, False]])
    row = measure_look(Painted(), mean_loss, Look(look.image, look.label, flags), exact_plan())
    label, winner = look.label.numpy(), look.image.numpy().argmax(axis=1)
    right, left = [0, 1, 3], [0, 2]
    assert row["validation_dice_gland_right"] == pytest.approx(
        dice(winner[right] == 1, label[right] == 1)
    )
    assert row["validation_dice_gland_left"] == pytest.approx(
        dice(winner[left] == 2, label[left] == 2)
    )


def test_a_label_that_is_nowhere_has_no_dice_and_nothing_to_look_at_no_row() -> None:
    look = made_look(3, (8, 8), 3, values=1)
    empty = Look(look.image.clone(), look.label, None)
    empty.image[:, 2] = -9
    row = measure_look(Painted(), mean_loss, empty, exact_plan())
    assert "validation_dice_gland_left" not in row
    assert row["validation_dice_gland_right"] == row["validation_dice"] == 0
    empty.image[:, 0] = 9
    assert "validation_dice" not in measure_look(Painted(), mean_loss, empty, exact_plan())
    assert measure_look(Painted(), mean_loss, None, exact_plan()) == {}


def rows_of(*values: float | None) -> list[dict[str, float]]:
    return [{} if one is None else {"validation_dice_gland_left": one} for one in values]


@pytest.mark.parametrize(
    ("values", "is_lost"),
    [
        ((0.1, 0.0, 0.0, 0.0), True),
        ((0.5, 0.7, 0.0, 0.0, 0.0), True),
        ((0.5, 0.0, None, 0.0, None, 0.0), True),  # epochs without a Dice tell nothing
        ((0.5, 0.0, 0.0), False),  # not for long enough
        ((0.09, 0.0, 0.0, 0.0), False),  # hardly learned
        ((0.5, 0.0, 0.0, 0.0, 0.01), False),  # it comes back
        ((0.0, 0.0, 0.0, 0.0), False),
        ((), False),
    ],
)
def test_a_label_is_lost_when_it_was_learned_and_stays_at_zero(
    values: tuple[float | None, ...], is_lost: bool
) -> None:
    assert lost_labels(rows_of(*values), NAMES) == (("gland_left",) if is_lost else ())


def test_the_best_row_is_the_first_that_reached_the_highest_dice() -> None:
    def best(*values: float) -> bool:
        return is_best([{"validation_dice": value} for value in values])

    assert best(0.2)
    assert best(0.2, 0.1, 0.3)
    assert not best(0.2, 0.2)
    assert not best(0.2, 0.1)
    assert not best(0.0)
    assert not is_best([])
    assert not is_best([{"epoch": 1}])


def test_a_look_that_lost_a_label_is_not_the_best() -> None:
    """One gland dead and the other perfect has the higher mean, and is the worse model."""
    rows = [
        {"validation_dice": a / 2 + b / 2, "validation_dice_x": a, "validation_dice_y": b}
        for a, b in ((0.0, 0.0), (0.4, 0.4), (0.0, 0.9), (0.45, 0.4), (0.9, 0.0))
    ]
    found = [is_best(rows[: n + 1]) for n in range(len(rows))]
    assert found == [False, True, False, True, False]


def test_at_the_end_one_look_at_zero_is_enough() -> None:
    rows = rows_of(0.5, 0.6, 0.0)
    assert lost_labels(rows, NAMES) == ()
    assert lost_labels(rows, NAMES, looks=1) == ("gland_left",)
