"""``acinus import LAYOUT``: public datasets in the layouts in which they are published."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

import acinus
from acinus.cli.import_ import import_model
from acinus.cli.outcome import SOME_FAILED
from acinus.progress import plural

Folder = Annotated[Path, Parameter(help="The unpacked download, or a folder above it.")]
Target = Annotated[Path, Parameter(name="DATASET", help="Dataset to write; new or empty.")]


@dataclass(frozen=True)
class Common:
    """Options of every importer."""

    labels: Annotated[
        tuple[str, ...],
        Parameter(
            help="Structures to keep, numbered in this order; the others become background. "
            "Default: all.",
            consume_multiple=True,
            show_default=False,
        ),
    ] = ()
    copy: Annotated[
        bool,
        Parameter(help="Copy files instead of linking them; changing a link changes the original."),
    ] = False
    trust_voxels: Annotated[
        bool,
        Parameter(
            help="Take a label map whose header disagrees with its image voxel by voxel, if the "
            "shapes are equal. Without it such a case fails."
        ),
    ] = False
    jobs: Annotated[int, Parameter(help="Cases that are read side by side.")] = 1


Options = Annotated[Common, Parameter(name="*")]


@import_model.command
def amos(
    folder: Folder,
    dataset: Target,
    /,
    *,
    modality: Annotated[
        Literal["ct", "mri"], Parameter(help="CT (numbers up to 500) or MRI (above).")
    ],
    parts: Annotated[
        tuple[Literal["train", "validation"], ...],
        Parameter(help="Published parts with labels.", consume_multiple=True),
    ] = ("train", "validation"),
    options: Options = Common(),
) -> int:
    """Import AMOS 2022: 15 abdominal organs on CT or MRI.

    Age, sex, site and scanner come from labeled_data_meta_0000_0599.csv, where it lies in the
    folder or above it.

    ```console
    acinus import amos amos22 Dataset020_Amos --modality ct --labels pancreas
    ```
    """
    return _import("amos", folder, dataset, options, modality=modality, parts=parts)


@import_model.command(name="abdomenct-1k")
def abdomenct_1k(
    folder: Folder,
    dataset: Target,
    /,
    *,
    options: Options = Common(),
) -> int:
    """Import AbdomenCT-1K: liver, kidneys, spleen and pancreas on CT.

    The three image archives and Mask.7z, unpacked side by side. Its scans come from LiTS, KiTS19,
    MSD Spleen, MSD Pancreas and NIH Pancreas-CT: no external test for a model trained on those.

    ```console
    acinus import abdomenct-1k AbdomenCT-1K Dataset021_AbdomenCT --labels pancreas
    ```
    """
    return _import("abdomenct-1k", folder, dataset, options)


@import_model.command
def word(
    folder: Folder,
    dataset: Target,
    /,
    *,
    parts: Annotated[
        tuple[Literal["train", "validation", "test"], ...],
        Parameter(help="Published parts.", consume_multiple=True),
    ] = ("train", "validation", "test"),
    options: Options = Common(),
) -> int:
    """Import WORD: 16 abdominal organs on CT.

    ```console
    acinus import word WORD-V0.1.0 Dataset022_Word --labels pancreas duodenum
    ```
    """
    return _import("word", folder, dataset, options, parts=parts)


@import_model.command
def btcv(
    folder: Folder,
    dataset: Target,
    /,
    *,
    options: Options = Common(),
) -> int:
    """Import BTCV (abdomen): 13 organs on CT.

    ```console
    acinus import btcv RawData Dataset023_Btcv --labels pancreas
    ```
    """
    return _import("btcv", folder, dataset, options)


@import_model.command(name="nih-pancreas")
def nih_pancreas(
    folder: Folder,
    dataset: Target,
    /,
    *,
    options: Options = Common(),
) -> int:
    """Import NIH Pancreas-CT: DICOM series with label maps as NIfTI.

    Both are placed by the directions of their axes. Cases 25 and 70, copies of case 2 that were
    withdrawn, are left out.

    ```console
    acinus import nih-pancreas nih Dataset024_Nih
    ```
    """
    return _import("nih-pancreas", folder, dataset, options)


@import_model.command
def pansegdata(
    folder: Folder,
    dataset: Target,
    /,
    *,
    modality: Annotated[
        Literal["t1", "t2"] | None,
        Parameter(help="T1 or T2; needed where the folder holds both.", show_default=False),
    ] = None,
    options: Options = Common(),
) -> int:
    """Import PanSegData: the pancreas on MRI of five centres.

    The centre becomes the column site. In 66 T1 cases the header of the label disagrees with its
    image: they fail unless --trust-voxels is given.

    ```console
    acinus import pansegdata pansegdata Dataset025_PancreasT2 --modality t2
    ```
    """
    return _import("pansegdata", folder, dataset, options, modality=modality)


@import_model.command
def msd(
    folder: Folder,
    dataset: Target,
    /,
    *,
    options: Options = Common(),
) -> int:
    """Import a task of the Medical Segmentation Decathlon.

    Several modalities in one file become one file each.

    ```console
    acinus import msd Task07_Pancreas Dataset007_Pancreas
    ```
    """
    return _import("msd", folder, dataset, options)


@import_model.command(name="han-seg")
def han_seg(
    folder: Folder,
    dataset: Target,
    /,
    *,
    options: Options = Common(),
) -> int:
    """Import HaN-Seg: lacrimal and salivary glands and other organs at risk on CT.

    Structures overlap and some cases lack one: name those you want with --labels. The MRI is left
    out, as it is not registered to the CT on which the organs are drawn.

    ```console
    acinus import han-seg HaN-Seg Dataset026_HanSeg --labels lacrimal_left lacrimal_right
    ```
    """
    return _import("han-seg", folder, dataset, options)


@import_model.command(name="head-neck-oar")
def head_neck_oar(
    folder: Folder,
    dataset: Target,
    /,
    *,
    reader: Annotated[
        Literal["oncologist", "radiographer"], Parameter(help="Whose masks.")
    ] = "oncologist",
    parts: Annotated[
        tuple[Literal["test", "validation"], ...],
        Parameter(help="Published parts.", consume_multiple=True),
    ] = ("test", "validation"),
    options: Options = Common(),
) -> int:
    """Import the head and neck CTs of Nikolov et al.: glands and other organs by two readers.

    Structures overlap (cord and canal, lens and orbit): name those you want with --labels.

    ```console
    acinus import head-neck-oar tcia-ct-scan-dataset Dataset027_Heads --labels lacrimal_right
    ```
    """
    return _import("head-neck-oar", folder, dataset, options, reader=reader, parts=parts)


@import_model.command
def pddca(
    folder: Folder,
    dataset: Target,
    /,
    *,
    options: Options = Common(),
) -> int:
    """Import PDDCA: parotid and submandibular glands and other organs at risk on CT.

    The three parts, unpacked side by side. Eight cases have no mandible: leave it out with
    --labels to take them.

    ```console
    acinus import pddca PDDCA Dataset028_Pddca --labels parotid_left parotid_right
    ```
    """
    return _import("pddca", folder, dataset, options)


@import_model.command
def segrap(
    folder: Folder,
    dataset: Target,
    /,
    *,
    scans: Annotated[
        tuple[Literal["plain", "contrast"], ...],
        Parameter(
            help="CT without and with contrast medium, a channel each.", consume_multiple=True
        ),
    ] = ("plain", "contrast"),
    options: Options = Common(),
) -> int:
    """Import SegRap 2023: salivary glands and other organs at risk on plain and contrast CT.

    Structures overlap (hippocampus and temporal lobe, lens and eye): name those you want with
    --labels.

    ```console
    acinus import segrap SegRap2023 Dataset029_SegRap --labels parotid_left parotid_right
    ```
    """
    return _import("segrap", folder, dataset, options, scans=scans)


@import_model.command
def tom500(
    folder: Folder,
    dataset: Target,
    /,
    *,
    names: Annotated[
        tuple[str, ...],
        Parameter(
            help="The nine structures in the order of their label values, from 1.",
            consume_multiple=True,
            show_default=False,
        ),
    ] = (),
    parts: Annotated[
        tuple[Literal["train", "validation"], ...],
        Parameter(help="Published parts.", consume_multiple=True),
    ] = ("train", "validation"),
    options: Options = Common(),
) -> int:
    """Import TOM500: the lacrimal gland and eight more structures on T2 MRI of the orbit.

    The download states no table of label values that could be checked: look at one label map,
    and name the structures by value. Right and left are one label.

    ```console
    acinus import tom500 TOM500 Dataset035_Tom500 --labels lacrimal --names optic_nerve orbital_fat lacrimal eyeball superior_rectus_and_levator inferior_rectus medial_rectus lateral_rectus superior_oblique
    ```
    """  # noqa: E501
    return _import("tom500", folder, dataset, options, names=names, parts=parts)


@import_model.command
def brats(
    folder: Folder,
    dataset: Target,
    /,
    *,
    structures: Annotated[
        Literal["parts", "regions"],
        Parameter(
            help="parts: necrotic core, edema, enhancing tumour; regions: the nested whole "
            "tumour, tumour core and enhancing tumour."
        ),
    ] = "parts",
    options: Options = Common(),
) -> int:
    """Import BraTS: glioma on FLAIR, T1, T1 with contrast and T2; releases to 2021 and 2023.

    ```console
    acinus import brats BraTS2021_Training_Data Dataset036_Brats --structures regions
    ```
    """
    return _import("brats", folder, dataset, options, structures=structures)


@import_model.command
def bids(
    folder: Folder,
    dataset: Target,
    /,
    *,
    channels: Annotated[
        tuple[str, ...],
        Parameter(
            help="Images by suffix, with the entities that tell them apart: T1w, acq-venous_T1w.",
            consume_multiple=True,
        ),
    ] = ("T1w",),
    derivative: Annotated[
        str | None,
        Parameter(
            help="Folder below derivatives/ with the segmentations, where several have some.",
            show_default=False,
        ),
    ] = None,
    options: Options = Common(),
) -> int:
    """Import a BIDS dataset with segmentations (dseg or mask files) among its derivatives.

    ```console
    acinus import bids study Dataset030_Study --channels T1w T2w --derivative manual
    ```
    """
    return _import("bids", folder, dataset, options, channels=channels, derivative=derivative)


def _import(layout: str, folder: Path, dataset: Path, options: Common, **choices: Any) -> int:
    done = acinus.import_dataset(
        layout,
        folder,
        dataset,
        labels=options.labels,
        use_links=not options.copy,
        trust_voxels=options.trust_voxels,
        jobs=options.jobs,
        **choices,
    )
    for remark in done.remarks:
        sys.stderr.write(f"{remark}\n")
    for case, reason in done.failed.items():
        sys.stderr.write(f"failed: case '{case}': {reason}\n")
    sys.stdout.write(
        f"{done.n_cases} {plural('case', done.n_cases)}, {', '.join(done.labels)}: {done.folder}\n"
    )
    return SOME_FAILED if done.failed else 0
