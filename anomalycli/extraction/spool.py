"""Features on their way: rows in a file, which another run takes up where this one was stopped."""

import errno
import io
import json
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import portalocker

from ..errors import StorageError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
ALIGNED = 64  # bytes; the rows begin at a multiple of it


def beside(target: Path) -> Path:
    """Where the rows are that are for the file `target`."""
    return target.with_name(f"{target.name}.rows")


def no_room(path: Path, error: OSError) -> StorageError:
    """The error that ends a run because nothing more can be written at `path`."""
    ended = StorageError(
        f"{path}: it cannot be written ({error.strerror}). What is there is whole: make room, and run the same "
        "command again to resume."
    )
    ended.exit_code = 3  # other videos may be done
    return ended


class Rows:
    """float32 rows of one shape as they come, in a file: memory stays flat however many there are.

    At `path` they outlive the process, killed or not, and whoever opens them with the same `identity` (of
    JSON) has them back; those of another identity are dropped. Without `path`, and where another process is
    at it or nothing can be locked, they end with the process.

    Raises OSError where `path` cannot be written.
    """

    def __init__(self, path: Path | None = None, identity: dict | None = None):
        self.path = path
        self._identity = json.loads(json.dumps(identity))  # as it is read again: JSON has no tuples
        self._shape: tuple[int, ...] = ()
        self._n, self._begin = 0, 0
        claimed = self._claim(path) if path else None
        if claimed:
            self._file = claimed
            self._take_up()
        else:
            self.path, self._file = None, tempfile.TemporaryFile(buffering=0)  # noqa: SIM115

    def __len__(self) -> int:
        return self._n

    def extend(self, rows: np.ndarray) -> None:
        """Append `rows`, (n, ...). Raises OSError where there is no room for them."""
        if not self._n:
            self._shape = rows.shape[1:]
            head = json.dumps({"of": self._identity, "shape": self._shape}, sort_keys=True).encode()
            self._write(head + b" " * (-(len(head) + 1) % ALIGNED) + b"\n")
            self._begin = self._file.tell()
        self._write(np.ascontiguousarray(rows, np.float32).tobytes())
        self._n += len(rows)

    def array(self) -> np.ndarray:
        """float32 (n, ...), mapped from the file."""
        return np.memmap(self._file, np.float32, "r", self._begin, (self._n, *self._shape))

    def discard(self) -> None:
        """They are saved elsewhere, or of no use."""
        self._file.close()
        if self.path:
            self.path.unlink(missing_ok=True)

    @staticmethod
    def _claim(path: Path) -> io.FileIO | None:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+b", buffering=0)  # noqa: SIM115
        try:
            portalocker.lock(file, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
        except portalocker.LockException:
            file.close()
            return None
        return file

    def _take_up(self) -> None:
        """What an earlier run left, as far as its rows are whole."""
        size = self._file.seek(0, io.SEEK_END)
        self._file.seek(0)
        head = self._file.readline()
        with suppress(ValueError, KeyError, TypeError):  # no head, or half of one
            told = json.loads(head)
            if told["of"] == self._identity and head.endswith(b"\n"):
                self._shape, self._begin = tuple(told["shape"]), len(head)
                self._n = (size - self._begin) // self._row_bytes
        self._file.truncate(self._begin + self._n * self._row_bytes if self._n else 0)
        self._file.seek(0, io.SEEK_END)

    @property
    def _row_bytes(self) -> int:
        return 4 * int(np.prod(self._shape))

    def _write(self, content: bytes) -> None:
        left = memoryview(content)
        while left:
            left = left[self._file.write(left) :]
