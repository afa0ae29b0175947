"""Border voxels: Hausdorff distances, ASD and surface Dice as MONAI computes them."""

from __future__ import annotations

import numpy as np
import pytest
from slow_distances import CASES, SPACINGS

from acinus.measure import measure_case

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:monai")

NAMES = ("hausdorff_mm", "hausdorff_95_mm", "assd_mm", "asd_prediction_mm", "surface_dice_1mm")


@pytest.mark.parametrize("spacing_mm", SPACINGS)
def test_hard_cases_equal_monai(spacing_mm):
    metrics = pytest.importorskip("monai.metrics")
    torch = pytest.importorskip("torch")
    for name, (reference, prediction) in CASES.items():
        ours = measure_case(reference, prediction, spacing_mm, NAMES)
        y, y_pred = (torch.from_numpy(mask[None, None]) for mask in (reference, prediction))
        shared = {"include_background": True, "spacing": spacing_mm}
        theirs = [
            metrics.compute_hausdorff_distance(y_pred, y, **shared),
            metrics.compute_hausdorff_distance(y_pred, y, percentile=95, **shared),
            metrics.compute_average_surface_distance(y_pred, y, symmetric=True, **shared),
            metrics.compute_average_surface_distance(y_pred, y, **shared),
            metrics.compute_surface_dice(y_pred, y, class_thresholds=[1.0], **shared),
        ]
        values = [float(np.asarray(one).item()) for one in theirs]
        found = [score.value for score in ours.values()]
        assert found == pytest.approx(values, abs=1e-4), name
