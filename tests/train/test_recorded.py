"""Steps that a GPU records and replays; what can be seen without one is tested without."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from made_store import fold_job

from acinus import progress
from acinus.train.fold import Training
from acinus.train.recorded import WARM_STEPS, Recorded
from made_plan import made_plan

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")


def losses(root: Path, name: str, **train: object) -> list[float]:
    plan = made_plan({"train": {"device": "cuda", "precision": "float32", **train}})
    with progress.quiet():
        training = Training(fold_job(root, plan=plan, name=name))
        found = [float(training.step(step)) for step in range(3 * WARM_STEPS)]
        training.close()
    return found


@needs_gpu
def test_a_recorded_training_is_the_one_that_is_not_recorded(tmp_path: Path) -> None:
    plain = losses(tmp_path, "plain", compile="off")
    assert losses(tmp_path, "recorded") == pytest.approx(plain, rel=1e-3)


@needs_gpu
def test_what_cannot_be_recorded_goes_on_without(capsys: pytest.CaptureFixture[str]) -> None:
    weight = torch.ones(1, device="cuda", requires_grad=True)

    def compute(image: torch.Tensor, *_: object) -> torch.Tensor:
        weight.grad = None
        loss = (weight * image.sum().item()).sum()
        loss.backward()
        return loss.detach()

    recorded = Recorded(compute)
    image = torch.arange(4.0, device="cuda")
    values = [float(recorded(image + n, image, None)) for n in range(2 * WARM_STEPS)]
    assert values == [6.0 + 4 * n for n in range(2 * WARM_STEPS)]
    assert "cannot be recorded" in capsys.readouterr().err


def test_the_first_steps_are_computed_as_they_are() -> None:
    seen: list[tuple[float, bool]] = []

    def compute(
        image: torch.Tensor, label: torch.Tensor, annotated: torch.Tensor | None
    ) -> torch.Tensor:
        seen.append((float(image.sum()), annotated is None))
        return image.mean()

    recorded, label = Recorded(compute), torch.zeros(2)
    known = torch.ones(2)
    values = [
        float(recorded(torch.full((2,), float(n)), label, known if n else None))
        for n in range(WARM_STEPS)
    ]
    assert values == [float(n) for n in range(WARM_STEPS)]
    assert seen == [(2.0 * n, n == 0) for n in range(WARM_STEPS)]


def test_a_training_on_a_cpu_is_not_recorded(tmp_path: Path) -> None:
    training = Training(fold_job(tmp_path))
    assert not isinstance(training.loss_and_gradients, Recorded)
    training.close()
