"""Fonts for titles: names of files may be in any script."""

import logging
import unicodedata
from functools import cache

from matplotlib import font_manager, ft2font

DEFAULT = "DejaVu Sans"  # comes with matplotlib
WEIGHT = "bold"  # of titles
PLACEHOLDERS = "Last Resort"  # fonts that have a box for every letter

# It warns of each font without bold letters; using another weight is fine.
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)


def lettered(text: str, most: int) -> tuple[str, dict]:
    """The text to draw in bold, and keyword arguments with the fonts for it.

    Letters that the default font lacks are taken from other fonts of this machine. Letters that no font has are
    replaced by their code point, such as [U+76E3]. Of more than `most` columns, the middle is left out.
    """
    families = [DEFAULT]
    missing = set(text) - _letters(DEFAULT)
    for family in _installed() if missing else ():
        if found := missing & _letters(family):
            families.append(family)
            missing -= found
        if not missing:
            break
    drawn = "".join(f"[U+{ord(char):04X}]" if char in missing else char for char in text)
    return _shortened(drawn, most), {"fontfamily": families}


def _shortened(text: str, most: int) -> str:
    widths = [2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text]
    if sum(widths) <= most:
        return text
    middle = len(text) // 2
    start = end = middle
    while sum(widths[:start]) + sum(widths[end:]) >= most:
        start, end = (start - 1, end) if sum(widths[:start]) > sum(widths[end:]) else (start, end + 1)
    return f"{text[:start]}\N{HORIZONTAL ELLIPSIS}{text[end:]}"


@cache
def _installed() -> list[str]:
    """Families of the fonts on this machine that a PDF can embed."""
    fonts = font_manager.fontManager.ttflist
    embeddable = {font.name for font in fonts if font.fname.lower().endswith((".ttf", ".ttc"))}
    return sorted(name for name in embeddable if not name.startswith(PLACEHOLDERS))


@cache
def _letters(family: str) -> frozenset[str]:
    try:
        path = font_manager.findfont(font_manager.FontProperties(family=[family], weight=WEIGHT))
        return frozenset(map(chr, ft2font.FT2Font(path).get_charmap()))
    except (OSError, RuntimeError, ValueError):  # a damaged font
        return frozenset()
