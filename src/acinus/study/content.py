"""From the files of a study to the content of its report.

Enters: the folders of the arms. Leaves: `ReportContent`, plain data and paths.
The report reads no model and no plan; what it must know is told here.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd

from acinus.cohort import Case, Dataset, Split, column_values, participant_of, value_text
from acinus.evaluate.localisation import CUT, MISSED
from acinus.files import read_json
from acinus.plan import Fingerprint, Plan, load_recipe, read_plan, take_fingerprint
from acinus.plan.explain import facts_words, setting_words, value_words
from acinus.plan.recipe import flatten
from acinus.report.content import (
    MEASURED,
    PUBLISHED,
    ArmContent,
    FlowStep,
    ReportContent,
    SequenceContent,
)
from acinus.study.claim import varied_value
from acinus.study.external_model import read_external_choice
from acinus.study.failures import failed_scans
from acinus.study.folders import RunFolder, StudyFolder
from acinus.study.job import ArmJob
from acinus.study.schema import External, Study
from acinus.study.sequences import SequencesSettings, factor_cells, set_name
from acinus.study.trainings import (
    AXES,
    PLAIN_MIRRORING,
    caveats,
    mirrored_directions,
    training_notes,
    training_table,
)

FINAL = "final"

PUBLISHED_COSTS = {"parameters": 1, "as_in_table_5": 1e9, "pass_s_mean": 1}
"""What papers print of a network's cost, and the factor to the unit of `ReportContent.costs`."""


def arm_content(
    name: str,
    dataset: Dataset,
    split: Split,
    folder: RunFolder,
    everyone: Sequence[str],
    external: External | None = None,
) -> ArmContent:
    """What the report shows of one arm.

    Args:
        name: The arm.
        dataset: Opened dataset.
        split: The study's split.
        folder: Run folder of the arm's final model.
        everyone: Participants of all arms together, excluded ones too.
        external: Who is external, as the study states it for this arm.
    """
    plan = read_plan(folder.plan)
    holdout, train = split.cases(dataset, "holdout"), split.cases(dataset, "train")
    predictions = {
        case.case_id: path
        for case in holdout
        if (path := folder.predictions("holdout") / f"{case.case_id}.nii.gz").is_file()
    }
    n_slices = None if plan.n_dims == 3 else _count_slices(train, folder, plan)
    facts = take_fingerprint(dataset, folder.fingerprint) if folder.fingerprint.is_file() else None
    trainings = training_table(plan, folder, _fold_sizes(dataset, split), facts)
    return ArmContent(
        name=name,
        dataset_name=dataset.name,
        dataset_folder=dataset.folder,
        synthetic=dataset.synthetic,
        labels=dict(dataset.labels),
        sides=dict(dataset.sides),
        channel_names=dataset.channel_names,
        participants=dataset.participants,
        train_participants=_participants(train),
        holdout_participants=_participants(holdout),
        case_participants={case.case_id: case.participant_id for case in dataset.cases},
        n_training_slices=n_slices,
        flow=cohort_flow(name, dataset, train, holdout, n_slices, everyone),
        decisions=decision_table(plan),
        history=_history(folder, plan),
        images={
            case.case_id: [path for path in case.images if path is not None]
            for case in dataset.cases
        },
        references={case.case_id: case.label for case in dataset.cases if case.label is not None},
        predictions=predictions,
        predictions_table=_csv(folder.predictions_table),
        sampling=_csv(folder.sampling_table),
        sampling_maps=folder.sampling_maps if folder.sampling_maps.is_file() else None,
        gradcam=folder.saliency if folder.saliency.is_file() else None,
        settings={
            "sampling": plan.settings.sampling.name,
            "loss": plan.settings.loss.name,
            "network": plan.settings.network.name,
            "levels": len(plan.settings.network.config.get("features", ())),
            "overlap": plan.settings.predict.overlap,
        },
        patch_mm=_patch_mm(plan, facts),
        n_dims=plan.n_dims,
        trained_folds=plan.folds_to_train,
        trainings=trainings,
        validation_predictions={
            case.case_id: path
            for case in train
            if (path := folder.predictions("validation") / f"{case.case_id}.nii.gz").is_file()
        },
        **_centres(dataset, external, [*train, *holdout]),
        external_model=read_external_choice(folder).words,
        n_models_used=len(read_external_choice(folder).folds),
        localisation=_csv(folder.localisation) if plan.is_located else pd.DataFrame(),
        notes=training_notes(plan, facts, trainings, folder),
        caveats=caveats(plan, trainings),
        regions=dict(dataset.regions),
        ignore_label=dataset.ignore_label,
    )


