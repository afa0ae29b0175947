"""Small folders in the layouts of public datasets, one maker each, written without our writers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SHAPE_XYZ = (8, 7, 5)
AFFINE = np.array([[-0.8, 0, 0, 30], [0, -0.8, 0, 20], [0, 0, 2.5, -100], [0, 0, 0, 1]])


def save(path: Path, array_xyz: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(array_xyz, affine)
    image.set_sform(affine, 1)
    nib.save(image, path)
    return path


def save_nrrd(path: Path, array_xyz: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    """A plain NRRD, also under the name of a segmentation: without names of segments."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array_xyz.transpose(2, 1, 0))
    to_lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(to_lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(to_lps[:3, 3].tolist())
    image.SetDirection((to_lps[:3, :3] / spacing).ravel().tolist())
    sitk.WriteImage(image, str(path), useCompression=True)
    return path


def mask_of(number: int) -> np.ndarray:
    """(x, y, z) with two voxels of 1, at another place for each number from 1."""
    return (label_of(range(1, number + 1)) == number).astype(np.uint8)


def image_of(number: int) -> np.ndarray:
    """(x, y, z) int16, another one for each number."""
    values = np.random.default_rng(number).integers(-100, 200, SHAPE_XYZ)
    return values.astype(np.int16)


def label_of(values: Iterable[int], dtype: type = np.uint8) -> np.ndarray:
    """(x, y, z) with two voxels of each value, at places without symmetry."""
    label = np.zeros(SHAPE_XYZ, dtype)
    for place, value in enumerate(values):
        label.flat[3 + 11 * place : 5 + 11 * place] = value
    return label


def make_amos(root: Path) -> Path:
    """Two CT cases (train, validation), one MRI, one test image; the published dataset.json."""
    folder = root / "amos22"
    for part, number in (("Tr", 1), ("Va", 8), ("Tr", 507)):
        name = f"amos_{number:04d}.nii.gz"
        save(folder / f"images{part}" / name, image_of(number))
        save(folder / f"labels{part}" / name, label_of(range(1, 16)))
    save(folder / "imagesTs" / "amos_0002.nii.gz", image_of(2))
    labels = "background,spleen,right kidney,left kidney,gall bladder,esophagus,liver,stomach,"
    labels += "arota,postcava,pancreas,right adrenal gland,left adrenal gland,duodenum,bladder,"
    labels += "prostate/uterus"
    table = {str(value): name for value, name in enumerate(labels.split(","))}
    training = [
        {"image": "./imagesTr/amos_0001.nii.gz", "label": "./labelsTr/amos_0001.nii.gz"},
    ]
    header = {"name": "AMOS", "modality": {"0": "CT"}, "labels": table, "training": training}
    (folder / "dataset.json").write_text(json.dumps(header))
    (root / "labeled_data_meta_0000_0599.csv").write_text(
        "amos_id,Patient's Sex,Patient's Age,Manufacturer's Model Name,Site\n"
        "1,F,055Y,Aquilion ONE,LGCHSZ\n8,M,,Optima CT660,LGCHSZ\n"
    )
    return folder


def make_abdomenct_1k(root: Path) -> Path:
    """Two labelled cases in two parts, one without a public label."""
    for part, number in ((1, 1), (2, 402), (2, 403)):
        name = f"Case_{number:05d}"
        save(root / f"AbdomenCT-1K-ImagePart{part}" / f"{name}_0000.nii.gz", image_of(number))
        if number != 403:
            save(root / "Mask" / f"{name}.nii.gz", label_of((1, 2, 3, 4)))
    return root


def make_word(root: Path) -> Path:
    """One case of each part; the labels of test are a download of their own and not there."""
    folder = root / "WORD-V0.1.0"
    for part, number in (("Tr", 2), ("Val", 1), ("Ts", 14)):
        name = f"word_{number:04d}.nii.gz"
        save(folder / f"images{part}" / name, image_of(number))
        if part != "Ts":
            save(folder / f"labels{part}" / name, label_of(range(1, 17)))
    return folder


def make_btcv(root: Path) -> Path:
    """Two training cases and a test image."""
    for number in (1, 2):
        save(root / f"RawData/Training/img/img{number:04d}.nii.gz", image_of(number))
        save(root / f"RawData/Training/label/label{number:04d}.nii.gz", label_of(range(1, 14)))
    save(root / "RawData/Testing/img/img0061.nii.gz", image_of(61))
    return root


def make_pansegdata(root: Path) -> Path:
    """T1 and T2 of two centres, with the table of original names."""
    names = {"T1": {"nyu_31.nii.gz": "NYU_0001_0000.nii.gz", "mcf_7.nii.gz": "Not included"}}
    for modality in ("t1", "t2"):
        for number, case in enumerate(("NYU_0001", "MCF_0002")):
            save(root / modality / "imagesTr" / f"{case}_0000.nii.gz", image_of(number))
            save(root / modality / "labelsTr" / f"{case}.nii.gz", label_of((1,), np.float32))
    (root / "Meta informations").mkdir()
    (root / "Meta informations" / "T1-name_mapping.json").write_text(json.dumps(names["T1"]))
    return root


def make_msd(root: Path, modalities: Iterable[str] = ("CT",)) -> Path:
    """Two cases, several modalities along the fourth axis; what macOS leaves; a test image."""
    folder, names = root / "Task07_Pancreas", list(modalities)
    training = []
    for number in (1, 4):
        channels = [image_of(10 * number + channel) for channel in range(len(names))]
        array = channels[0] if len(names) == 1 else np.stack(channels, axis=-1)
        name = f"pancreas_{number:03d}.nii.gz"
        save(folder / "imagesTr" / name, array)
        save(folder / "labelsTr" / name, label_of((1, 2)))
        (folder / "imagesTr" / f"._{name}").write_bytes(b"macOS")
        training.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    save(folder / "imagesTs" / "pancreas_002.nii.gz", image_of(2))
    header = {
        "name": "Pancreas",
        "licence": "CC-BY-SA 4.0",
        "modality": {str(n): name for n, name in enumerate(names)},
        "labels": {"0": "background", "1": "pancreas", "2": "cancer"},
        "numTraining": len(training),
        "training": training,
        "test": ["./imagesTs/pancreas_002.nii.gz"],
    }
    (folder / "dataset.json").write_text(json.dumps(header))
    return folder


def make_nih(root: Path, numbers: Iterable[int] = (1, 2, 25), origin_mm: float = 7.0) -> Path:
    """DICOM with rows to the front, labels with axes LAI and an origin of their own."""
    for number in numbers:
        write_ct(
            root / f"manifest-1/Pancreas-CT/PANCREAS_{number:04d}/11-24-2015/Pancreas-{number}",
            image_of(number),
            number,
        )
        label = label_of((1,))
        affine = lai_affine()
        affine[0, 3] += origin_mm
        labels = root / "TCIA_pancreas_labels-02-05-2017"
        save(labels / f"label{number:04d}.nii.gz", label, affine)
    return root


def lai_affine() -> np.ndarray:
    """RAS+ mm of the series that `write_ct` writes, as its pixels are stored: LAI."""
    affine = np.diag([-0.8, 0.8, -1.0, 1.0])
    affine[:3, 3] = (100.0, -150.0, 60.0)
    return affine


def write_ct(folder: Path, array_xyz: np.ndarray, number: int) -> None:
    """A CT series: x to the left, y to the front, z downwards, named in no order."""
    folder.mkdir(parents=True)
    series, study = (generate_uid(entropy_srcs=[f"{kind}{number}"]) for kind in ("s", "t"))
    for index in range(array_xyz.shape[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[f"{number}-{index}"])
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        item = Dataset()
        item.file_meta = meta
        item.SOPClassUID, item.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        item.SeriesInstanceUID, item.StudyInstanceUID = series, study
        item.PatientID, item.Modality = f"PANCREAS_{number:04d}", "CT"
        item.SeriesNumber, item.InstanceNumber = 1, index + 1
        item.ImageOrientationPatient = [1, 0, 0, 0, -1, 0]
        item.ImagePositionPatient = [-100.0, 150.0, 60.0 - index]
        item.PixelSpacing, item.SliceThickness = [0.8, 0.8], 1.0
        item.Columns, item.Rows = array_xyz.shape[:2]
        item.BitsAllocated = item.BitsStored = 16
        item.HighBit, item.PixelRepresentation, item.SamplesPerPixel = 15, 1, 1
        item.RescaleSlope, item.RescaleIntercept = 1, -1024
        item.PhotometricInterpretation = "MONOCHROME2"
        item.PixelData = (array_xyz[:, :, index].T + 1024).astype("<i2").tobytes()
        item.save_as(folder / f"1-{(7 * index) % 5:03d}.dcm", enforce_file_format=True)


def make_bids(root: Path, sessions: Iterable[str] = ("",)) -> Path:
    """Two subjects with T1w and T2w; one label map and its table, in one derivative."""
    root.mkdir(exist_ok=True)
    (root / "dataset_description.json").write_text('{"Name": "made", "BIDSVersion": "1.8.0"}')
    (root / "participants.tsv").write_text(
        "participant_id\tage\tsex\nsub-01\t40\tF\nsub-02\t50\tM\n"
    )
    manual = root / "derivatives" / "manual"
    for number, subject in enumerate(("sub-01", "sub-02")):
        for session in sessions:
            stem = f"{subject}_{session}" if session else subject
            place = Path(subject, session, "anat") if session else Path(subject, "anat")
            save(root / place / f"{stem}_T1w.nii.gz", image_of(number))
            save(root / place / f"{stem}_T2w.nii.gz", image_of(number + 10))
            (root / place / f"{stem}_T1w.json").write_text("{}")
            save(manual / place / f"{stem}_dseg.nii.gz", label_of((3, 5)))
    (manual / "dseg.tsv").write_text("index\tname\n0\tbackground\n3\tgland right\n5\tgland left\n")
    return root


def make_han_seg(root: Path) -> Path:
    """Two cases with CT, MRI on another grid, and four organs each."""
    folder = root / "HaN-Seg" / "set_1"
    organs = ("Glnd_Lacrimal_L", "Glnd_Lacrimal_R", "Parotid_L", "Eye_AL")
    for number in (1, 2):
        case = f"case_{number:02d}"
        save_nrrd(folder / case / f"{case}_IMG_CT.nrrd", image_of(number))
        save_nrrd(folder / case / f"{case}_IMG_MR_T1.nrrd", image_of(number)[:4])
        for place, organ in enumerate(organs, start=1):
            save_nrrd(folder / case / f"{case}_OAR_{organ}.seg.nrrd", mask_of(place))
    return folder


def make_head_neck_oar(root: Path) -> Path:
    """Two scans of test and validation by both readers; the radiographer draws one gland off."""
    folder = root / "tcia-ct-scan-dataset" / "nrrds"
    for part, scan in (("test", "0522c0057"), ("validation", "0522c0727a")):
        for reader, off in (("oncologist", 0), ("radiographer", 1)):
            place = folder / part / reader / scan
            save_nrrd(place / "CT_IMAGE.nrrd", image_of(len(part)))
            save_nrrd(place / "segmentations" / "Lacrimal-Lt.nrrd", mask_of(1))
            save_nrrd(place / "segmentations" / "Lacrimal-Rt.nrrd", mask_of(2 + off))
    return root


def make_pddca(root: Path) -> Path:
    """A case of two parts each, both with the mandible."""
    for part, case in ((1, "0522c0001"), (3, "0522c0555")):
        folder = root / f"PDDCA-1.4.1_part{part}" / case
        save_nrrd(folder / "img.nrrd", image_of(part))
        for place, organ in enumerate(("Mandible", "OpticNerve_L", "Parotid_R"), start=1):
            save_nrrd(folder / "structures" / f"{organ}.nrrd", mask_of(place))
    return root


def make_segrap(root: Path) -> Path:
    """Two cases with both scans; the glands and a tumour."""
    folder = root / "SegRap2023_Training_Set_120cases"
    for number in (0, 7):
        case = folder / f"segrap_{number:04d}"
        save(case / "image.nii.gz", image_of(number))
        save(case / "image_contrast.nii.gz", image_of(number + 100))
        for place, organ in enumerate(("Parotid_L", "Submandibular_R", "GTVp"), start=1):
            save(case / f"{organ}.nii.gz", mask_of(place))
    return folder


def make_tom500(root: Path) -> Path:
    """A patient of either part."""
    folder = root / "TOM500"
    for part, number in (("train", 3), ("val", 58)):
        save(folder / part / "image" / f"{number}.nii.gz", image_of(number))
        save(folder / part / "label" / f"{number}.nii.gz", label_of(range(1, 10)))
    return folder


def make_brats(root: Path, release: str = "2023") -> Path:
    """Two cases, under the names of 2018, 2021 or 2023 (two examinations of one patient)."""
    folder = root / f"BraTS{release}_Training"
    old = release in ("2018", "2021")
    if release == "2018":
        folder = folder / "HGG"
    for number in (0, 2):
        case = f"BraTS2021_{number:05d}" if old else f"BraTS-GLI-00005-{number:03d}"
        if release == "2018":
            case = f"Brats18_2013_{number}_1"
        names = ("flair", "t1", "t1ce", "t2") if old else ("t2f", "t1n", "t1c", "t2w")
        for channel, name in enumerate(names):
            path = folder / case / f"{case}{'_' if old else '-'}{name}.nii.gz"
            save(path, image_of(10 * number + channel))
        label = label_of((1, 2, 4) if old else (1, 2, 3))
        save(folder / case / f"{case}{'_' if old else '-'}seg.nii.gz", label)
    return folder


MAKERS: Mapping[str, object] = {
    "amos": make_amos,
    "abdomenct-1k": make_abdomenct_1k,
    "word": make_word,
    "btcv": make_btcv,
    "pansegdata": make_pansegdata,
    "msd": make_msd,
    "nih-pancreas": make_nih,
    "bids": make_bids,
    "han-seg": make_han_seg,
    "head-neck-oar": make_head_neck_oar,
    "pddca": make_pddca,
    "segrap": make_segrap,
    "tom500": make_tom500,
    "brats": make_brats,
}
"""Layout to its maker; every registered layout must have one."""

ORBIT = (
    "optic_nerve orbital_fat lacrimal eyeball superior_rectus_and_levator inferior_rectus "
    "medial_rectus lateral_rectus superior_oblique"
)

CHOICES: Mapping[str, dict[str, object]] = {
    "amos": {"modality": "ct"},
    "pansegdata": {"modality": "t1"},
    "tom500": {"names": tuple(ORBIT.split())},
}
