"""Texts without what headers say about persons: names, ids, dates and UIDs become ``***``.

Enters: headers of an export and any text about it. Leaves: the text, fit to be printed and kept.
Too much is hidden rather than too little: a description that loses a word is a nuisance, a name
that stays is a breach.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import permutations
from pathlib import Path

from acinus.scans import Export
from acinus.scans.person import DATES, PERSON_IDS, PERSON_NAMES, PLACES, VISIT_IDS

HIDDEN = "***"

_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
"""UIDs that folders and descriptions are named after, of whatever form."""

_ANY_UID = r"(?<!\d)(?<!\d\.)[0-2](?:\.\d+){5,}(?!\d)"
"""Whatever looks like a UID, such as that of an image as the name of its file."""

_SHORTEST_NAME = 2
_SHORTEST_INSIDE = 5
"""From so many characters on a name or an id is hidden within longer words, too."""

_SHORTEST_VISIT = 3
"""Numbers of visits that are shorter, or mere digits below `_SHORTEST_INSIDE`, tell of nobody: 1
is the usual StudyID."""

_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR")
"""Scripts that put no blanks between words, by the begin of their characters' names; Korean puts
them, but joins titles and particles."""

_HONORIFICS = "様殿氏君さくち님씨군양先小女"
"""What follows a family name of one character without a blank."""

_SPELT = {"ä": ("ae", "a"), "ö": ("oe", "o"), "ü": ("ue", "u"), "ß": ("ss",), "ø": ("oe", "o"),
          "æ": ("ae",), "å": ("aa", "a"), "œ": ("oe",), "ł": ("l",), "đ": ("d",)}  # fmt: skip
"""Letters as keyboards without them write them."""

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip


class Censor:
    """Takes out of texts what headers say about persons, and the place of the export.

    Args:
        export: Whose headers name persons.
        source: Where it lies; paths in it become relative.
        own: Pseudonyms that are given here: they stay, even if a header has such an id.
    """

    def __init__(self, export: Export, source: Path, own: Iterable[str] = ()) -> None:
        inside: set[str] = set()  # hidden wherever they stand
        words: set[str] = set()  # hidden as words; digits may touch them
        numbers: set[str] = set()  # hidden where neither letters nor digits touch them
        single: set[str] = set()  # names of one character
        for tag, value in _values_of(export):
            text = unicodedata.normalize("NFC", value).strip()
            if not text:
                continue
            if tag in PERSON_NAMES:
                for name in _names_in(text):
                    if _is_unspaced(name):
                        (inside if len(name) > 1 else single).add(name)
                    else:
                        (inside if len(name) >= _SHORTEST_INSIDE else words).add(name)
            elif tag in PLACES:
                words |= {word for word in re.findall(r"[^\W\d_]+", text) if _is_telling(word)}
            elif tag in (*PERSON_IDS, *VISIT_IDS):
                for id_ in filter(None, map(str.strip, text.split("\\"))):
                    if len(id_) >= _SHORTEST_INSIDE:
                        inside.add(id_)
                    elif tag in PERSON_IDS or _tells_of_a_visit(id_):
                        numbers.add(id_)
            elif tag in DATES:
                inside |= _spellings(text[:8])  # a time may follow
                numbers |= _short_spellings(text[:8])
            else:
                inside.add(text)
        self._place = f"{source}/"
        kept = _any_of(set(own))
        alternatives = [
            rf"(?P<own>(?<![^\W_])(?:{kept})(?![^\W_]))" if own else "",
            _any_of(inside),
            _ANY_UID,
            rf"(?<![^\W\d_])(?:{_any_of(words)})(?![^\W\d_])" if words else "",
            rf"(?<![^\W_])(?:{_any_of(numbers)})(?![^\W_])" if numbers else "",
            rf"(?<![^\W_])(?:{_any_of(single)})(?=[\W_{_HONORIFICS}]|$)" if single else "",
        ]
        self._pattern = re.compile("|".join(filter(None, alternatives)), re.IGNORECASE)

    def __call__(self, text: str) -> str:
        """The text with ``***`` in place of whatever identifies a person."""
        composed = unicodedata.normalize("NFC", text.replace(self._place, ""))
        return self._pattern.sub(_hidden, composed)


def _values_of(export: Export) -> set[tuple[str, str]]:
    """What headers say about persons, keyword and value, once each.

    Every slice is asked: a program that takes names away may have forgotten some.
    """
    headers = [item.tags for one in export.series for item in one.slices]
    headers += [one.tags for one in export.segmentations]
    headers += [one.tags for one in export.skipped]
    tags = {*PERSON_NAMES, *PERSON_IDS, *VISIT_IDS, *PLACES, *DATES, *_UIDS}
    return {(tag, header[tag]) for header in headers for tag in tags & header.keys()}


def _any_of(texts: Iterable[str]) -> str:
    return "|".join(re.escape(text) for text in sorted(texts, key=len, reverse=True))


def _hidden(found: re.Match[str]) -> str:
    own = found.groupdict().get("own")
    return HIDDEN if own is None else own


def _tells_of_a_visit(number: str) -> bool:
    return len(number) >= _SHORTEST_VISIT and not number.isdecimal()


def _is_telling(word: str) -> bool:
    return len(word) >= _SHORTEST_INSIDE or _is_unspaced(word)


def _names_in(text: str) -> Iterator[str]:
    """Names of one value of DICOM, apart, joined and spelt otherwise; titles are words of every
    language and stay."""
    for name in text.split("\\"):
        for group in name.split("="):
            parts = [re.split(r"[\s,.]+", part.strip()) for part in group.split("^")[:3]]
            whole = [word for part in parts for word in part if word]
            halves = {half for word in whole for half in re.split(r"[-'\u2019]", word)}
            for word in {*whole, *halves}:
                if len(word) >= _SHORTEST_NAME or _is_unspaced(word):
                    yield from _spelt(word)
            for one, other in permutations(whole, 2):
                # As folders and descriptions join them: whole, and with an initial.
                for first, second in ((one, other), (one[:1], other), (one, other[:1])):
                    if len(first + second) > _SHORTEST_NAME or _is_unspaced(first + second):
                        yield from _spelt(first + second)


def _spelt(word: str) -> set[str]:
    """A name as it is, without its accents, and as keyboards write it that lack its letters."""
    lower = word.lower()
    found = {word, "".join(_SPELT.get(sign, (sign,))[0] for sign in lower)}
    found.add("".join(_SPELT.get(sign, (sign,))[-1] for sign in lower))
    found |= {_without_accents(one) for one in tuple(found)}
    for letter, (digraph, *_) in _SPELT.items():
        if digraph in lower:
            found.add(lower.replace(digraph, letter))
    return found


def _without_accents(word: str) -> str:
    apart = unicodedata.normalize("NFD", word)
    bare = "".join(sign for sign in apart if not "\u0300" <= sign <= "\u036f")
    return unicodedata.normalize("NFC", bare)


def _is_unspaced(word: str) -> bool:
    return any(unicodedata.name(sign, "").startswith(_UNSPACED) for sign in word)


def _spellings(date: str) -> set[str]:
    """A date of DICOM, YYYYMMDD, as people write it; nothing for what is no date."""
    if not re.fullmatch(r"\d{8}", date):
        return set()
    year, month, day = date[:4], date[4:6], date[6:]
    spelt = {date, f"{day}{month}{year}", f"{month}{day}{year}"}
    for m, d in ((month, day), (month.lstrip("0"), day.lstrip("0"))):
        for mark in ("-", ".", "/", " ", "_"):
            spelt |= {mark.join(parts) for parts in ((year, m, d), (d, m, year), (m, d, year))}
        spelt |= {f"{year}年{m}月{d}日", f"{year}년{m}월{d}일", f"{year}년 {m}월 {d}일"}
        name = _MONTHS[int(month) - 1] if 1 <= int(month) <= len(_MONTHS) else ""
        for word in filter(None, (name, name[:3])):
            for nth in (d, *(f"{d}{end}" for end in ("st", "nd", "rd", "th"))):
                for mark in ("-", " ", ". ", "_", ""):
                    spelt |= {f"{nth}{mark}{word}{mark}{year}", f"{word}{mark}{nth}{mark}{year}"}
                spelt |= {f"{word} {nth}, {year}", f"{nth}. {word} {year}"}
    return spelt


def _short_spellings(date: str) -> set[str]:
    """A date of DICOM with two digits for the year."""
    if not re.fullmatch(r"\d{8}", date):
        return set()
    year, month, day = date[2:4], date[4:6], date[6:]
    spelt = {f"{year}{month}{day}", f"{day}{month}{year}", f"{month}{day}{year}"}
    for m, d in ((month, day), (month.lstrip("0"), day.lstrip("0"))):
        for mark in ("-", ".", "/", "_"):
            spelt |= {mark.join(parts) for parts in ((year, m, d), (d, m, year), (m, d, year))}
    return spelt
