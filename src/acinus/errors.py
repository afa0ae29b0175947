"""The error family: every message says where, what must hold, what was found, what to do.

Enters: nothing. Leaves: exceptions that the command line prints as one sentence
with exit status 2. An undefined measure is a value, not an exception
(see ``acinus.measure``).
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class AcinusError(Exception):
    """Whatever a user can mend; printed without a traceback."""


class ConfigError(AcinusError, ValueError):
    """A recipe, study, option or YAML file says something that cannot be."""


class DataError(AcinusError, ValueError):
    """A file or folder of the user is missing, unreadable or implausible."""


class MemoryLimitError(DataError):
    """What is asked for would take more memory than it may."""


class GridError(AcinusError, ValueError):
    """Two arrays or volumes that must share a grid do not."""


class PlanError(AcinusError, ValueError):
    """A plan, model or run folder does not fit what is asked of it."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Sentence for a name that is not known, with the known ones and the nearest.

    Args:
        kind: What the name should be, e.g. ``"loss"``.
        name: What was given.
        known: All valid names.

    Returns:
        ``unknown loss 'dise'. Known: dice, jaccard. Did you mean 'dice'?``
    """
    names = sorted(known)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"unknown {kind} '{name}'. Known: {', '.join(names) or 'none'}.{hint}"
