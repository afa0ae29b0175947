"""Array and unit aliases: one place that states axes, units and order.

Inside Acinus arrays are ``(C, Z, Y, X)`` or ``(Z, Y, X)`` and spacing has the
same order. Affines act on ``(x, y, z, 1)`` and give RAS+ millimetres.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""Any array; the docstring of the function gives axes and units."""

Mask = NDArray[np.bool_]
"""(Z, Y, X) bool, one structure."""

Labelmap = NDArray[np.integer[Any]]
"""(Z, Y, X) integer, 0 is background."""

IGNORE = 255
"""Value of a prepared label map where the reference says nothing: no loss, no score."""

Affine = NDArray[np.float64]
"""(4, 4), voxel index (x, y, z, 1) to RAS+ millimetres."""

Spacing = tuple[float, float, float]
"""(Z, Y, X) distance between voxel centres, mm, > 0."""

Shape = tuple[int, int, int]
"""(Z, Y, X) numbers of voxels."""
