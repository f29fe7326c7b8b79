"""Names of files as text: one function for each place that a name is written to.

A name may hold bytes that are no text, line breaks, terminal escape sequences, marks that reverse the direction of
writing, and what a spreadsheet takes for a formula.
"""

import unicodedata

# Categories of characters that are not shown: control, format (direction marks, zero width), surrogate, unassigned,
# and the two that break lines.
HIDDEN = frozenset(("Cc", "Cf", "Cs", "Cn", "Zl", "Zp"))
JOINERS = "\u200c\u200d"  # format characters that scripts and emoji need
FORMULA = ("=", "+", "-", "@")


def readable(name: str) -> str:
    """The name as one line of text: U+FFFD for bytes that are no text and for characters that are not shown."""
    return "".join(char if _is_shown(char) else "\ufffd" for char in name)


def csv_cell(name: str) -> str:
    """The name as a cell of a table: what a spreadsheet would take for a formula begins with an apostrophe."""
    text = readable(name)
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text


def edl_name(name: str, most: int) -> str:
    """The name as a field of a CMX 3600 list, which is read line by line: single blanks, `most` characters at most."""
    return " ".join(readable(name).split())[:most]


def _is_shown(char: str) -> bool:
    return char in JOINERS or unicodedata.category(char) not in HIDDEN
