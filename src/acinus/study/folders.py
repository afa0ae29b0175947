"""Where the files of a run and of a study lie.

Enters: the output folder. Leaves: names, in one place.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunFolder:
    """The folder of one arm or variant."""

    root: Path

    @property
    def check(self) -> Path:
        """Faults found in the dataset."""
        return self.root / "check.json"

    @property
    def fingerprint(self) -> Path:
        """Facts of the dataset."""
        return self.root / "fingerprint.json"

    @property
    def plan(self) -> Path:
        """Every decision."""
        return self.root / "plan.yaml"

    @property
    def store(self) -> Path:
        """Prepared arrays."""
        return self.root / "store"

    @property
    def previous(self) -> Path:
        """What the low resolution of a cascade found, on the prepared grid."""
        return self.root / "previous"

    @property
    def model(self) -> Path:
        """The model folder."""
        return self.root / "model"

    @property
    def sampling_table(self) -> Path:
        """Share of patches with foreground under each sampling."""
        return self.root / "sampling.csv"

    @property
    def sampling_maps(self) -> Path:
        """A slice with the regions of the samplings."""
        return self.root / "sampling.npz"

    @property
    def predictions_table(self) -> Path:
        """A row per predicted case and label."""
        return self.root / "predictions.csv"

    @property
    def scores(self) -> Path:
        """A row per case, label and measure."""
        return self.root / "scores.csv"

    @property
    def external_model(self) -> Path:
        """Which folds segmented the hold-out, and the validation scores that chose them."""
        return self.root / "external_model.json"

    @property
    def localisation(self) -> Path:
        """A row per case and place: how well its box was found."""
        return self.root / "localisation.csv"

    @property
    def saliency(self) -> Path:
        """Grad-CAM maps of one slice."""
        return self.root / "gradcam.npz"

    @property
    def cost(self) -> Path:
        """Parameters, operations and time of the network."""
        return self.root / "cost.json"

    @property
    def readings(self) -> Path:
        """Second and repeated readings against the first: a row per case, label and measure."""
        return self.root / "readings.csv"

    @property
    def unlabelled(self) -> Path:
        """What was made of scans without a reference, a folder a group, and their table."""
        return self.root / "unlabelled"

    @property
    def missing_channels(self) -> Path:
        """Scores of the hold-out with channels left out: a row per case, label and measure."""
        return self.root / "missing_channels.csv"

    def training(self, fold: int) -> Path:
        """Curves and checkpoint of a fold."""
        return self.root / "training" / f"fold_{fold}"

    def boxes(self, part: str) -> Path:
        """Boxes of the locate stage, of ``holdout`` or of the validation cases of a fold."""
        return self.root / "boxes" / f"{part}.csv"

    def predictions(self, part: str) -> Path:
        """Label maps of ``holdout`` or ``validation``; of ``missing_channels`` a folder a set."""
        return self.root / "predictions" / part


@dataclass(frozen=True)
class StudyFolder:
    """The folder of a study, or of a run, which is a study of one arm."""

    root: Path
    is_run: bool = False

    @property
    def study(self) -> Path:
        """The study as resolved: what this folder belongs to."""
        return self.root / "study.yaml"

    @property
    def identity(self) -> Path:
        """What the folder belongs to: study, recipe, datasets, seed."""
        return self.root / "identity.json"

    @property
    def split(self) -> Path:
        """Who trains, validates and is kept."""
        return self.root / "split.json"

    @property
    def clock(self) -> Path:
        """Seconds used so far."""
        return self.root / "clock.json"

    @property
    def provenance(self) -> Path:
        """Command, versions, machine, hashes."""
        return self.root / "provenance.json"

    def arm(self, name: str) -> RunFolder:
        """The folder of an arm; a run's only arm lies in the root."""
        return RunFolder(self.root if self.is_run else self.root / "arms" / name)

    def variant(self, variant: str, arm: str) -> RunFolder:
        """The folder of an arm under a variant."""
        vary = self.root / "vary" / variant
        return RunFolder(vary if self.is_run else vary / arm)

    def benchmark(self, network: str, arm: str) -> RunFolder:
        """The folder of a network of the benchmark on an arm."""
        return RunFolder(self.root / "benchmark" / network / arm)

    def benchmark_split(self, arm: str) -> Path:
        """Who trains, validates and tests the networks of the benchmark on an arm."""
        return self.root / "benchmark" / f"split-{arm}.json"
