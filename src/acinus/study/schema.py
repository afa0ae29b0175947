"""A study as data: arms, split, what to vary, measure, explain and report.

Enters: a YAML file. Leaves: a validated `Study`. Whatever it names is a
registered part; arithmetic, inheritance and import paths in YAML were rejected.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from acinus.cohort.phantom import LEAST_PEOPLE
from acinus.cohort.phantom.headneck import GLANDS, Extent
from acinus.config import Settings, read_yaml
from acinus.errors import ConfigError, unknown_name
from acinus.losses import LOSSES
from acinus.measure import MEASURES
from acinus.networks import NETWORKS
from acinus.plan import Recipe, list_recipes, parse_budget
from acinus.registry import Registry
from acinus.study.job import ExternalModel
from acinus.study.sequences import SequencesSettings
from acinus.train import SAMPLINGS

VARIED: dict[str, Registry[Any]] = {"sampling": SAMPLINGS, "loss": LOSSES, "network": NETWORKS}
"""Parts of a recipe that `vary` can name, and what they can be."""

PHANTOM_SIZES: dict[str, tuple[str | int, ...]] = {
    "orbit": ("mixed", 256, 512),
    "abdomen": ("small", "full"),
    "headneck": ("small", "full"),
}
"""Kind of phantom to its sizes, the default first."""

VARIED_GROUPS = ("train", "augment", "predict")
"""Groups whose single settings `vary` can name, as in ``train.mirroring``. Not ``prepare``:
all variants of an arm are trained on the same prepared scans."""

Varied = str | int | float | bool
"""A value that `vary` gives to a part or a setting."""

Variant = Mapping[str, Varied]
"""What one variant has otherwise than the main model: part or setting to value."""


External = dict[str, list[str | int | float]]
"""Column of participants.tsv to the values that are external, such as ``{site: [C, D]}``."""


def _as_setting(part: str, value: Varied) -> Varied:
    """The value as the recipe will have it: YAML takes ``1e-3`` for text."""
    group, setting = part.split(".")
    field = getattr(Recipe.model_fields[group].annotation, "model_fields", {}).get(setting)
    if field is None:
        return value
    try:
        found = TypeAdapter(field.annotation).validate_python(value)
    except ValidationError:
        return value  # refused in the recipe's own words when that is made
    return found if isinstance(found, Varied) else value


def _known_recipe(name: str) -> str:
    if not name.endswith((".yaml", ".yml")):
        known = [recipe for recipe, _ in list_recipes()]
        if name not in known:
            raise ValueError(unknown_name("recipe", name, known))
    return name


class Arm(Settings):
    """One arm: a dataset, and what differs from the study's recipe."""

    dataset: str
    """Folder of the dataset, relative to the study's data folder, or absolute."""
    channels: list[str] | None = None
    """Names of channels of the dataset that the arm is trained on; None: all."""
    recipe: str | None = None
    set: dict[str, Any] = Field(default_factory=dict)
    external: External | None = None
    """As `split.external`, of this arm's participants alone: arms may have other centres. Who is
    external in one arm is kept for the test in all."""

    @field_validator("recipe")
    @classmethod
    def _recipe_is_known(cls, name: str | None) -> str | None:
        return None if name is None else _known_recipe(name)


class SplitSettings(Settings):
    """Who is kept for the test, and how the others are divided."""

    by: Literal["participant"] = "participant"
    holdout: int | float | None = Field(None, ge=0)
    """A number of participants (14) or a share (0.2); None: the recipe's share."""
    holdout_needs: Literal["all_arms", "any"] = "any"
    folds: int | None = Field(None, ge=2)
    """None: the recipe's number."""
    seed: int = Field(2018, ge=0)
    stratify_by: str | None = None
    group_by: str | None = None
    external: External | None = None
    """Column of participants.tsv to the values whose participants are kept for the test, all of
    them: external centres. None: the hold-out is drawn."""
    external_model: ExternalModel = "folds_mean"
    """What segments the external cases: the mean of the networks of all folds, or the one network
    with the best score on its own validation cases, as in the PanSegNet paper."""
    note: str = ""
    """A sentence for the report on what this split can and cannot show."""

    @model_validator(mode="after")
    def _one_holdout(self) -> SplitSettings:
        if self.external and self.holdout is not None:
            raise ValueError(
                "split.holdout and split.external both say who is kept for the test; state one"
            )
        return self


