"""nnU-Net's plans as decisions of ours.

Enters: ``plans.json`` and ``dataset.json`` of a results folder, and what its checkpoints say.
Leaves: a `Plan` that predicts as nnU-Net does. What the plans do not state, the training
above all, comes from our recipe of the same name. What we would do otherwise than the plans
say is refused; a model that is nearly the same was rejected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acinus.cohort.header import Header, parse_header
from acinus.errors import DataError, PlanError
from acinus.files import hash_data, read_json
from acinus.plan import PLANES, DatasetFacts, Decision, Plan, Recipe, load_recipe
from acinus.plan.recipe import flatten
from acinus.plan.settings import ChannelIntensity, Normalisation
from acinus.predict.nnunet.architecture import read_architecture

PLANS = "plans.json"
DATASET = "dataset.json"

SPLIT_SEED = 12345
"""Seed of nnU-Net's split into folds."""

SCHEMES: dict[str, Normalisation] = {
    "ZScoreNormalization": "z_score",
    "CTNormalization": "ct",
    "NoNormalization": "none",
    "RescaleTo01Normalization": "rescale_0_1",
    "RGBTo01Normalization": "rgb_0_1",
}

AS_STORED = ("SimpleITKIO", "NibabelIO")
TURNED_TO_RAS = ("NibabelIOWithReorient", "SimpleITKIOWithReorient")
"""Readers that leave the axes as they are in the file, and those that turn them."""

