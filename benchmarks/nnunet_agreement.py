"""How far an imported model agrees with nnU-Net's own prediction, voxel by voxel.

Development only. nnU-Net has predicted a folder of images; this imports its results folder,
predicts the same images with the same settings (overlap 0.5, Gaussian, its mirroring, logits
averaged, float32) and compares the label maps.

    nnUNetv2_predict -i IMAGES -o THEIRS -d 4 -c 3d_fullres -f 0 -device cpu
    python benchmarks/nnunet_agreement.py RESULTS_FOLDER IMAGES THEIRS --folds 0

Agreement is counted over the foreground: voxels that either of the two labels. A network that
found nothing would agree with itself, so the number of these voxels is printed too.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from acinus.predict import load_model
from acinus.predict.nnunet import import_nnunet
from acinus.predict.source import find_scans
from acinus.scans import read_labelmap


def main() -> int:
    """Print one line a case and the sum; status 1 below 99.9 %."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="nnU-Net's results folder")
    parser.add_argument("images", type=Path, help="folder of images")
    parser.add_argument("theirs", type=Path, help="nnU-Net's predictions of them")
    parser.add_argument("--folds", type=int, nargs="*", help="folds that nnU-Net predicted with")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--orientation", help="axes of the network, such as LPS")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as beside:
        folder = Path(beside) / "model"
        plan = import_nnunet(given.results, folder, orientation=given.orientation)
        model = load_model(folder, folds=given.folds, device="cpu", precision=given.precision)
        print(plan.summary, flush=True)
        n_same = n_any = 0
        seconds = 0.0
        for scan in find_scans(given.images, len(plan.dataset.channel_names), None):
            begin = time.perf_counter()
            ours = model.predict(scan.read(), postprocess="none").array
            seconds += time.perf_counter() - begin
            theirs = read_labelmap(given.theirs / f"{scan.case}.nii.gz").array
            foreground = (ours > 0) | (theirs > 0)
            same = int(np.count_nonzero((ours == theirs) & foreground))
            n_same, n_any = n_same + same, n_any + int(foreground.sum())
            differ = int(foreground.sum()) - same
            print(f"{scan.case:24s} {int(foreground.sum()):8d} voxels, {differ:5d} differ")
    share = n_same / n_any if n_any else float("nan")
    print(f"agreement {share:.5%} of {n_any} foreground voxels; {seconds:.1f} s")
    return 0 if share >= 0.999 else 1


if __name__ == "__main__":
    sys.exit(main())
