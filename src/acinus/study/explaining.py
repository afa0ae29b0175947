"""Where the network looked, for the report and for one image of a user.

Enters: a model and prepared slices. Leaves: ``gradcam.npz`` with one map a
depth, or a figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from acinus.cohort import Case
from acinus.errors import ConfigError, DataError, GridError, PlanError, unknown_name
from acinus.explain import HeatMap, grad_cam, write_heat_maps
from acinus.plan import Plan
from acinus.predict import (
    find_scans,
    load_model,
    network_from,
    network_input,
    predict_labels,
    weight_name,
)
from acinus.predict.locate.locators import values_of
from acinus.prepare import Store
from acinus.report import write_saliency_figure
from acinus.study.folders import RunFolder
from acinus.types import Array


def explain_arm(
    holdout: Sequence[Case], scores: pd.DataFrame, plan: Plan, store: Store, folder: RunFolder
) -> None:
    """Grad-CAM at all depths for the hold-out case of median Dice.

    The slice is the one with most of the label; the network is that of the
    first trained fold, since an ensemble has no single set of layers.
    """
    # Of a case in which a locate stage has nothing to learn from nothing is stored.
    ids = [case.case_id for case in holdout if store.entries(case.case_id)]
    case_id = _median_case(ids, scores)
    if case_id is None:
        return
    entry = store.fullest_entry(case_id)
    label = np.asarray(store.label(entry))
    masks = {
        name: np.isin(label, values)
        for name, values in zip(plan.dataset.labels, plan.label_values, strict=True)
    }
    name = max(masks, key=lambda one: int(masks[one].sum()))
    index = int(masks[name].sum(axis=(1, 2)).argmax())
    network = network_from(plan, folder.model / weight_name(plan.folds_to_train[0]))
    seen = network_input(plan, store.prepared(entry))
    view = _view(seen, masks[name], index, plan)
    maps = grad_cam(network, torch.from_numpy(view.image), _output(plan, name), region=view.region)
    write_heat_maps(
        folder.saliency,
        view.flat(maps),
        image=view.shown,
        reference=view.reference,
        case=case_id,
        slice_index=index,
        label=name,
    )


def explain_image(
    model: Path,
    image: Path,
    *,
    label: str | None = None,
    slice_index: int | None = None,
    out: Path,
    series: str | None = None,
) -> Path:
    """Figure of Grad-CAM at all depths for one slice of one image.

    Args:
        model: Model folder.
        image: What `acinus predict` accepts, one scan.
        label: Name of the label; None: the one with the largest prediction.
        slice_index: Prepared slice, from inferior; None: the one with most of the label.
        out: Folder for ``gradcam.png`` and ``gradcam.npz``.
        series: Which DICOM series.

    Raises:
        ConfigError: No such label or slice.
        DataError: Several scans, or nothing predicted and neither label nor slice given.
    """
    loaded = load_model(model)
    if loaded.locator is not None:
        raise PlanError(
            f"{model}: a map is made of what the networks see, and those of a model with a locate "
            "stage see boxes; crop the scan to one of boxes.csv, or look at the map in the report."
        )
    scans = find_scans(
        image,
        loaded.plan.dataset.channels,
        series,
        is_view=loaded.plan.dataset.channel_numbers is not None,
    )
    if len(scans) != 1:
        raise DataError(f"{image}: one scan is explained at a time; found {len(scans)}.")
    if label is not None and label not in loaded.labels:
        raise ConfigError(unknown_name("label", label, loaded.labels))
    channels = scans[0].read()
    try:
        prepared = loaded.prepare(channels)
    except (DataError, GridError) as error:
        raise DataError(f"{scans[0].where}: {error}") from error
    predicted = predict_labels(loaded.networks, loaded.plan, prepared)
    masks = {
        name: np.isin(predicted, values)
        for name, values in values_of(loaded.plan).items()
        if label in (None, name)
    }
    sizes = {name: int(mask.sum()) for name, mask in masks.items()}
    name = max(sizes, key=lambda one: sizes[one])
    n_slices = prepared.image.shape[1]
    if slice_index is None:
        if not sizes[name]:
            raise DataError(
                f"{image}: the model predicts none of {', '.join(sizes)} here, so there is no "
                f"slice to choose. Give --slice 0 to {n_slices - 1}."
            )
        slice_index = int(masks[name].sum(axis=(1, 2)).argmax())
    if not 0 <= slice_index < n_slices:
        raise ConfigError(f"--slice must be 0 to {n_slices - 1}; got {slice_index}.")
    maps = out / "gradcam.npz"
    seen = network_input(loaded.plan, prepared)
    view = _view(seen, masks[name], slice_index, loaded.plan)
    found = grad_cam(
        loaded.networks[0],
        torch.from_numpy(view.image),
        _output(loaded.plan, name),
        region=view.region,
    )
    write_heat_maps(
        maps,
        view.flat(found),
        image=view.shown,
        reference=view.reference,
        case=scans[0].case,
        slice_index=slice_index,
        label=name,
    )
    return write_saliency_figure(
        maps, out / "gradcam.png", name=scans[0].case, synthetic=loaded.plan.dataset.synthetic
    )


@dataclass(frozen=True, eq=False)
class _View:
    """What the network sees at once around a slice.

    Attributes:
        image: (C, R, Q) slice, or (C, s, r, q) window of a volume.
        region: Mask of the label on it.
        index: Index of the slice within the window; None for slices.
    """

    image: Array
    region: Array
    index: int | None

    @property
    def shown(self) -> Array:
        """(R, Q) first channel of the slice."""
        shown: Array = self.image[0] if self.index is None else self.image[0, self.index]
        return shown

    @property
    def reference(self) -> Array:
        """(R, Q) mask of the slice."""
        mask: Array = self.region if self.index is None else self.region[self.index]
        return mask

    def flat(self, maps: Sequence[HeatMap]) -> list[HeatMap]:
        """The maps of the slice; those of a window are 1 at their own brightest voxel."""
        if self.index is None:
            return list(maps)
        return [replace(heat, map=heat.map[self.index]) for heat in maps]


def _view(image: Array, mask: Array, index: int, plan: Plan) -> _View:
    """The slice, or a patch of the volume with the slice in it, centred on the label.

    Args:
        image: (C, S, R, Q) prepared.
        mask: (S, R, Q) label.
        index: Slice.
        plan: Patch.
    """
    if plan.n_dims == 2:
        return _View(np.ascontiguousarray(image[:, index]), np.asarray(mask[index]), None)
    places = np.argwhere(mask)
    centre = places.mean(axis=0) if len(places) else np.array(mask.shape) / 2
    centre[0] = index
    window = []
    for middle, size, patch in zip(centre, mask.shape, plan.patch_vox, strict=True):
        first = min(max(int(middle) - patch // 2, 0), max(size - patch, 0))
        window.append(slice(first, first + patch))
    inner = tuple(window)
    return _View(
        np.ascontiguousarray(image[(slice(None), *inner)]),
        np.asarray(mask[inner]),
        index - window[0].start,
    )


def _output(plan: Plan, name: str) -> int:
    """Index of a label among the network's outputs."""
    if plan.dataset.regions:
        return list(plan.dataset.labels).index(name)
    return plan.dataset.labels[name]


def _median_case(ids: Sequence[str], scores: pd.DataFrame) -> str | None:
    dice = scores[
        (scores["metric"] == "dice") & (scores["part"] == "holdout") & (scores["status"] == "ok")
    ]
    means = dice.assign(number=pd.to_numeric(dice["value"])).groupby("case")["number"].mean()
    means = means[[case for case in means.index if case in ids]].sort_values()
    if not len(means):
        return ids[0] if ids else None
    return str(means.index[len(means) // 2])
