"""A trained model in memory: volumes in, label maps on the same grid out.

Enters: a model folder, or that of an ensemble (see `predict/folder.py`). Leaves: label maps.
Prediction starts no process, writes no file and keeps no state, so that one model serves
several threads. Members of an ensemble have plans of their own, with other spacings and
patches, so their probabilities are averaged on the native grid, plane by plane; averaging
label maps was rejected, as it forgets how sure each member was.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from acinus.errors import ConfigError, DataError, PlanError, unknown_name
from acinus.networks import SegmentationNetwork
from acinus.plan import Decision, Plan
from acinus.predict.average import average_members
from acinus.predict.case import predict_prepared
from acinus.predict.device import PRECISIONS, device_of, prediction_device
from acinus.predict.folder import (
    LOCATOR,
    PREVIOUS,
    ModelCard,
    check_one_locator,
    is_ensemble,
    load_network,
    read_card,
    read_ensemble_card,
    read_model_plan,
)
from acinus.predict.locate import (
    HeadLocator,
    Located,
    Locator,
    MaskLocator,
    NetworkLocator,
    Place,
    clipping,
    locate,
    segment_places,
)
from acinus.predict.locate.locators import Watch
from acinus.predict.locate.stage import common_grid, still_cut
from acinus.predict.memory import case_bytes, reading_bytes, tile_bytes, unread_case
from acinus.predict.missing import is_trained_for_missing, missing_channels, refuse_missing
from acinus.predict.postprocess import Cleaning, clean, keep_largest_of_all
from acinus.prepare import (
    PreparedCase,
    mirrored,
    mirrored_labels,
    prepare_case,
    prepare_labelmap,
)
from acinus.prepare.normalise import Intensities
from acinus.scans import Grid, Volume
from acinus.scans.box import Slices, hull, part_affine, within
from acinus.scans.slabs import SlabReader, VolumeSlabs, paste

Postprocess = Literal["plan", "none", "largest_component"]
"""What is done after the network: as was decided on validation, nothing, or keep the largest
component of every label."""


@dataclass(frozen=True, eq=False)
class Member:
    """Networks that share a plan.

    Attributes:
        plan: The plan they were trained by.
        networks: One a fold, in evaluation mode on one device.
        previous: Of a cascade: the model at low resolution, whose labels these networks see.
        lacked: Channels that some of the training cases lacked.
    """

    plan: Plan
    networks: tuple[SegmentationNetwork, ...]
    previous: Model | None = None
    lacked: tuple[str, ...] = ()

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return device_of(self.networks)

    @cached_property
    def tile_bytes(self) -> int:
        """Most memory that the tensors of one tile take in a network, bytes."""
        return tile_bytes(self.networks[0], self.plan.settings.train.patch_vox)

    @property
    def may_lack(self) -> frozenset[str]:
        """Channels that a case may lack: any after channel dropout, else those that some training
        case lacked."""
        is_trained = is_trained_for_missing(self.plan)
        return frozenset(self.plan.dataset.channel_names if is_trained else self.lacked)

    def prepare(
        self,
        channels: Sequence[Volume | None],
        whole: Sequence[Intensities | None] | None = None,
    ) -> PreparedCase:
        """One case as these networks see it, with what the low resolution of a cascade finds.

        Args:
            channels: One a channel; None is missing.
            whole: Of a part of a scan: the intensities of all of it.
        """
        prepared = prepare_case(channels, self.plan.settings.prepare, whole=whole)
        if self.previous is None:
            return prepared
        return with_previous(prepared, self.previous.predict(channels, postprocess="none"))


@dataclass(frozen=True, eq=False)
class Model:
    """A model ready to predict; made by `load_model`.

    Attributes:
        members: One, or several whose probabilities are averaged on the native grid.
        postprocess: Label name to what is removed of it.
        precision: ``auto``, ``float32`` or ``bfloat16``, see `load_model`.
        locator: Finds the boxes that the networks see; None: they see the whole scan.
    """

    members: tuple[Member, ...]
    postprocess: Mapping[str, Cleaning] = field(default_factory=dict)
    precision: str = "auto"
    locator: Locator | None = None

    @property
    def plan(self) -> Plan:
        """The plan of the first member; all share its labels and channels."""
        return self.members[0].plan

    @property
    def networks(self) -> tuple[SegmentationNetwork, ...]:
        """The networks of the first member."""
        return self.members[0].networks

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.members[0].device

    @property
    def labels(self) -> dict[str, int]:
        """Label name to value."""
        return dict(self.plan.dataset.labels)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Channels of a case, in order."""
        return self.plan.dataset.channel_names

    @property
    def may_lack(self) -> frozenset[str]:
        """Channels that a case may lack, by all members; one must always be there."""
        return frozenset.intersection(*(member.may_lack for member in self.members))

    def predict(
        self,
        volume: Volume | Sequence[Volume | None],
        *,
        postprocess: Postprocess = "plan",
        allow_nothing: bool = False,
        watch: Watch | None = None,
    ) -> Volume:
        """Label map of one case on the grid of its input.

        Args:
            volume: The image, or one volume a channel in the model's order; None for a channel that
                is missing, see `may_lack`.
            postprocess: What is done after the network.
            allow_nothing: Of a model with a locate stage: whether the label map is empty where
                no place was found, in place of an error.
            watch: Told the bytes that the case will take beside what is read, before it does.

        Returns:
            (Z, Y, X) uint8 label map with the input's affine, to the voxel.

        Raises:
            DataError: The number of channels differs from the model's, a channel is missing that
                it always had, no place was found, or the memory of this machine does not suffice.
            GridError: Channels lie on different grids.
        """
        given = [volume] if isinstance(volume, Volume) else list(volume)
        self.refuse_missing(given)
        if self.locator is not None:
            sources = [None if one is None else VolumeSlabs(one) for one in given]
            located = self.predict_located(sources, postprocess=postprocess, watch=watch)
            if not allow_nothing:
                refuse_nothing_found(located)
            return assembled(located)
        return self._segment(self.channels(given), postprocess, watch)

    def refuse_missing(self, channels: Sequence[object | None]) -> None:
        """Refuse a case without a channel that the model always had.

        Args:
            channels: One a channel, in the model's order; None is missing.

        Raises:
            DataError: It cannot predict from these channels.
        """
        self._refuse_wrong_number(len(channels))
        names = self.channel_names
        refuse_missing(missing_channels(names, channels), names, self.may_lack)

    def predict_located(
        self,
        sources: Sequence[SlabReader | None],
        *,
        postprocess: Postprocess = "plan",
        watch: Watch | None = None,
    ) -> Located:
        """One case by a model with a locate stage: boxes are found, then segmented inside.

        Args:
            sources: One a channel, in the model's order.
            postprocess: What is done after the network.
            watch: Told the bytes that the coarse network and each box will take, before they do.

        Raises:
            DataError: As of `predict`.
            GridError: As of `predict`.
            PlanError: The model has no locate stage.
        """
        if self.locator is None:
            raise PlanError("a model must have a locate stage to be asked for boxes; it has none.")
        self._refuse_wrong_number(len(sources))
        found, seen, locate_s = locate(sources, self.locator, watch)
        begin = time.monotonic()

        def segment(place: Place, channels: Sequence[Volume | None]) -> Volume:
            checked = self.channels(channels)
            if place.name not in self.plan.mirrored_places:
                return self._segment(checked, "none", watch)
            turned = [None if one is None else mirrored(one) for one in checked]
            found = self._segment(turned, "none", watch)
            return mirrored_labels(found, self.plan.mirror_table)

        def watch_grids(grids: Sequence[Grid]) -> None:
            if watch is not None:
                plans, largest = [one.plan for one in self.members], max(grids, key=_n_voxels)
                held = 4 * sum(map(_n_voxels, grids)) * len(self.channel_names)
                watch(held + reading_bytes(largest, plans, held=False))

        pieces = segment_places(sources, found, segment, self.plan, watch_grids)
        grid = common_grid(sources)
        located = Located(grid, tuple(pieces), seen, locate_s, time.monotonic() - begin)
        # Cleaned at last: what a box cuts off must grow it first, however small the rest looks.
        return self.clean_located(located, postprocess)

    def clean_located(self, located: Located, postprocess: Postprocess = "plan") -> Located:
        """The boxes of a scan without the components that post-processing removes."""
        pieces = []
        for piece in located.pieces:
            if piece.labelmap is not None:
                cleaned = self.clean(piece.labelmap, postprocess)
                if cleaned is not piece.labelmap:
                    piece = replace(piece, labelmap=cleaned)
                    piece = replace(piece, cut=still_cut(piece, located.grid, self.plan))
            pieces.append(piece)
        return self._clean_together(replace(located, pieces=tuple(pieces)), postprocess)

    def _clean_together(self, located: Located, postprocess: Postprocess) -> Located:
        """Boxes cleaned as one where some show labels that were moved out of others."""
        names = {name for one in located.pieces if one.is_moved for name in one.place.labels}
        group = [one for one in located.pieces if one.part and names & set(one.place.labels)]
        if not group or not self.cleanings(postprocess):
            return located
        around = hull(one.part for one in group if one.part)
        cleaned = self.clean(assembled(replace(located, pieces=tuple(group)), around), postprocess)
        pieces = []
        for piece in located.pieces:
            if piece.part and piece.labelmap is not None and any(piece is one for one in group):
                own, kept = piece.labelmap.array, cleaned.array[within(piece.part, around)]
                labelmap = piece.labelmap.with_array(np.where(own == kept, own, 0))
                piece = replace(piece, labelmap=labelmap)
                piece = replace(piece, cut=still_cut(piece, located.grid, self.plan))
            pieces.append(piece)
        return replace(located, pieces=tuple(pieces))

    def _segment(
        self,
        channels: Sequence[Volume | None],
        postprocess: Postprocess,
        watch: Watch | None = None,
    ) -> Volume:
        """Label map of channels that were checked."""
        prepared = [member.prepare(channels) for member in self.members]
        if watch is not None:
            watch(self.case_bytes(*prepared))
        return self.predict_prepared(*prepared, postprocess=postprocess)

    def segment_part(
        self,
        channels: Sequence[Volume | None],
        whole: Sequence[Sequence[Intensities | None]],
    ) -> Volume:
        """Label map of a part of a scan, not post-processed.

        Args:
            channels: One a channel, in the model's order.
            whole: For each member the intensities of each channel in the whole scan.

        Raises:
            DataError: As of `predict`.
        """
        checked = self.channels(channels)
        pairs = zip(self.members, whole, strict=True)
        prepared = [member.prepare(checked, intensities) for member, intensities in pairs]
        return self.predict_prepared(*prepared, postprocess="none")

    def part_bytes(self, grid: Grid) -> int:
        """Most memory that a part of a scan takes from its reading to its labels, bytes."""
        plans = [member.plan for member in self.members]
        cases = [unread_case(grid, plan) for plan in plans]
        return max(reading_bytes(grid, plans), self.case_bytes(*cases))

    def channels(self, volume: Volume | Sequence[Volume | None]) -> list[Volume | None]:
        """The channels of one case, checked but for missing ones; arguments as of `predict`."""
        channels: list[Volume | None]
        channels = [volume] if isinstance(volume, Volume) else list(volume)
        names = self.channel_names
        self._refuse_wrong_number(len(channels))
        for name, channel in zip(names, channels, strict=True):
            if channel is not None and not (finite := np.isfinite(channel.array)).all():
                raise DataError(
                    f"channel '{name}': voxel values must be finite; "
                    f"{finite.size - int(finite.sum())} of {finite.size} are not. "
                    "Export the scan again, or replace them by the value of air."
                )
            if channel is not None:
                self._refuse_unknown_axes(name, channel)
        return channels

    def _refuse_unknown_axes(self, name: str, channel: Volume) -> None:
        """A model that takes voxels as stored saw files of one kind, and DICOM is another."""
        is_dicom = channel.meta.get("format") == "DICOM"
        if is_dicom and self.plan.settings.prepare.orientation == "as_stored":
            raise DataError(
                f"channel '{name}': this model takes voxels in the order in which its training "
                "files stored them, which a DICOM series need not have: it might see patients "
                "upside down. Import it again with --dataset, its raw training folder, or "
                "--orientation."
            )

    def _refuse_wrong_number(self, n_channels: int) -> None:
        names = self.channel_names
        if n_channels != len(names):
            raise DataError(
                f"this model needs {len(names)} channel(s) ({', '.join(names)}) on one grid; "
                f"got {n_channels}."
            )

    def prepare(self, volume: Volume | Sequence[Volume | None]) -> PreparedCase:
        """One case as the first member sees it; arguments and errors as of `predict`.

        Of a model with a locate stage it is the part of a scan in one of its boxes.
        """
        channels = self.channels(volume)
        self.refuse_missing(channels)
        return self.members[0].prepare(channels)

    def predict_prepared(
        self, *prepared: PreparedCase, postprocess: Postprocess = "plan"
    ) -> Volume:
        """Label map of a case that was prepared by the plans of all members, in their order."""
        if len(self.members) == 1:
            labels = predict_prepared(
                self.networks, self.plan, prepared[0], precision=self.precision
            )
        else:
            labels = average_members(
                [
                    (member.networks, member.plan, case)
                    for member, case in zip(self.members, prepared, strict=True)
                ],
                self.precision,
            )
        return self.clean(labels, postprocess)

    def clean(self, labelmap: Volume, postprocess: Postprocess = "plan") -> Volume:
        """A label map without the components that post-processing removes."""
        return clean(labelmap, self.cleanings(postprocess))

    def case_bytes(self, *prepared: PreparedCase) -> int:
        """Memory of this machine that predicting a prepared case will take, bytes, by forecast."""
        return sum(
            case_bytes(member.plan, case, member.tile_bytes, member.device)
            for member, case in zip(self.members, prepared, strict=True)
        )

    def cleanings(self, postprocess: Postprocess) -> dict[int, Cleaning]:
        """Label value to what is removed of it."""
        if postprocess == "none":
            return {}
        if postprocess == "largest_component" and self.plan.dataset.regions:
            raise ConfigError(
                "the largest component of each label must not be kept where labels are regions, "
                "which lie within each other: it would leave holes and cores without a rim. Leave "
                "--postprocess out."
            )
        if postprocess == "largest_component":
            return keep_largest_of_all(self.labels.values())
        return {self.labels[name]: cleaning for name, cleaning in self.postprocess.items()}


