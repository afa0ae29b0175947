"""The store: prepared arrays as memory-mapped files, one set a case.

Enters: a dataset and a plan. Leaves: ``store/CASE.image.npy``,
``CASE.label.npy``, ``CASE.sites.npy`` and ``CASE.json``, whole or absent. Of a plan
with a locate stage each box of a case is an entry of its own, ``CASE@PLACE``, as if
it were a scan; ``CASE.entries.json`` lists them.
Compressed chunks were rejected by measurement: a random patch from a memory map
costs a sixteenth.
"""

from __future__ import annotations

import contextlib
import errno
import math
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np

from acinus import progress
from acinus.cohort import Case, Dataset
from acinus.config import Settings, validate
from acinus.errors import AcinusError, DataError, PlanError
from acinus.files import hash_data, read_json, whole_file, write_json
from acinus.plan import Plan
from acinus.prepare.case import PreparedCase, prepare_case, prepare_labelmap
from acinus.prepare.geometry import Geometry
from acinus.prepare.mirror import mirrored, mirrored_labels
from acinus.prepare.sites import label_sites, sites_as_table, sites_from_table
from acinus.scans import Volume, read_labelmap, read_volume
from acinus.scans.box import Slices, crop
from acinus.types import Array

MOST_FILES = (65_536, 10_240)
"""Files that a process asks to hold open; the second is the most that macOS allows."""

N_READERS = 2
"""Threads that read and prepare cases; decompression and torch release the lock."""

ARRAYS = ("image", "label", "sites")
"""Arrays of a case."""


CaseBoxes = Callable[[Case, Sequence[Volume | None], Volume], Mapping[str, Slices]]
"""A case, its channels and its reference to the parts (Z, Y, X) of the scan that are learned from,
by the name of their place."""


class StoredFacts(Settings):
    """What is known of a prepared case beside its arrays."""

    key: str
    """Hash of the dataset and of the settings that made the arrays."""
    geometry: Geometry
    foreground_vox: dict[str, int]
    """Voxels of each label or region on the prepared grid."""
    cut_labels: tuple[str, ...]
    """Labels of which cropping removed a part."""
    mirrored: bool = False
    """Whether image and labels are those in a mirror; what is said here is not."""


class Store:
    """Prepared cases by id; arrays are memory maps.

    Args:
        folder: Of the prepared arrays.
        previous: Of the label maps that the low resolution of a cascade found, as they lie on
            the prepared grid; None where there is none.
    """

    def __init__(self, folder: Path, previous: Path | None = None) -> None:
        self.folder = folder
        self.previous_folder = previous

    def facts(self, case_id: str) -> StoredFacts:
        """Geometry and voxel counts; DataError when the case was not prepared."""
        path = self.folder / f"{case_id}.json"
        return validate(StoredFacts, read_json(path), where=str(path))

    def entries(self, case_id: str) -> tuple[str, ...]:
        """Ids under which a case is kept: its own, or with a locate stage one a box."""
        path = self.folder / f"{case_id}.entries.json"
        return tuple(read_json(path)["entries"]) if path.is_file() else (case_id,)

    def labels_of_entries(self, case_id: str) -> dict[str, tuple[str, ...] | None]:
        """Entries of a case, each with the labels that are sought in it; None: all."""
        path = self.folder / f"{case_id}.entries.json"
        if not path.is_file():
            return {case_id: None}
        listed = read_json(path)
        return {one: tuple(listed["labels"][one]) for one in listed["entries"]}

    def fullest_entry(self, case_id: str) -> str:
        """Of the entries of a case, at least one, the one with most foreground; if there are such,
        of those that are not mirrored."""
        facts = {one: self.facts(one) for one in self.entries(case_id)}
        return max(
            facts,
            key=lambda one: (not facts[one].mirrored, sum(facts[one].foreground_vox.values())),
        )

    def image(self, case_id: str) -> Array:
        """(C, S, R, Q) float32, read on access."""
        return self._load(case_id, "image")

    def label(self, case_id: str) -> Array:
        """(S, R, Q) uint8, read on access; 255 where the reference says nothing."""
        return self._load(case_id, "label")

    def sites(self, case_id: str) -> dict[int, Array]:
        """A sample of the voxels of each label, see `label_sites`."""
        return sites_from_table(self._load(case_id, "sites"))

    def previous(self, case_id: str) -> Array | None:
        """(S, R, Q) uint8 labels of the low resolution, read on access; None without a cascade."""
        if self.previous_folder is None:
            return None
        return _memory_map(self.previous_folder / f"{case_id}.npy")

    def prepared(self, case_id: str) -> PreparedCase:
        """A copy of the case as the network sees it, without its reference."""
        previous = self.previous(case_id)
        return PreparedCase(
            image=np.array(self.image(case_id)),
            label=None,
            geometry=self.facts(case_id).geometry,
            previous=None if previous is None else np.array(previous),
        )

    def add_previous(self, case_id: str, labelmap: Volume) -> None:
        """Keep what the low resolution found in a case, as it lies on the prepared grid."""
        if self.previous_folder is None:
            raise DataError(f"{self.folder}: no folder was given for labels of a low resolution.")
        labels = prepare_labelmap(labelmap, self.facts(case_id).geometry)
        with whole_file(self.previous_folder / f"{case_id}.npy") as path:
            np.save(path, labels, allow_pickle=False)

    def _load(self, case_id: str, kind: str) -> Array:
        return _memory_map(self.folder / f"{case_id}.{kind}.npy")


