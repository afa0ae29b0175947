"""Synthetic heads and necks: glands of right size, place and side; same seed, same bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from acinus.cohort import open_dataset
from acinus.cohort.phantom import make_headneck_cohort
from acinus.cohort.phantom.headneck import cohort as making
from acinus.cohort.phantom.headneck.cohort import DESCRIPTION
from acinus.cohort.phantom.headneck.contrast import CODES, draw_look
from acinus.cohort.phantom.headneck.layers import Steps, paint_box
from acinus.cohort.phantom.headneck.made import make_anatomy
from acinus.cohort.phantom.headneck.organs import LABELS, Anatomy
from acinus.cohort.phantom.headneck.pose import draw_pose
from acinus.cohort.phantom.headneck.protocol import ScanGrid, draw_grid
from acinus.cohort.phantom.headneck.real import list_sources, read_anatomy, source_patient
from acinus.cohort.phantom.headneck.scan import draw_labels, head_plane
from acinus.cohort.phantom.headneck.surround import paint_plane
from acinus.cohort.phantom.headneck.torso import paint_body
from acinus.errors import ConfigError, DataError
from acinus.files import hash_file

COARSE = {"small": Steps(orbit=2.5, head=6.0, body=16.0)}
VOLUMES_ML = {"lacrimal": (0.3, 1.2), "parotid": (12, 46), "submandibular": (4, 13.5)}


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    return make_anatomy(np.random.default_rng(4))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "STEPS", COARSE)
        return make_headneck_cohort(
            tmp_path_factory.mktemp("heads"), patients=2, seed=6, contrasts=["random", "ct"]
        )


def _still(spacing: float = 1.5) -> tuple[ScanGrid, object]:
    """An upright grid over head and neck, and a head that lies straight, undeformed."""
    affine = np.diag([-spacing, -spacing, spacing, 1.0])
    affine[:3, 3] = [96.0, 60.0, -165.0]
    pose = draw_pose(np.random.default_rng(0), deform_mm=1e-6, may_mirror=False, turn=0.0)
    pose = type(pose)(np.eye(4), pose.field, False)
    return ScanGrid((130, 140, 128), affine, spacing, False), pose


def test_one_dataset_per_contrast_with_sides_and_structures(cohort: list[Path]) -> None:
    assert [p.name for p in cohort] == ["Dataset031_HeadNeckCT", "Dataset034_HeadNeckAny"]
    for folder in cohort:
        dataset = open_dataset(folder)
        assert dataset.labels == dict(LABELS)
        assert dataset.synthetic
        assert dataset.sides["parotid_left"] == "left"
        assert ("submandibular_right", "submandibular_left") in dataset.mirror_pairs
        header = json.loads((folder / "dataset.json").read_text())
        assert header["structures"]["orbit_right"] == ["lacrimal_right"]
        assert header["structures"]["neck_left"] == ["parotid_left", "submandibular_left"]
        assert header["description"].startswith("Synthetic")
        for path in folder.rglob("*.nii.gz"):
            assert nib.load(path).header["descrip"].tobytes().rstrip(b"\0") == DESCRIPTION.encode()
        table = pd.read_csv(folder / "participants.tsv", sep="\t")
        assert table["synthetic"].astype(str).str.lower().eq("true").all()
        assert (folder / "readings" / "second" / "headneck_002.nii.gz").is_file()


def test_drawn_glands_have_their_side_in_the_world(cohort: list[Path]) -> None:
    """Right of the scanner's middle is right: RAS+ x is greater on the right."""
    for case in open_dataset(cohort[0]).cases:
        label = nib.load(case.label)
        values = np.asarray(label.dataobj)
        for kind in ("lacrimal", "parotid", "submandibular"):
            right, left = (
                nib.affines.apply_affine(
                    label.affine, np.argwhere(values == LABELS[f"{kind}_{side}"])
                )[:, 0]
                for side in ("right", "left")
            )
            assert right.mean() > left.mean() + 30