def with_previous(prepared: PreparedCase, found: Volume) -> PreparedCase:
    """A prepared case with the label map that a low resolution found, on the native grid."""
    return replace(prepared, previous=prepare_labelmap(found, prepared.geometry))


def load_model(
    path: Path | str,
    *,
    folds: Sequence[int] | None = None,
    device: str = "auto",
    precision: str = "auto",
    mirroring: bool | None = None,
    locator_mask: Path | None = None,
) -> Model:
    """A model from its folder.

    Args:
        path: Folder with ``model.json`` or, of an ensemble, ``ensemble.json``.
        folds: Only these folds; None: all that were trained.
        device: ``cpu``, ``cuda``, ``mps``, or ``auto``: the best that this machine has.
        precision: ``float32``; ``bfloat16``: matrix products in 16 bits; ``auto``: those where
            the device has them fast, unless the model was trained in float32.
        mirroring: Whether to average over mirrored tiles, along the axes that the plan allows;
            None: as it decided.
        locator_mask: Label map that another program made of the scan, in the place of the
            model's own locator.

    Raises:
        ConfigError: This machine has no such device, there is no such precision, or a mask is
            given to a model without a locate stage.
        PlanError: A file is missing, damaged or altered, or a fold is not there.
    """
    folder = Path(path)
    where = prediction_device(device)
    if precision not in PRECISIONS:
        raise ConfigError(unknown_name("precision", precision, PRECISIONS))
    if not is_ensemble(folder):
        card = read_card(folder)
        member = _member(folder, folds, where, precision, mirroring)
        locator = _locator(folder, card, member.plan, where, precision, locator_mask)
        return Model((member,), card.postprocess, precision, locator)
    ensemble = read_ensemble_card(folder)
    for stated in ensemble.members:
        if read_card(folder / stated.folder).plan_hash != stated.plan_hash:
            raise PlanError(
                f"{folder / stated.folder}: must be the model that the ensemble was made of; its "
                "plan is another one. Copy the ensemble's folder whole."
            )
    members = tuple(
        _member(folder / one.folder, folds, where, precision, mirroring) for one in ensemble.members
    )
    folders = [folder / one.folder for one in ensemble.members]
    check_one_locator(folders)
    locator = _locator(
        folders[0], read_card(folders[0]), members[0].plan, where, precision, locator_mask
    )
    return Model(members, ensemble.postprocess, precision, locator)


