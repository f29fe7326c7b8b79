"""Files that are there whole or not at all: written beside, and renamed when they are done."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import UsageError, cause


def place(words: str | Path) -> Path:
    """A path, or what behaves as one where `words` are a URL (`s3://bucket/features`) that fsspec knows.

    Raises UsageError where nothing is installed for URLs, for URLs of that kind, or where the store does not answer.
    """
    if not isinstance(words, str) or not re.match(r"\w{2,}://", words):
        return Path(words)
    try:
        from upath import UPath
    except ImportError as error:
        raise UsageError(f"{words}: for URLs, pip install 'anomalycli[ray]'.") from error
    try:
        path: Any = UPath(words)
        path.exists()
    except Exception as error:  # each kind of store has its own
        raise UsageError(f"{words}: it cannot be reached ({cause(error)}).") from error
    return Path(path.path) if "file" in path.fs.protocol else path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yields the path to write to; it takes the place of `path` at the end, and is removed where that fails.

    Folders are made on the way. A process that is killed leaves what was at `path` as it was, and
    NAME.RANDOM.part beside it. That name is the process's own: of several that write one file, on
    whatever machines, the last to finish wins. Nothing is promised of a machine that loses power, nor,
    of what a URL names, that nobody sees it in the moment when its store puts the new one in place.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield partial
        if isinstance(path, Path):
            partial.replace(path)
        else:
            partial.rename(path)  # UPath has no replace; its rename does replace
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: str | bytes) -> Path:
    """Write `content`, text as UTF-8 with ? for what is no text (in names of files), and return `path`."""
    with whole(path) as partial:
        partial.write_bytes(content.encode(errors="replace") if isinstance(content, str) else content)
    return path
