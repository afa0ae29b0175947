"""Models of nnU-Net taken over: the same label maps, and a clear no to all that is not theirs.

Label maps were recorded from nnU-Net 2.8.1's own predictor by scripts/record_nnunet_models.py.
"""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from acinus.errors import AcinusError, ConfigError, DataError, PlanError
from acinus.plan import read_plan
from acinus.predict import import_nnunet, load_model
from acinus.predict.nnunet.checkpoint import read_checkpoint
from acinus.predict.nnunet.weights import our_weights
from acinus.scans import Volume, on_grid_of, oriented
from made_nnunet import (
    made_checkpoint,
    made_image,
    made_state,
    recorded,
    write_results,
)

PREDICTIONS = recorded()["predictions"]


def scans(name: str) -> list[Volume]:
    """Both channels of the recorded case, axes stored as R, A, S."""
    one = PREDICTIONS[name]
    affine = np.diag([*one["scanned"][::-1], 1.0])
    return [Volume(made_image(tuple(one["shape"]), phase), affine) for phase in (0.0, 0.8)]


def recorded_labels(name: str) -> np.ndarray:
    one = PREDICTIONS[name]
    values = [value for value, length in one["runs"] for _ in range(length)]
    return np.array(values, dtype=np.uint8).reshape(one["shape"])


def predicted(model: Path, channels: list[Volume], **options: Any) -> np.ndarray:
    loaded = load_model(model, device="cpu", **options)
    return loaded.predict(channels).array


def changed(name: str = "thick slices", **changes: Any) -> dict[str, Any]:
    """Recorded plans with changes to their configuration; a change to None takes a key away."""
    plans = copy.deepcopy(PREDICTIONS[name]["plans"])
    for key, value in changes.items():
        if value is None:
            del plans["configurations"]["made"][key]
        else:
            plans["configurations"]["made"][key] = value
    return dict(plans)


@pytest.mark.parametrize("name", list(PREDICTIONS))
def test_an_imported_model_predicts_as_nnunet_did(tmp_path: Path, name: str) -> None:
    import_nnunet(write_results(tmp_path / "results", name), tmp_path / "model")
    ours, theirs = predicted(tmp_path / "model", scans(name)), recorded_labels(name)
    foreground = (ours > 0) | (theirs > 0)
    assert foreground.sum() > 1000
    # What is left are ties: nnU-Net adds its tiles in 16 bits.
    assert np.mean((ours == theirs)[foreground]) >= 0.999


def test_folds_are_averaged_and_can_be_chosen(tmp_path: Path) -> None:
    import_nnunet(write_results(tmp_path / "results"), tmp_path / "model")
    case = scans("thick slices")
    both, first = (predicted(tmp_path / "model", case, folds=folds) for folds in ((0, 1), (0,)))
    assert (both != first).mean() > 0.01
    assert np.mean(both == recorded_labels("thick slices")) > 0.999