def refuse_nothing_found(located: Located) -> None:
    """Raise `DataError` with the reason if no place of a scan was found."""
    if all(piece.part is None for piece in located.pieces):
        raise DataError(f"{located.pieces[0].place.reason}.")


def _n_voxels(grid: Grid) -> int:
    return math.prod(grid.shape)


def assembled(located: Located, part: Slices | None = None) -> Volume:
    """The label map of a whole scan from its pieces, or of a part that holds them all."""
    grid = located.grid
    if part is None:
        z, y, x = grid.shape
        part = slice(0, z), slice(0, y), slice(0, x)
    array = np.zeros([edge.stop - edge.start for edge in part], dtype=np.uint8)
    paste([(within(own, part), labels) for own, labels in located.parts()], 0, array)
    return Volume(array, part_affine(grid.affine, part))


def _locator(
    folder: Path,
    card: ModelCard,
    plan: Plan,
    device: torch.device,
    precision: str,
    mask: Path | None,
) -> Locator | None:
    """What finds the boxes of a model with a locate stage; None without one."""
    stage = plan.settings.locate.stage
    if stage == "off":
        if mask is not None:
            raise ConfigError(
                f"--locator-mask goes with a model that has a locate stage; {folder} segments the "
                "whole scan. Leave it out."
            )
        return None
    if mask is not None:
        return MaskLocator(mask, plan)
    if stage == "rules":
        return HeadLocator(plan)
    own = folder / LOCATOR
    if read_card(own).plan_hash != card.locator:
        raise PlanError(
            f"{own}: must be the locator that the model was trained with; its plan is another one. "
            "Copy the model folder whole."
        )
    # One network, as each case was judged by one: a mean of all costs as many times as much.
    first = [read_card(own).weights[0].fold]
    coarse = load_model(own, folds=first, device=device.type, precision=precision)
    grown_mm = coarse.plan.settings.prepare.grow_mm
    return NetworkLocator(coarse, plan, grown_mm, clipping(coarse.plan))


