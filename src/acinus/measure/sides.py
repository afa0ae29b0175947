"""Measures of sides: what was predicted as one gland of a pair and lies on the other.

Enters: a `MaskPair` that knows the partner of its structure, e.g. the left gland of the
right one. Leaves: a count and a volume, 0 where right and left were kept apart. The plane
between the sides is the one halfway between the centroids of both references and at a right
angle to the line between them, so that the measures need no axes and a patient may lie
obliquely. Comparing with the middle of the image was rejected: heads are not centred. So was
reading the confusion off a low Dice: a gland may be missed for other reasons.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from acinus.measure.measures import measure
from acinus.measure.pair import MaskPair
from acinus.measure.score import Score
from acinus.scans.components import label_components
from acinus.types import Mask

COUNT = "count"
ML = "mL"

NO_PARTNER = "no reference of a partner on the other side"
NEITHER_DRAWN = "neither side in the reference"

SIDE_MEASURES = ("side_errors", "side_error_ml")
"""Measures that need the partner's reference."""


@measure("side_errors", title="Side errors", unit=COUNT, better="lower")
def side_errors(pair: MaskPair) -> Score:
    """Parts of the prediction that lie on the other side.

    A part is a connected component with 26 neighbours. It lies on the other side if it shares
    more voxels with the partner's reference than with its own; of one that touches neither,
    the centroid decides: beyond the plane halfway between the centroids of both references.
    Where one side was not drawn there is no such plane, and a part that touches nothing is no
    side error.

    Returns:
        Count, >= 0; 0 for an empty prediction. Undefined without a partner, and if something
        was predicted and neither side drawn.
    """
    reason = _lack(pair)
    if pair.partner is None or reason:
        return Score.undefined(reason, COUNT)
    parts, n_parts = label_components(pair.prediction)
    if n_parts == 0:
        return Score(0.0, COUNT)
    index = np.argwhere(parts)
    part_of = parts[parts > 0]
    n_voxels = np.bincount(part_of)[1:]
    n_own, n_partner = (
        np.bincount(part_of[mask[parts > 0]], minlength=n_parts + 1)[1:]
        for mask in (pair.reference, pair.partner & ~pair.reference)
    )
    sums = [np.bincount(part_of, weights=axis)[1:] for axis in index.T]
    centroids = np.stack(sums, axis=1) / n_voxels[:, None]
    beyond = _beyond_plane(pair, pair.partner, centroids)
    touches = n_own + n_partner > 0
    wrong = np.where(touches, n_partner > n_own, beyond)
    return Score(float(np.count_nonzero(wrong)), COUNT)


@measure("side_error_ml", title="Volume on the wrong side (in mL)", unit=ML, better="lower")
def side_error_volume(pair: MaskPair) -> Score:
    """Volume of the prediction that lies on the other side, mL.

    Voxels in the partner's reference and not in its own, and voxels in neither that lie beyond
    the plane halfway between the centroids of both references (see `side_errors`).

    Returns:
        mL, >= 0; 0 for an empty prediction. Undefined without a partner, and if something was
        predicted and neither side drawn.
    """
    reason = _lack(pair)
    if pair.partner is None or reason:
        return Score.undefined(reason, ML)
    outside = np.argwhere(pair.prediction & ~pair.reference)
    on_partner = pair.partner[tuple(outside.T)]
    n_wrong = np.count_nonzero(on_partner | _beyond_plane(pair, pair.partner, outside))
    return Score(float(n_wrong) * pair.voxel_volume_ml, ML)


def _lack(pair: MaskPair) -> str:
    """Why sides cannot be judged; ``""`` if they can."""
    if pair.partner is None:
        return NO_PARTNER
    nothing_drawn = pair.n_reference == 0 and not pair.partner.any()
    return NEITHER_DRAWN if nothing_drawn and pair.n_prediction else ""


def _beyond_plane(pair: MaskPair, partner: Mask, index_zyx: NDArray[np.generic]) -> Mask:
    """(n,) bool for (n, 3) places, in voxels: nearer to the partner's centroid than to its own."""
    if pair.n_reference == 0 or not partner.any() or not len(index_zyx):
        return np.zeros(len(index_zyx), dtype=bool)
    scale = np.asarray(pair.spacing_mm)
    own, other = (np.argwhere(mask).mean(axis=0) * scale for mask in (pair.reference, partner))
    from_middle = np.asarray(index_zyx) * scale - (own + other) / 2
    return np.asarray(from_middle @ (other - own) > 0)
