"""What each sampling shows the network: shares of patches, and a picture of the regions.

Enters: prepared training cases. Leaves: ``sampling.csv`` and ``sampling.npz``
(Figure 2 of the lacrimal study).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from acinus.files import whole_file, write_text
from acinus.plan import Choice, Plan
from acinus.prepare import Store
from acinus.study.folders import RunFolder
from acinus.study.stamps import once
from acinus.train import SAMPLINGS, PatchSource
from acinus.types import IGNORE

N_DRAWN = 2000
"""Patches drawn to estimate a share; its standard error is at most 0.011."""


PLANE_ACROSS = {"Z": "axial", "Y": "coronal", "X": "sagittal"}
"""Axis across the slices to the plane in which they lie."""


def show_samplings(entries: Sequence[str], store: Store, plan: Plan, folder: RunFolder) -> None:
    """Write the share of patches with foreground under every sampling, and the maps.

    Args:
        entries: Of the store, that training draws from.
        store: Holds them.
        plan: Of the arm.
        folder: Of the arm.
    """
    ids = list(entries)

    def work() -> None:
        settings = plan.settings
        lines = ["sampling,share_with_foreground,n,chosen"]
        for name in SAMPLINGS.names():
            chosen = name == settings.sampling.name
            choice = settings.sampling if chosen else Choice(name=name)
            source = PatchSource(store, ids, choice, settings.train.patch_vox, reach=False)
            share = source.share_with_foreground(N_DRAWN, np.random.default_rng(plan.seed))
            del source  # it holds two files a case open
            lines.append(f"{name},{share:.4f},{N_DRAWN},{chosen}")
        write_text(folder.sampling_table, "\n".join(lines) + "\n")
        _write_maps(ids, store, plan, folder)

    results = (folder.sampling_table, folder.sampling_maps)
    once(folder.root, "sampling", [plan.hash(), ids], work, results=results)


def _write_maps(ids: Sequence[str], store: Store, plan: Plan, folder: RunFolder) -> None:
    """The slice with most foreground of the case whose foreground is the median."""
    facts = {case_id: store.facts(case_id) for case_id in ids}
    shown = [case_id for case_id in ids if not facts[case_id].mirrored] or ids
    sizes = {case_id: sum(facts[case_id].foreground_vox.values()) for case_id in shown}
    case_id = sorted(sizes, key=lambda name: (sizes[name], name))[len(sizes) // 2]
    stored = store.label(case_id)
    label = (stored > 0) & (stored != IGNORE)
    index = int(label.sum(axis=(1, 2)).argmax())
    with whole_file(folder.sampling_maps) as beside, beside.open("wb") as stream:
        np.savez_compressed(
            stream,
            image=np.asarray(store.image(case_id)[0, index]),
            foreground=np.asarray(label[index]),
            region=np.asarray(label.any(axis=0)),
            spacing_mm=np.array(facts[case_id].geometry.resampled_mm[1:]),
            plane=np.array(PLANE_ACROSS[plan.axes[0]]),
            case=np.array(case_id),
            slice_index=np.array(index),
        )
