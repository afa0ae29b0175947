"""Draw the picture of the README from a finished demonstration.

    python scripts/readme_picture.py DEMO_FOLDER docs/pictures/overlay.png

Left the image, right the reference (orange) and the prediction (blue) of the hold-out case of
median Dice, on the slice with most of the reference.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from acinus.evaluate import read_scores
from acinus.scans import canonical, read_labelmap, read_volume
from acinus.scans.picture import draw_contours, enlarge, plane_slice, to_rgb, window, write_png

ARM = "POST-AX-T1-FS"
DATASET = "Dataset002_OrbitPostFS"
REFERENCE, PREDICTION = (230, 159, 0), (86, 180, 233)
FACTOR = 4
MARGIN_VOX = (30, 45)


def main(demo: Path, target: Path) -> None:
    """Draw the picture."""
    run = demo / "arms" / ARM
    scores = read_scores(run / "scores.csv")
    chosen = scores[(scores["metric"] == "dice") & (scores["part"] == "holdout")]
    means = chosen.groupby("case")["value"].mean().sort_values()
    case = str(means.index[len(means) // 2])
    data = demo / "data" / DATASET
    image = canonical(read_volume(data / "imagesTr" / f"{case}_0000.nii.gz"))
    reference = canonical(read_labelmap(data / "labelsTr" / f"{case}.nii.gz"))
    prediction = canonical(read_labelmap(run / "predictions" / "holdout" / f"{case}.nii.gz"))
    index = int((reference.array > 0).sum(axis=(1, 2)).argmax())
    pixels, _ = plane_slice(image, "axial", index)
    masks = [plane_slice(volume, "axial", index)[0] > 0 for volume in (reference, prediction)]
    rows, columns = np.nonzero(masks[0])
    box = (
        slice(max(0, rows.min() - MARGIN_VOX[0]), rows.max() + MARGIN_VOX[0]),
        slice(max(0, columns.min() - MARGIN_VOX[1] // 2), columns.max() + MARGIN_VOX[1] // 2),
    )
    low, high = np.percentile(pixels, (1, 99.8))
    plain = enlarge(to_rgb(window(pixels[box], float(low), float(high))), FACTOR)
    drawn = draw_contours(plain, masks[0][box], REFERENCE, width=2)
    drawn = draw_contours(drawn, masks[1][box], PREDICTION, width=2)
    sheet = np.concatenate([plain, np.full((plain.shape[0], 8, 3), 255, np.uint8), drawn], axis=1)
    picture = Image.fromarray(sheet)
    draw = ImageDraw.Draw(picture)
    draw.text((8, 8), "R", fill=(255, 255, 255))
    draw.text((plain.shape[1] - 16, 8), "L", fill=(255, 255, 255))
    draw.text((8, plain.shape[0] - 18), "SYNTHETIC", fill=(255, 255, 255))
    draw.text((plain.shape[1] + 16, plain.shape[0] - 34), "reference", fill=REFERENCE)
    draw.text((plain.shape[1] + 16, plain.shape[0] - 18), "prediction", fill=PREDICTION)
    write_png(np.asarray(picture), target)
    print(f"{case}, slice {index}, mean Dice {means[case]:.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
