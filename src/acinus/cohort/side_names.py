"""What names of labels tell of right and left, and which of them are partners.

Enters: names as people write them. Leaves: sides and pairs. A name tells a side by a whole word;
`cleft` and `bright` tell none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from acinus.scans.coding import Side

_SIDE_WORDS: Mapping[str, Side] = {
    **dict.fromkeys(("left", "l", "lt", "lft", "sin", "sinistra", "links"), "left"),
    **dict.fromkeys(("right", "r", "rt", "rgt", "dex", "dextra", "rechts"), "right"),
}

_WORDS = re.compile(r"[A-Za-z]\d+|[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
"""Words of a label's name; a number belongs to a single letter before it (the vertebra L1), not to
a word (left1)."""


def suggested_side(label: str) -> Side | None:
    """The side that the words of a label's name tell; None: none, or both."""
    words = _WORDS.findall(label)
    sides = {_SIDE_WORDS[word.lower()] for word in words if word.lower() in _SIDE_WORDS}
    return sides.pop() if len(sides) == 1 else None


def without_side(label: str) -> str:
    """The name with a mark where a word tells the side, by which partners are found."""
    return _WORDS.sub(lambda m: "|" if m.group(0).lower() in _SIDE_WORDS else m.group(0), label)


def pairs_by_name(
    sides: Mapping[str, Side], stated: Iterable[tuple[str, str]] = ()
) -> tuple[tuple[str, str], ...]:
    """Right and left structures that are partners though nobody stated it.

    Names that differ by the word of their side alone are; so are the only right and the only left
    one, if their names tell no side.

    Args:
        sides: Structure to its side.
        stated: Pairs that were stated; their structures are left out.
    """
    known = {name for pair in stated for name in pair}
    rights, lefts = (
        [name for name, its in sides.items() if its == side and name not in known]
        for side in ("right", "left")
    )
    if len(rights) == len(lefts) == 1 and not any(map(suggested_side, rights + lefts)):
        return ((rights[0], lefts[0]),)
    left_of = {without_side(name).lower(): name for name in lefts}
    return tuple(
        (name, left_of[key]) for name in rights if (key := without_side(name).lower()) in left_of
    )