@cache
def _allow_many_files() -> None:
    """Raise the number of files that this process may hold open, as far as the system lets it.

    Each mapped array keeps one, so that 128 cases reach the usual 256 of a terminal on macOS.
    """
    try:
        import resource
    except ImportError:  # Windows, which has no such limit for mapped files
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in MOST_FILES:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if soft == resource.RLIM_INFINITY or soft >= most:
            return
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            return


def _memory_map(path: Path) -> Array:
    _allow_many_files()
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, OSError) and error.errno == errno.EMFILE:
            raise DataError(
                f"{path}: this process may hold no more files open, and each prepared array is "
                "one. Raise the limit ('ulimit -n 8192' before the command) and start it again."
            ) from None
        raise DataError(
            f"{path}: must be a whole prepared array; {error}. Delete the folder "
            f"{path.parent.name} and start the same command again."
        ) from None


def prepare_store(
    dataset: Dataset,
    plan: Plan,
    folder: Path,
    cases: Sequence[Case],
    boxes: CaseBoxes | None = None,
) -> Store:
    """Prepare what is not prepared yet.

    Args:
        dataset: Where the cases are.
        plan: Decides normalisation, spacing and size.
        folder: The store.
        cases: Labelled cases that are needed.
        boxes: Of a plan with a locate stage: where its cases are cut.

    Raises:
        DataError: A case cannot be prepared; the message names it.
        PlanError: The dataset is not the one that the plan was made for.
    """
    _refuse_changed_dataset(dataset, plan)
    key = store_key(plan)
    store = Store(folder)
    missing = [case for case in cases if not _is_whole(store, case.case_id, key, boxes is not None)]
    if not missing:
        return store
    with (
        progress.stage("Preparing", total=len(missing), unit="case") as bar,
        ThreadPoolExecutor(N_READERS) as readers,
    ):
        for _ in readers.map(lambda case: _store_case(plan, folder, case, key, boxes), missing):
            bar.advance(1)
    return store


def store_key(plan: Plan) -> str:
    """Hash of all that decides the prepared arrays."""
    settings = plan.settings.prepare.model_dump(mode="json")
    located = [plan.settings.locate.model_dump(mode="json"), plan.seed] if plan.is_located else []
    return hash_data([plan.dataset.hash, settings, *located])


def is_prepared(store: Store, case_id: str, plan: Plan) -> bool:
    """Whether a case lies whole in a store, as a plan has it; in boxes, whether all of them do."""
    return _is_whole(store, case_id, store_key(plan), plan.is_located)


def load_case(case: Case, *, with_label: bool) -> tuple[list[Volume | None], Volume | None]:
    """Volumes of a case; a fault names the case."""
    try:
        channels = [None if path is None else read_volume(path) for path in case.images]
        label = read_labelmap(case.label) if with_label and case.label is not None else None
    except AcinusError as error:
        raise DataError(f"case '{case.case_id}': {error}") from error
    return channels, label


def load_labelled_case(case: Case) -> tuple[list[Volume | None], Volume]:
    """Volumes of a case and its native label map; DataError without one."""
    channels, label = load_case(case, with_label=True)
    if label is None:
        raise DataError(f"case '{case.case_id}': must have a label to learn from; it has none.")
    return channels, label


def _refuse_changed_dataset(dataset: Dataset, plan: Plan) -> None:
    found = dataset.fingerprint_hash()
    if found != plan.dataset.hash:
        raise PlanError(
            f"{dataset.folder}: must hold the files that the plan was made from (SHA-256 "
            f"{plan.dataset.hash[:12]}…); dataset.json, an image or a label was changed, added "
            f"or removed since (now {found[:12]}…). Make a new plan in a new folder with "
            "'acinus plan', or put the old files back."
        )


