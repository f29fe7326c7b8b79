"""Tables of results, which runs append to: what is in the file is not measured again."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file with a header."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


class Rows:
    """The CSV file at `path`, with its header. Its first `n_keys` columns say what a row was measured on."""

    def __init__(self, path: Path, columns: Sequence[str], n_keys: int):
        self.path = path
        before = read(path) if path.exists() else []
        self._keys = {tuple(row[name] for name in columns[:n_keys]) for row in before}
        if not before:
            self.add([columns])

    def has(self, *keys) -> bool:
        """Whether an earlier run measured it."""
        return tuple(map(str, keys)) in self._keys

    def add(self, rows: Iterable[Sequence]) -> None:
        """Append rows."""
        with open(self.path, "a", newline="") as file:
            csv.writer(file).writerows(rows)
