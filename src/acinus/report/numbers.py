"""Numbers as words: how values, shares, p-values and times are written.

Enters: numbers, possibly missing. Leaves: short text, the same way everywhere.
"""

from __future__ import annotations

import math
import re
from typing import Any

from acinus.evaluate.wording import decimals

MISSING = "–"
"""Shown where there is no value."""


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    try:
        return value is not None and math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def number_text(value: Any, digits: int = 2) -> str:
    """A number with fixed digits after the point, or a dash."""
    return decimals(float(value), digits) if is_number(value) else MISSING


def count_text(value: Any) -> str:
    """A whole number with thousands separated, or a dash."""
    return f"{round(float(value)):,}" if is_number(value) else MISSING


def share_text(value: Any, digits: int = 0) -> str:
    """A share in [0, 1] as a percentage, or a dash."""
    return f"{100 * float(value):.{digits}f}%" if is_number(value) else MISSING


def p_text(value: Any, *, name: bool = True) -> str:
    """A p-value as journals print it: ``p < 0.001``, ``p = 0.004``, ``p = 0.29``."""
    if not is_number(value):
        return "p not defined" if name else MISSING
    p = float(value)
    if p < 0.001:
        return "p < 0.001" if name else "< 0.001"
    text = f"{p:.3f}" if p < 0.01 else f"{p:.2f}"
    return f"p = {text}" if name else text


def seconds_text(seconds: Any) -> str:
    """A duration: ``45 s``, ``4 min 30 s``, ``2 h 05 min``; a dash if unknown."""
    if not is_number(seconds):
        return MISSING
    whole = round(float(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def join_words(words: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def in_sentence(title: str) -> str:
    """A title inside a sentence: ``Right lacrimal`` gives ``right lacrimal``, ``GTV`` stays."""
    return title[:1].lower() + title[1:] if title[1:2].islower() else title


def broken(name: str, width: int = 28) -> str:
    """A name of several parts on lines of at most `width` characters, broken behind ``+``."""
    lines = [""]
    for part in re.split(r"(?<=\+)", name):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def plural(n: int, word: str) -> str:
    """``1 case``, ``2 cases``."""
    return f"{count_text(n)} {word}" + ("" if n == 1 else "s")
