"""Read `.npz` files that may be damaged or malicious: sizes are checked before memory is allocated."""

import zipfile
from collections.abc import Collection
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.lib import format as npy

from ..errors import FeatureError, cause

LONGEST_HEADER = 10_000  # bytes; NumPy's own are about 100


class Archive:
    """The arrays of an `.npz` file: name -> shape and dtype, read without the arrays themselves.

    Only uncompressed arrays of the `names` and of numbers are accepted. Raises FeatureError for anything else.
    """

    def __init__(self, path: Path, names: Collection[str]):
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except FileNotFoundError as error:
            raise FeatureError(f"{path}: there is no such file.") from error
        except Exception as error:  # zipfile raises many kinds of exceptions for damaged files
            raise self._broken(cause(error)) from error
        try:
            self._members = {info.filename.removesuffix(".npy"): info for info in self._zip.infolist()}
            if unknown := self._members.keys() - {*names}:
                raise self._broken(f"it holds '{min(unknown)}'")
            self.headers = {name: self._header(info) for name, info in self._members.items()}
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._zip.close()

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


def _size(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Bytes, in whole numbers of any length."""
    size = dtype.itemsize
    for length in shape:
        size *= length
    return size