class PhantomSettings(Settings):
    """The synthetic cohort that stands in where no data folder is given."""

    kind: Literal["orbit", "abdomen", "headneck"] = "orbit"
    patients: int = Field(86, ge=3)
    """At least 9 with `abdomen`: one for each centre."""
    seed: int = Field(2018, ge=0)
    size: Literal["mixed", 256, 512, "small", "full"] | None = None
    """`orbit`: pixels in plane, or mixed; `abdomen`: small or full. None: mixed, or small."""
    counts: Literal["paper", "all"] = "paper"
    """Of `orbit` only: paper lacks and spoils some scans, as the lacrimal study's."""
    anatomy: str | None = None
    """Of `headneck` only: folder of real organ maps. None: computed organs."""
    body: Extent = "none"
    """Of `headneck` only: how much of the body is scanned below the neck."""
    glands: list[str] = Field(list(GLANDS), min_length=1)
    """Of `headneck` only: kinds of glands that are labels."""

    @field_validator("size")
    @classmethod
    def _size_of_kind(cls, size: str | int | None, info: ValidationInfo) -> str | int:
        kind = info.data.get("kind", "orbit")
        known = PHANTOM_SIZES[kind]
        if size is not None and size not in known:
            raise ValueError(
                f"phantom.size of '{kind}' must be one of {', '.join(map(str, known))}; "
                f"got {size!r}"
            )
        return known[0] if size is None else size

    @model_validator(mode="after")
    def _fits_kind(self) -> PhantomSettings:
        own = {"counts": "orbit"} | dict.fromkeys(("anatomy", "body", "glands"), "headneck")
        for name, kind in own.items():
            if self.kind != kind and name in self.model_fields_set:
                raise ValueError(
                    f"phantom.{name} belongs to '{kind}'; remove it from kind '{self.kind}'"
                )
        if self.kind == "abdomen" and self.patients < LEAST_PEOPLE:
            raise ValueError(
                f"phantom.patients of 'abdomen' must be at least {LEAST_PEOPLE}, one for each "
                f"centre; got {self.patients}"
            )
        return self


class ExplainSettings(Settings):
    """Where the network looked."""

    method: Literal["grad_cam", "none"] = "grad_cam"


class ReadingsSettings(Settings):
    """The same cases drawn by a second reader, or by the first one again."""

    folders: dict[str, str] = Field(min_length=1)
    """Name of a reading, such as ``inter-observer``, to its folder of label maps, in the folder
    of each dataset; some of the cases will do. The dataset's references are the first reading."""
    margin: float | None = Field(None, gt=0, lt=1)
    """By how much the Dice of model and readers may fall short of that of the readers among
    themselves; None: not tested. Must be chosen before the data are seen."""
    repeated: list[str] = Field(default_factory=list)
    """Names of the folders in which the first reader read again. How well one agrees with himself
    is shown, but a model is not held against it: it is no second opinion."""

    @model_validator(mode="after")
    def _repeated_are_folders(self) -> ReadingsSettings:
        for name in self.repeated:
            if name not in self.folders:
                raise ValueError(unknown_name("reading", name, list(self.folders)))
        return self


class BenchmarkNetwork(Settings):
    """A network of the benchmark: what it has otherwise than the recipe of the arm."""

    network: str | None = None
    """Registered name; None: the recipe's network with the recipe's settings."""
    config: dict[str, Any] = Field(default_factory=dict)
    recipe: str | None = None
    set: dict[str, Any] = Field(default_factory=dict)

    @field_validator("network")
    @classmethod
    def _network_is_known(cls, name: str | None) -> str | None:
        if name is not None and name not in NETWORKS:
            raise ValueError(unknown_name("network", name, NETWORKS.names()))
        return name

    @field_validator("recipe")
    @classmethod
    def _recipe_is_known(cls, name: str | None) -> str | None:
        return None if name is None else _known_recipe(name)


class BenchmarkSettings(Settings):
    """Networks compared with the first of them, on one split of each arm's whole dataset."""

    networks: dict[str, BenchmarkNetwork] = Field(min_length=2)
    """Name as shown, to the network; all are trained alike but for what is stated. The first is the
    one that the others are compared with."""
    arms: list[str] | None = None
    """None: all."""
    validation: float = Field(0.05, gt=0, lt=1)
    """Share of the participants that the training looks at."""
    test: float = Field(0.2, gt=0, lt=1)
    """Share of the participants that the networks are compared on; the others train."""

    @field_validator("networks")
    @classmethod
    def _names_can_be_folders(
        cls, networks: dict[str, BenchmarkNetwork]
    ) -> dict[str, BenchmarkNetwork]:
        for name in networks:
            if not re.fullmatch(r"[\w.+-]+( [\w.+-]+)*", name):
                raise ValueError(
                    f"names of networks name folders and must be plain words; got {name!r}"
                )
        return networks

    @model_validator(mode="after")
    def _leaves_training(self) -> BenchmarkSettings:
        if self.validation + self.test >= 1:
            raise ValueError(
                "validation and test must leave participants to train on; together they are "
                f"{self.validation + self.test:g} of all"
            )
        return self