RESAMPLING: dict[str, tuple[Any, ...]] = {
    "resampling_fn_data": ("resample_data_or_seg_to_shape",),
    "resampling_fn_data_kwargs": (
        {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
    ),
    "resampling_fn_probabilities": ("resample_data_or_seg_to_shape",),
    "resampling_fn_probabilities_kwargs": (
        {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
    ),
    "preprocessor_name": ("DefaultPreprocessor",),
    "previous_stage": (None,),
}
"""What a configuration must say of these where it says anything: ours does only this."""

REASONS = {
    "previous_stage": "a cascade needs the segmentation of another model as input",
}


@dataclass(frozen=True)
class Origin:
    """Where a model comes from.

    Attributes:
        folder: nnU-Net's results folder.
        configuration: Such as ``3d_fullres``.
        trainer: Name of the trainer's class.
        mirror_axes: Axes of the patch that its prediction mirrors.
        orientation: As in ``prepare.orientation``; None: as the plans' reader does it.
        n_folds: Folds that are imported.
    """

    folder: Path
    configuration: str
    trainer: str
    mirror_axes: tuple[int, ...]
    orientation: str | None
    n_folds: int


def read_dataset_json(folder: Path) -> Header:
    """The dataset that a results folder was trained on.

    Raises:
        DataError: ``dataset.json`` is missing or cannot be used.
    """
    stated = read_json(folder / DATASET)
    if isinstance(stated, dict):
        # Where its files lay, and how they ended, is of no account to a trained model.
        stated = {**stated, "file_ending": ".nii.gz"}
        stated.pop("dataset", None)
        if "modality" in stated:  # as of version 1, which version 2 still reads
            stated.setdefault("channel_names", stated["modality"])
    header, faults = parse_header(stated)
    if faults:
        raise DataError(
            f"{folder / DATASET}: a model whose dataset this program cannot describe is not "
            f"imported: {faults[0]}"
        )
    return header


def read_plan_of(origin: Origin) -> Plan:
    """Our plan of a trained configuration.

    Raises:
        DataError: ``plans.json`` or ``dataset.json`` is missing or cannot be used.
        PlanError: The plans say something that we do not do.
    """
    path = origin.folder / PLANS
    plans = read_json(path)
    if not isinstance(plans, dict) or not isinstance(plans.get("configurations"), dict):
        raise DataError(f"{path}: must be nnU-Net's plans with 'configurations'.")
    header = read_dataset_json(origin.folder)
    stated = _configuration(plans, origin.configuration, str(path))
    where = f"{path}: configuration '{origin.configuration}'"
    _refuse_other_ways(stated, where)
    try:
        values = _values(plans, stated, header, origin, where)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, PlanError | DataError):
            raise
        raise PlanError(
            f"{where}: must state spacing, patch, batch and normalisation as nnU-Net 2 does; "
            f"{type(error).__name__}: {error}."
        ) from None
    recipe = _base_recipe(values["network.name"], origin.configuration)
    name = str(plans.get("plans_name", "plans"))
    return Plan(
        dataset=_dataset_facts(header, plans),
        recipe=recipe.name,
        summary=(
            f"imported from nnU-Net: {plans.get('dataset_name', header.name)}, "
            f"{origin.configuration}, {name}, {origin.trainer}"
        ),
        seed=SPLIT_SEED,
        decisions=_decisions(recipe, values, f"imported from nnU-Net's {name}"),
    )


def _configuration(plans: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    """One configuration with what it inherits."""
    known = plans["configurations"]
    chain: list[dict[str, Any]] = []
    wanted: Any = name
    seen: set[str] = set()
    while wanted is not None:
        if wanted not in known or wanted in seen:
            raise DataError(
                f"{where}: configuration '{wanted}' must be there, inherited in no circle; found "
                f"{', '.join(known)}."
            )
        seen.add(wanted)
        chain.append(known[wanted])
        wanted = known[wanted].get("inherits_from")
    return {key: value for one in reversed(chain) for key, value in one.items()}


def _refuse_other_ways(stated: Mapping[str, Any], where: str) -> None:
    for key, allowed in RESAMPLING.items():
        if key in stated and stated[key] not in allowed:
            reason = REASONS.get(key, "another one is not done here")
            raise PlanError(
                f"{where}: '{key}' must be {allowed[0]!r}; got {stated[key]!r}: {reason}. Models "
                "planned so cannot be imported."
            )


def _values(
    plans: Mapping[str, Any],
    stated: Mapping[str, Any],
    header: Header,
    origin: Origin,
    where: str,
) -> dict[str, Any]:
    """Dotted settings that the plans decide."""
    slice_axis = _slice_axis(plans, where)
    patch = [int(size) for size in stated["patch_size"]]
    network = read_architecture(stated, where)
    if any(len(kernel) != len(patch) for kernel in network.config["kernels"]):
        raise PlanError(f"{where}: patch {patch} and kernels must have as many axes.")
    if max(origin.mirror_axes, default=0) >= len(patch):
        raise PlanError(
            f"{where}: mirrored axes must be axes of the patch {patch}; got {origin.mirror_axes}."
        )
    spacing = [float(step) for step in stated["spacing"]]
    axes = PLANES[slice_axis][-len(patch) :]
    return {
        "nnunet.encoder": "plain" if network.name == "plain_unet" else "residual",
        **_preparation(plans, stated, header, where),
        "prepare.crop_to_nonzero": True,
        "prepare.interpolation": "cubic",
        "prepare.spacing_mm": [None] * (3 - len(spacing)) + spacing,
        "prepare.slice_axis": slice_axis,
        "prepare.orientation": _orientation(plans, origin.orientation, where),
        "network.name": network.name,
        "network.config": network.config,
        "train.patch_vox": patch,
        "train.batch": int(stated["batch_size"]),
        "train.mirroring": "plain",
        "train.mirror_axes": [axes[axis] for axis in origin.mirror_axes],
        "predict.overlap": 0.5,
        "predict.blend": "gaussian",
        "predict.average": "logits",
        "predict.use_mirroring": bool(origin.mirror_axes),
        "predict.postprocess": "none",
        "folds_trained": origin.n_folds,
    }


def _slice_axis(plans: Mapping[str, Any], where: str) -> str:
    """The axis that comes first, from the order of the file's axes."""
    order = [int(axis) for axis in plans["transpose_forward"]]
    for name, axes in PLANES.items():
        if ["ZYX".index(axis) for axis in axes] == order:
            return name
    raise PlanError(
        f"{where}: 'transpose_forward' must put one axis first and keep the order of the others; "
        f"got {order}."
    )


def turns_to_ras(folder: Path) -> bool:
    """Whether the images of a training were turned when they were read, however they are stored."""
    plans = read_json(folder / PLANS)
    return isinstance(plans, dict) and plans.get("image_reader_writer") in TURNED_TO_RAS


def _orientation(plans: Mapping[str, Any], asked: str | None, where: str) -> str:
    reader = plans.get("image_reader_writer")
    if reader in TURNED_TO_RAS:
        if asked not in (None, "canonical", "RAS"):
            raise PlanError(
                f"{where}: the network saw images turned to RAS by '{reader}', so that "
                f"--orientation must be left out; got '{asked}'."
            )
        return "canonical"
    if asked is not None:
        return asked
    if reader in AS_STORED:
        return "as_stored"
    raise PlanError(
        f"{where}: 'image_reader_writer' must be one of {', '.join((*AS_STORED, *TURNED_TO_RAS))}; "
        f"got {reader!r}. Models of other kinds of images cannot be imported."
    )


def _preparation(
    plans: Mapping[str, Any], stated: Mapping[str, Any], header: Header, where: str
) -> dict[str, Any]:
    schemes = stated["normalization_schemes"]
    unknown = [scheme for scheme in schemes if scheme not in SCHEMES]
    if unknown or len(schemes) != len(header.channel_names):
        raise PlanError(
            f"{where}: 'normalization_schemes' must name one of {', '.join(SCHEMES)} for each of "
            f"the {len(header.channel_names)} channel(s); got {schemes}."
        )
    kinds = [SCHEMES[scheme] for scheme in schemes]
    masked = {
        bool(mask)
        for mask, kind in zip(stated["use_mask_for_norm"], kinds, strict=True)
        if kind == "z_score"
    }
    if len(masked) > 1:
        raise PlanError(
            f"{where}: 'use_mask_for_norm' must be the same for all z-scored channels; got "
            f"{stated['use_mask_for_norm']}."
        )
    values: dict[str, Any] = {
        "prepare.normalisation": kinds,
        "prepare.normalise_nonzero": masked == {True},
    }
    if "ct" in kinds:
        values["prepare.intensity"] = _intensities(plans, len(kinds))
    return values


def _intensities(plans: Mapping[str, Any], n_channels: int) -> list[dict[str, float]]:
    # Releases before 2.2 say modality for channel.
    stated = (
        plans.get("foreground_intensity_properties_per_channel")
        or (plans["foreground_intensity_properties_by_modality"])
    )
    return [
        ChannelIntensity(
            mean=channel["mean"],
            sd=channel["std"],
            low=channel["percentile_00_5"],
            high=channel["percentile_99_5"],
        ).model_dump()
        for channel in (stated[str(index)] for index in range(n_channels))
    ]


def _base_recipe(network: str, configuration: str) -> Recipe:
    """Our recipe of the same kind, for what the plans do not state."""
    if configuration == "2d":
        return load_recipe("nnunet-2d")
    if configuration == "3d_lowres":
        return load_recipe("nnunet-3d-lowres")
    return load_recipe("nnunet-resenc-m" if network == "resenc_unet" else "nnunet-3d")


def _decisions(recipe: Recipe, values: Mapping[str, Any], imported: str) -> dict[str, Decision]:
    data = recipe.model_dump(mode="json", exclude={"name", "summary", "provenance"})
    decisions = {
        dotted: Decision(
            value=value,
            rule=f"nnU-Net's default, recipe {recipe.name}",
            source="paper",
        )
        for dotted, value in flatten(data).items()
    }
    for dotted, value in values.items():
        decisions[dotted] = Decision(value=value, rule=imported, source=_source(dotted))
    decisions["train.precision"] = Decision(
        value="float32",
        rule="label maps agree with nnU-Net's; in bfloat16 a model that was trained for minutes "
        "agreed in 99.6 % of the foreground",
        source="ours",
    )
    return decisions


def _source(dotted: str) -> Any:
    from_data = ("prepare.", "network.config", "train.patch_vox", "train.batch")
    return "data" if dotted.startswith(from_data) else "paper"


def _dataset_facts(header: Header, plans: Mapping[str, Any]) -> DatasetFacts:
    return DatasetFacts(
        name=str(plans.get("dataset_name") or header.name),
        hash=hash_data([plans, header.labels, header.regions, header.channel_names]),
        channel_names=header.channel_names,
        labels=dict(header.labels),
        sides=dict(header.sides),
        mirror_pairs=header.mirror_pairs,
        synthetic=header.synthetic,
        volume_ranges_ml={},
        regions=dict(header.regions),
        ignore_label=header.ignore_label,
    )


def common_orientation(codes: Sequence[str], folder: Path) -> str:
    """The axis codes that all images share.

    Raises:
        DataError: There is no image, or they are stored in several orientations.
    """
    kinds = sorted(set(codes))
    if len(kinds) != 1:
        counts = ", ".join(f"{kind} {codes.count(kind)}" for kind in kinds) or "no image"
        raise DataError(
            f"{folder}: all training images must be stored in one orientation to take it for the "
            f"model; found {counts}. Leave --dataset out: scans are then taken as they are stored, "
            "as nnU-Net does."
        )
    return kinds[0]
