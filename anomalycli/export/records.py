"""Records of which files were written for which input: one small JSON file per input, in `.anomalycli` beside them.

A file belongs to the tool as long as its content is unchanged; edited files belong to the user.
"""

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..storage import sha256_of, write_file

FOLDER = ".anomalycli"
VERSION = 1
KEPT = 2  # contents recorded per name: the current one, and the previous one in case a run was interrupted


@dataclass
class Record:
    """Files written for one input: `files` has the sha256 of each file's contents by name, the newest first."""

    path: Path
    source: dict[str, Any]
    files: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, base: Path, source: Path | None) -> "Record":
        """The record of the files that begin with `base`, made from `source` (None: from several inputs).

        Empty if there is none, it is damaged, or it is that of another input.
        """
        key = hashlib.sha256(os.fsencode(base.name)).hexdigest()[:16]
        record = cls(base.parent / FOLDER / f"{key}.json", _identity(source))
        try:
            held = json.loads(record.path.read_text(encoding="utf-8"))
            files = {str(name): [str(digest) for digest in digests] for name, digests in held["files"].items()}
            if held["version"] == VERSION and _is_same(held["source"], record.source):
                record.files = files
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        return record

    @property
    def cache(self) -> Path:
        """Path of the stored features of the input."""
        return self.path.with_suffix(".npz")

    def owns(self, path: Path) -> bool:
        """Whether the file at `path` exists and was written by this tool for this input."""
        name = _text(path.name)
        try:
            return name in self.files and sha256_of(path) in self.files[name]
        except OSError:
            return False

    def expect(self, path: Path, content: Path) -> None:
        """Record that `path` will have the content of the file `content`, before it is renamed."""
        name = _text(path.name)
        digest = sha256_of(content)
        before = [held for held in self.files.get(name, []) if held != digest]
        self.files[name] = [digest, *before][:KEPT]
        self._save()

    def remove(self, path: Path) -> None:
        """Remove a file that the record owns."""
        path.unlink(missing_ok=True)
        del self.files[_text(path.name)]
        self._save()

    def _save(self) -> None:
        held = {"version": VERSION, "source": self.source, "files": self.files}
        write_file(self.path, json.dumps(held, indent=1, sort_keys=True) + "\n")


def _identity(source: Path | None) -> dict[str, Any]:
    if source is None:
        return {}
    identity: dict[str, Any] = {"path": _text(os.path.abspath(source))}  # noqa: PTH100  (resolves no links)
    try:
        stat = source.stat()
    except OSError:
        return identity
    return identity | {"bytes": stat.st_size, "mtime": stat.st_mtime_ns}


def _is_same(held: dict[str, Any], source: dict[str, Any]) -> bool:
    """Whether two sources have the same path or, if a folder was moved, the same size and time."""
    if not held or not source:
        return held == source
    moved = "mtime" in held and (held["bytes"], held["mtime"]) == (source.get("bytes"), source.get("mtime"))
    return held["path"] == source["path"] or moved


def _text(name: str) -> str:
    """A name as JSON can hold it, different for different names."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