def _centres(dataset: Dataset, external: External | None, cases: Sequence[Case]) -> dict[str, Any]:
    """Column, centre of each participant and which centres are external; nothing without any."""
    if not external or dataset.participants is None:
        return {}
    column = next(iter(external))
    stated = column_values({"": dataset}, column)
    wanted = {value_text(value) for value in external[column]}
    sites = {
        case.participant_id: value_text(values[0])
        for case in cases
        if (values := stated.get(case.participant_id))
    }
    inside = sorted(wanted.intersection(sites.values()))
    return {"site_column": column, "sites": sites, "external_sites": inside}


def cost_table(
    jobs: Sequence[ArmJob],
    counted: Sequence[Mapping[str, Any]] = (),
    published: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """What each profiled network costs, a row each; see `ReportContent.costs`.

    Below them stand networks of a paper: as it prints them, and as they are counted here.

    Args:
        jobs: Whose costs are shown; those that were not profiled are left out.
        counted: Rows of published topologies, see `count_topologies`.
        published: What the study states as published.
    """
    rows = []
    for job in jobs:
        if not job.folder.cost.is_file():
            continue
        facts = read_json(job.folder.cost)
        took, operations = facts["seconds"], facts["operations"]
        cases = _csv(job.folder.predictions_table)
        seconds = [] if cases.empty else cases.drop_duplicates("case")["seconds"].tolist()
        rows.append(
            {
                "network": job.model.split("=", 1)[-1] if job.model != FINAL else job.name,
                "source": MEASURED,
                "arm": job.name,
                "parameters": facts["n_parameters"],
                "multiply_adds": operations["multiply_adds"],
                "flops": operations["flops"],
                "as_in_table_5": operations["as_in_table_5"],
                "as_in_table_5_training": (facts["all_heads"] or operations)["as_in_table_5"],
                "input_vox": " × ".join(str(n) for n in facts["input_shape"][2:]),
                "pass_s_median": took["median"],
                "pass_s_mean": took["mean"],
                "pass_s_sd": took["sd"],
                "n_runs": took["n_runs"],
                "n_warm_up": took["n_warm_up"],
                "memory_bytes": facts["weights_bytes"] + operations["peak_bytes"],
                "case_s_mean": float(np.mean(seconds)) if len(seconds) else None,
                "case_s_sd": float(np.std(seconds, ddof=1)) if len(seconds) > 1 else None,
                "n_cases": len(seconds),
                "device": facts["device"],
                "threads": facts["threads"],
                "machine": facts["machine"],
            }
        )
    if rows:
        for one in counted:
            rows += [*_published_cost(str(one["network"]), published), dict(one)]
    return pd.DataFrame(rows)


def _published_cost(network: str, published: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What a paper prints of a network, as a row; none if it prints nothing."""
    stated = {
        str(figure["metric"]): figure["value"]
        for figure in (published or {}).get("figures", ())
        if figure.get("network") == network and figure.get("metric") in PUBLISHED_COSTS
    }
    if not stated:
        return []
    row = {
        name: stated[name] * factor for name, factor in PUBLISHED_COSTS.items() if name in stated
    }
    return [{"network": network, "source": PUBLISHED, **row}]


def split_sizes(splits: Mapping[str, Split]) -> dict[str, dict[str, int]]:
    """Participants of each part of the benchmark's splits, see `make_shares_split`."""
    return {
        arm: {
            "train": len(split.folds[1]),
            "validation": len(split.folds[0]),
            "test": len(split.holdout),
        }
        for arm, split in splits.items()
    }


def mirror_pairs(datasets: Iterable[Dataset]) -> tuple[tuple[str, str], ...]:
    """Labels of any of the datasets that are each other's partner, the right one first."""
    pairs = dict.fromkeys(
        (second, first) if dataset.sides.get(first) == "left" else (first, second)
        for dataset in datasets
        for first, second in dataset.mirror_pairs
    )
    return tuple(pairs)


def report_content(
    study: Study,
    kind: str,
    arms: Sequence[ArmContent],
    scores: pd.DataFrame,
    split: Split,
    folder: StudyFolder,
    notes: Sequence[str],
    benchmark_split: Mapping[str, Mapping[str, int]],
    costs: pd.DataFrame,
) -> ReportContent:
    """The whole report."""
    plans = {arm.name: read_plan(folder.arm(arm.name).plan) for arm in arms}
    first = plans[arms[0].name]
    return ReportContent(
        title=study.title or study.study,
        study_name=study.study,
        kind="run" if kind == "run" else "study",
        arms=arms,
        scores=scores,
        variants=variant_rows(study, first),
        variant_caveats=_variant_caveats(study, plans),
        split=asdict(split),
        departures=[*study.departures, *automatic_departures(plans)],
        failures=[*notes, *_missed_places(arms), *_failed_rows(scores), *failed_scans(folder.root)],
        provenance=read_json(folder.provenance) if folder.provenance.is_file() else {},
        published=study.published,
        pipeline=pipeline(plans, arms, folder),
        what_it_is=study.what_it_is,
        readings_margin=None if study.readings is None else study.readings.margin,
        benchmark_split=benchmark_split,
        costs=costs,
        expected_ml={} if study.unlabelled is None else study.unlabelled.expected_ml,
        sequences=None if study.sequences is None else _sequences(study.sequences),
    )


def _sequences(stated: SequencesSettings) -> SequenceContent:
    content = SequenceContent(
        channels=stated.channels,
        sets=stated.sets(),
        margin=stated.margin,
        measure=stated.measure,
    )
    if stated.factors is None:
        return content
    first, second = stated.factors
    cells = factor_cells(stated.channels, stated.factors)
    arms = {which: set_name(channels) for which, channels in cells.items()}
    return replace(content, factors=(first, second), cells=arms)


def cohort_flow(
    arm: str,
    dataset: Dataset,
    train: Sequence[Case],
    holdout: Sequence[Case],
    n_slices: int | None,
    everyone: Sequence[str],
) -> list[FlowStep]:
    """Boxes of the cohort flow of one arm, top to bottom."""
    known = {case.participant_id for case in dataset.labelled_cases}
    left = {  # who is left out for a reason, and not merely with one of several scans
        participant_of(name, everyone) or name: reason for name, reason in dataset.exclude.items()
    }
    left = {name: reason for name, reason in left.items() if name not in known}
    without = set(everyone) - known - set(left)
    scanned = without & set(dataset.participant_ids)
    steps: list[FlowStep] = [("Participants assessed", len({*everyone, *left}), "")]
    steps += [("Excluded", n, reason) for reason, n in sorted(Counter(left.values()).items())]
    if len(without) > len(scanned):
        steps.append(("Excluded", len(without) - len(scanned), f"no usable {arm} scan"))
    if scanned:
        steps.append(("Not used", len(scanned), "without a reference"))
    steps.append((f"With {arm} and a reference", len(known), ""))
    steps.append(("Kept for the hold-out test", len(_participants(holdout)), ""))
    steps.append(("Training and validation", len(_participants(train)), ""))
    if n_slices is not None:
        steps.append(("Slices for training", n_slices, ""))
    return steps


def decision_table(plan: Plan) -> pd.DataFrame:
    """Decisions as rows: name, words, value, rule, source, facts."""
    return pd.DataFrame(
        [
            {
                "name": name,
                "words": setting_words(name),
                "value": _decided_words(decision.value),
                "rule": decision.rule,
                "source": decision.source,
                "facts": facts_words(decision.facts),
            }
            for name, decision in plan.decisions.items()
        ]
    )


def automatic_departures(plans: Mapping[str, Plan]) -> list[str]:
    """Sentences on settings that a published recipe states and that ran otherwise."""
    sentences: list[str] = []
    for arm, plan in plans.items():
        recipe = load_recipe(plan.recipe)
        stated = flatten(recipe.model_dump(mode="json", exclude={"provenance"}))
        for name, decision in plan.decisions.items():
            original = recipe.provenance.get(name)
            if original == "paper" and decision.value != stated.get(name):
                sentences.append(
                    f"{arm}: {name} was {_plain(decision.value)} ({decision.source}); the paper's "
                    f"recipe has {_plain(stated.get(name))}."
                )
        widths = plan.settings.network.config.get("features")
        usual = recipe.network.config.get("features")
        if usual and widths != usual:
            sentences.append(f"{arm}: feature widths were {widths}; the recipe has {usual}.")
    return sentences


def variant_rows(study: Study, plan: Plan) -> list[dict[str, str]]:
    """What was varied, the main model's own value included."""
    rows = []
    for part, values in study.vary.items():
        own = varied_value(plan.settings, part)
        rows.append({"setting": part, "value": str(own), "model": FINAL})
        rows += [
            {"setting": part, "value": str(value), "model": f"{part}={value}"}
            for value in values
            if value != own
        ]
    return rows


def _variant_caveats(study: Study, plans: Mapping[str, Plan]) -> list[str]:
    """What must be known of variants before their numbers are read."""
    varied = study.vary.get("train.mirroring", ())
    caveats = []
    sided = {arm: plan.settings.train for arm, plan in plans.items()
             if plan.dataset.sides or plan.dataset.mirror_pairs}  # fmt: skip
    if "plain" in varied and any(train.mirroring != "plain" for train in sided.values()):
        caveats.append(f"train.mirroring=plain: {PLAIN_MIRRORING[0].lower()}{PLAIN_MIRRORING[1:]}")
    unmirrored = [arm for arm, train in sided.items() if "X" not in train.mirror_axes]
    if varied and unmirrored:
        caveats.append(
            "train.mirroring: nothing is mirrored across the sagittal plane in "
            f"{', '.join(unmirrored)} (train.mirror_axes), so that the ways of mirroring are one "
            "and the same training there."
        )
    return caveats


def pipeline(
    plans: Mapping[str, Plan], arms: Sequence[ArmContent], folder: StudyFolder
) -> list[tuple[str, str]]:
    """The pipeline as it ran, stage by stage, with its real numbers; what differs is said by arm.

    Args:
        plans: Arm to its plan.
        arms: In their order.
        folder: Holds what was trained.
    """
    inputs = "\n".join(
        f"{arm.name}: {len(arm.train_participants)} + {len(arm.holdout_participants)} participants"
        for arm in arms
    )
    stages = {arm.name: _stages(plans[arm.name], folder.arm(arm.name)) for arm in arms}
    names = dict.fromkeys(name for one in stages.values() for name in one)
    texts = {
        name: lines_by_arm({arm: one.get(name, ()) for arm, one in stages.items()})
        for name in names
    }
    return [("Input", inputs), *texts.items()]


def lines_by_arm(lines: Mapping[str, Sequence[str]]) -> str:
    """Lines of text that all arms share once, others once for each arm that has them."""
    found: list[str] = []
    for row in itertools.zip_longest(*lines.values(), fillvalue=""):
        if len(set(row)) == 1:
            found.append(row[0])
            continue
        arms: dict[str, list[str]] = {}
        for arm, words in zip(lines, row, strict=True):
            arms.setdefault(words, []).append(arm)
        found += [f"{', '.join(names)}: {words}" for words, names in arms.items() if words]
    return "\n".join(found)


def _stages(plan: Plan, folder: RunFolder) -> dict[str, tuple[str, ...]]:
    """Stage to its lines, of one arm."""
    settings = plan.settings
    prepare, train, predict = settings.prepare, settings.train, settings.predict
    size = f", cropped or padded to {_by(prepare.size_vox)}" if prepare.size_vox else ""
    n_folds = len(plan.folds_to_train)
    return {
        **({"Localisation": (_locate_words(plan),)} if plan.is_located else {}),
        "Preparation": (
            f"{_normalisation_words(prepare.normalisation)} intensities",
            f"{_spacing_words(prepare.spacing_mm, plan.n_dims)}{size}",
        ),
        "Patches": (
            f"{_by(train.patch_vox)} voxels",
            f"{settings.sampling.name} sampling",
            _mirroring_words(plan),
        ),
        "Network": (
            f"{settings.network.name}{_width_words(plan)}",
            f"{settings.loss.name} loss",
            f"{n_folds} of {settings.folds} folds, {_steps_trained(plan, folder)} steps each",
        ),
        "Inference": (
            f"sliding window, {predict.overlap:.0%} overlap",
            _networks_words(n_folds, len(read_external_choice(folder).folds))
            + (", mirrored too" if predict.use_mirroring and mirrored_directions(plan) else ""),
        ),
        "Output": (_cleaning_words(predict.postprocess), "labels on the scan's own grid"),
    }


def _networks_words(n_trained: int, n_used: int) -> str:
    """How many networks segment the hold-out; 0 used: nothing was written, so all."""
    if n_trained == 1:
        return "one network"
    if n_used == 1:
        return f"the best of {n_trained} networks"
    return f"mean of {n_trained} networks"


def _steps_trained(plan: Plan, folder: RunFolder) -> str:
    counts = sorted(
        {
            int(read_json(done)["steps"])
            for fold in plan.folds_to_train
            if (done := folder.training(fold) / "done.json").is_file()
        }
    )
    if not counts:
        return str(plan.n_steps)
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _count_slices(train: Sequence[Case], folder: RunFolder, plan: Plan) -> int | None:
    if not folder.fingerprint.is_file():
        return None
    facts = read_json(folder.fingerprint)["cases"]
    axis = "ZYX".index(plan.axes[0])
    return sum(facts[case.case_id]["shape_vox"][axis] for case in train if case.case_id in facts)


def _failed_rows(scores: pd.DataFrame) -> list[str]:
    failed = scores[scores["status"] == "failed"]
    return sorted({f"{row.arm}, case {row.case}: {row.reason}" for row in failed.itertuples()})


def _missed_places(arms: Sequence[ArmContent]) -> list[str]:
    """Boxes that were not found, or missed what was drawn, in the hold-out."""
    return [
        f"{arm.name}, case {row['case']}: {row['place']} was {row['outcome']} by the locate stage"
        + (f" ({row['reason']})" if row["reason"] else "")
        for arm in arms
        if len(arm.localisation)
        for row in arm.localisation.to_dict("records")
        if row["part"] == "holdout" and row["outcome"] in (MISSED, CUT)
    ]


def _history(folder: RunFolder, plan: Plan) -> pd.DataFrame:
    tables = [
        pd.read_csv(path)
        for fold in plan.folds_to_train
        if (path := folder.training(fold) / "history.csv").is_file()
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _csv(path: Any) -> pd.DataFrame:
    if not path.is_file():
        return pd.DataFrame()
    return pd.read_csv(path, keep_default_na=False, dtype={"case": str})


def _participants(cases: Sequence[Case]) -> list[str]:
    return sorted({case.participant_id for case in cases})


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _decided_words(value: Any) -> str:
    if value is None:
        return "not set"
    return value_words(value) or "defaults"


def _fold_sizes(dataset: Dataset, split: Split) -> list[int]:
    """Cases that each fold leaves out."""
    return [len(split.cases(dataset, "validation", fold=k)) for k in range(len(split.folds))]


def _patch_mm(plan: Plan, facts: Fingerprint | None) -> tuple[float, float, float] | None:
    """(S, A, R) extent of a patch, mm: one slice thick where patches are slices."""
    if facts is None:
        return None
    scanned = np.median([case.spacing_mm for case in facts.cases.values()], axis=0)
    own = [scanned["ZYX".index(axis)] for axis in plan.axes]
    planned = plan.settings.prepare.spacing_mm or (None, None, None)
    sizes = [
        float(n * (step or own_mm))
        for n, step, own_mm in zip(plan.patch_vox, planned, own, strict=True)
    ]
    s, a, r = (sizes[plan.axes.index(axis)] for axis in "ZYX")
    return s, a, r


def _mirroring_words(plan: Plan) -> str:
    directions = mirrored_directions(plan)
    if not directions:
        return "no mirroring"
    how = f" ({plan.settings.train.mirroring})" if AXES["X"] in directions else ""
    return f"mirroring: {', '.join(one.replace(' and ', '-') for one in directions)}{how}"


def _width_words(plan: Plan) -> str:
    widths = plan.settings.network.config.get("features")
    return f", {widths[0]} to {widths[-1]} features" if widths else ""


def _cleaning_words(name: str) -> str:
    return {
        "largest_component": "largest component of each label",
        "validation": "small or further parts removed where validation gains by it",
        "none": "no post-processing",
    }[name]


def _locate_words(plan: Plan) -> str:
    locate = plan.settings.locate
    how = "the head by rules" if locate.stage == "rules" else f"network at {locate.spacing_mm:g} mm"
    n = 1 if locate.stage == "rules" else len(locate.places)
    size = f"margin {locate.margin_mm:g} mm"
    if locate.box_mm is not None:
        size = f"{' × '.join(f'{edge:g}' for edge in locate.box_mm)} mm"
    return f"{how}\n{n} box{'es' if n > 1 else ''}, {size}"


def _by(sizes: Sequence[int]) -> str:
    return " × ".join(str(size) for size in sizes)


def _spacing_words(spacing_mm: Sequence[float | None] | None, n_dims: int) -> str:
    if n_dims == 3:
        steps = [f"{step:g}" if step else "as scanned" for step in spacing_mm or (None,)]
        return f"voxels of {' × '.join(steps)} mm"
    slices, *plane = spacing_mm or (None, None, None)
    in_plane = " × ".join(f"{step:g}" if step else "as scanned" for step in dict.fromkeys(plane))
    return f"{in_plane} mm in plane" + (f", slices every {slices:g} mm" if slices else "")


def _normalisation_words(names: str | Sequence[str]) -> str:
    return _words(names) if isinstance(names, str) else ", ".join(map(_words, names))


def _words(name: str) -> str:
    return name.replace("_", "-")
