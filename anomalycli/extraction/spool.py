"""Features of unfinished videos: rows in a file, with which the next run resumes after an interruption."""

import errno
import io
import json
import math
import tempfile
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np

from ..errors import StorageError
from ..storage import cannot_write, claim

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
LONGEST_HEAD = 1 << 16  # bytes
ALIGNED = 64  # bytes; the rows begin at a multiple of it


def beside(target: Path) -> Path:
    """The path of the rows of the file `target`."""
    return target.with_name(f"{target.name}.rows")


def no_room(path: Path, error: OSError) -> StorageError:
    """The error that ends a run because nothing more can be written at `path`."""
    ended = StorageError(f"{cannot_write(path, error)} What was extracted is kept: repeat the command to resume.")
    ended.errno, ended.strerror = error.errno, error.strerror
    return ended


class Rows:
    """float32 rows of one shape as they come, in a file: memory stays flat however many there are.

    At `path` they outlive the process, killed or not. Opening the file with the same `identity` (of JSON) and the same
    `width` (the last side of a row) restores them, up to the first row whose checksum is wrong. Without `path`, and
    where another process uses the file or nothing can be locked, they end with the process.

    Raises OSError where `path` cannot be written.
    """

    def __init__(self, path: Path | None = None, identity: dict | None = None, width: int | None = None):
        self.path = path
        self._identity, self._width = json.loads(json.dumps(identity)), width  # as it is read back: lists, no tuples
        self._shape: tuple[int, ...] = ()
        self._n, self._begin = 0, 0
        claimed = claim(path) if path else None
        if claimed:
            self._file = claimed
            self._take_up()
        else:
            self.path, self._file = None, tempfile.TemporaryFile(buffering=0)  # noqa: SIM115

    def __len__(self) -> int:
        return self._n

    def extend(self, rows: np.ndarray) -> None:
        """Append `rows`, (n, ...). Raises OSError where there is no room for them, ValueError if they do not fit."""
        if not self._n:
            self._shape = rows.shape[1:]
            head = json.dumps({"of": self._identity, "shape": self._shape}, sort_keys=True).encode()
            self._write(head + b" " * (-(len(head) + 1) % ALIGNED) + b"\n")
            self._begin = self._file.tell()
        if rows.shape[1:] != self._shape:
            raise ValueError(f"rows of {rows.shape[1:]} behind rows of {self._shape}")
        records = np.empty(len(rows), self._record)
        records["row"] = rows
        records["sum"] = [_checksum(number, row) for number, row in enumerate(records["row"], self._n)]
        self._write(records.tobytes())
        self._n += len(rows)

    def array(self) -> np.ndarray:
        """float32 (n, ...), mapped from the file; what is written to it stays in memory."""
        return np.memmap(self._file, self._record, "c", self._begin, (self._n,))["row"]

    def discard(self) -> None:
        """Delete them: they are saved elsewhere, or useless."""
        self._file.close()
        if self.path:
            self.path.unlink(missing_ok=True)

    def _take_up(self) -> None:
        """Take over what an earlier run left, up to the first row that is not whole or not right."""
        size = self._file.seek(0, io.SEEK_END)
        self._file.seek(0)
        head = self._file.readline(LONGEST_HEAD)
        with suppress(ValueError, KeyError, TypeError, RecursionError):  # no head, or half of one
            told = json.loads(head)
            if told["of"] == self._identity and head.endswith(b"\n") and self._fits(told["shape"], size):
                self._shape, self._begin = tuple(told["shape"]), len(head)
                self._n = self._n_right((size - self._begin) // self._record.itemsize)
        self._file.truncate(self._begin + self._n * self._record.itemsize if self._n else 0)
        self._file.seek(0, io.SEEK_END)

    def _fits(self, shape: list[int], size: int) -> bool:
        """Whether rows of this shape may be in a file of this size."""
        sides = all(isinstance(side, int) and 0 < side <= size for side in shape) and 0 < len(shape) <= 3
        return sides and (self._width is None or shape[-1] == self._width) and 4 * math.prod(shape) < size

    def _n_right(self, n: int) -> int:
        """How many of the first `n` rows are right."""
        for number in range(n):
            record = np.frombuffer(self._file.read(self._record.itemsize), self._record)
            if len(record) < 1 or record["sum"][0] != _checksum(number, record["row"][0]):
                return number
            if not np.isfinite(record["row"]).all():
                return number
        return n

    @property
    def _record(self) -> np.dtype:
        """A row and its checksum."""
        return np.dtype([("row", "<f4", self._shape), ("sum", "<u4")])

    def _write(self, content: bytes) -> None:
        left = memoryview(content)
        while left:
            left = left[self._file.write(left) :]


def _checksum(number: int, row: np.ndarray) -> int:
    """Of a row and its place, so that zeros are not a row and rows cannot change places."""
    return zlib.crc32(row.tobytes(), number + 1)
