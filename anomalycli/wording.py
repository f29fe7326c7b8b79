"""Lists of names and numbers of things, as words in a sentence."""

from collections.abc import Iterable


def some(names: Iterable[str], most: int = 5) -> str:
    """The first of these names, for use inside a sentence, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def number_of(n: int, what: str) -> str:
    """A number of things in words: 1 event, 2 events."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def number_or_no(n: int, what: str) -> str:
    """As `number_of`, but without a zero: no events, 1 event."""
    return number_of(n, what) if n else f"no {what}s"
