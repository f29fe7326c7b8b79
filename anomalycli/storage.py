"""Files that are there whole or not at all: written beside, and renamed when they are done."""

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import AnomalyError, StorageError, UsageError, cause


def place(words: str | Path) -> Path:
    """A path, or an object like it where `words` are a URL (`s3://bucket/features`) that fsspec knows.

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
    """Yields the path to write to; that file takes the place of `path` at the end, or is removed where that fails.

    Missing folders are made. A process that is killed leaves what was at `path` as it was, and a file whose name ends
    in .RANDOM.part beside it. That name is the process's own: of several that write one file, on whatever machines,
    the last to finish wins. Nothing is promised for a machine that loses power, nor, where a URL is written, that
    nobody sees it in the moment when its store puts the new one in place.

    Raises StorageError where the system does not let it be written.
    """
    partial = path.with_name(_partial_name(path.name))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        if isinstance(path, Path):
            partial.replace(path)
        else:
            partial.rename(path)  # UPath has no replace; its rename does replace
    except BaseException as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and _concerns(error, path, partial):
            raise cannot_write(path, error) from error
        raise


def write_whole(path: Path, content: str | bytes) -> Path:
    """Write `content`, text as UTF-8 with ? for what is no text (in names of files), and return `path`.

    Raises StorageError where the system does not let it be written.
    """
    with whole(path) as partial:
        partial.write_bytes(content.encode(errors="replace") if isinstance(content, str) else content)
    return path


def check_writable(path: Path) -> None:
    """Raises StorageError where it is known, before any work, that `path` cannot be written: its folder's rights or
    disk, a name that is too long, a file in place of a folder, a folder in its own place. Creates nothing."""
    try:
        if any(len(os.fsencode(part)) > _LONGEST_NAME for part in path.parts):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        folder = path.parent
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(folder, os.W_OK | os.X_OK):
            read_only = hasattr(os, "statvfs") and os.statvfs(folder).f_flag & os.ST_RDONLY
            number = errno.EROFS if read_only else errno.EACCES
            raise PermissionError(number, os.strerror(number))
        if hasattr(os, "statvfs") and os.statvfs(folder).f_bavail == 0 < os.statvfs(folder).f_blocks:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> StorageError:
    """The one translation of what the system says when `path` cannot be written."""
    if isinstance(error, StorageError):
        return error
    reason, advice = _REASONS.get(error.errno or 0, (error.strerror or cause(error), ""))
    if error.errno in (errno.ENOTDIR, errno.EEXIST) and (file := _file_among_parents(path)):
        reason = f"{file} is a file where a folder is needed"
    told = StorageError(f"{path}: it cannot be written: {reason}.{advice and ' '}{advice}")
    told.errno, told.strerror = error.errno, error.strerror
    return told


_ELSEWHERE = "Choose another place for the output."
_REASONS = {
    errno.ENOSPC: ("no space is left on the disk", "Free some, or choose another place for the output."),
    errno.EDQUOT: ("the disk quota is used up", "Free some space, or choose another place for the output."),
    errno.EROFS: ("the disk is read-only", _ELSEWHERE),
    errno.EACCES: ("you have no permission to write there", _ELSEWHERE),
    errno.EPERM: ("you have no permission to write there", _ELSEWHERE),
    errno.ENAMETOOLONG: ("its name is too long", "Rename the input, or choose names of your own for the output."),
    errno.ENOTDIR: ("a part of its path is a file, not a folder", _ELSEWHERE),
    errno.EEXIST: ("a part of its path is a file, not a folder", _ELSEWHERE),
    errno.EISDIR: ("a folder has that name", "Rename the folder, or choose another place for the output."),
}
_LONGEST_NAME = 255  # bytes, on the file systems in use


def _partial_name(name: str) -> str:
    """A name of this process's own, as near to `name` as its length allows."""
    end = f".{secrets.token_hex(4)}.part"
    return os.fsencode(name)[: _LONGEST_NAME - len(end)].decode(errors="ignore") + end


def _concerns(error: OSError, *paths: Path) -> bool:
    """Whether the error is about writing these paths, and not about another file that was being read."""
    if isinstance(error, AnomalyError) or error.filename is None:
        return not isinstance(error, AnomalyError)
    return str(error.filename) in {str(folder) for path in paths for folder in (path, *path.parents)}


def _file_among_parents(path: Path) -> Path | None:
    return next((folder for folder in path.parents if folder.exists() and not folder.is_dir()), None)