def test_the_plan_states_what_nnunet_planned_and_where_it_comes_from(tmp_path: Path) -> None:
    written = import_nnunet(write_results(tmp_path / "results"), tmp_path / "model")
    plan = read_plan(tmp_path / "model" / "plan.yaml")
    assert plan.hash() == written.hash()
    assert plan.summary == (
        "imported from nnU-Net: Dataset999_Made, made, nnUNetPlans, nnUNetTrainer"
    )
    prepare, train, predict = plan.settings.prepare, plan.settings.train, plan.settings.predict
    assert prepare.normalisation == ("z_score", "ct")
    assert prepare.intensity is not None
    assert prepare.intensity[1].model_dump() == {"mean": 0.1, "sd": 0.9, "low": -1.5, "high": 2.0}
    assert (prepare.normalise_nonzero, prepare.crop_to_nonzero) == (True, True)
    assert (prepare.spacing_mm, prepare.interpolation) == ((2.5, 0.8, 0.8), "cubic")
    assert (prepare.slice_axis, prepare.orientation) == ("Z", "as_stored")
    assert (train.patch_vox, train.batch) == ((4, 16, 8), 2)
    assert (train.mirroring, train.mirror_axes) == ("plain", ("Z", "Y", "X"))
    assert (predict.overlap, predict.blend, predict.average) == (0.5, "gaussian", "logits")
    assert (predict.use_mirroring, predict.postprocess) == (True, "none")
    assert plan.dataset.labels == {"body": 1, "core": 2}
    assert plan.dataset.channel_names == ("T1", "T2")
    assert plan.folds_to_train == (0, 1)
    assert (plan.settings.network.name, plan.n_classes, plan.n_dims) == ("plain_unet", 3, 3)
    spacing, epochs = plan.decisions["prepare.spacing_mm"], plan.decisions["train.epochs"]
    assert (spacing.rule, spacing.source) == ("imported from nnU-Net's nnUNetPlans", "data")
    assert (epochs.rule, epochs.source) == ("nnU-Net's default, recipe nnunet-3d", "paper")
    ours = {key for key, decision in plan.decisions.items() if decision.source == "ours"}
    assert (ours, train.precision) == ({"train.precision"}, "float32")
    card = json.loads((tmp_path / "model" / "model.json").read_text(encoding="utf-8"))
    assert [weights["fold"] for weights in card["weights"]] == [0, 1]
    assert (card["n_training_cases"], card["postprocess"]) == (4, {})


def test_slices_regions_and_other_axes_are_planned_as_stated(tmp_path: Path) -> None:
    slices = import_nnunet(write_results(tmp_path / "s", "slices"), tmp_path / "slices")
    assert slices.settings.prepare.spacing_mm == (None, 0.8, 0.8)
    assert (slices.n_dims, slices.settings.train.mirror_axes) == (2, ("Y", "X"))
    assert slices.settings.prepare.normalise_nonzero is False
    other = import_nnunet(
        write_results(tmp_path / "r", "regions along another axis"), tmp_path / "regions"
    )
    assert (other.axes, other.settings.network.name) == (("X", "Z", "Y"), "resenc_unet")
    assert other.dataset.regions == {"whole": (1, 2), "core": (2,)}
    assert (other.dataset.labels, other.n_classes) == ({"whole": 1, "core": 2}, 2)
    assert other.settings.predict.use_mirroring is False
    assert other.settings.train.mirror_axes == ()


def test_an_ignore_label_is_no_output(tmp_path: Path) -> None:
    dataset = {**PREDICTIONS["thick slices"]["dataset"]}
    dataset["labels"] = {**dataset["labels"], "ignore": 3}
    plan = import_nnunet(write_results(tmp_path / "r", dataset=dataset), tmp_path / "model")
    assert (plan.dataset.ignore_label, plan.n_classes) == (3, 3)


def test_plans_of_releases_before_2_5_are_understood(tmp_path: Path) -> None:
    old = changed(architecture=None)
    old["configurations"]["made"].update(
        UNet_class_name="PlainConvUNet",
        UNet_base_num_features=4,
        unet_max_num_features=8,
        n_conv_per_stage_encoder=[2, 1, 2],
        n_conv_per_stage_decoder=[1, 2],
        num_pool_per_axis=[1, 2, 2],
        pool_op_kernel_sizes=[[1, 1, 1], [1, 2, 2], [2, 2, 2]],
        conv_kernel_sizes=[[1, 3, 3], [3, 3, 3], [3, 3, 3]],
    )
    # Features double from 4 to 8 there, so weights of that size are made.
    results = write_results(tmp_path / "results", plans=old, folds=())
    wider = {6: 8, 12: 16}
    shapes = [
        [wider.get(size, size) for size in shape] for shape in PREDICTIONS["thick slices"]["shapes"]
    ]
    (results / "fold_0").mkdir()
    torch.save(
        made_checkpoint(made_state("plain 3d", shapes)), results / "fold_0" / "checkpoint_final.pth"
    )
    plan = import_nnunet(results, tmp_path / "model")
    assert plan.settings.network.config["features"] == [4, 8, 8]
    assert plan.settings.network.config["convs_per_stage"] == [2, 1, 2]


