"""Input files from command-line arguments, each with a name for its results."""

import codecs
import glob
import os
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from .errors import UsageError
from .textfiles import LARGEST, decode_text

CONTROL = re.compile(r"[\0-\x08\x0e-\x1f\x7f]")  # characters that no text has, and hardly any name


@dataclass(frozen=True)
class Input:
    """A file, and the name of its results: the path below the folder that was given, without suffix."""

    path: Path
    name: str

    def __hash__(self) -> int:
        return hash(self.name)  # a path's is slow, and thousands of inputs are keys


def expand(words: Iterable[str | Path]) -> list[Path]:
    """Paths of files and folders from arguments as a shell user writes them.

    `*`, `?`, `[...]` and `**` match files; `-` reads a list of files from stdin, one per line (or split by NUL, as
    `find -print0` does); `@list.txt` reads one from a file. An existing file of exactly that name is taken as such.

    Raises UsageError for a pattern that matches nothing, a list that is empty or cannot be read, and a URL.
    """
    paths: list[Path] = []
    for word in map(str, words):
        if os.path.lexists(word):
            paths.append(Path(word))
        elif word == "-":
            if sys.stdin is None or sys.stdin.closed:
                raise UsageError("-: standard input is closed; the list of files is read from it.")
            paths += _listed(sys.stdin.buffer.read(LARGEST + 1), "the list on the standard input")
        elif word.startswith("@"):
            try:
                with open(word[1:], "rb") as file:
                    paths += _listed(file.read(LARGEST + 1), word[1:])
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


def _file(word: str) -> Path:
    """The path that `word` names. Raises UsageError for a URL."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", word) and not os.path.lexists(word):
        raise UsageError(f"{word}: this is a URL, and inputs are files. Download it first.")
    return Path(word)


def find_inputs(paths: Iterable[str | Path], suffixes: Collection[str]) -> list[Input]:
    """Files as named, and those below folders as named whose suffix is one of `suffixes`, sorted. Links are followed.

    Missing files, broken links, folders without permission and, of several paths, folders without such a file stay in
    the list, so that opening them reports the error and the others are read.
    Two files that would get one name keep their suffix in it (`a.mp4`, `a.avi`); where they would still get one,
    they are named by their path below the folder that holds both.
    """
    found: dict[str, str] = {}  # absolute path -> path below the folder that was named, with slashes
    named = [Path(path) for path in paths]
    for path in named:
        whole = _whole(path)
        if os.path.isdir(path):  # noqa: PTH112  (Path.is_dir raises OSError where a name is too long)
            begin = len(whole.rstrip(os.sep)) + 1
            files = sorted(_files_below(whole, suffixes), key=_folder_by_folder)
            if not files and len(named) > 1:
                found.setdefault(whole, os.path.basename(whole))  # noqa: PTH119
            for file in files:
                found.setdefault(file, path.name if file == whole else file[begin:].replace(os.sep, "/"))
        else:
            found.setdefault(whole, path.name)
    found = _told_apart(found)
    with_suffix: set[str] = set()
    while True:
        names = [name if name in with_suffix else _without_suffix(name) for name in found.values()]
        times = Counter(names)
        more = {name for name, short in zip(found.values(), names, strict=True) if times[short] > 1} - with_suffix
        if not more:  # `a.mp4.mp4` without its suffix may be the whole name of another
            return [Input(Path(path), name) for path, name in zip(found, names, strict=True)]
        with_suffix |= more


def _whole(path: Path) -> str:
    """The absolute path without `..`, which would name results outside their folder, and one file twice."""
    whole = path.absolute()
    if ".." not in path.parts:
        return str(whole)
    return os.path.realpath(whole) if whole.name == ".." else str(Path(os.path.realpath(whole.parent), whole.name))


def _told_apart(found: dict[str, str]) -> dict[str, str]:
    """`found` with files of one relative path renamed to their paths below the folder that holds them all."""
    while True:
        times = Counter(found.values())
        if not (twice := [Path(path) for path, relative in found.items() if times[relative] > 1]):
            return found
        folders = zip(*(path.parent.parts for path in twice), strict=False)
        depth = sum(1 for _ in takewhile(lambda parts: len(set(parts)) == 1, folders))
        named = {str(path): Path(*path.parts[depth:]).as_posix() for path in twice}
        if all(found[path] == name for path, name in named.items()):  # they differ above the folder already
            return found
        found = found | named


def _folder_by_folder(path: str) -> str:
    return os.path.normcase(path).replace(os.sep, "\0")  # the order of Path.parts, without a Path


def _suffix(name: str) -> str:
    """The suffix of the last part of a path, as Path.suffix; for thousands of files, text is several times as fast."""
    last = name[name.rfind("/") + 1 :]
    dot = last.rfind(".")
    return last[dot:] if 0 < dot < len(last) - 1 else ""


def _without_suffix(name: str) -> str:
    return name.removesuffix(_suffix(name))


def _listed(content: bytes, source: str) -> list[Path]:
    if len(content) > LARGEST:
        raise UsageError(f"{source}: larger than {LARGEST >> 20} MB, so not a list of files.")
    if b"\n\0" in content[1:] and (not any(content[1::2]) or not any(content[::2])):
        decode_text(content, source)  # UTF-16 without a mark, whose zeros do not separate names
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # PowerShell's
        lines = [
            line.encode(errors="surrogateescape") for line in re.split(r"\r\n|\r|\n", decode_text(content, source))
        ]
    else:
        lines = re.split(b"\0" if b"\0" in content else b"\r?\n", content.removeprefix(codecs.BOM_UTF8))
    if not (named := [os.fsdecode(line) for line in lines if line.strip()]):
        raise UsageError(f"{source}: there is no file in the list.")
    if any(map(CONTROL.search, named)) and not any(map(os.path.lexists, named)):
        raise UsageError(f"{source}: not a list of files, one per line, but something else.")
    return [_as_here(line) for line in named]


def _as_here(line: str) -> Path:
    """The path of a line: without quotes around it and with this system's slashes, where only that exists."""
    if os.path.lexists(line):
        return Path(line)
    for other in (line.strip(), line.strip().strip("\"'"), line.strip().strip("\"'").replace("\\", "/")):
        if os.path.lexists(other):
            return Path(other)
    return _file(line)


def _files_below(folder: str, suffixes: Collection[str]) -> Iterator[str]:
    """Files of these suffixes, and what hides some: links to nothing, folders that may not be entered. None are hidden.

    Linked folders are entered, except one that is a link to a folder around it.
    """
    pending = [(folder, frozenset({os.path.realpath(folder)}))]
    while pending:
        here, around = pending.pop()
        try:
            entries = list(os.scandir(here))
        except OSError:
            yield here
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                real = os.path.realpath(entry.path)
                if real not in around:
                    pending.append((entry.path, around | {real}))
            elif _suffix(entry.name).lower() in suffixes and (entry.is_symlink() or entry.is_file()):
                yield entry.path


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
