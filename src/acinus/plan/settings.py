"""What a recipe states and a plan freezes: the settings of the making wing.

Enters: recipe YAML with differences only. Leaves: one frozen `Recipe`. Every
default stands here once. Import paths and arithmetic in YAML were rejected:
parts are named, and values that follow from data are decided by the rules.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from acinus.config import Settings

Provenance = Literal["paper", "ours", "data", "budget", "user"]
"""Where a value comes from: stated by the published study, chosen by us, derived
from the data, derived from the budget, or set by the user."""


class Choice(Settings):
    """A registered part by name, with its own settings."""

    name: str
    config: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, stated: Any) -> Any:
        return {"name": stated} if isinstance(stated, str) else stated


class PrepareSettings(Settings):
    """How a scan becomes an array that the network sees."""

    normalisation: Literal["min_max", "z_score"] = "z_score"
    in_plane_spacing_mm: float | None = Field(None, gt=0)
    """Common isometric spacing of Y and X, mm; None: decided by rule (median of the cases)."""
    size_vox: tuple[int, int] | None = None
    """(Y, X) size to crop or pad to, never squeezed; None: each case keeps its own."""
    slice_axis: Literal["auto", "Z", "Y", "X"] = "auto"
    """Anatomical axis that 2D slices are stacked along; auto: the one of coarsest spacing."""

    @field_validator("size_vox")
    @classmethod
    def _size_is_positive(cls, size: tuple[int, int] | None) -> tuple[int, int] | None:
        if size is not None and min(size) < 1:
            raise ValueError("must be two lengths of at least 1 voxel")
        return size


class AugmentSettings(Settings):
    """Random changes of training patches; each is drawn per patch."""

    flip: float = Field(0.5, ge=0, le=1)
    """Probability of a flip per axis that `mirroring` allows."""
    scale: float = Field(0.3, ge=0, le=1)
    scale_range: tuple[float, float] = (0.85, 1.2)
    rotate: float = Field(0.3, ge=0, le=1)
    rotate_degrees: float = Field(15.0, ge=0, le=180)
    """Largest angle in either direction."""
    noise: float = Field(0.3, ge=0, le=1)
    noise_sd: float = Field(0.1, ge=0)
    """Largest standard deviation, in units of the standard deviation of the patch."""
    gain: float = Field(0.3, ge=0, le=1)
    gain_range: tuple[float, float] = (0.8, 1.25)
    """Factor on the normalised intensities."""

    @field_validator("scale_range", "gain_range")
    @classmethod
    def _factors_rise(cls, factors: tuple[float, float]) -> tuple[float, float]:
        # Drawn uniformly in the logarithm, so 0 cannot be.
        if not 0 < factors[0] <= factors[1]:
            raise ValueError("must be two factors above 0, the smaller first")
        return factors


class TrainSettings(Settings):
    """The training run."""

    patch_vox: tuple[int, ...] = (128, 128)
    """(Y, X) for 2D, (Z, Y, X) for 3D."""
    batch: int = Field(16, ge=1)
    optimiser: Literal["adam", "adamw", "sgd"] = "adamw"
    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    schedule: Literal["polynomial", "cosine", "constant"] = "cosine"
    warmup: float = Field(0.03, ge=0, lt=1)
    """Share of the steps with a rising learning rate."""
    epochs: int = Field(100, ge=1)
    steps_per_epoch: int | None = Field(None, ge=1)
    """None: as many steps as show each training slice once."""
    gradient_clip: float | None = Field(12.0, gt=0)
    average_decay: float | None = Field(None, gt=0, lt=1)
    """Decay of the running average of the weights that is kept; None: the last weights."""
    threads: int = Field(2, ge=1)
    mirroring: Literal["swap", "none", "plain"] = "swap"
    """What a flip across the sagittal plane does to the labels of a mirror pair."""
    mirror_axes: tuple[Literal["Z", "Y", "X"], ...] = ("X",)
    """Anatomical axes that may be flipped: X is left-right."""

    @field_validator("patch_vox")
    @classmethod
    def _patch_is_positive(cls, patch: tuple[int, ...]) -> tuple[int, ...]:
        if not patch or min(patch) < 1:
            raise ValueError("must be lengths of at least 1 voxel, rows first")
        return patch


class PredictSettings(Settings):
    """From an image to a label map."""

    overlap: float = Field(0.25, ge=0, lt=1)
    """Share that neighbouring tiles overlap."""
    blend: Literal["constant", "gaussian"] = "gaussian"
    postprocess: Literal["largest_component", "validation", "none"] = "validation"
    """validation: the largest component of a label is kept only where validation gains by it."""
    use_mirroring: bool = False
    """Average over sagittal mirroring with swapped labels at test time."""


class Recipe(Settings):
    """A named preset: everything a plan needs beside the data."""

    name: str = "unnamed"
    summary: str = ""
    prepare: PrepareSettings = PrepareSettings()
    network: Choice = Choice(name="unet_2d")
    loss: Choice = Choice(name="dice_ce")
    sampling: Choice = Choice(name="region")
    augment: AugmentSettings = AugmentSettings()
    train: TrainSettings = TrainSettings()
    predict: PredictSettings = PredictSettings()
    folds: int = Field(4, ge=2)
    """Parts that the training participants are divided into."""
    folds_trained: int | None = Field(None, ge=1)
    """How many of the folds are trained; None: all. 1 trains one model on all but one part."""
    holdout: float = Field(0.2, ge=0, lt=1)
    """Share of the participants kept for the final test when no study says otherwise."""
    provenance: dict[str, Provenance] = Field(default_factory=dict)
    """Dotted key to where its value comes from; a key that is not listed is ours."""

    @model_validator(mode="after")
    def _provenance_names_settings(self) -> Recipe:
        for dotted in self.provenance:
            node: Any = self
            for part in dotted.split("."):
                if not hasattr(node, part):
                    raise ValueError(f"provenance names '{dotted}', which is no setting")
                node = getattr(node, part)
        return self