def test_configurations_inherit(tmp_path: Path) -> None:
    plans = copy.deepcopy(PREDICTIONS["thick slices"]["plans"])
    whole = plans["configurations"].pop("made")
    plans["configurations"] = {
        "whole": whole,
        "made": {"inherits_from": "whole", "batch_size": 5},
    }
    plan = import_nnunet(write_results(tmp_path / "r", plans=plans), tmp_path / "model")
    assert plan.settings.train.batch == 5
    plans["configurations"]["whole"] = {**whole, "inherits_from": "made"}
    with pytest.raises(DataError, match="inherited in no circle; found whole, made"):
        import_nnunet(write_results(tmp_path / "circle", plans=plans), tmp_path / "other")


def test_names_of_parallel_and_compiled_training_are_understood(tmp_path: Path) -> None:
    stated = PREDICTIONS["thick slices"]
    state = made_state("plain 3d", stated["shapes"])
    wrapped = OrderedDict((f"module._orig_mod.{name}", value) for name, value in state.items())
    ours, theirs = our_weights(wrapped), our_weights(state)
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert "encoder.1.0.conv.weight" in ours and not any("module" in name for name in ours)


# Folds and files


def test_the_fold_of_all_cases_counts_where_there_is_no_other(tmp_path: Path) -> None:
    import_nnunet(write_results(tmp_path / "a", folds=("all",)), tmp_path / "all")
    assert (tmp_path / "all" / "fold_0" / "weights.safetensors").is_file()
    import_nnunet(write_results(tmp_path / "b", folds=("3", "all")), tmp_path / "three")
    assert sorted(path.name for path in (tmp_path / "three").glob("fold_*")) == ["fold_3"]


def test_the_final_checkpoint_is_preferred_and_another_can_be_named(tmp_path: Path) -> None:
    results = write_results(tmp_path / "r", folds=("0",), file="checkpoint_best.pth")
    import_nnunet(results, tmp_path / "best")
    state = made_state("plain 3d", PREDICTIONS["thick slices"]["shapes"], fold=1)
    torch.save(made_checkpoint(state), results / "fold_0" / "checkpoint_final.pth")
    import_nnunet(results, tmp_path / "final")
    import_nnunet(results, tmp_path / "named", checkpoint="checkpoint_best.pth")
    weights = [
        (tmp_path / name / "fold_0" / "weights.safetensors").read_bytes()
        for name in ("best", "final", "named")
    ]
    assert weights[0] == weights[2] != weights[1]


def test_an_existing_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.txt").write_text("kept", encoding="utf-8")
    with pytest.raises(ConfigError, match="must not exist yet, so that no model is lost"):
        import_nnunet(write_results(tmp_path / "r"), tmp_path / "model")
    assert (tmp_path / "model" / "mine.txt").read_text(encoding="utf-8") == "kept"


def test_a_refusal_leaves_nothing_behind(tmp_path: Path) -> None:
    results = write_results(tmp_path / "r", folds=("0",))
    (results / "fold_1").mkdir()
    state = made_state("plain 3d", PREDICTIONS["thick slices"]["shapes"])
    del state["decoder.seg_layers.0.bias"]  # found when the first fold is written already
    torch.save(made_checkpoint(state), results / "fold_1" / "checkpoint_final.pth")
    with pytest.raises(PlanError, match="fold_1"):
        import_nnunet(results, tmp_path / "models" / "mine")
    assert list((tmp_path / "models").iterdir()) == []
    (results / "fold_1" / "checkpoint_final.pth").write_bytes(b"broken")
    with pytest.raises(DataError, match="fold_1"):
        import_nnunet(results, tmp_path / "others" / "mine")
    assert not (tmp_path / "others").exists()


# Orientation


def stored_as(volumes: list[Volume], codes: str) -> list[Volume]:
    return [oriented(volume, codes) for volume in volumes]


def test_as_stored_ignores_how_the_patient_lies_as_nnunet_does(tmp_path: Path) -> None:
    import_nnunet(write_results(tmp_path / "r"), tmp_path / "model")
    case = scans("thick slices")
    turned = [Volume(one.array, np.diag([-1.0, -1.0, 1.0, 1.0]) @ one.affine) for one in case]
    np.testing.assert_array_equal(
        predicted(tmp_path / "model", turned), predicted(tmp_path / "model", case)
    )


