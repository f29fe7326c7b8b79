"""Atomic writes, under a temporary name until a file is complete; and locks between processes."""

import errno
import hashlib
import io
import os
import platform
import re
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from .errors import AnomalyError, StorageError, UsageError, cause

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def path_or_url(words: str | Path) -> Path:
    """A path, or a path-like object if `words` is a URL that fsspec supports (`s3://bucket/features`).

    Raises UsageError if the packages for such URLs are not installed, or the store does not answer.
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
    except Exception as error:  # each kind of store raises its own
        raise UsageError(f"{words}: it cannot be reached ({cause(error)}).") from error
    return Path(path.path) if "file" in path.fs.protocol else path


def check_file(path: Path) -> None:
    """Raise OSError where `path` is a folder, or a pipe or a device, which could be read without end."""
    if not isinstance(path, Path):  # a URL
        return
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))


def sha256_of(path: Path) -> str:
    """The sha256 of a file. Raises OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, hashlib.sha256).hexdigest()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to. The file replaces `path` at the end, or is removed after an error.

    Where `path` is a link, the file that it names is replaced, and the link stays. Missing folders are created. A
    killed process leaves `path` unchanged, and a file beside it whose name ends in .RANDOM.part, which the next process
    that writes to this folder removes. Each process uses its own name; if several write one file, the last to finish
    wins. Not guaranteed after a power failure; and the store of a URL may show the file while it replaces it.

    Raises StorageError if the file cannot be written.
    """
    target = Path(os.path.realpath(path)) if isinstance(path, Path) and path.is_symlink() else path
    partial = target.with_name(partial_name(target.name))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(path, Path):
            _check_replaceable(path)
            with in_progress(partial):
                yield partial
                partial.replace(target)
        else:
            yield partial
            partial.rename(path)  # UPath has no replace; its rename does replace
    except BaseException as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and _concerns(error, path, target, partial):
            raise cannot_write(path, error) from error
        raise


def write_file(path: Path, content: str | bytes) -> Path:
    """Write `content` and return `path`. Text is encoded as UTF-8, with ? for bytes of file names that are not text.

    Raises StorageError if the file cannot be written.
    """
    with atomic_write(path) as partial:
        partial.write_bytes(content.encode(errors="replace") if isinstance(content, str) else content)
    return path


@contextmanager
def in_progress(partial: Path) -> Iterator[None]:
    """Create the file `partial`, of `partial_name`; no other process takes it for one that a killed process left."""
    remove_leftovers(partial.parent)
    with partial.open("ab") as file:
        if fcntl:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            file.close()  # Windows renames no open file
        yield


def claim(path: Path) -> io.FileIO | None:
    """The file at `path`, open to read and append, and locked; None if another process has it or nothing can be locked.

    It is created where it is missing, with its folders. The lock ends when the file is closed, and with the process.
    Raises OSError if the file cannot be opened.
    """
    import portalocker

    path.parent.mkdir(parents=True, exist_ok=True)
    file = open(path, "a+b", buffering=0)  # noqa: SIM115
    try:
        portalocker.lock(file, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
    except portalocker.LockException:
        file.close()
        return None
    return file


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Wait until no other thread or process is in such a block of the same `path`, a file that is locked meanwhile.

    Where the file system has no locks, nothing waits. Raises OSError if the file cannot be created.
    """
    import portalocker

    def is_taken() -> bool:
        with suppress(portalocker.LockException):
            try:
                portalocker.lock(file, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
            except portalocker.AlreadyLocked:
                return True
        return False

    with open(path, "ab") as file:
        while is_taken():
            time.sleep(_LOOK)
        yield


@cache
def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left in `folder`, once: of this machine, and what is old of others."""
    with suppress(OSError):
        for path in map(Path, os.scandir(folder)):
            if found := _PARTIAL.search(path.name):
                with suppress(OSError):
                    _remove_if_left(path, is_ours=found[1] == _machine())


def _remove_if_left(path: Path, is_ours: bool) -> None:
    """Remove a temporary file unless a process still writes it. Raises OSError where it may not be touched."""
    is_old = time.time() - path.stat().st_mtime > _OLD
    if not is_ours or fcntl is None:
        if is_old:
            path.unlink()
        return
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError where its writer holds it
        path.unlink()


def check_writable(path: Path) -> None:
    """Raise StorageError if `path` is known to be unwritable before any work.

    That is: missing permission, a full or read-only disk, a name that is too long, a file in place of a folder, or a
    folder, a pipe or a device in its own place. Creates nothing.
    """
    try:
        if any(len(os.fsencode(part)) > _LONGEST_NAME for part in path.parts):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        _check_replaceable(path)
        folder = path.parent
        while not folder.exists():
            if folder.is_symlink():
                raise OSError(errno.ENOENT, f"{folder} is a link to nothing")
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


def _check_replaceable(path: Path) -> None:
    """Raise StorageError for a pipe or a device, which a file would replace: root would lose /dev/null."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise StorageError(f"{path}: it cannot be written: it is a pipe or a device, not a file. {_ELSEWHERE}")


def cannot_write(path: Path, error: OSError) -> StorageError:
    """The StorageError for an OSError that occurred while writing `path`."""
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
_PARTIAL = re.compile(r"\.([0-9a-f]{4})[0-9a-f]{8}\.part$")
_OLD = 86_400  # seconds without a change, after which no machine still writes a temporary file
_LOOK = 0.1  # seconds between attempts to lock a file that another process has
_LONGEST_NAME = 255  # bytes, on the file systems in use


def partial_name(name: str) -> str:
    """A temporary name of this process, `name` with an ending, shortened if it would be too long."""
    end = f".{_machine()}{secrets.token_hex(4)}.part"
    begin = os.fsencode(name)[: _LONGEST_NAME - len(end)]
    return begin.decode(sys.getfilesystemencoding(), errors="ignore") + end


def _machine() -> str:
    """Four letters that stand for this machine in the names of temporary files."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:4]


def _concerns(error: OSError, *paths: Path) -> bool:
    """Whether the error concerns writing these paths, not reading another file."""
    if isinstance(error, AnomalyError) or error.filename is None:
        return not isinstance(error, AnomalyError)
    return str(error.filename) in {str(folder) for path in paths for folder in (path, *path.parents)}


def _file_among_parents(path: Path) -> Path | None:
    return next((folder for folder in path.parents if folder.exists() and not folder.is_dir()), None)
