"""Which stages are done, and from what.

Enters: a stage's name and the key of all that it depends on. Leaves: a stamp
file written after the stage's results. A stage whose key has not changed is
not run again; one killed half-way has no stamp, and a stamp without the results
that it speaks of is worth nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from acinus.files import hash_data, read_json, write_json


def once(
    folder: Path,
    stage: str,
    depends_on: Any,
    work: Callable[[], None],
    *,
    results: Iterable[Path],
) -> bool:
    """Do `work` unless its stamp says that it was done from the same, and its results are there.

    Args:
        folder: Run folder; the stamp is ``stages/STAGE.json``.
        stage: Name of the stage.
        depends_on: JSON-able data; another value makes the stage run again.
        work: Writes the stage's results.
        results: Files that it writes; one that was removed makes the stage run again.

    Returns:
        Whether the work was done now.
    """
    stamp = folder / "stages" / f"{stage}.json"
    key = hash_data(depends_on)
    if (
        stamp.is_file()
        and read_json(stamp).get("key") == key
        and all(path.is_file() for path in results)
    ):
        return False
    work()
    write_json(stamp, {"stage": stage, "key": key})
    return True
