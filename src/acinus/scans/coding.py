"""What a structure's name means in SNOMED CT, the code that DICOM asks for.

Enters: names of labels, as people write them. Leaves: codes of category, structure, side and
part. A name that the table does not know gets the generic code for tissue, never a guess: the
name itself is stored beside it. The whole SNOMED CT was rejected: it is licensed by country;
what stands here is in the lists of DICOM PS3.16, which may be used freely.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Side = Literal["right", "left"]
"""Side of the patient, not of the picture."""

Laterality = Literal["right", "left", "both"]
"""Side of a structure, or of a region that unites right and left."""


@dataclass(frozen=True)
class Code:
    """A coded concept of DICOM.

    Attributes:
        value: e.g. ``"45289007"``.
        meaning: e.g. ``"Parotid gland"``.
        scheme: Who gives the values; ``"SCT"``: SNOMED CT.
    """

    value: str
    meaning: str
    scheme: str = "SCT"


ANATOMICAL_STRUCTURE = Code("91723000", "Anatomical Structure")
ABNORMAL_STRUCTURE = Code("49755003", "Morphologically Abnormal Structure")
TISSUE = Code("85756007", "Tissue")
"""Category, and code, of whatever the table does not know."""

SIDES: dict[Side, Code] = {"right": Code("24028007", "Right"), "left": Code("7771000", "Left")}

BILATERAL = Code("51440002", "Bilateral")
"""Of CID 244, as right and left are."""

PARTS = {
    "anterior": Code("255549009", "Anterior"),
    "posterior": Code("255551008", "Posterior"),
}
"""Words of a name that tell which part of a structure is meant."""

_STRUCTURES: tuple[tuple[str, Code], ...] = (
    ("lacrimal", Code("13561001", "Lacrimal gland")),
    ("parotid", Code("45289007", "Parotid gland")),
    ("submandibular", Code("54019009", "Submandibular gland")),
    ("submand", Code("54019009", "Submandibular gland")),
    ("salivary", Code("385294005", "Salivary gland")),
    ("pancreas", Code("15776009", "Pancreas")),
    ("duodenum", Code("38848004", "Duodenum")),
    ("liver", Code("10200004", "Liver")),
    ("spleen", Code("78961009", "Spleen")),
    ("kidney", Code("64033007", "Kidney")),
    ("stomach", Code("69695003", "Stomach")),
    ("gallbladder", Code("28231008", "Gallbladder")),
    ("hippocampus", Code("5366008", "Hippocampus")),
    ("amygdala", Code("4958002", "Amygdala")),
    ("pituitary", Code("56329008", "Pituitary")),
    ("brainstem", Code("119238007", "Brain Stem")),
    ("brain stem", Code("119238007", "Brain Stem")),
    ("spinal cord", Code("2748008", "Spinal cord")),
    ("mandible", Code("91609006", "Mandible")),
    ("skull", Code("89546000", "Skull")),
    ("eye", Code("81745001", "Eye")),
    ("orbit", Code("363654007", "Orbital structure")),
    ("brain", Code("12738006", "Brain")),
)
"""Words of a name to its code; the first entry whose words stand in the name counts."""

_ABNORMAL_WORDS: tuple[tuple[str, Code], ...] = (
    ("tumor", Code("108369006", "Neoplasm")),
    ("tumors", Code("108369006", "Neoplasm")),
    ("tumour", Code("108369006", "Neoplasm")),
    ("tumours", Code("108369006", "Neoplasm")),
    ("lesion", Code("52988006", "Lesion")),
    ("lesions", Code("52988006", "Lesion")),
    ("edema", Code("79654002", "Edema")),
    ("oedema", Code("79654002", "Edema")),
    ("necrosis", Code("6574001", "Necrosis")),
)
"""Words that go before every organ: a tumour of the kidney is no kidney."""

_ABNORMAL = {code.value for _, code in _ABNORMAL_WORDS}

_PLAIN_WORDS = {
    *("right", "left", "r", "l", "rt", "lt", "dexter", "sinister", "both", "bilateral"),
    *("gland", "glands", "glnd", "gld", "organ", "structure", "region"),
    *("whole", "total", "mask", "label", "roi"),
    *PARTS,
}
"""Words beside which a structure stays what it is: a lacrimal sac is no lacrimal gland, and nobody
can list all that make something else of one."""


_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
"""Words of a name, told apart by blanks, punctuation, digits and capitals."""

_NAMES = {word for key, _ in _STRUCTURES for word in key.split()}


@dataclass(frozen=True)
class Coding:
    """How a structure is coded.

    Attributes:
        category: Kind of thing.
        structure: The thing.
        modifiers: Which side and part of it.
    """

    category: Code
    structure: Code
    modifiers: tuple[Code, ...] = ()


def coding_of(name: str, side: Laterality | None = None) -> Coding:
    """Codes of a structure.

    Args:
        name: e.g. ``"parotid_right"``, ``"Glnd_Submand_R"``, ``"kidneys"``; words are told apart
            by blanks, punctuation and capitals.
        side: Of the patient, where it has one, or both; the name itself tells no side here.
            None: no laterality is coded.
    """
    words = [word.lower() for word in _WORDS.findall(name)]
    text = f" {' '.join(map(_singular, words))} "
    code = next((code for key, code in _ABNORMAL_WORDS if f" {key} " in text), None)
    code = code or next((code for key, code in _STRUCTURES if _is_plainly(key, text)), TISSUE)
    if code is TISSUE:
        category = TISSUE
    else:
        category = ABNORMAL_STRUCTURE if code.value in _ABNORMAL else ANATOMICAL_STRUCTURE
    parts = tuple(part for word, part in PARTS.items() if word in words)
    if side is None:
        return Coding(category, code, parts)
    return Coding(category, code, (BILATERAL if side == "both" else SIDES[side], *parts))


def _singular(word: str) -> str:
    """The word without the s of a plural, where that names a structure."""
    one = word.removesuffix("s")
    return one if one in _NAMES else word


def _is_plainly(key: str, text: str) -> bool:
    """Whether a text between blanks names a structure and nothing that makes another one of it."""
    return f" {key} " in text and set(text.replace(f" {key} ", " ", 1).split()) <= _PLAIN_WORDS


def sides_of_codes(values: Iterable[str]) -> tuple[Side, ...]:
    """The sides that modifiers tell, each once.

    Args:
        values: Of the codes of a structure's modifiers, or of a FrameLaterality.
    """
    # G-A100 and G-A101: the SNOMED RT codes of files written before 2018.
    telling: dict[Side, set[str]] = {
        "right": {"24028007", "G-A100", "R"},
        "left": {"7771000", "G-A101", "L"},
    }
    given = set(values)
    return tuple(side for side, those in telling.items() if those & given)
