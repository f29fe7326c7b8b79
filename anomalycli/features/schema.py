"""Types and ranges of the metadata of features, checked when a file is read."""

import math
from collections.abc import Callable
from typing import Any

LARGEST_DIM = 1 << 16

Check = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _text_or_none(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _whole(least: int, most: int = 1 << 53) -> Check:
    return lambda value: type(value) is int and least <= value <= most


def _number(least: float) -> Check:
    return lambda value: type(value) in (int, float) and math.isfinite(value) and value > least


def _groups(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and _text(pair[0]) and _whole(1)(pair[1]) for pair in value
    )


def _clips(value: Any) -> bool:
    return isinstance(value, list) and all(map(_whole(0), value))


KIND: dict[str, Check] = {
    "backbone": _text,
    "weights_sha256": _text,
    "preprocessing": _text,
    "size": _whole(0, LARGEST_DIM),  # 0 where published features do not say
    "dim": _whole(1, LARGEST_DIM),
    "audio": _text_or_none,
    "clip_length": _whole(1, LARGEST_DIM),
    "stride": _whole(1, LARGEST_DIM),
    "groups": _groups,
}
FEATURES: dict[str, Check] = {
    "kind": lambda value: isinstance(value, dict),
    "n_frames": _whole(1, 1 << 40),
    "fps": _number(0),
    "source": _text,
    "source_bytes": _whole(0),
    "source_mtime": _number(-1e18),
    "precision": _text,
    "crops": _text,
    "sound_track": _text_or_none,
    "sound_missing": _text_or_none,
    "damage": _text_or_none,
    "lost": lambda value: value is None or _whole(0)(value),
    "creation_time": _text_or_none,
    "tool": _text,
    "still": _clips,
    "interpolated": _clips,
}
SCORES: dict[str, Check] = {
    "mode": _text,
    "n_frames": FEATURES["n_frames"],
    "fps": FEATURES["fps"],
    "clip_length": KIND["clip_length"],
    "source": _text,
    "warning": _text_or_none,
    "note": _text_or_none,
    "creation_time": _text_or_none,
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