def _member(
    folder: Path,
    folds: Sequence[int] | None,
    device: torch.device,
    precision: str,
    mirroring: bool | None,
) -> Member:
    card = read_card(folder)
    plan = read_model_plan(folder, card.plan_hash)
    if mirroring is not None:
        asked = Decision(value=mirroring, rule="asked for at prediction", source="user")
        plan = plan.with_decisions({"predict.use_mirroring": asked})
    known = {weights.fold: weights for weights in card.weights}
    wanted = tuple(known) if folds is None else tuple(folds)
    unknown = sorted(set(wanted) - set(known))
    if unknown or not wanted:
        have, missed = (
            ", ".join(f"fold_{fold}" for fold in sorted(some)) or "none" for some in (known, wanted)
        )
        raise PlanError(f"{folder}: folds must be among {have}; asked for {missed}.")
    networks = tuple(load_network(plan, folder, known[fold], device) for fold in wanted)
    if card.previous is None:
        return Member(plan, networks, lacked=card.lacked_channels)
    lowres = folder / PREVIOUS
    if read_card(lowres).plan_hash != card.previous:
        raise PlanError(
            f"{lowres}: must be the model that the cascade was trained with; its plan is another "
            "one. Copy the model folder whole."
        )
    previous = load_model(lowres, device=device.type, precision=precision, mirroring=mirroring)
    return Member(plan, networks, previous, card.lacked_channels)