def test_same_seed_same_bytes_whatever_is_asked_beside(
    cohort: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "STEPS", COARSE)
    again = make_headneck_cohort(tmp_path, patients=2, seed=6, contrasts=["ct"])
    for path in sorted(cohort[0].rglob("*")):
        if path.is_file():
            assert hash_file(path) == hash_file(again[0] / path.relative_to(cohort[0])), path


def test_chosen_glands_are_numbered_from_1_and_the_images_stay_the_same(
    cohort: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "STEPS", COARSE)
    [few] = make_headneck_cohort(
        tmp_path, patients=2, seed=6, contrasts=["ct"], glands=["submandibular"]
    )
    whole = next(folder for folder in cohort if folder.name == few.name)
    stated = json.loads((few / "dataset.json").read_text(encoding="utf-8"))
    names = ["submandibular_right", "submandibular_left"]
    assert stated["labels"] == {"background": 0, names[0]: 1, names[1]: 2}
    assert stated["mirror_pairs"] == [names]
    assert stated["structures"] == {"neck_right": names[:1], "neck_left": names[1:]}
    for path in sorted((few / "labelsTr").iterdir()):
        drawn, all_drawn = (
            np.asarray(nib.load(place / "labelsTr" / path.name).dataobj) for place in (few, whole)
        )
        assert np.array_equal(drawn, np.where(all_drawn > 4, all_drawn - 4, 0))
        image = f"imagesTr/{path.name.replace('.nii.gz', '_0000.nii.gz')}"
        assert (few / image).read_bytes() == (whole / image).read_bytes()


def test_a_folder_of_another_cohort_is_refused(cohort: list[Path]) -> None:
    with pytest.raises(DataError, match="must be empty or hold the same synthetic cohort"):
        make_headneck_cohort(cohort[0].parent, patients=2, seed=7)


def test_made_glands_have_the_sizes_of_textbooks(anatomy: Anatomy) -> None:
    grid, pose = _still(1.5)
    for reading in ("reference", "second"):
        labels = draw_labels(anatomy.glands[reading], grid, pose)
        counts = np.bincount(labels.ravel(), minlength=7)[1:] * 1.5**3 / 1000
        for name, volume in zip(LABELS, counts, strict=True):
            low, high = VOLUMES_ML[name.split("_")[0]]
            assert 0.75 * low < volume < 1.3 * high, (reading, name, volume)


@pytest.mark.real_data
def test_real_glands_keep_volumes_places_and_what_is_missing(real_data: Path) -> None:
    """Against the drawn maps themselves: volumes, distances between glands, absent glands."""
    folder = real_data / "head_ct_glands"
    case = "TCGA-CV-A6K0"
    anatomy = read_anatomy(folder / "anatomy", case, np.random.default_rng(1))
    assert "submandibular_right" not in anatomy.glands["reference"]
    assert set(anatomy.glands["second"]) == set(LABELS)
    grid, pose = _still(1.5)
    labels = draw_labels(anatomy.glands["reference"], grid, pose)
    drawn = nib.load(folder / "oncologist" / f"{case}.nii.gz")
    values = np.asarray(drawn.dataobj)
    voxel_ml = float(np.prod(drawn.header.get_zooms())) / 1000
    assert not (labels == LABELS["submandibular_right"]).any()
    made, given = {}, {}
    for name in anatomy.glands["reference"]:
        ours, theirs = labels == LABELS[name], values == LABELS[name]
        assert ours.sum() * 1.5**3 / 1000 == pytest.approx(theirs.sum() * voxel_ml, rel=0.08)
        made[name] = nib.affines.apply_affine(grid.affine, np.argwhere(ours)[:, ::-1]).mean(0)
        given[name] = nib.affines.apply_affine(drawn.affine, np.argwhere(theirs)).mean(0)
    for a in made:
        for b in made:
            apart = np.linalg.norm(given[a] - given[b])
            assert np.linalg.norm(made[a] - made[b]) == pytest.approx(apart, abs=1.0)
    assert made["lacrimal_right"][0] > 0 > made["lacrimal_left"][0]