class UnlabelledSettings(Settings):
    """Scans without a reference that the final models segment, to be looked at."""

    scans: dict[str, str] = Field(min_length=1)
    """Name of a group of scans, such as a patient, to a file, a folder of scans or a DICOM folder,
    all series of which are segmented; relative to the working folder."""
    expected_ml: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """Label to the volumes that would be usual, mL: lowest and highest."""
    one_patient: tuple[str, ...] = ()
    """Groups whose scans all show one patient in one position, such as the series of a session:
    each outline is compared with that of every other scan of its group."""

    @model_validator(mode="after")
    def _patients_are_groups(self) -> UnlabelledSettings:
        for name in self.one_patient:
            if name not in self.scans:
                raise ValueError(
                    f"one_patient must name groups of scans, {', '.join(self.scans)}; got '{name}'"
                )
        return self

    @field_validator("scans")
    @classmethod
    def _names_can_be_folders(cls, scans: dict[str, str]) -> dict[str, str]:
        for name in scans:
            if not re.fullmatch(r"[\w.+-]+( [\w.+-]+)*", name):
                raise ValueError(f"names of scans name folders; must be plain words; got {name!r}")
        return scans

    @field_validator("expected_ml")
    @classmethod
    def _ranges_rise(cls, ranges: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for label, (low, high) in ranges.items():
            if not 0 <= low < high:
                raise ValueError(
                    f"must be a lower and a higher volume; got {low:g} and {high:g} for '{label}'"
                )
        return ranges


class Topology(Settings):
    """A network as a paper states it, to be counted: it is neither trained nor timed."""

    network: str
    config: dict[str, Any] = Field(default_factory=dict)
    patch_vox: tuple[int, ...]
    """(Y, X) or (Z, Y, X) of the input."""
    channels: int = Field(1, ge=1)
    classes: int = Field(2, ge=1)
    """Outputs, with background."""

    @field_validator("network")
    @classmethod
    def _network_is_known(cls, name: str) -> str:
        if name not in NETWORKS:
            raise ValueError(unknown_name("network", name, NETWORKS.names()))
        return name


class CostSettings(Settings):
    """What the networks cost."""

    runs: int = Field(100, ge=1)
    """Passes that are timed, one after the other when all trainings are done."""
    topologies: dict[str, Topology] = Field(default_factory=dict)
    """Name of a published network to how it was built: its parameters and operations are counted
    and stand beside those that ``published`` states of it."""


class Study(Settings):
    """A whole study."""

    study: str
    title: str = ""
    what_it_is: str = ""
    recipe: str = "auto"
    set: dict[str, Any] = Field(default_factory=dict)
    """Changes to the recipe, for every arm."""
    data: str | None = None
    """Folder that holds the datasets, relative to the working folder."""
    phantom: PhantomSettings | None = None
    sequences: SequencesSettings | None = None
    """Subsets of the channels of a dataset, each an arm, instead of `arms`."""
    arms: dict[str, Arm] = Field(default_factory=dict)
    """Name to arm, at least one; made from `sequences` where these are given."""
    split: SplitSettings = SplitSettings()
    folds_trained: int | None = Field(None, ge=1)
    vary: dict[str, list[Varied]] = Field(default_factory=dict)
    """Part (``loss: [dice, jaccard]``) or single setting (``train.mirroring: [plain]``) to values;
    a further model is trained for each."""
    cross: bool = False
    """All pairs of the varied parts instead of one at a time."""
    measure: tuple[str, ...] = (
        "dice",
        "iou",
        "hausdorff_mm",
        "hausdorff_95_mm",
        "reference_volume_ml",
        "prediction_volume_ml",
    )
    explain: ExplainSettings = ExplainSettings()
    look_inside: bool = False
    """Whether the report compares volumes and values inside each label (label and prediction,
    right and left, hold-out and the rest), what was taken for what, and what each grid keeps."""
    readings: ReadingsSettings | None = None
    """Second and repeated readings, for the agreement of observers; None: there are none."""
    benchmark: BenchmarkSettings | None = None
    """Networks compared on a split of their own; None: no comparison."""
    unlabelled: UnlabelledSettings | None = None
    """Scans without a reference, segmented and shown; None: there are none."""
    cost: CostSettings | None = None
    """Parameters, operations and time of the networks; None: not measured."""
    budget: str | None = None
    departures: list[str] = Field(default_factory=list)
    published: dict[str, Any] | None = None
    small: dict[str, Any] = Field(default_factory=dict)
    """Keys of a study that a quick run on a small machine has otherwise; laid over the study
    unless the whole is asked for (``--full``)."""

    @field_validator("recipe")
    @classmethod
    def _recipe_is_known(cls, name: str) -> str:
        return _known_recipe(name)

    @field_validator("arms")
    @classmethod
    def _arms_or_sequences(cls, arms: dict[str, Arm], info: ValidationInfo) -> dict[str, Arm]:
        sequences: SequencesSettings | None = info.data.get("sequences")
        if arms and sequences is not None:
            raise ValueError("sequences make the arms of a study; state one of the two.")
        if sequences is not None:
            return {
                name: Arm(dataset=sequences.dataset, channels=list(channels))
                for name, channels in sequences.sets().items()
            }
        if not arms and "sequences" in info.data:
            raise ValueError("must have at least 1 arm, or 'sequences' must be given")
        return arms

    @field_validator("measure")
    @classmethod
    def _known_measures(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in MEASURES:
                raise ValueError(unknown_name("measure", name, MEASURES.names()))
        return names

    @field_validator("vary")
    @classmethod
    def _known_variations(cls, vary: dict[str, list[Varied]]) -> dict[str, list[Varied]]:
        for part, values in vary.items():
            if part in VARIED:
                for name in values:
                    if str(name) not in VARIED[part]:
                        raise ValueError(unknown_name(part, str(name), VARIED[part].names()))
                continue
            if part.split(".")[0] not in VARIED_GROUPS or part.count(".") != 1:
                settings = [f"{group}.SETTING" for group in VARIED_GROUPS]
                raise ValueError(unknown_name("part to vary", part, [*VARIED, *settings]))
            vary[part] = values = [_as_setting(part, value) for value in values]
            for value in values:
                if re.search(r"[^\w.+-]", str(value)):
                    raise ValueError(
                        f"values of '{part}' name folders and must be numbers or plain words; "
                        f"got {value!r}"
                    )
        for part, values in vary.items():
            if len(set(map(repr, values))) < len(values):
                raise ValueError(f"values of '{part}' must differ; got {values}")
        return vary

    @field_validator("budget")
    @classmethod
    def _possible_budget(cls, budget: str | None) -> str | None:
        parse_budget(budget)
        return budget

    @model_validator(mode="after")
    def _sequences_are_measured(self) -> Study:
        if self.sequences is not None and self.sequences.measure not in self.measure:
            raise ValueError(
                f"sequences.measure must be one of the measures of the study "
                f"({', '.join(self.measure)}); got '{self.sequences.measure}'. Add it to 'measure'."
            )
        return self

    @model_validator(mode="after")
    def _benchmark_arms_are_known(self) -> Study:
        for name in self.benchmark_arms():
            if name not in self.arms:
                raise ValueError(unknown_name("arm of the benchmark", name, self.arms))
        return self

    @model_validator(mode="after")
    def _external_model_has_external_cases(self) -> Study:
        if self.split.external_model != "folds_mean" and not any(map(self.external, self.arms)):
            raise ValueError(
                f"split.external_model: {self.split.external_model} is about external cases; state "
                "under split.external, or external of an arm, who is external"
            )
        return self

    def benchmark_arms(self) -> list[str]:
        """Arms on which networks are compared."""
        if self.benchmark is None:
            return []
        return list(self.arms) if self.benchmark.arms is None else self.benchmark.arms

    def external(self, arm: str) -> External | None:
        """Who is external in an arm: as it states itself, else as the split states for all."""
        return self.arms[arm].external or self.split.external

    def variants(self) -> list[Variant]:
        """What every variant has otherwise than the main one."""
        if not self.cross:
            return [{part: name} for part, names in self.vary.items() for name in names]
        crossed: list[Variant] = [{}]
        for part, names in self.vary.items():
            crossed = [{**one, part: name} for one in crossed for name in names]
        return [one for one in crossed if one]


def read_study(path: Path) -> Study:
    """A study from its file.

    Raises:
        ConfigError: A key or value does not fit; the message names the line.
    """
    study = read_yaml(path, Study)
    if study.data is None and study.phantom is None:
        absolute = all(Path(arm.dataset).is_absolute() for arm in study.arms.values())
        if not absolute:
            raise ConfigError(
                f"{path}: 'data' must name the folder of the datasets, or 'phantom' a synthetic "
                "cohort; neither is given. Add one, or use --data FOLDER."
            )
    return study
