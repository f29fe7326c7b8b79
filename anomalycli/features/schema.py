"""Types and ranges of the JSON objects in files of this tool, checked when a file is read."""

from collections.abc import Callable
from typing import Any

from ..settings import is_finite

LARGEST_DIM = 1 << 16

Check = Callable[[Any], bool]


def text(value: Any) -> bool:
    return isinstance(value, str)


def text_or_none(value: Any) -> bool:
    return value is None or isinstance(value, str)


def integer(least: int, most: int = 1 << 53) -> Check:
    """A whole number within these bounds, and no truth value."""
    return lambda value: type(value) is int and least <= value <= most


def number(least: float) -> Check:
    """A finite number of at least this, and no truth value."""
    return lambda value: is_finite(value) and value >= least


def positive(value: Any) -> bool:
    return number(0)(value) and value > 0


def _groups(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and text(pair[0]) and integer(1)(pair[1]) for pair in value
    )


def _clips(value: Any) -> bool:
    return isinstance(value, list) and all(map(integer(0), value))


KIND: dict[str, Check] = {
    "backbone": text,
    "weights_sha256": text,
    "preprocessing": text,
    "size": integer(0, LARGEST_DIM),  # 0 where published features do not say
    "dim": integer(1, LARGEST_DIM),
    "audio": text_or_none,
    "clip_length": integer(1, LARGEST_DIM),
    "stride": integer(1, LARGEST_DIM),
    "groups": _groups,
}
FEATURES: dict[str, Check] = {
    "kind": lambda value: isinstance(value, dict),
    "n_frames": integer(1, 1 << 40),
    "fps": positive,
    "source": text,
    "source_bytes": integer(0),
    "source_mtime": number(-1e18),
    "precision": text,
    "crops": text,
    "sound_track": text_or_none,
    "sound_missing": text_or_none,
    "damage": text_or_none,
    "lost": lambda value: value is None or integer(0)(value),
    "creation_time": text_or_none,
    "tool": text,
    "still": _clips,
    "interpolated": _clips,
}
SCORES: dict[str, Check] = {
    "mode": text,
    "n_frames": FEATURES["n_frames"],
    "fps": FEATURES["fps"],
    "clip_length": KIND["clip_length"],
    "source": text,
    "warning": text_or_none,
    "note": text_or_none,
    "creation_time": text_or_none,
    "still": _clips,
    "interpolated": _clips,
}


def fault(values: Any, checks: dict[str, Check]) -> str | None:
    """The first error in a JSON object, in words, or None. Missing values are not checked here."""
    if not isinstance(values, dict):
        return f"{type(values).__name__} where an object belongs"
    for name, value in values.items():
        if name not in checks:
            return f"'{name}' is unknown"
        if not checks[name](value):
            return f"'{name}' is {str(value)[:60]!r}"
    return None


def missing(values: dict[str, Any], checks: dict[str, Check]) -> str | None:
    """The first value that a JSON object lacks, in words, or None."""
    return next((f"'{name}' is missing" for name in checks if name not in values), None)
