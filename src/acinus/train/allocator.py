"""Keep memory that a training step will ask for again in the next step.

Enters: nothing. Leaves: a C allocator that does not give large blocks back to
the system and fault them in anew at each step. Environment variables were
rejected: a user would have to know them.
"""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Option numbers of glibc's mallopt (malloc.h)."""

KEEP_BYTES = 1 << 30
"""Blocks up to this size are kept by the process."""


def keep_memory() -> bool:
    """Tune glibc's allocator of this process; False where there is no glibc."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    # M_MMAP_THRESHOLD is limited to 32 MiB on 64-bit systems by older versions;
    # a refused value leaves the default and does no harm.
    wanted = ((M_MMAP_THRESHOLD, KEEP_BYTES), (M_TRIM_THRESHOLD, KEEP_BYTES), (M_TOP_PAD, 1 << 26))
    accepted = [bool(mallopt(option, value)) for option, value in wanted]
    return all(accepted)
