"""What the user named on the command line, as a list of files with names that are safe to write to."""

import glob
import os
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from .errors import UsageError


@dataclass(frozen=True)
class Input:
    """A file, and the name that its results go by: its path below the folder that was named, no suffix."""

    path: Path
    name: str


def expand(words: Iterable[str | Path]) -> list[Path]:
    """Files and folders as a shell user names them.

    `*`, `?`, `[...]` and `**` match files; `-` reads a list of files from stdin, a line each (or split
    by NUL, as `find -print0` does); `@list.txt` reads one from a file. A file of that very name wins.

    Raises UsageError for a pattern that matches nothing, a list that cannot be read, and a URL.
    """
    paths: list[Path] = []
    for word in map(str, words):
        if os.path.lexists(word):
            paths.append(Path(word))
        elif word == "-":
            if sys.stdin is None:
                raise UsageError("-: standard input is closed; the list of files is read from it.")
            paths += _listed(sys.stdin.buffer.read())
        elif word.startswith("@"):
            try:
                paths += _listed(Path(word[1:]).read_bytes())
            except OSError as error:
                raise UsageError(f"{word[1:]}: the list cannot be read ({error.strerror}).") from error
        elif glob.has_magic(word):
            found = sorted(glob.glob(word, recursive=True))  # noqa: PTH207  (Path.glob takes no absolute pattern)
            if not found:
                raise UsageError(f"{word}: no file matches that pattern.")
            paths += map(Path, found)
        else:
            paths.append(_file(word))
    return paths


def _listed(content: bytes) -> list[Path]:
    lines = re.split(b"\0" if b"\0" in content else b"\r?\n", content.removeprefix(b"\xef\xbb\xbf"))
    return [_file(os.fsdecode(line)) for line in lines if line.strip()]


def _file(word: str) -> Path:
    """The path that `word` names. Raises UsageError for a URL."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", word) and not os.path.lexists(word):
        raise UsageError(f"{word}: this is a URL, and inputs are files. Download it first.")
    return Path(word)


def find_inputs(paths: Iterable[str | Path], suffixes: Collection[str]) -> list[Input]:
    """Files as named, and all files below the folders named whose suffix is one of `suffixes`, sorted.

    What does not exist, a link to nothing and a folder that may not be entered stay in the list:
    whoever opens them says so, and the others go on.
    Two files that would get one name keep their suffix in it (`a.mp4`, `a.avi`).

    Raises UsageError where two files would still get one name.
    """
    found: dict[Path, Path] = {}  # absolute path -> path below the folder that was named
    for path in map(Path, paths):
        if path.is_dir():
            below = sorted(p for p in path.rglob("*") if _is_meant(p, suffixes))
            for file in below:
                if not any(part.startswith(".") for part in file.relative_to(path).parts):
                    found.setdefault(file.absolute(), file.relative_to(path))
        else:
            found.setdefault(path.absolute(), Path(path.name))
    stems = Counter(relative.with_suffix("") for relative in found.values())
    inputs = [
        Input(path, (relative if stems[relative.with_suffix("")] > 1 else relative.with_suffix("")).as_posix())
        for path, relative in found.items()
    ]
    first: dict[str, Path] = {}
    for item in inputs:
        if item.name in first:
            raise UsageError(
                f"{first[item.name]} and {item.path} would both be written as '{item.name}': "
                "name the folder that holds both, or run them into two output folders."
            )
        first[item.name] = item.path
    return inputs


def some(names: list[str], most: int = 5) -> str:
    """The first of these names, for use inside a sentence, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _is_meant(path: Path, suffixes: Collection[str]) -> bool:
    """A file of these suffixes, or what hides one: a link to nothing, a folder that may not be entered."""
    fits = path.suffix.lower() in suffixes
    try:
        if path.is_dir():
            return not os.access(path, os.R_OK | os.X_OK)
        return fits and (path.is_file() or path.is_symlink())
    except PermissionError:
        return fits