def _store_case(plan: Plan, folder: Path, case: Case, key: str, boxes: CaseBoxes | None) -> None:
    channels, label = load_labelled_case(case)
    listed = folder / f"{case.case_id}.entries.json"
    listed.unlink(missing_ok=True)
    if boxes is None:
        _store_entry(plan, folder, case.case_id, key, channels, label)
        return
    try:
        parts = boxes(case, channels, label)
    except AcinusError as error:
        raise DataError(f"case '{case.case_id}': {error}") from error
    sought = dict(plan.settings.locate.places)
    labels: dict[str, list[str]] = {}
    for place, part in parts.items():
        entry = f"{case.case_id}@{re.sub(r'[^A-Za-z0-9.-]+', '_', place)}"
        if entry in labels:  # names that differ in other letters only
            entry += f"_{len(labels) + 1}"
        inside = [None if one is None else crop(one, part) for one in channels]
        is_mirrored = place in plan.mirrored_places
        _store_entry(plan, folder, entry, key, inside, crop(label, part), is_mirrored=is_mirrored)
        labels[entry] = list(sought.get(place, plan.dataset.labels))
    write_json(listed, {"key": key, "entries": list(labels), "labels": labels})


def _store_entry(
    plan: Plan,
    folder: Path,
    entry: str,
    key: str,
    channels: Sequence[Volume | None],
    label: Volume,
    *,
    is_mirrored: bool = False,
) -> None:
    if is_mirrored:
        channels = [None if one is None else mirrored(one) for one in channels]
        label = mirrored_labels(label, plan.mirror_table)
    try:
        prepared = prepare_case(
            channels, plan.settings.prepare, label, ignore_label=plan.dataset.ignore_label
        )
    except AcinusError as error:
        raise DataError(f"case '{entry}': {error}") from error
    if prepared.label is None:
        raise DataError(f"case '{entry}': must have a label.")
    before, after = _counts(label.array, plan), _counts(prepared.label, plan)
    if is_mirrored:
        before, after = _of_other_side(before, plan), _of_other_side(after, plan)
    arrays = {
        "image": prepared.image,
        "label": prepared.label,
        "sites": sites_as_table(label_sites(prepared.label, entry)),
    }
    # The facts of older arrays go first: after a kill between two files none would be true.
    (folder / f"{entry}.json").unlink(missing_ok=True)
    for kind in ARRAYS:
        with whole_file(folder / f"{entry}.{kind}.npy") as path:
            np.save(path, arrays[kind], allow_pickle=False)
    facts = StoredFacts(
        key=key,
        geometry=prepared.geometry,
        foreground_vox=after,
        cut_labels=tuple(
            name for name in before if _was_cut(before[name], after[name], prepared.geometry)
        ),
        mirrored=is_mirrored,
    )
    write_json(folder / f"{entry}.json", facts.model_dump(mode="json"))


def _counts(array: Array, plan: Plan) -> dict[str, int]:
    """Voxels of each label; of a region those of all its labels."""
    regions = plan.dataset.regions
    return {
        name: sum(int(np.count_nonzero(array == part)) for part in regions.get(name, (value,)))
        for name, value in plan.dataset.labels.items()
    }


def _of_other_side(counts: Mapping[str, int], plan: Plan) -> dict[str, int]:
    """Counts of the labels that stand for those of the other side."""
    names = list(counts)
    return {
        name: counts[names[partner]]
        for name, partner in zip(names, plan.mirrored_labels, strict=True)
    }


def _was_cut(before: int, after: int, geometry: Geometry) -> bool:
    """Whether a label lost more than a tenth of what resampling alone would leave."""
    is_smaller = geometry.cropped_vox != geometry.scanned_vox or any(
        new < old for new, old in zip(geometry.prepared_vox, geometry.resampled_vox, strict=True)
    )
    share = math.prod(geometry.resampled_vox) / math.prod(geometry.cropped_vox)
    return is_smaller and before > 0 and after < 0.9 * before * share


def _is_whole(store: Store, case_id: str, key: str, in_boxes: bool) -> bool:
    """Whether a case is prepared; in boxes, whether all its entries are."""
    listed = store.folder / f"{case_id}.entries.json"
    if not in_boxes:
        return not listed.is_file() and _is_prepared(store.folder, case_id, key)
    return (
        listed.is_file()
        and read_json(listed).get("key") == key
        and all(_is_prepared(store.folder, entry, key) for entry in store.entries(case_id))
    )


def _is_prepared(folder: Path, case_id: str, key: str) -> bool:
    facts = folder / f"{case_id}.json"
    arrays = [folder / f"{case_id}.{kind}.npy" for kind in ARRAYS]
    if not facts.is_file() or not all(path.is_file() for path in arrays):
        return False
    return bool(read_json(facts).get("key") == key)
