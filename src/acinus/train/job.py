"""What one training needs, and whether it is done.

Enters: a plan, a store and the cases of a fold. Leaves: a `FoldJob`, which refuses
the folder of another plan, seed or split, and weights that were altered since.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acinus.errors import PlanError
from acinus.files import hash_file, read_json
from acinus.plan import Plan
from acinus.prepare import Store


@dataclass(frozen=True)
class FoldJob:
    """What one training needs.

    Attributes:
        plan: Frozen decisions.
        store: Prepared cases.
        fold: Index of the fold.
        train_cases: Case ids that are learned from.
        validation_cases: Case ids of the held-out part.
        folder: For curves and checkpoint, ``training/fold_K``.
        weights: File that receives the final weights.
        seconds_left: Wall time that this training may still take, s; None without a clock.
        annotated: Case to its annotated labels; a case that is not in it has all.
    """

    plan: Plan
    store: Store
    fold: int
    train_cases: tuple[str, ...]
    validation_cases: tuple[str, ...]
    folder: Path
    weights: Path
    seconds_left: Callable[[], float] | None = None
    annotated: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def annotation_flags(self) -> dict[str, list[bool]]:
        """Case to one flag a label, whether it was annotated there."""
        names = list(self.plan.dataset.labels)
        return {case: [name in given for name in names] for case, given in self.annotated.items()}

    def key(self) -> dict[str, Any]:
        """What the result depends on; a folder with another key is refused."""
        return {
            "plan": self.plan.hash(),
            "fold": self.fold,
            "train_cases": list(self.train_cases),
        }


def is_trained(job: FoldJob) -> bool:
    """Whether the weights of a training are written.

    Raises:
        PlanError: The folder belongs to another plan, seed or split, or its weights are not
            those that the training wrote.
    """
    done = job.folder / "done.json"
    if not done.is_file():
        return False
    facts = read_json(done)
    refuse_other_key(job, facts, done)
    if not job.weights.is_file():
        return False
    _refuse_altered(job.weights, facts)
    return True


def refuse_other_key(job: FoldJob, state: Mapping[str, Any], path: Path) -> None:
    """Raise PlanError unless a file of a training belongs to this job."""
    for name, ours in job.key().items():
        if state.get(name) != ours:
            raise PlanError(
                f"{path}: must belong to this plan, seed and split; its {name} differs. "
                "Choose another --out folder, or delete this one."
            )


def _refuse_altered(weights: Path, facts: dict[str, Any]) -> None:
    found = hash_file(weights)
    if found != facts.get("sha256"):
        raise PlanError(
            f"{weights}: must be the weights that this training wrote (SHA-256 "
            f"{str(facts.get('sha256'))[:12]}…); found {found[:12]}…. Put the file back, or delete "
            "it to train this fold again."
        )
