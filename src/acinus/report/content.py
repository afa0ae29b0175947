"""What a report is made from: plain data, tables and paths, one record per arm.

Enters: what a run or study has on disk when it is done. Leaves: the two records
that `write_report` reads. Letting the report walk a run folder by itself was
rejected: it would have to know the making wing's files, and could not be used
for predictions that another program made.

Everything with a default may be left out; the report then leaves out, and says
so, what it cannot show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from acinus.types import Labelmap, Mask

FlowStep = tuple[str, int, str]
"""(text, count, reason) of the cohort flow, from top to bottom. An empty reason
is a box of what remains, ``("Participants assessed", 86, "")``; a reason makes it
an exclusion drawn beside the line, ``("Excluded", 5, "motion artefact")``."""

HISTORY_COLUMNS = (
    "fold",
    "epoch",
    "step",
    "seconds",
    "learning_rate",
    "train_loss",
    "validation_loss",
    "validation_dice",
)
"""Columns of `ArmContent.history`; further ones ``validation_dice_<label>``."""

MEASURED, PUBLISHED, COUNTED = "this study", "published", "published topology, counted here"
"""Where the costs of a network come from."""

FINAL_MODEL = "final"
"""Value of the score column ``model`` for the model that the report is about."""


@dataclass(frozen=True, eq=False)
class UnlabelledScan:
    """A scan without a reference, and what a model made of it.

    Attributes:
        group: Whose scan it is, or of which kind.
        case: Its name within the group.
        failed: Why there is no prediction; empty if there is one, and only then the rest.
        image: Its first channel.
        prediction: Label map on the grid of the image.
        volumes_ml: Label to predicted volume, mL.
        warnings: Label to what should be looked at, empty if nothing.
    """

    group: str
    case: str
    failed: str = ""
    image: Path | None = None
    prediction: Path | None = None
    volumes_ml: Mapping[str, float] = field(default_factory=dict)
    warnings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ArmContent:
    """One arm: a dataset, the model trained on it and what the model made.

    Attributes:
        name: Name of the arm as shown, e.g. ``"POST-AX-T1-FS"``.
        dataset_name: Name in ``dataset.json``.
        dataset_folder: Folder of the dataset, shown under "how to repeat it".
        synthetic: Whether the images are made rather than acquired.
        labels: Label name to value (> 0), without background.
        sides: Label name to ``"left"`` or ``"right"``; empty if labels have no side.
        channel_names: Names of the channels, in order; empty if unknown.
        participants: ``participant_id`` and any of ``age`` (years), ``sex``
            (``"M"``, ``"F"``, empty), ``field_strength_t`` and further columns; None
            without a table.
        train_participants: Ids used for training and validation.
        holdout_participants: Ids kept for the test.
        case_participants: Case to participant; a case that is absent is its own
            participant.
        n_training_slices: Slices (2D) that training drew from; None for 3D or if
            not counted.
        flow: Cohort flow of this arm, top to bottom (see `FlowStep`), up to the split;
            steps from the first that names training or hold-out on are not drawn, since
            the split is drawn from the participants.
        decisions: Columns ``name``, ``value``, ``rule``, ``source``, ``facts``; a row
            per decision of the plan. ``source`` is e.g. ``"paper"`` or ``"ours"``; a rule that
            begins with ``recipe`` means that the recipe states the value. Optional ``words``:
            the name in plain words.
        history: Rows as in `HISTORY_COLUMNS`; losses without unit, Dice in [0, 1].
        images: Case to the paths of its channels, in channel order.
        references: Case to its reference label map.
        predictions: Case of the hold-out to its predicted label map.
        predictions_table: Columns ``case``, ``part``, ``model``, ``label``, ``volume_ml``,
            ``components``, ``seconds``, ``warnings``.
        sampling: Columns ``sampling``, ``share_with_foreground`` ([0, 1]), ``n``
            (patches drawn), and ``chosen`` (bool) if known.
        sampling_maps: ``.npz`` with ``image`` (Y, X) float, ``foreground`` and ``region``
            (Y, X) bool: one slice, rows towards posterior or as stored with the
            flag ``display`` (bool) true if row 0 is already the top of the picture.
            Optional ``spacing_mm`` (2,), ``case``, ``slice_index`` and ``plane``
            (``"axial"`` if it is left out). Without ``display`` rows increase towards anterior and
            columns towards the patient's right (canonical), and are flipped for display.
        gradcam: ``.npz`` with ``image`` (Y, X), ``reference`` (Y, X), ``maps`` (9, Y, X) in
            [0, 1], ``names`` (9,), ``case``, ``slice_index``, ``label``; optional
            ``prediction`` (Y, X), ``spacing_mm`` (2,), ``display`` as above.
        settings: What trained the final model, for words in the text, e.g.
            ``{"sampling": "region", "loss": "dice", "network": "unet_2d"}``; for the sketches
            of the pipeline ``levels`` of the network and ``overlap`` of tiles in [0, 1).
        regions: Label name to the values that it unites, where it is not one value.
        ignore_label: Value of voxels that a reference says nothing about.
        patch_mm: (S, A, R) extent of a patch, mm; None if unknown.
        n_dims: 2 if the network sees single slices, 3 if volumes.
        trained_folds: Which folds of the split were trained, from 0; None: all.
        trainings: A row a training: ``fold`` (from 0), ``train_cases``, ``validation_cases``,
            ``epochs``, ``steps``, ``seconds``, ``validation_dice``, ``kept`` (``"last"`` or
            ``"best"``) and ``lost`` (labels that collapsed).
        validation_predictions: Case that a fold left out to what its network made of it.
        site_column: Column of `participants` that names the centre; empty where centres are not
            told apart.
        sites: Participant to centre.
        external_sites: Centres kept for the test.
        external_model: What segmented the cases of these, in words.
        n_models_used: How many networks segmented the hold-out; 0: all that were trained.
        localisation: Rows of ``localisation.csv`` of a model with a locate stage, see
            `acinus.evaluate.localisation.LOCALISATION_COLUMNS`, and ``part``; else empty.
        unlabelled: Scans without a reference that the model segmented.
        series_agreement: Columns ``group``, ``first``, ``second``, ``label``, ``dice``: a row for
            each two of these scans that show one patient; else empty.
        notes: Sentences on how it was trained.
        caveats: Sentences that the results must be read with.
    """

    name: str
    dataset_name: str
    labels: Mapping[str, int]
    dataset_folder: Path | None = None
    synthetic: bool = False
    sides: Mapping[str, str] = field(default_factory=dict)
    channel_names: Sequence[str] = ()
    participants: pd.DataFrame | None = None
    train_participants: Sequence[str] = ()
    holdout_participants: Sequence[str] = ()
    case_participants: Mapping[str, str] = field(default_factory=dict)
    n_training_slices: int | None = None
    flow: Sequence[FlowStep] = ()
    decisions: pd.DataFrame = field(default_factory=pd.DataFrame)
    history: pd.DataFrame = field(default_factory=pd.DataFrame)
    images: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    references: Mapping[str, Path] = field(default_factory=dict)
    predictions: Mapping[str, Path] = field(default_factory=dict)
    predictions_table: pd.DataFrame = field(default_factory=pd.DataFrame)
    sampling: pd.DataFrame = field(default_factory=pd.DataFrame)
    sampling_maps: Path | None = None
    gradcam: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    regions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    ignore_label: int | None = None
    patch_mm: tuple[float, float, float] | None = None
    n_dims: int = 2
    trained_folds: Sequence[int] | None = None
    trainings: pd.DataFrame = field(default_factory=pd.DataFrame)
    validation_predictions: Mapping[str, Path] = field(default_factory=dict)
    site_column: str = ""
    sites: Mapping[str, str] = field(default_factory=dict)
    external_sites: Sequence[str] = ()
    external_model: str = "the mean of all networks of the arm"
    n_models_used: int = 0
    localisation: pd.DataFrame = field(default_factory=pd.DataFrame)
    unlabelled: Sequence[UnlabelledScan] = ()
    series_agreement: pd.DataFrame = field(default_factory=pd.DataFrame)
    notes: Sequence[str] = ()
    caveats: Sequence[str] = ()

    def mask(self, labelmap: Labelmap, label: str) -> Mask:
        """Where a label map shows a label, a region by any of its values."""
        return np.isin(labelmap, self.regions.get(label, (self.labels[label],)))

    def participant(self, case: str) -> str:
        """Participant of a case; the case itself where none is given."""
        return self.case_participants.get(case, case)


@dataclass(frozen=True, eq=False)
class SequenceContent:
    """A study whose arms are sets of the channels of one dataset.

    Attributes:
        channels: Names of all channels, in order.
        sets: Arm to its channels, smallest first; the last is the full set.
        margin: Loss against the full set that would not matter, in the unit of the measure.
        measure: What the sets are compared by.
        factors: Names of the two factors that tell the single channels apart; empty without any.
        cells: Whether an arm of one channel has the first and the second factor, to the arm.
    """

    channels: Sequence[str]
    sets: Mapping[str, Sequence[str]]
    margin: float
    measure: str = "dice"
    factors: tuple[str, str] = ("", "")
    cells: Mapping[tuple[bool, bool], str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ReportContent:
    """All that one report shows.

    Attributes:
        title: Heading of the report.
        study_name: Name of the study or run folder.
        kind: ``"study"`` with arms to compare, or ``"run"`` of one dataset.
        arms: At least one arm, in the order in which they are shown.
        scores: Rows as in `acinus.evaluate.SCORE_COLUMNS` of all arms, models and parts.
            ``model`` is `FINAL_MODEL` for the main one; ``part`` is ``"holdout"`` or
            ``"validation"``; ``status`` is ``"ok"``, ``"undefined"`` or ``"failed"``.
        variants: What was varied, one at a time: dicts with ``setting`` (``"sampling"``),
            ``value`` (``"random"``) and ``model`` (as in the scores, `FINAL_MODEL` for the
            value that the main model has).
        variant_caveats: Sentences that the results of variants must be read with.
        split: ``holdout`` (participants), ``folds`` (lists of participants), ``seed``,
            ``by``, ``conditions``.
        departures: Sentences, what was done otherwise than in the paper and why.
        failures: Sentences, what failed or was skipped and why.
        provenance: ``command``, ``started`` (ISO 8601), ``seconds``, ``machine``,
            ``versions`` (package to version), ``seed``, ``hashes`` (name to SHA-256),
            ``budget``; what is absent is not shown.
        published: For orientation only: ``source`` (citation) and ``figures``, a list of
            dicts with ``arm``, ``metric``, ``value`` and any of ``label``, ``sd``, ``q25``,
            ``q75``, ``unit``. Metrics are those of the scores and ``pearson_r``,
            ``n_train_participants``, ``n_holdout_participants``, ``n_training_slices``; with
            ``centre``, ``reading`` or ``network`` those of that table, see
            `acinus.report.published`. ``places``: tables and figures of this report to those of
            the study that they stand beside. None if there is nothing to compare with.
        pipeline: (stage, text) pairs of the pipeline as it ran, in order; a text may
            have several lines.
        what_it_is: A sentence on what the data are, for the summary; empty if unknown.
        values: What lies inside each label, rows as in `acinus.evaluate.VALUE_COLUMNS`; empty
            if that was not asked for.
        confusion: What was taken for what, rows as in `acinus.evaluate.CONFUSION_COLUMNS`.
        profiles: Distributions inside each label, rows as in `acinus.evaluate.PROFILE_COLUMNS`.
        prepared: Columns ``arm``, ``case``, ``label``, ``voxels``: on the prepared grid, and
            ``ceiling``: Dice of the reference with itself after the way there and back.
        mirror_pairs: Labels that are each other's partner, right first.
        readings_margin: By how much the model's Dice may fall short of the readers'; None: not
            tested.
        benchmark_split: Arm to the number of participants that the networks of the benchmark were
            trained, looked at and tested on; empty without one. Their scores have the part
            ``benchmark`` and the network as model.
        costs: A row a network: ``network``, ``source`` (`MEASURED`, `PUBLISHED` or `COUNTED`),
            ``arm``, ``parameters``, ``multiply_adds``, ``flops``, ``as_in_table_5``, the same of a
            pass in training ``as_in_table_5_training``, ``input_vox``, ``pass_s_median``,
            ``pass_s_mean``, ``pass_s_sd``, ``n_runs``, ``n_warm_up``, ``memory_bytes``,
            ``case_s_mean``, ``case_s_sd``, ``n_cases``, ``device``, ``threads``, ``machine``.
        expected_ml: Label to the lowest and highest volume that would be usual, for scans without
            a reference.
        sequences: Which sets of channels the arms are; None where arms are something else.
    """

    title: str
    study_name: str
    kind: Literal["study", "run"]
    arms: Sequence[ArmContent]
    scores: pd.DataFrame
    variants: Sequence[Mapping[str, Any]] = ()
    variant_caveats: Sequence[str] = ()
    split: Mapping[str, Any] = field(default_factory=dict)
    departures: Sequence[str] = ()
    failures: Sequence[str] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    published: Mapping[str, Any] | None = None
    pipeline: Sequence[tuple[str, str]] = ()
    what_it_is: str = ""
    values: pd.DataFrame = field(default_factory=pd.DataFrame)
    confusion: pd.DataFrame = field(default_factory=pd.DataFrame)
    profiles: pd.DataFrame = field(default_factory=pd.DataFrame)
    prepared: pd.DataFrame = field(default_factory=pd.DataFrame)
    mirror_pairs: Sequence[tuple[str, str]] = ()
    readings_margin: float | None = None
    benchmark_split: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    costs: pd.DataFrame = field(default_factory=pd.DataFrame)
    expected_ml: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    sequences: SequenceContent | None = None

    @property
    def synthetic(self) -> bool:
        """Whether any arm stands on made images."""
        return any(arm.synthetic for arm in self.arms)

    @property
    def has_centres(self) -> bool:
        """Whether any arm tells centres apart."""
        return any(arm.site_column for arm in self.arms)

    @property
    def cohorts(self) -> list[ArmContent]:
        """Arms whose people are shown: of sets of sequences the full one alone."""
        if self.sequences is None:
            return list(self.arms)
        alike = {
            (arm.dataset_folder, *arm.train_participants, "", *arm.holdout_participants): arm
            for arm in self.arms
        }
        return list(alike.values())

    @property
    def pictured(self) -> list[ArmContent]:
        """Arms whose cases are shown one by one: of sets of sequences the single ones and all."""
        if self.sequences is None:
            return list(self.arms)
        sets = self.sequences.sets
        shown = [name for name, channels in sets.items() if len(channels) == 1] + [list(sets)[-1]]
        return [arm for arm in self.arms if arm.name in shown]

    @property
    def labels(self) -> list[str]:
        """Label names of all arms, each once, in order."""
        return list(dict.fromkeys(name for arm in self.arms for name in arm.labels))