def test_two_maps_of_one_patient_are_one_source() -> None:
    assert source_patient("0522c0727a") == source_patient("0522c0727b") == "0522c0727"
    assert source_patient("TCGA-CV-A6JO") == "TCGA-CV-A6JO"


def test_all_that_is_made_of_one_real_patient_is_one_participant(
    anatomy: Anatomy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two maps of one patient and one of another, three cases each in a dataset: two people."""
    monkeypatch.setattr(making, "STEPS", COARSE)
    monkeypatch.setattr(making, "list_sources", lambda folder: ["p07a", "p07b", "X-1"])
    monkeypatch.setattr(making, "hash_sources", lambda folder, cases: dict.fromkeys(cases, ""))
    monkeypatch.setattr(
        making, "read_anatomy", lambda folder, case, rng: replace(anatomy, source=case)
    )
    (folder,) = make_headneck_cohort(tmp_path / "out", patients=4, seed=1, anatomy=tmp_path)
    dataset = open_dataset(folder)
    owners = {case.case_id: case.participant_id for case in dataset.cases}
    assert owners == {
        "synthetic-p07_001": "synthetic-p07",
        "synthetic-p07_002": "synthetic-p07",
        "synthetic-X-1_003": "synthetic-X-1",
        "synthetic-p07_004": "synthetic-p07",
    }
    assert dataset.participants is not None
    assert sorted(dataset.participants["source"].astype(str)) == ["X-1", "p07"]
    assert {path.name for path in (folder / "readings" / "second").iterdir()} == {
        f"{case}.nii.gz" for case in owners
    }


def test_lacrimal_glands_lie_superolateral_of_the_globes(anatomy: Anatomy) -> None:
    for side, globe in zip(("right", "left"), anatomy.globes, strict=True):
        organ = anatomy.glands["reference"][f"lacrimal_{side}"]
        inside = np.argwhere(organ.values < 0)[:, ::-1]
        placed = nib.affines.apply_affine(np.linalg.inv(organ.index_from_head), inside).mean(0)
        lateral = (placed[0] - globe[0]) * (1 if side == "right" else -1)
        assert 5 < lateral < 20
        assert placed[2] > globe[2]


def test_images_show_tissues_where_glands_are(anatomy: Anatomy) -> None:
    """Painted tissue and drawn label are two ways from one distance; they must agree."""
    layer = paint_box(
        lambda x, y, z: paint_plane(anatomy, x, y, z), ((-80, 80), (-110, -20), (-75, -55)), 2.5
    )
    x, y, z = (
        o + layer.step_mm * np.arange(n, dtype=np.float32)
        for o, n in zip(layer.origin, layer.tissues.shape[::-1], strict=True)
    )
    zz, yy, xx = np.meshgrid(z, y, x, indexing="ij")
    for side in ("right", "left"):
        inside = anatomy.glands["reference"][f"parotid_{side}"](xx, yy, zz) < 0
        assert inside.sum() > 50
        assert (layer.tissues[inside] == CODES["parotid"]).mean() > 0.99


def test_a_mirrored_pose_exchanges_names_and_keeps_volumes(anatomy: Anatomy) -> None:
    grid, pose = _still(2.0)
    flipped = type(pose)(np.diag([-1.0, 1.0, 1.0, 1.0]), pose.field, True)
    straight = draw_labels(anatomy.glands["reference"], grid, pose)
    mirrored = draw_labels(anatomy.glands["reference"], grid, flipped)
    for a, b in ((1, 2), (3, 4), (5, 6)):
        assert (mirrored == b).sum() == pytest.approx((straight == a).sum(), rel=0.15)
        x_a, x_b = (head_x(grid, m == v) for m, v in ((straight, a), (mirrored, b)))
        assert x_a > 0 > x_b


def head_x(grid: ScanGrid, mask: np.ndarray) -> float:
    """Mean world x of a mask, mm."""
    return float(np.nonzero(mask)[2].mean() * grid.affine[0, 0] + grid.affine[0, 3])


def test_a_pose_moves_points_smoothly() -> None:
    rng = np.random.default_rng(3)
    pose = draw_pose(rng, deform_mm=2.5, may_mirror=False)
    grid = draw_grid(rng, "random", "MR", "none", "small")
    x, y, z = head_plane(grid, pose, 3.0)
    for p in (x, y, z):
        steps = np.abs(np.diff(p, axis=1))
        assert steps.max() < 1.8 * grid.pixel_mm
        assert np.abs(np.diff(p, 2, axis=1)).max() < 0.25 * grid.pixel_mm


def test_the_body_has_lungs_below_the_head_and_the_couch_is_feet_first_or_not(
    anatomy: Anatomy,
) -> None:
    layer = paint_body(anatomy, np.random.default_rng(1), "torso", 16.0)
    heights = layer.origin[2] + layer.step_mm * np.nonzero(layer.tissues == CODES["lung"])[0]
    assert -620 < heights.mean() < -330
    grids = [draw_grid(np.random.default_rng(k), "ct", "CT", "whole", "full") for k in range(8)]
    assert {g.feet_first for g in grids} == {True, False}
    assert all(g.shape == (1000, 512, 512) for g in grids)
    assert all((g.affine[2, 2] < 0) == g.feet_first for g in grids)


def test_looks_follow_what_radiologists_know() -> None:
    rng = np.random.default_rng(5)
    for _ in range(5):
        ct, t1, t2 = (draw_look(rng, c).mean for c in ("ct", "t1", "t2"))
        order = ("fat", "csf", "muscle", "cortical_bone")
        assert list(np.argsort([ct[CODES[n]] for n in order])) == [0, 1, 2, 3]
        assert ct[CODES["parotid"]] < ct[CODES["muscle"]] + 60
        assert t1[CODES["vitreous"]] < 0.5 * t1[CODES["white_matter"]]
        assert t2[CODES["vitreous"]] > 2 * t2[CODES["white_matter"]]
        for image in (t1, t2):
            assert image[CODES["cortical_bone"]] < 0.35 * image[CODES["grey_matter"]]
    kinds = {draw_look(rng, "random").kind.split("_")[0] for _ in range(60)}
    assert {"ct", "t1", "t2", "flair", "any"} <= kinds


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"patients": 0}, "patients must be at least 1; got 0"),
        ({"contrasts": []}, "at least one contrast"),
        ({"contrasts": ["pet"]}, "unknown contrast 'pet'"),
        ({"body": "half"}, "unknown body 'half'"),
        ({"size": "tiny"}, "unknown size 'tiny'"),
        ({"glands": []}, "at least one of lacrimal"),
        ({"glands": ["thyroid"]}, "unknown gland 'thyroid'"),
    ],
)
def test_impossible_wishes_are_refused(
    tmp_path: Path, change: dict[str, object], sentence: str
) -> None:
    wishes: dict[str, object] = {"patients": 1, "seed": 1, **change}
    with pytest.raises(ConfigError, match=sentence):
        make_headneck_cohort(tmp_path / "none", **wishes)  # type: ignore[arg-type]
    assert not (tmp_path / "none").exists()


def test_a_folder_without_maps_or_readings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must hold organ maps CASE\.nii\.gz"):
        make_headneck_cohort(tmp_path / "out", patients=1, seed=1, anatomy=tmp_path)
    (tmp_path / "anatomy").mkdir()
    (tmp_path / "anatomy" / "a.nii.gz").touch()
    with pytest.raises(DataError, match="oncologist"):
        make_headneck_cohort(tmp_path / "out", patients=1, seed=1, anatomy=tmp_path / "anatomy")


def test_a_corrected_map_makes_another_cohort(
    anatomy: Anatomy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images of the old map beside a table of the new one would contradict each other."""
    monkeypatch.setattr(making, "STEPS", COARSE)
    monkeypatch.setattr(
        making, "read_anatomy", lambda folder, case, rng: replace(anatomy, source=case)
    )
    for place in ("anatomy", "oncologist", "radiographer"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "p1.nii.gz").write_bytes(place.encode())
    wish = {"patients": 1, "seed": 1, "anatomy": tmp_path / "anatomy"}
    make_headneck_cohort(tmp_path / "out", **wish)
    make_headneck_cohort(tmp_path / "out", **wish)
    (tmp_path / "radiographer" / "p1.nii.gz").write_bytes(b"corrected")
    with pytest.raises(DataError):
        make_headneck_cohort(tmp_path / "out", **wish)


@pytest.mark.real_data
def test_thin_glands_lose_no_volume_between_slices(real_data: Path) -> None:
    folder = real_data / "head_ct_glands"
    shares = []
    for case in list_sources(folder / "anatomy")[:4]:
        anatomy = read_anatomy(folder / "anatomy", case, np.random.default_rng(1))
        drawn = nib.load(folder / "oncologist" / f"{case}.nii.gz")
        values, spacing = np.asarray(drawn.dataobj), drawn.header.get_zooms()
        grid, pose = _still(1.5)
        labels = draw_labels(anatomy.glands["reference"], grid, pose)
        for name in ("lacrimal_right", "lacrimal_left"):
            given_mm3 = (values == LABELS[name]).sum() * float(np.prod(spacing))
            shares.append((labels == LABELS[name]).sum() * 1.5**3 / given_mm3)
    assert np.mean(shares) == pytest.approx(1.0, abs=0.03)


@pytest.mark.real_data
@pytest.mark.parametrize("fault", ["affine", "values"])
def test_maps_of_another_world_are_refused(real_data: Path, tmp_path: Path, fault: str) -> None:
    """Flipped, or with right and left exchanged: the head would be made upside down."""
    source = real_data / "head_ct_glands"
    case = list_sources(source / "anatomy")[0]
    for name in ("anatomy", "oncologist", "radiographer"):
        (tmp_path / name).mkdir()
        image = nib.load(source / name / f"{case}.nii.gz")
        affine, values = np.array(image.affine), np.array(image.dataobj)
        if fault == "affine":
            affine[0] *= -1
        elif name == "anatomy":
            values = np.where(values == 10, 11, np.where(values == 11, 10, values))
        nib.save(nib.Nifti1Image(values, affine), tmp_path / name / f"{case}.nii.gz")
    with pytest.raises(DataError, match=r"right globe .* must lie right of the left one"):
        read_anatomy(tmp_path / "anatomy", case, np.random.default_rng(1))


@pytest.mark.parametrize(
    ("value", "found"), [(-1, "from 0 on; found -1"), (np.nan, "must be whole numbers")]
)
def test_maps_that_hold_no_numbers_of_organs_are_refused(value, found, tmp_path: Path) -> None:
    """And the folder that was begun may be used for another cohort."""
    for name in ("anatomy", "oncologist", "radiographer"):
        (tmp_path / name).mkdir()
        values = np.zeros((4, 4, 4), np.float32)
        values[1, 1, 1] = value
        nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / name / "p1.nii.gz")
    with pytest.raises(DataError, match=rf"anatomy/p1\.nii\.gz: .*{found}"):
        make_headneck_cohort(tmp_path / "out", patients=1, seed=3, anatomy=tmp_path / "anatomy")
    make_headneck_cohort(tmp_path / "out", patients=1, seed=4)
    assert (tmp_path / "out" / "Dataset031_HeadNeckCT" / "dataset.json").is_file()