def test_with_the_axes_of_training_scans_of_every_orientation_are_segmented_alike(
    tmp_path: Path,
) -> None:
    results = write_results(tmp_path / "r", folds=("0",))
    import_nnunet(results, tmp_path / "stored")
    import_nnunet(results, tmp_path / "lps", orientation="LPS")
    lps = stored_as(scans("thick slices"), "LPS")
    wanted = Volume(predicted(tmp_path / "stored", lps), lps[0].affine)
    for codes in ("LPS", "RAS", "PIR"):
        case = stored_as(lps, codes)
        found = predicted(tmp_path / "lps", case)
        np.testing.assert_array_equal(found, on_grid_of(wanted, case[0].grid).array)
    assert (predicted(tmp_path / "stored", stored_as(lps, "RAS")) > 0).any()


def write_raw(folder: Path, codes: tuple[str, ...]) -> Path:
    """A raw folder whose images are stored in these orientations."""
    (folder / "imagesTr").mkdir(parents=True)
    dataset = PREDICTIONS["thick slices"]["dataset"]
    (folder / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    for number, code in enumerate(codes):
        for channel in (0, 1):
            image = nibabel.Nifti1Image(np.zeros((4, 5, 6), dtype=np.float32), np.eye(4))
            way = nibabel.orientations.ornt_transform(
                nibabel.orientations.axcodes2ornt("RAS"), nibabel.orientations.axcodes2ornt(code)
            )
            name = f"c{number}_{channel:04d}.nii.gz"
            nibabel.save(image.as_reoriented(way), folder / "imagesTr" / name)
    return folder


def test_the_orientation_can_be_read_from_the_training_images(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "raw", ("LAS", "LAS"))
    plan = import_nnunet(write_results(tmp_path / "r"), tmp_path / "model", dataset=raw)
    assert plan.settings.prepare.orientation == "LAS"
    mixed = write_raw(tmp_path / "mixed", ("LAS", "RAS", "LAS"))
    with pytest.raises(DataError, match=r"in one orientation .* found LAS 2, RAS 1\. Leave"):
        import_nnunet(tmp_path / "r", tmp_path / "other", dataset=mixed)
    with pytest.raises(ConfigError, match="--orientation must not go with --dataset"):
        import_nnunet(tmp_path / "r", tmp_path / "other", dataset=raw, orientation="LPS")


def test_a_reader_that_turns_images_makes_a_canonical_model(tmp_path: Path) -> None:
    plans = {**changed(), "image_reader_writer": "NibabelIOWithReorient"}
    plan = import_nnunet(write_results(tmp_path / "r", plans=plans), tmp_path / "model")
    assert plan.settings.prepare.orientation == "canonical"
    # However the training files are stored: the network never saw them so.
    raw = write_raw(tmp_path / "raw", ("LAS", "LPS"))
    told = import_nnunet(tmp_path / "r", tmp_path / "told", dataset=raw)
    assert told.settings.prepare.orientation == "canonical"
    with pytest.raises(PlanError, match="--orientation must be left out; got 'LPS'"):
        import_nnunet(tmp_path / "r", tmp_path / "other", orientation="LPS")


def test_dicom_is_refused_where_only_the_order_of_stored_voxels_is_known(tmp_path: Path) -> None:
    results = write_results(tmp_path / "r", folds=("0",))
    import_nnunet(results, tmp_path / "stored")
    import_nnunet(results, tmp_path / "lps", orientation="LPS")
    series = [Volume(one.array, one.affine, {"format": "DICOM"}) for one in scans("thick slices")]
    with pytest.raises(DataError, match=r"upside down\. Import it again with --dataset"):
        predicted(tmp_path / "stored", series)
    assert predicted(tmp_path / "lps", series).shape == series[0].array.shape


def test_a_fold_that_was_not_trained_to_the_end_is_left_out(tmp_path: Path) -> None:
    results = write_results(tmp_path / "r")
    (results / "fold_1" / "checkpoint_final.pth").rename(results / "fold_1" / "checkpoint_best.pth")
    plan = import_nnunet(results, tmp_path / "model")
    assert plan.folds_to_train == (0,)
    named = import_nnunet(results, tmp_path / "named", checkpoint="checkpoint_best.pth")
    assert len(named.folds_to_train) == 1
    assert [p.name for p in (tmp_path / "named").glob("fold_*")] == ["fold_1"]


def test_how_the_training_files_were_listed_is_of_no_account(tmp_path: Path) -> None:
    listed = {**PREDICTIONS["thick slices"]["dataset"], "file_ending": ".gipl"}
    listed["dataset"] = {"c0": {"images": ["/a_0000.gipl"], "label": "/a.gipl"}}
    results = write_results(tmp_path / "r", folds=("0",), dataset=listed)
    assert import_nnunet(results, tmp_path / "model").dataset.labels == {"body": 1, "core": 2}


def test_channels_may_be_named_as_version_1_did(tmp_path: Path) -> None:
    """nnU-Net 2 reads them, so that a folder of version 2 may have them."""
    stated = dict(PREDICTIONS["thick slices"]["dataset"])
    names = stated.pop("channel_names")
    results = write_results(tmp_path / "r", folds=("0",), dataset={**stated, "modality": names})
    plan = import_nnunet(results, tmp_path / "model")
    assert plan.dataset.channel_names == tuple(names.values())


def test_an_unknown_orientation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AcinusError, match="canonical, as_stored, or three letters such as LPS"):
        import_nnunet(write_results(tmp_path / "r"), tmp_path / "model", orientation="axial")


