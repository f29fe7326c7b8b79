"""File names as text, one function for each kind of output.

A name can contain bytes that are not text, line breaks, terminal escape sequences, marks that reverse the writing
direction, and text that a spreadsheet interprets as a formula.
"""

import unicodedata

# Categories of invisible characters: control, format (direction marks, zero width), surrogate, unassigned,
# and the two that break lines.
HIDDEN = frozenset(("Cc", "Cf", "Cs", "Cn", "Zl", "Zp"))
JOINERS = "\u200c\u200d"  # format characters that scripts and emoji need
FORMULA = ("=", "+", "-", "@")


def readable(name: str) -> str:
    """The name as one line of text, with U+FFFD for bytes that are not text and for invisible characters."""
    return "".join(char if _is_shown(char) else "\ufffd" for char in name)


def csv_cell(name: str) -> str:
    """The name as a cell of a table. What a spreadsheet would interpret as a formula gets an apostrophe in front."""
    text = readable(name)
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text


def edl_name(name: str, most: int) -> str:
    """The name as a field of a CMX 3600 list: one line, single blanks, at most `most` characters."""
    return " ".join(readable(name).split())[:most]


def _is_shown(char: str) -> bool:
    return char in JOINERS or unicodedata.category(char) not in HIDDEN
