"""The tables of a study: numbers for CSV, and the same in words for a report.

Enters: the score table and the participants. Leaves: for each table a tidy
DataFrame of unrounded numbers, from the function of its name, and with
`display` the same as text in the layout that people read. One function that
returns formatted text alone was rejected: nobody can compute with "0.79 ± 0.19".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from acinus.errors import ConfigError, unknown_name
from acinus.evaluate.clusters import note_on_clusters
from acinus.evaluate.tables.anomalies import (
    anomaly_table,
    display_anomalies,
    note_on_anomalies,
)
from acinus.evaluate.tables.centres import (
    COMBINED,
    EXTERNAL,
    INTERNAL,
    centre_people,
    centre_table,
    display_centres,
    display_people,
    note_on_centres,
)
from acinus.evaluate.tables.characteristics import (
    characteristics,
    display_characteristics,
    note_on_characteristics,
)
from acinus.evaluate.tables.comparisons import (
    arm_comparison,
    corrected,
    display_arm_comparison,
    display_variants,
    variant_comparison,
)
from acinus.evaluate.tables.evaluation import (
    TABLE_3_METRICS,
    display_evaluation,
    display_shapiro,
    evaluation_table,
    note_on_evaluation,
    shapiro_table,
)
from acinus.evaluate.tables.factors import (
    display_factors,
    factor_sentence,
    factor_table,
    note_on_factors,
)
from acinus.evaluate.tables.failures import display_worst, worst_cases
from acinus.evaluate.tables.grids import display_grid, grid_table, note_on_grids
from acinus.evaluate.tables.human import display_human, human_table, note_on_human
from acinus.evaluate.tables.inside import (
    display_confusion,
    display_holdout,
    display_inside,
    holdout_check,
    inside_pairs,
    note_on_holdout,
    note_on_inside,
)
from acinus.evaluate.tables.localisation import (
    display_localisation,
    localisation_table,
    note_on_localisation,
)
from acinus.evaluate.tables.mirroring import display_mirroring, mirroring_table, note_on_mirroring
from acinus.evaluate.tables.missing import (
    MISSING_CHANNELS,
    display_missing,
    missing_table,
    note_on_missing,
    without_words,
)
from acinus.evaluate.tables.networks import (
    BENCHMARK,
    display_networks,
    network_table,
    note_on_networks,
)
from acinus.evaluate.tables.noninferiority import (
    display_noninferiority,
    noninferiority_table,
    note_on_noninferiority,
)
from acinus.evaluate.tables.readings import (
    READINGS,
    display_readings,
    model_against,
    noninferiority_to_readings,
    note_on_readings,
    reading_table,
)
from acinus.evaluate.tables.sequences import (
    display_sequences,
    note_on_sequences,
    sequence_sentence,
    sequence_table,
    smallest_set,
)
from acinus.evaluate.tables.sides import display_sides, note_on_sides, side_error_table
from acinus.evaluate.tables.volumes import display_agreement, volume_agreement, volume_pairs
from acinus.evaluate.tables.volumetry import (
    NOTE_ON_BOUNDS,
    bound_table,
    display_bounds,
    display_volumetry,
    note_on_volumetry,
    volume_cases,
    volumetry_table,
)

Names = Mapping[str, str] | None


@dataclass(frozen=True)
class TableKind:
    """A kind of table.

    Attributes:
        name: Name of the function that makes its numbers.
        title: Heading for people.
        display: Numbers and names of labels to text.
        note: Footnote from the numbers: tests, policies, what was left out.
    """

    name: str
    title: str
    display: Callable[[pd.DataFrame, Names], pd.DataFrame]
    note: Callable[[pd.DataFrame], str]


TABLES: dict[str, TableKind] = {
    kind.name: kind
    for kind in (
        TableKind(
            "characteristics",
            "Baseline characteristics",
            lambda numbers, names: display_characteristics(numbers),
            note_on_characteristics,
        ),
        TableKind("evaluation_table", "Evaluation metrics", display_evaluation, note_on_evaluation),
        TableKind("side_error_table", "Side errors", display_sides, note_on_sides),
        TableKind(
            "localisation_table",
            "Localisation",
            lambda numbers, names: display_localisation(numbers),
            note_on_localisation,
        ),
        TableKind(
            "shapiro_table",
            "Test of normality (Shapiro-Wilk)",
            display_shapiro,
            lambda numbers: (
                "Values below 0.05 speak against a normal distribution. n: observations, one value "
                f"each. {note_on_clusters(numbers)}"
            ),
        ),
        TableKind(
            "volume_agreement",
            "Agreement of volumes",
            display_agreement,
            lambda numbers: (
                "Pearson correlation of reference and predicted volume. The clustered p-value has "
                "a cluster-robust variance and t with one degree of freedom less than there are "
                "units. Bias: predicted minus reference; limits: of single structures, by the "
                f"variance between and within units. {note_on_clusters(numbers)}"
            ),
        ),
        TableKind(
            "arm_comparison",
            "Comparison of scan types",
            display_arm_comparison,
            lambda numbers: (
                "Over participants that both scan types have. Structures without a value in both "
                "are left out. Cohen's d: the difference in standard deviations of it. Corrected: "
                "Wilcoxon's p by Holm, for all rows of all comparisons of scan types. "
                + note_on_clusters(numbers)
            ),
        ),
        TableKind(
            "variant_comparison",
            "Comparison of variants",
            lambda numbers, names: display_variants(numbers),
            lambda numbers: (
                "Over all structures; differences within participants, with 95% bootstrap "
                "interval and Wilcoxon's p, corrected by Holm for all that is compared here. "
                "Missed: drawn by the expert, nothing predicted (Dice 0, no distance); a mean "
                "distance is of the structures that were found. " + note_on_clusters(numbers)
            ),
        ),
        TableKind(
            "holdout_check", "Is the hold-out like the rest?", display_holdout, note_on_holdout
        ),
        TableKind("inside_pairs", "What lies inside the labels", display_inside, note_on_inside),
        TableKind(
            "confusion_table",
            "What was taken for what",
            display_confusion,
            lambda numbers: (
                "Share of the volume of each reference label, summed over the hold-out, that was "
                "predicted as each label; of the background the volume that was taken for a "
                "label. The diagonal is right. Main models; the CSV has those of variants too."
            ),
        ),
        TableKind("grid_table", "What each grid keeps", display_grid, note_on_grids),
        TableKind("anomaly_table", "Anomalies", display_anomalies, note_on_anomalies),
        TableKind("human_table", "The model beside a reader", display_human, note_on_human),
        TableKind(
            "mirroring_table",
            "Right and left under each mirroring",
            lambda numbers, names: display_mirroring(numbers),
            note_on_mirroring,
        ),
        TableKind(
            "worst_cases",
            "Failed and worst cases",
            display_worst,
            lambda numbers: (
                "Failed cases first, then missed structures, then predictions without overlap, "
                "false finds, and the lowest Dice scores."
            ),
        ),
        TableKind(
            "centre_people",
            "Participants of each centre",
            lambda numbers, names: display_people(numbers),
            lambda numbers: "Internal centres train; external ones are kept for the test.",
        ),
        TableKind("centre_table", "Results by centre", display_centres, note_on_centres),
        TableKind(
            "reading_table",
            "Agreement of readings",
            display_readings,
            note_on_readings,
        ),
        TableKind(
            "noninferiority_table",
            "The model against the readers",
            display_noninferiority,
            note_on_noninferiority,
        ),
        TableKind(
            "sequence_table", "Which sequences are needed", display_sequences, note_on_sequences
        ),
        TableKind(
            "factor_table",
            "What each factor of the sequences adds",
            display_factors,
            note_on_factors,
        ),
        TableKind("network_table", "Networks compared", display_networks, note_on_networks),
        TableKind("volumetry_table", "Volumetry", display_volumetry, note_on_volumetry),
        TableKind(
            "missing_table", "What a missing channel costs", display_missing, note_on_missing
        ),
        TableKind(
            "bound_table",
            "Which Dice guarantees which volume error",
            display_bounds,
            lambda numbers: NOTE_ON_BOUNDS,
        ),
    )
}


def display(table: str, numbers: pd.DataFrame, names: Names = None) -> pd.DataFrame:
    """A table of numbers as text in the layout that people read.

    Args:
        table: Name of the function that made the numbers, one of `TABLES`.
        numbers: What that function returned.
        names: Names of labels as the table shows them.

    Raises:
        ConfigError: The table is unknown.
    """
    return _kind(table).display(numbers, names)


def note(table: str, numbers: pd.DataFrame) -> str:
    """The footnote of a table: its tests, its policies and what it leaves out."""
    return _kind(table).note(numbers)


def _kind(table: str) -> TableKind:
    if table not in TABLES:
        raise ConfigError(unknown_name("table", table, TABLES))
    return TABLES[table]


__all__ = [
    "BENCHMARK",
    "COMBINED",
    "EXTERNAL",
    "INTERNAL",
    "MISSING_CHANNELS",
    "READINGS",
    "TABLES",
    "TABLE_3_METRICS",
    "TableKind",
    "anomaly_table",
    "arm_comparison",
    "bound_table",
    "centre_people",
    "centre_table",
    "characteristics",
    "corrected",
    "display",
    "display_agreement",
    "display_arm_comparison",
    "display_characteristics",
    "display_confusion",
    "display_evaluation",
    "display_grid",
    "display_holdout",
    "display_human",
    "display_inside",
    "display_localisation",
    "display_missing",
    "display_shapiro",
    "display_sides",
    "display_variants",
    "display_worst",
    "evaluation_table",
    "factor_sentence",
    "factor_table",
    "grid_table",
    "holdout_check",
    "human_table",
    "inside_pairs",
    "localisation_table",
    "mirroring_table",
    "missing_table",
    "model_against",
    "network_table",
    "noninferiority_table",
    "noninferiority_to_readings",
    "note",
    "reading_table",
    "sequence_sentence",
    "sequence_table",
    "shapiro_table",
    "side_error_table",
    "smallest_set",
    "variant_comparison",
    "volume_agreement",
    "volume_cases",
    "volume_pairs",
    "volumetry_table",
    "without_words",
    "worst_cases",
]