# Refusals


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"previous_stage": "3d_lowres"}, "'previous_stage' must be None; got '3d_lowres': a casc"),
        ({"preprocessor_name": "Mine"}, "'preprocessor_name' must be 'DefaultPreprocessor'; got"),
        ({"resampling_fn_data": "resample_torch_fornnunet"}, "'resampling_fn_data' must be"),
        (
            {"resampling_fn_data_kwargs": {"is_seg": False, "order": 1, "order_z": 0}},
            "'resampling_fn_data_kwargs' must be",
        ),
        ({"normalization_schemes": ["Mine", "CTNormalization"]}, "for each of the 2 channel"),
        ({"normalization_schemes": ["CTNormalization"]}, "for each of the 2 channel"),
        (
            {"normalization_schemes": ["ZScoreNormalization"] * 2},
            "'use_mask_for_norm' must be the same for all z-scored channels; got",
        ),
        ({"patch_size": [16, 8]}, r"patch \[16, 8\] and kernels must have as many axes"),
        ({"spacing": None}, "must state spacing, patch, batch and normalisation .* 'spacing'"),
        ({"architecture": None}, "releases before 2.5 did, .* 'UNet_class_name' is missing"),
        (
            {"architecture": {"network_class_name": "mine.Primus", "arch_kwargs": {}}},
            "must be PlainConvUNet or ResidualEncoderUNet; got 'mine.Primus'",
        ),
    ],
)
def test_plans_that_ask_for_something_else_are_refused(
    tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    results = write_results(tmp_path / "r", plans=changed(**changes))
    with pytest.raises(PlanError, match=complaint) as error:
        import_nnunet(results, tmp_path / "model")
    assert "configuration 'made'" in str(error.value)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"norm_op": "torch.nn.BatchNorm3d"}, "'norm_op' must be InstanceNorm3d, got 'torch.nn.B"),
        ({"norm_op_kwargs": {"eps": 1e-3, "affine": True}}, "'norm_op_kwargs' of the network must"),
        ({"dropout_op": "torch.nn.Dropout3d"}, "'dropout_op' of the network must be None; got"),
        ({"nonlin": "torch.nn.ReLU"}, "'nonlin' of the network must be"),
        ({"nonlin_first": True}, "'nonlin_first' of the network must be False; got True"),
        ({"squeeze_excitation": True}, "'squeeze_excitation' of the network is not known here"),
        ({"strides": [[1, 1, 1]]}, "must state its stages, features, .* 3 entries wanted"),
        ({"n_stages": None}, "must state its stages"),
    ],
)
def test_a_network_that_ours_is_not_is_refused(
    tmp_path: Path, arguments: dict[str, Any], complaint: str
) -> None:
    plans = changed()
    plans["configurations"]["made"]["architecture"]["arch_kwargs"].update(arguments)
    with pytest.raises(PlanError, match=complaint):
        import_nnunet(write_results(tmp_path / "r", plans=plans), tmp_path / "model")


