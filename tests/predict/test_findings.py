"""What a person is told to look at in a label map, on label maps drawn by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from acinus.plan import Plan
from acinus.predict import examine, finding_rows, load_model
from acinus.predict.findings import TABLE_COLUMNS
from acinus.scans import Volume
from tiny_cohort import affine_of, head


@pytest.fixture(scope="module")
def plan(model_folder: Path) -> Plan:
    return load_model(model_folder).plan


def warnings_of(label: np.ndarray, image: np.ndarray, plan: Plan) -> dict[str, tuple[str, ...]]:
    affine = affine_of(label.shape)
    found = examine(Volume(label, affine), Volume(image, affine), plan)
    return {finding.label: finding.warnings for finding in found}


def test_a_good_label_map_has_no_warnings(plan: Plan) -> None:
    image, label = head(np.random.default_rng(3))
    assert warnings_of(label, image, plan) == {"gland_right": (), "gland_left": ()}


def test_an_empty_label_is_empty_and_nothing_else(plan: Plan) -> None:
    image, label = head(np.random.default_rng(3), n_balls=1)
    assert warnings_of(label, image, plan) == {"gland_right": (), "gland_left": ("empty",)}


def test_exchanged_sides_are_on_the_wrong_side(plan: Plan) -> None:
    image, label = head(np.random.default_rng(3))
    swapped = np.array([0, 2, 1], np.uint8)[label]
    found = warnings_of(swapped, image, plan)
    assert "wrong side" in found["gland_right"]
    assert "wrong side" in found["gland_left"]


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("end", [0, -1])
def test_a_label_at_a_face_touches_the_border(plan: Plan, axis: int, end: int) -> None:
    image, label = head(np.random.default_rng(3))
    z, y, x = np.argwhere(label == 1)[0]
    place = [z, y, x]
    place[axis] = end
    label[tuple(place)] = 1
    found = warnings_of(label, image, plan)
    assert "touches the border" in found["gland_right"]
    assert "touches the border" not in found["gland_left"]


def test_a_single_slice_does_not_touch_its_own_faces(plan: Plan) -> None:
    image, label = head(np.random.default_rng(3))
    index = int((label == 1).sum(axis=(1, 2)).argmax())
    found = warnings_of(label[[index]], image[[index]], plan)
    assert "touches the border" not in found["gland_right"]


@pytest.mark.parametrize("share", [0.1, 5.0])
def test_a_volume_unlike_those_of_the_training_is_stated(plan: Plan, share: float) -> None:
    image, label = head(np.random.default_rng(3))
    low, high = plan.dataset.volume_ranges_ml["gland_right"]
    n_wanted = int((low * share if share < 1 else high * share) / 3e-3)
    right = np.argwhere(label == 1)
    label[label == 1] = 0
    if share < 1:
        label[tuple(right[:n_wanted].T)] = 1
    else:
        label[3:8, 16:40, 28:42] = 1
    found = warnings_of(label, image, plan)["gland_right"]
    assert any(
        text == f"volume outside of the training range {low:.2f}-{high:.2f} mL" for text in found
    )


def test_volume_and_components_are_counted(plan: Plan) -> None:
    image, _ = head(np.random.default_rng(3))
    label = np.zeros(image.shape, np.uint8)
    label[4:6, 30:33, 30:32] = 1
    # Touching at a corner is one component with 26 neighbours; apart is another.
    label[6, 33, 32] = 1
    label[2, 20, 36] = 1
    finding = examine(
        Volume(label, affine_of(label.shape)), Volume(image, affine_of(label.shape)), plan
    )[0]
    assert finding.volume_ml == pytest.approx(14 * 3e-3)
    assert finding.components == 2


def test_rows_have_the_columns_of_the_table(plan: Plan) -> None:
    image, label = head(np.random.default_rng(3))
    affine = affine_of()
    found = examine(Volume(label, affine), Volume(image, affine), plan)
    rows = finding_rows(found, case="a", part="new", model="final", seconds=1.23456)
    assert [tuple(row) for row in rows] == [TABLE_COLUMNS, TABLE_COLUMNS]
    assert rows[0]["seconds"] == 1.235
