"""Hard pairs of masks, and surface distances from all pairs of border voxels, for tests."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

EXACT_MM = 1e-6


def slow_border(mask):
    """Voxels with a face neighbour outside, by looking at the six neighbours of a padded array."""
    padded = np.pad(mask, 1)
    inner = np.ones_like(mask)
    for axis in range(3):
        for step in (-1, 1):
            inner &= np.roll(padded, step, axis)[1:-1, 1:-1, 1:-1]
    return np.argwhere(mask & ~inner)


def slow_distances(reference, prediction, spacing_mm):
    """All kinds of surface distance from all pairs of border voxels, float64."""
    scale = np.asarray(spacing_mm, dtype=np.float64)
    apart = cdist(slow_border(reference) * scale, slow_border(prediction) * scale)
    there, back = apart.min(axis=1), apart.min(axis=0)
    both = np.r_[there, back]
    everywhere = cdist(np.argwhere(reference) * scale, np.argwhere(prediction) * scale)
    far = everywhere.min(axis=1), everywhere.min(axis=0)
    return {
        "hausdorff_mm": max(there.max(), back.max()),
        "hausdorff_95_mm": max(np.percentile(there, 95), np.percentile(back, 95)),
        "hausdorff_95_pooled_mm": np.percentile(both, 95),
        "hausdorff_90_mm": max(np.percentile(there, 90), np.percentile(back, 90)),
        "hausdorff_99.5_pooled_mm": np.percentile(both, 99.5),
        "asd_reference_mm": there.mean(),
        "asd_prediction_mm": back.mean(),
        "assd_mm": both.mean(),
        "assd_of_means_mm": (there.mean() + back.mean()) / 2,
        "rms_surface_distance_mm": np.sqrt((both**2).mean()),
        "surface_dice_1mm": (both <= 1).mean(),
        "surface_dice_2.5mm": (both <= 2.5).mean(),
        "average_hausdorff_mm": (far[0].mean() + far[1].mean()) / 2,
        "balanced_average_hausdorff_mm": (far[0].sum() + far[1].sum()) / (2 * reference.sum()),
    }


DISTANCES = tuple(slow_distances(*[np.ones((1, 1, 1), bool)] * 2, (1, 1, 1)))
SURFACE_SHARES = ("surface_dice_1mm", "surface_dice_2.5mm")


def ellipsoid(shape, centre, radii):
    z, y, x = np.indices(shape)
    return sum(((i - c) / r) ** 2 for i, c, r in zip((z, y, x), centre, radii, strict=True)) <= 1


def far_apart(shape):
    reference, prediction = np.zeros(shape, bool), np.zeros(shape, bool)
    reference[0, 0, 0] = True
    prediction[-1, -1, -1] = True
    return reference, prediction


def hard_cases():
    shape = (9, 20, 18)
    thin = np.zeros((1, 12, 12), bool)
    thin[0, 3:8, 2:9] = True
    full = np.ones((4, 5, 6), bool)
    corner = np.zeros((4, 5, 6), bool)
    corner[0, 0, 0] = True
    edge = np.zeros(shape, bool)
    edge[:4, :6, :5] = True
    hollow = ellipsoid(shape, (4, 10, 9), (4, 8, 8)) & ~ellipsoid(shape, (4, 10, 9), (2, 4, 4))
    return {
        "ellipsoids": (
            ellipsoid(shape, (4, 9, 8), (3, 6, 5)),
            ellipsoid(shape, (4, 11, 9), (2, 6, 6)),
        ),
        "touching the border": (edge, ellipsoid(shape, (2, 3, 3), (4, 6, 6))),
        "whole image": (full, corner),
        "single voxels": far_apart(shape),
        "single voxels, sparse box": far_apart((20, 40, 40)),
        "one slice": (thin, np.roll(thin, 3, axis=2)),
        "hollow": (hollow, ellipsoid(shape, (4, 10, 9), (2, 3, 3))),
        "identical": (hollow, hollow.copy()),
    }


CASES = hard_cases()
SPACINGS = [(1.0, 1.0, 1.0), (3.5, 0.47, 0.47), (0.3, 4.0, 0.71)]
