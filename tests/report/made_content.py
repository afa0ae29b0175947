"""Made reports: small volumes with known structures, scores from their masks."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from scipy import ndimage

from acinus import progress
from acinus.evaluate import Pair, score_cases
from acinus.report.content import ArmContent, ReportContent

MEASURES = ("dice", "iou", "hausdorff_95_mm")
SPACING = (3.5, 0.9, 0.9)
LACRIMAL = {"lacrimal_right": 1, "lacrimal_left": 2}
SIDES = {"lacrimal_right": "right", "lacrimal_left": "left"}


def made_content(
    folder: Path,
    *,
    arms: tuple[str, ...] = ("POST-AX-T1-FS", "AX-T1"),
    n_cases: int = 10,
    n_holdout: int = 4,
    shape: tuple[int, int, int] = (10, 96, 96),
    seed: int = 7,
    synthetic: bool = True,
) -> ReportContent:
    rng = np.random.default_rng(seed)
    ids = [f"orbit_{i:03d}" for i in range(1, n_cases + 1)]
    holdout, train = tuple(ids[:n_holdout]), tuple(ids[n_holdout:])
    folds = tuple(train[k::2] for k in range(2))
    participants = pd.DataFrame(
        {
            "participant_id": ids,
            "age": np.round(rng.normal(55, 18, n_cases).clip(17, 90), 1),
            "sex": [("F", "F", "M", "")[i % 4] for i in range(n_cases)],
        }
    )
    made = []
    scores: list[pd.DataFrame] = []
    for k, name in enumerate(arms):
        made.append(
            _made_arm(
                folder / f"data_{k}",
                name,
                k,
                ids,
                train,
                holdout,
                participants,
                shape,
                rng,
                scores,
                synthetic,
            )
        )
    table = pd.concat(scores, ignore_index=True)
    variants = _add_variants(table, rng)
    table = pd.concat([table, *variants[1]], ignore_index=True)
    return ReportContent(
        title="Lacrimal glands on MRI: a made study",
        study_name="lacrimal-demo",
        kind="study" if len(arms) > 1 else "run",
        arms=tuple(made),
        scores=table,
        variants=variants[0],
        split={
            "holdout": holdout,
            "folds": folds,
            "seed": 2018,
            "by": "participant",
            "conditions": {"holdout_needs": "all_arms"},
        },
        departures=("Folds are drawn by participant; the paper assigns single slices at random.",),
        failures=("orbit_099: the image has only zeros and was left out of training.",),
        provenance={
            "command": "acinus study studies/lacrimal-demo.yaml --out OUT",
            "started": "2026-01-02T10:20:30+00:00",
            "seconds": 312.4,
            "machine": "2 CPU cores, no GPU",
            "versions": {"acinus": "0.1.0", "torch": "2.13.0"},
            "seed": 2018,
            "hashes": {"plan": "ab" * 32, "dataset": "cd" * 32},
            "budget": "5m",
        },
        published=PUBLISHED,
        pipeline=(
            ("Input MRI slices", f"{n_cases} participants, {len(arms)} sequences, 3.5 mm slices"),
            ("Preparation and augmentation",
             "min-max rescaling; 0.90 mm in plane; flips, scaling, noise, rotation ±15°; "
             "patches 128 × 128"),
            ("Network", "2D U-Net, widths 16-256; 2 folds; 40 epochs of 50 steps; Dice loss"),
            ("Inference", "sliding window, 25% overlap; mean of 2 models"),
            ("Output", "largest component per label; back on the scan's own grid"),
        ),
        what_it_is="Synthetic axial head MRI with both lacrimal glands.",
    )  # fmt: skip


PUBLISHED_DICE = [
    {"arm": arm, "label": label, "metric": "dice", "value": mean, "sd": sd, "q25": low, "q75": high}
    for arm, label, mean, sd, low, high in (
        ("POST-AX-T1-FS", "lacrimal_right", 0.79, 0.19, 0.78, 0.89),
        ("POST-AX-T1-FS", "lacrimal_left", 0.77, 0.23, 0.79, 0.90),
        ("AX-T1", "lacrimal_right", 0.67, 0.17, 0.58, 0.79),
        ("AX-T1", "lacrimal_left", 0.61, 0.23, 0.47, 0.76),
    )
]

PUBLISHED = {
    "source": "Lacrimal gland segmentation on MRI with U-Nets, Table 3 and text",
    "figures": [
        *PUBLISHED_DICE,
        {"arm": "POST-AX-T1-FS", "metric": "pearson_r", "value": 0.82},
        {"arm": "AX-T1", "metric": "pearson_r", "value": 0.71},
        {"arm": "POST-AX-T1-FS", "metric": "n_train_participants", "value": 60},
        {"arm": "AX-T1", "metric": "n_train_participants", "value": 66},
        {"arm": "AX-T1", "metric": "n_training_slices", "value": 1307},
    ],
}  # fmt: skip


def _made_arm(folder, name, k, ids, train, holdout, participants, shape, rng, scores, synthetic):
    images, references, predictions, validated = {}, {}, {}, {}
    for i, case in enumerate(ids):
        image, reference = _head(shape, np.random.default_rng(100 + i), bright=k == 0)
        images[case] = [_write(image, folder / f"imagesTr/{case}_0000.nii.gz")]
        references[case] = _write(reference, folder / f"labelsTr/{case}.nii.gz")
        part = "holdout" if case in holdout else "validation"
        prediction = _mistake(reference, rng, quality=0.9 - 0.25 * k, empty=case == holdout[0])
        if part == "holdout":
            predictions[case] = _write(prediction, folder / f"predictions/{case}.nii.gz")
        else:
            validated[case] = _write(prediction, folder / f"validation/{case}.nii.gz")
    for part, made in (("holdout", predictions), ("validation", validated)):
        pairs = [Pair(case, case, references[case], path) for case, path in made.items()]
        with progress.quiet():
            scores.append(
                score_cases(pairs, LACRIMAL, measures=MEASURES, arm=name, model="final", part=part)
            )
    n = len(ids)
    return ArmContent(
        name=name,
        dataset_name=f"Dataset00{k + 1}_Orbit",
        dataset_folder=folder,
        synthetic=synthetic,
        labels=LACRIMAL,
        sides=SIDES,
        channel_names=(name,),
        participants=participants,
        train_participants=train,
        holdout_participants=holdout,
        n_training_slices=len(train) * shape[0],
        flow=(
            ("Participants assessed", n + 3, ""),
            ("Excluded", 2, "motion artefact"),
            ("Participants kept", n + 1, ""),
            ("Without " + name, 1, "sequence not acquired"),
            (f"With {name}", n, ""),
        ),
        decisions=pd.DataFrame(
            [
                ("patch_vox", "128 x 128", "covers the structures", "ours", "up to 31 mm"),
                ("sampling", "region", "recipe lacrimal-2d", "paper", ""),
                ("loss", "dice", "recipe lacrimal-2d", "paper", ""),
                ("learning_rate", "0.001", "recipe lacrimal-2d", "ours", "not stated in the paper"),
            ],
            columns=["name", "value", "rule", "source", "facts"],
        ),
        history=_history(rng),
        images=images,
        references=references,
        predictions=predictions,
        predictions_table=pd.DataFrame(
            [
                {"case": case, "part": "holdout", "model": "final", "label": label,
                 "volume_ml": 0.5, "components": 1, "seconds": 1.2,
                 "warnings": "empty" if case == holdout[0] else ""}
                for case in holdout for label in LACRIMAL
            ]
        ),
        sampling=pd.DataFrame(
            {
                "sampling": ["random", "foreground", "region"],
                "share_with_foreground": [0.04, 0.52, 0.31],
                "n": [2000, 2000, 2000],
            }
        ),
        sampling_maps=_maps(folder, images[ids[0]][0], references[ids[0]]),
        gradcam=_gradcam(folder, images[ids[0]][0], references[ids[0]], rng, ids[0]),
        settings={"sampling": "region", "loss": "dice", "network": "unet_2d"},
    )  # fmt: skip


def _head(shape, rng, *, bright):
    z, y, x = np.meshgrid(
        *[(np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, SPACING, strict=True)],
        indexing="ij",
    )
    half = shape[2] * SPACING[2] / 2
    head = (x / (0.86 * half)) ** 2 + (y / (0.96 * half)) ** 2 < 1
    brain = (x / (0.72 * half)) ** 2 + ((y + 0.14 * half) / (0.72 * half)) ** 2 < 1
    image = np.where(head, 0.75, 0.02) - 0.35 * brain
    reference = np.zeros(shape, dtype=np.uint8)
    for value, side in ((1, 1), (2, -1)):
        ex, ey = side * 0.34 * half, 0.72 * half
        orbit = (x - ex) ** 2 + (y - ey + 6) ** 2 + (z * 0.9) ** 2 < (0.25 * half) ** 2
        globe = (x - ex) ** 2 + (y - ey) ** 2 + z**2 < (0.15 * half) ** 2
        image[orbit] = 0.25 if bright else 0.9
        image[globe] = 0.12
        scale = rng.normal(1.0, 0.16)
        size = np.array([8.0, 7.5, 3.2]) * scale
        gland = ((z - 3) / size[0]) ** 2 + ((y - ey + 2) / size[1]) ** 2 + (
            (x - side * (abs(ex) + 0.2 * half)) / size[2]
        ) ** 2 < 1
        reference[gland] = value
        image[gland] = 0.95 if bright else 0.55
    image = ndimage.gaussian_filter(image, (0.3, 0.8, 0.8)) + rng.normal(0, 0.035, shape)
    return (1000 * np.clip(image, 0, None)).astype(np.float32), reference


def _mistake(reference, rng, *, quality, empty):
    noise = ndimage.gaussian_filter(rng.normal(size=reference.shape), (0.6, 2, 2))
    noise /= noise.std()
    prediction = np.zeros_like(reference)
    for value in (1, 2):
        inside = ndimage.gaussian_filter((reference == value).astype(float), (0.4, 1.2, 1.2))
        limit = 0.5 + (1 - quality) * rng.normal(0.35, 0.5)
        prediction[inside + 0.18 * (1 - quality) * noise > np.clip(limit, 0.2, 0.9)] = value
    if empty:
        prediction[prediction == 2] = 0
    return prediction


def _add_variants(table, rng):
    variants = [{"setting": "sampling", "value": "region", "model": "final"},
                {"setting": "loss", "value": "dice", "model": "final"}]  # fmt: skip
    more = []
    shifts = {"sampling=random": -0.2, "sampling=foreground": -0.05, "loss=jaccard": -0.01,
              "loss=weighted_ce": -0.08}  # fmt: skip
    for model, shift in shifts.items():
        setting, value = model.split("=")
        variants.append({"setting": setting, "value": value, "model": model})
        rows = table[(table["part"] == "holdout") & (table["metric"] == "dice")].copy()
        rows["value"] = (rows["value"].astype(float) + shift + rng.normal(0, 0.03, len(rows))).clip(
            0, 1
        )
        more.append(rows.assign(model=model))
    return tuple(variants), more


def _history(rng):
    rows = []
    for fold in range(2):
        for epoch in range(1, 21):
            fall = np.exp(-epoch / 6)
            rows.append(
                {"fold": fold, "epoch": epoch, "step": epoch * 50, "seconds": epoch * 3.0,
                 "learning_rate": 1e-3 * (1 - epoch / 21) ** 0.9,
                 "train_loss": 0.2 + 0.7 * fall + rng.normal(0, 0.01),
                 "validation_loss": 0.27 + 0.65 * fall + rng.normal(0, 0.02),
                 "validation_dice": 0.74 * (1 - fall) + rng.normal(0, 0.015)}
            )  # fmt: skip
    return pd.DataFrame(rows)


def _maps(folder, image, reference):
    array, labels = (
        np.asarray(nib.load(path).dataobj).transpose(2, 1, 0) for path in (image, reference)
    )
    z = int((labels > 0).sum(axis=(1, 2)).argmax())
    path = folder / "sampling_maps.npz"
    np.savez(path, image=array[z], foreground=labels[z] > 0, region=(labels > 0).any(axis=0),
             spacing_mm=np.array(SPACING[1:]), case="orbit_001", slice_index=z)  # fmt: skip
    return path


def _gradcam(folder, image, reference, rng, case):
    array, labels = (
        np.asarray(nib.load(path).dataobj).transpose(2, 1, 0) for path in (image, reference)
    )
    z = int((labels > 0).sum(axis=(1, 2)).argmax())
    maps = []
    for width in (2, 3, 5, 7, 9, 6, 4, 2, 1):
        heat = ndimage.gaussian_filter((labels[z] == 1) + 0.15 * rng.random(labels[z].shape), width)
        maps.append(heat / heat.max())
    names = (
        [f"encoder {i}" for i in range(1, 5)]
        + ["bottleneck"]
        + [f"decoder {i}" for i in range(4, 0, -1)]
    )
    path = folder / "gradcam.npz"
    np.savez(path, image=array[z], reference=labels[z], maps=np.stack(maps).astype(np.float32),
             names=np.array(names), case=case, slice_index=z, label="lacrimal_right",
             spacing_mm=np.array(SPACING[1:]))  # fmt: skip
    return path


def _write(array, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    z, y, x = SPACING
    nib.save(nib.Nifti1Image(array.transpose(2, 1, 0), np.diag([x, y, z, 1.0])), path)
    return path
