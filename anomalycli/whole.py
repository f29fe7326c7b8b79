"""Files that are there whole or not at all: written beside, and renamed when they are done."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yields the path to write to; it takes the place of `path` at the end, and is removed where that fails.

    Folders are made on the way. A process that is killed leaves what was at `path` as it was, and
    NAME.PID.part beside it. That name is the process's own: of several that write one file, the last
    to finish wins. Nothing is promised of a machine that loses power.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: str | bytes) -> Path:
    """Write `content`, text as UTF-8 with ? for what is no text (in names of files), and return `path`."""
    with whole(path) as partial:
        partial.write_bytes(content.encode(errors="replace") if isinstance(content, str) else content)
    return path