@pytest.mark.parametrize(
    ("plans", "complaint"),
    [
        ({"transpose_forward": [2, 1, 0]}, r"keep the order of the others; got \[2, 1, 0\]"),
        ({"image_reader_writer": "NaturalImage2DIO"}, "Models of other kinds of images cannot"),
    ],
)
def test_other_axes_and_images_are_refused(
    tmp_path: Path, plans: dict[str, Any], complaint: str
) -> None:
    results = write_results(tmp_path / "r", plans={**changed(), **plans})
    with pytest.raises(PlanError, match=complaint):
        import_nnunet(results, tmp_path / "model")


def test_mirrored_axes_must_be_those_of_the_patch(tmp_path: Path) -> None:
    results = write_results(tmp_path / "r", "slices", inference_allowed_mirroring_axes=(0, 1, 2))
    with pytest.raises(PlanError, match=r"axes of the patch \[16, 8\]; got \(0, 1, 2\)"):
        import_nnunet(results, tmp_path / "model")


def test_a_trainer_of_somebody_else_is_refused_unless_it_is_trusted(tmp_path: Path) -> None:
    results = write_results(tmp_path / "r", trainer_name="nnUNetTrainerMine")
    with pytest.raises(PlanError, match=r"got 'nnUNetTrainerMine', which may .* --trust-trainer"):
        import_nnunet(results, tmp_path / "model")
    plan = import_nnunet(results, tmp_path / "model", trust_trainer=True)
    assert plan.summary.endswith("nnUNetTrainerMine")


@pytest.mark.parametrize(
    "trainer",
    ["nnUNetTrainer_250epochs", "nnUNetTrainer_4000epochs_NoMirroring", "nnUNetTrainerDA5"],
)
def test_trainers_of_nnunet_itself_are_taken(tmp_path: Path, trainer: str) -> None:
    results = write_results(tmp_path / "r", folds=("0",), trainer_name=trainer)
    assert import_nnunet(results, tmp_path / "model").summary.endswith(trainer)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            lambda state: {**state, "encoder.stages.0.0.convs.0.norm.running_mean": torch.ones(4)},
            r"'encoder\.stages\.0\.0\.convs\.0\.norm\.running_mean' must be absent and is \(4,\)",
        ),
        (
            lambda state: {n: v for n, v in state.items() if not n.endswith("seg_layers.1.bias")},
            r"'heads\.1\.bias' must be \(3,\) and is absent",
        ),
        (
            lambda state: {
                n: v[:2] if n.endswith("seg_layers.0.bias") else v for n, v in state.items()
            },
            r"'heads\.0\.bias' must be \(3,\) and is \(2,\)",
        ),
        (lambda state: {**state, "attention.weight": torch.ones(2)}, "'attention.weight' must be "),
    ],
    ids=["batch normalisation", "missing", "other shape", "more"],
)
def test_weights_of_another_network_are_refused(
    tmp_path: Path, change: Callable[[Any], Any], complaint: str
) -> None:
    results = write_results(tmp_path / "r", folds=())
    (results / "fold_0").mkdir()
    state = change(made_state("plain 3d", PREDICTIONS["thick slices"]["shapes"]))
    torch.save(made_checkpoint(state), results / "fold_0" / "checkpoint_final.pth")
    with pytest.raises(PlanError, match=complaint) as error:
        import_nnunet(results, tmp_path / "model", trust_trainer=True)
    assert "such models cannot be imported" in str(error.value)


