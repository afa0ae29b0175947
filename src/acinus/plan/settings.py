"""What a recipe states and a plan freezes: the settings of the making wing.

Enters: recipe YAML with differences only. Leaves: one frozen `Recipe`. Every
default stands here once. Import paths and arithmetic in YAML were rejected:
parts are named, and values that follow from data are decided by the rules.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from acinus.config import Settings
from acinus.errors import GridError
from acinus.scans import require_axis_codes

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


Normalisation = Literal["min_max", "z_score", "ct", "rescale_0_1", "rgb_0_1", "none"]
"""How the intensities of one channel come on a common scale, see `prepare/normalise.py`."""

Axis = Literal["Z", "Y", "X"]
"""Canonical anatomical axis: towards superior, anterior, right."""


class ChannelIntensity(Settings):
    """Foreground intensities of one channel over the whole dataset (nnU-Net's fingerprint)."""

    mean: float
    sd: float
    low: float
    """Percentile 0.5."""
    high: float
    """Percentile 99.5."""


class PrepareSettings(Settings):
    """How a scan becomes an array (C, S, R, Q) that the network sees."""

    normalisation: Normalisation | Literal["by_name"] | tuple[Normalisation, ...] = "z_score"
    """One for all channels, or one a channel; by_name: decided from the channel names."""
    normalise_nonzero: bool = False
    """Statistics of z-scores from voxels that are not 0 only; the others stay 0."""
    intensity: tuple[ChannelIntensity, ...] | None = None
    """Per channel, for ``ct``; None: decided from the fingerprint where it is needed."""
    crop_to_nonzero: bool = False
    """Cut away the border in which every channel is 0, before all else."""
    spacing_mm: tuple[float | None, float | None, float | None] | None = None
    """(S, R, Q) spacing after preparation, mm; a None within: as scanned; None: by rule."""
    interpolation: Literal["linear", "cubic"] = "linear"
    """cubic: nnU-Net's, splines of order 3, a coarse axis apart by nearest neighbour."""
    grow_mm: float = Field(0.0, ge=0)
    """By how much each label is grown once it is resampled, so that none is lost between coarse
    voxels: for what is to be found, not measured."""
    size_vox: tuple[int, int] | tuple[int, int, int] | None = None
    """(R, Q) or (S, R, Q) size to crop or pad to, never squeezed; None: each case keeps its own."""
    slice_axis: Literal["auto", "Z", "Y", "X"] = "auto"
    """Anatomical axis that comes first, S; auto: the one of coarsest spacing."""
    orientation: str = "canonical"
    """How arrays are turned: canonical, that is RAS; codes such as LPS, the direction in which
    x, y, z increase; or as_stored. Other than canonical only in models imported from nnU-Net,
    whose axes Z, Y, X then are those of the turned array."""

    @field_validator("orientation")
    @classmethod
    def _orientation_is_known(cls, orientation: str) -> str:
        if orientation not in ("canonical", "as_stored"):
            try:
                require_axis_codes(orientation)
            except GridError:
                raise ValueError(
                    "must be canonical, as_stored, or three letters such as LPS"
                ) from None
        return orientation

    @field_validator("size_vox")
    @classmethod
    def _size_is_positive(cls, size: Any) -> Any:
        if size is not None and min(size) < 1:
            raise ValueError("must be two or three lengths of at least 1 voxel")
        return size

    @field_validator("spacing_mm")
    @classmethod
    def _spacing_is_positive(cls, spacing: Any) -> Any:
        if spacing is not None and any(step is not None and step <= 0 for step in spacing):
            raise ValueError("must be three lengths above 0 mm, or null for 'as scanned'")
        return spacing


class LocateSettings(Settings):
    """Whether, and how, the structures are found before they are segmented at fine spacing."""

    stage: Literal["off", "auto", "network", "rules"] = "off"
    """network: a coarse network over the whole scan proposes a box a place; rules: the head on a
    CT, from bone and the outline of the body; auto: network, where structures fill a tiny share of
    large scans; off: the whole scan is segmented."""
    spacing_mm: float | None = Field(None, gt=0)
    """Isotropic spacing at which places are sought; None: by rule from the size of the scans."""
    margin_mm: float = Field(15.0, ge=0)
    """Around what is found, on each side; also how far a face moves when a mask touches it."""
    box_mm: tuple[float, float, float] | None = None
    """(Z, Y, X) size of every box, about the centre of what was found; None: as large as that,
    with its margin. A box that reaches beyond the scan ends with it."""
    growths: int = Field(3, ge=0)
    """Most times that a box grows and is segmented again."""
    config: dict[str, Any] = Field(default_factory=dict)
    """Changes to the recipe auto, by which the coarse network is trained."""
    places: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Each place with its labels; none: those of 'structures' in dataset.json, and a place of its
    own for every label that is not listed there."""
    mirrored: tuple[str, ...] = ()
    """Places whose boxes the segment stage sees as in a mirror, with the names of the other side:
    it need not tell right from left, which the box says. Decided by rule: those of left labels
    whose partners have a place of their own."""

    @field_validator("box_mm")
    @classmethod
    def _box_is_positive(cls, size: tuple[float, float, float] | None) -> Any:
        if size is not None and min(size) <= 0:
            raise ValueError("must be three lengths above 0 mm, or null")
        return size


class AugmentSettings(Settings):
    """Random changes of training patches; each is drawn per patch."""

    flip: float = Field(0.5, ge=0, le=1)
    """Probability of a flip per axis that `mirroring` allows."""
    scale: float = Field(0.3, ge=0, le=1)
    scale_range: tuple[float, float] = (0.85, 1.2)
    """Magnification; drawn uniformly in its inverse, in which nnU-Net states 0.7 to 1.4."""
    rotate: float = Field(0.3, ge=0, le=1)
    rotate_degrees: float = Field(15.0, ge=0, le=180)
    """Largest angle in either direction."""
    rotate_planes: Literal["all", "in_plane"] = "all"
    """3D patches: about all three axes, or within the slices only (thick slices)."""
    noise: float = Field(0.3, ge=0, le=1)
    noise_sd: float = Field(0.1, ge=0)
    """Largest standard deviation, in units of that of each channel of the patch."""
    blur: float = Field(0.0, ge=0, le=1)
    blur_sigma_vox: tuple[float, float] = (0.5, 1.0)
    brightness: float = Field(0.3, ge=0, le=1)
    brightness_range: tuple[float, float] = (0.8, 1.25)
    """Factor on the normalised intensities."""
    contrast: float = Field(0.0, ge=0, le=1)
    contrast_range: tuple[float, float] = (0.75, 1.25)
    """Factor on the distance to the patch's mean; the patch's range is kept."""
    low_res: float = Field(0.0, ge=0, le=1)
    low_res_range: tuple[float, float] = (0.5, 1.0)
    """Share of the resolution to go down to and back."""
    gamma: float = Field(0.0, ge=0, le=1)
    gamma_inverted: float = Field(0.0, ge=0, le=1)
    gamma_range: tuple[float, float] = (0.7, 1.5)
    """Exponent on intensities scaled to [0, 1]; mean and standard deviation are kept."""
    curve: float = Field(0.0, ge=0, le=1)
    """Probability that intensities go through a random curve, for models of any contrast."""
    curve_knots: int = Field(6, ge=3)
    """Knots of that curve, evenly over the range of the patch; straight lines between them."""
    label_shift: float = Field(0.0, ge=0, le=1)
    """Probability that the structures of a patch get brighter or darker, each on its own."""
    label_shift_most: float = Field(1.5, ge=0)
    """Largest shift of a structure in either direction, in units of the normalised intensities:
    of a CT the standard deviation of its labelled voxels."""
    channel_dropout: float = Field(0.0, ge=0, lt=1)
    """Probability that a channel is taken away, for scans that will lack some; one always stays."""
    previous_shape: float = Field(0.0, ge=0, le=1)
    """Of a cascade: probability that labels of the low resolution grow, shrink or are smoothed."""
    previous_removal: float = Field(0.0, ge=0, le=1)
    """Of a cascade: probability that a connected part of its labels is taken away."""

    @field_validator(
        "scale_range",
        "brightness_range",
        "contrast_range",
        "low_res_range",
        "gamma_range",
        "blur_sigma_vox",
    )
    @classmethod
    def _factors_rise(cls, factors: tuple[float, float]) -> tuple[float, float]:
        # A magnification is drawn in its inverse and a width of blur divides, so 0 cannot be.
        if not 0 < factors[0] <= factors[1]:
            raise ValueError("must be two factors above 0, the smaller first")
        return factors


class TrainSettings(Settings):
    """The training run."""

    patch_vox: tuple[int, ...] = (128, 128)
    """(R, Q) for 2D, (S, R, Q) for 3D."""
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
    look_every: int = Field(1, ge=1)
    """Epochs between two looks at patches held out; there is one after the last epoch, too."""
    gradient_clip: float | None = Field(12.0, gt=0)
    average_decay: float | None = Field(None, gt=0, lt=1)
    """Decay of the running average of the weights that is kept; None: the last weights."""
    momentum: float = Field(0.99, ge=0, lt=1)
    """Of SGD, with Nesterov's correction."""
    deep_supervision: bool = False
    """Whether the loss also looks at the coarser levels of the decoder, weights halving."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """bfloat16: matrix products in 16 bits, weights in 32; auto: where the device has it fast."""
    compile: Literal["auto", "on", "off"] = "auto"
    """auto: on a GPU the kernels of a step are recorded once and replayed; on: the network is
    compiled as well, which takes half a minute and needs a compiler; off: neither."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto: decided when the plan is made, the best that this machine has."""
    devices: int = Field(1, ge=1)
    """GPUs, or processes on a CPU, that share the batches of one training; `batch` is that of all
    together."""
    pretrained: str | None = None
    """Model folder whose weights training begins with, where they fit (fine-tuning)."""
    threads: int = Field(2, ge=1)
    mirroring: Literal["swap", "none", "plain"] = "swap"
    """What a flip across the sagittal plane does to the labels of a mirror pair."""
    mirror_axes: tuple[Axis, ...] | Literal["auto"] = ("X",)
    """Anatomical axes that may be flipped: X is left-right; auto: decided from the data."""

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
    """validation: the largest component of a label alone, or none below a volume, only where
    validation gains by it."""
    use_mirroring: bool = False
    """Average over mirroring along the axes of training, sagittally with swapped labels."""
    average: Literal["probs", "logits"] = "probs"
    """What is averaged over folds and mirrorings; nnU-Net averages logits."""


class NnunetSettings(Settings):
    """Which of nnU-Net's configurations its rules shall decide."""

    configuration: Literal["2d", "3d_fullres", "3d_lowres", "3d_cascade"] = "3d_fullres"
    encoder: Literal["plain", "residual"] = "plain"
    preset: Literal["m", "l", "xl"] = "m"
    """Planner of residual encoders: M, L or XL."""
    memory_gb: float = Field(8.0, gt=0)
    """GPU memory that patch and batch are fitted to, by nnU-Net's estimate: 8 for the standard
    and M presets, 24 for L, 40 for XL; another one scales what each was measured with."""


class Recipe(Settings):
    """A named preset: everything a plan needs beside the data."""

    name: str = "unnamed"
    summary: str = ""
    rules: Literal["slices", "nnunet", "auto"] = "slices"
    """Which rules decide what the recipe leaves open: ours for 2D slices, nnU-Net's, or those
    that fit network and patch to data, device and budget."""
    nnunet: NnunetSettings = NnunetSettings()
    locate: LocateSettings = LocateSettings()
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
