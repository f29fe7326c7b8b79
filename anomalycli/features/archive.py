"""Read `.npz` files that may be damaged or malicious: sizes are checked before memory is allocated."""

import os
import struct
import zipfile
import zlib
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.lib import format as npy

from ..errors import FeatureError, cause
from ..storage import check_file

LONGEST_HEADER = 10_000  # bytes; NumPy's own are about 100
TAIL = 4096  # bytes that hold the directory and the last member of an archive that `tail` reads
GAP = 64  # most bytes between two members, beyond the fixed part of a header
HEADER = 128  # bytes before the numbers of an array that NumPy writes here
_END = struct.Struct("<4s4H2LH")  # the end of a ZIP file, and an entry of its directory
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = 30  # bytes of the header before a member, without its name


class Archive:
    """The arrays of an `.npz` file: name -> shape and dtype, read without the arrays themselves.

    Only uncompressed arrays of the `names` and of numbers are accepted. Raises FeatureError for anything else.
    """

    def __init__(self, path: Path, names: Collection[str]):
        self.path = path
        with ExitStack() as opened:
            try:
                check_file(path)
                self._zip = opened.enter_context(zipfile.ZipFile(opened.enter_context(path.open("rb"))))
            except FileNotFoundError as error:
                raise FeatureError(f"{path}: there is no such file.") from error
            except Exception as error:  # zipfile raises many kinds of exceptions for damaged files
                raise self._broken(cause(error)) from error
            self._members = {info.filename.removesuffix(".npy"): info for info in self._zip.infolist()}
            if unknown := self._members.keys() - {*names}:
                raise FeatureError(
                    f"{path}: not a whole feature file (it holds '{min(unknown)}'). Extract it again, or save the "
                    "array of another program as .npy, (clips, D) or (clips, crops, D)."
                )
            self.headers = {name: self._header(info) for name, info in self._members.items()}
            self._opened = opened.pop_all()

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._opened.close()

    def read(self, name: str) -> np.ndarray:
        """One array; its checksum must be right."""
        try:
            content = self._zip.read(self._members[name])
            shape, dtype = self.headers[name]
            return np.frombuffer(content[len(content) - _size(shape, dtype) :], dtype).reshape(shape).copy()
        except Exception as error:
            raise self._broken(cause(error)) from error

    def _header(self, info: zipfile.ZipInfo) -> tuple[tuple[int, ...], np.dtype]:
        try:
            if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
                raise ValueError("it is compressed")
            if info.file_size > self.path.stat().st_size:
                raise ValueError("an array is larger than the file")
            with self._zip.open(info) as member:
                version = npy.read_magic(member)
                read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                shape, fortran, dtype = read(member, max_header_size=LONGEST_HEADER)
                begin = member.tell()
            if fortran or dtype.kind not in "fiu" or min(shape, default=1) < 0:
                raise ValueError("not an array of numbers")
            if begin + _size(shape, dtype) != info.file_size:
                raise ValueError("an array is shorter or longer than it says")
        except Exception as error:  # NumPy evaluates the header as Python text: syntax, tokens, recursion, memory
            raise self._broken(cause(error)) from error
        return shape, dtype

    def _broken(self, why: str) -> FeatureError:
        return FeatureError(f"{self.path}: not a whole feature file ({why}); extract it again.")


def tail(path: Path) -> tuple[dict[str, int], bytes] | None:
    """Bytes of the numbers of each array by its name, and the content of the last one, from the end of the file alone.

    None for whatever is not written as `np.savez` writes a small last array: `Archive` reads it, or says what is wrong.
    """
    size, end = _last_bytes(path)
    begin = size - len(end)
    try:
        *head, length, at, comment = _END.unpack_from(end, len(end) - _END.size)
        if head[0] != b"PK\5\6" or comment or at + length + _END.size != size or at < begin:
            return None
        place, sizes, behind = at - begin, {}, 0
        for _ in range(head[4]):
            entry = _ENTRY.unpack_from(end, place)
            magic, method, checksum, packed, unpacked = entry[0], entry[4], *entry[7:10]
            n_name, n_extra, n_comment, offset = *entry[10:13], entry[16]
            name = end[place + _ENTRY.size : place + _ENTRY.size + n_name].decode("ascii")
            if (
                magic != b"PK\1\2"
                or method != zipfile.ZIP_STORED
                or packed != unpacked
                or not 0 <= offset - behind <= GAP
            ):
                return None
            sizes[name.removesuffix(".npy")] = packed - HEADER
            behind = offset + _LOCAL + n_name + packed
            place += _ENTRY.size + n_name + n_extra + n_comment
        content = end[max(0, at - begin - packed) : at - begin]
        whole = 0 <= at - behind <= GAP and zlib.crc32(content) == checksum and min(sizes.values()) >= 0
        return (sizes, content[HEADER:]) if whole else None
    except (struct.error, ValueError, UnboundLocalError):
        return None


def _last_bytes(path: Path) -> tuple[int, bytes]:
    """The size of a file and its last bytes."""
    if not isinstance(path, Path):  # a URL
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL))
            return size, file.read()
    number = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))  # faster than a file object
    try:
        size = os.lseek(number, 0, os.SEEK_END)
        os.lseek(number, max(0, size - TAIL), os.SEEK_SET)
        return size, os.read(number, TAIL)
    finally:
        os.close(number)


def _size(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Bytes, in whole numbers of any length."""
    size = dtype.itemsize
    for length in shape:
        size *= length
    return size