def test_folds_of_different_trainings_are_refused(tmp_path: Path) -> None:
    results = write_results(tmp_path / "r", folds=("0",))
    (results / "fold_1").mkdir()
    state = made_state("plain 3d", PREDICTIONS["thick slices"]["shapes"])
    other = made_checkpoint(state, inference_allowed_mirroring_axes=None)
    torch.save(other, results / "fold_1" / "checkpoint_final.pth")
    with pytest.raises(DataError, match=r"of one training; mirror_axes \(\) differs from \(0, 1"):
        import_nnunet(results, tmp_path / "model")


def test_a_folder_of_version_1_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "nnUNetTrainerV2__nnUNetPlansv2.1"
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.pkl").write_bytes(b"")
    (folder / "fold_0" / "model_final_checkpoint.model").write_bytes(b"")
    with pytest.raises(DataError, match=r"of nnU-Net version 2; plans\.pkl is of version 1"):
        import_nnunet(folder, tmp_path / "model")


def test_a_folder_one_level_off_is_told_the_right_one(tmp_path: Path) -> None:
    inner = write_results(tmp_path / "Dataset999_Made" / "nnUNetTrainer__nnUNetPlans__made")
    with pytest.raises(DataError, match=r"Did you mean .*nnUNetTrainer__nnUNetPlans__made\?"):
        import_nnunet(inner.parent, tmp_path / "model")
    with pytest.raises(DataError, match=r"Did you mean .*nnUNetTrainer__nnUNetPlans__made\?"):
        import_nnunet(inner / "fold_0", tmp_path / "model")
    with pytest.raises(DataError, match="found nothing"):
        import_nnunet(tmp_path / "nowhere", tmp_path / "model")
    packed = tmp_path / "model.zip"
    packed.write_bytes(b"")
    with pytest.raises(DataError, match="found a file; unpack it first"):
        import_nnunet(packed, tmp_path / "model")


@pytest.mark.parametrize("missing", ["plans.json", "dataset.json"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    results = write_results(tmp_path / "r")
    (results / missing).unlink()
    with pytest.raises(DataError, match=f"{missing} missing"):
        import_nnunet(results, tmp_path / "model")


def test_a_folder_without_a_trained_fold_is_refused(tmp_path: Path) -> None:
    results = write_results(tmp_path / "r", folds=("0",), file="checkpoint_latest.pth")
    with pytest.raises(DataError, match=r"such as fold_0/checkpoint_final\.pth; there is none"):
        import_nnunet(results, tmp_path / "model")
    assert import_nnunet(results, tmp_path / "model", checkpoint="checkpoint_latest.pth")


# Checkpoints


def rewritten(path: Path, old: bytes, new: bytes) -> Path:
    """A checkpoint whose pickle says something else."""
    packed = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(packed, "w") as target:
        for entry in source.infolist():
            data = source.read(entry)
            if entry.filename.endswith("/data.pkl"):
                assert old in data
                data = data.replace(old, new)
            target.writestr(entry.filename, data)
    path.write_bytes(packed.getvalue())
    return path


@pytest.mark.parametrize("home", [b"numpy._core.multiarray", b"numpy.core.multiarray"])
def test_numbers_of_numpy_1_and_2_are_read(tmp_path: Path, home: bytes) -> None:
    torch.save(made_checkpoint({"w": torch.ones(2)}), tmp_path / "c.pth")
    path = rewritten(tmp_path / "c.pth", b"numpy._core.multiarray", home)
    checkpoint = read_checkpoint(path)
    assert (checkpoint.configuration, checkpoint.trainer) == ("made", "nnUNetTrainer")
    assert checkpoint.mirror_axes == (0, 1, 2)
    assert torch.equal(checkpoint.weights["w"], torch.ones(2))


def test_a_forged_type_of_numpy_is_not_built(tmp_path: Path) -> None:
    """The state of a dtype says whether its items are pointers; NumPy would believe it."""
    torch.save(made_checkpoint({"w": torch.ones(2)}), tmp_path / "c.pth")
    # (version, "<", no fields, itemsize -1, alignment -1, flags 0): flags become 0x1B, objects.
    state = b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t"
    forged = rewritten(tmp_path / "c.pth", state, state.replace(b"K\x00t", b"K\x1bt"))
    assert read_checkpoint(forged).configuration == "made"


def test_damaged_pickles_are_refused_or_read_and_never_anything_else(tmp_path: Path) -> None:
    path = tmp_path / "c.pth"
    torch.save(made_checkpoint({"w": torch.ones(2)}), path)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as packed:
        (name,) = (entry for entry in packed.namelist() if entry.endswith("/data.pkl"))
        pickled = packed.read(name)
    rng = np.random.default_rng(0)
    n_refused = 0
    for _ in range(60):
        damaged = bytearray(pickled)
        for place in rng.integers(len(damaged), size=2):
            damaged[place] = rng.integers(256)
        path.write_bytes(whole)
        rewritten(path, pickled, bytes(damaged))
        try:
            read_checkpoint(path)
        except DataError:
            n_refused += 1
    assert n_refused > 30


class Runs:
    """Unpickled, it runs a function of the system."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    ("hostile", "named"),
    [
        (lambda trace: Runs(os.mkdir, str(trace)), "mkdir"),
        (lambda trace: Runs(eval, f"__import__('os').mkdir({str(trace)!r})"), "eval"),
        (lambda trace: Runs(getattr, Runs(__import__, "os"), "mkdir"), "getattr"),
        (lambda trace: np.array([Runs(os.mkdir, str(trace))], dtype=object), "mkdir"),
        (lambda trace: trace, "Path"),
        (lambda trace: np.random.default_rng(0), "numpy.random"),
    ],
    ids=["call", "eval", "getattr", "array of objects", "path", "generator"],
)
def test_whatever_could_run_a_program_is_refused_by_name_and_does_not_run(
    tmp_path: Path, hostile: Callable[[Path], Any], named: str
) -> None:
    trace = tmp_path / "was-run"
    data = made_checkpoint({"w": torch.ones(2)}, extra=hostile(trace))
    torch.save(data, tmp_path / "c.pth")
    with pytest.raises(DataError, match=f"could run a program when it is read; found .*{named}"):
        read_checkpoint(tmp_path / "c.pth")
    assert not trace.exists()


def test_a_bare_pickle_is_not_opened(tmp_path: Path) -> None:
    trace = tmp_path / "was-run"
    (tmp_path / "c.pth").write_bytes(pickle.dumps(Runs(os.mkdir, str(trace))))
    with pytest.raises(DataError, match="must be a readable checkpoint"):
        read_checkpoint(tmp_path / "c.pth")
    torch.save(
        Runs(os.mkdir, str(trace)), tmp_path / "old.pth", _use_new_zipfile_serialization=False
    )
    with pytest.raises(DataError, match="must be a readable checkpoint"):
        read_checkpoint(tmp_path / "old.pth")
    assert not trace.exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, share: float) -> None:
    torch.save(made_checkpoint({"w": torch.ones(999)}), tmp_path / "c.pth")
    whole = (tmp_path / "c.pth").read_bytes()
    (tmp_path / "c.pth").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DataError, match=r"c\.pth: must be a readable checkpoint; .* Copy it again"):
        read_checkpoint(tmp_path / "c.pth")


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ([1, 2], "must hold a mapping; got list"),
        ({"state_dict": {}}, "with 'network_weights'; found state_dict"),
        ({"network_weights": {}, "init_args": {}, "trainer_name": "t"}, "with 'configuration'"),
        (made_checkpoint({"w": 3}), "'network_weights' must hold tensors only"),
        (made_checkpoint({}, trainer_name=None), "with 'trainer_name'"),
        (
            made_checkpoint({}, inference_allowed_mirroring_axes=(0, 3)),
            r"among 0, 1, 2; got \(0, 3",
        ),
        (made_checkpoint({}, inference_allowed_mirroring_axes="xy"), "among 0, 1, 2; got 'xy'"),
    ],
)
def test_a_checkpoint_of_another_program_is_refused(
    tmp_path: Path, data: Any, complaint: str
) -> None:
    torch.save(data, tmp_path / "c.pth")
    with pytest.raises(DataError, match=complaint):
        read_checkpoint(tmp_path / "c.pth")


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"c\.pth: no such file"):
        read_checkpoint(tmp_path / "c.pth")
