"""Text files that people wrote: lists and tables, as editors, spreadsheets and shells of each platform save them."""

import codecs
import csv
import io
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from .errors import UsageError, cause

CAMERAS = "cameras"  # the table of a settings file that holds a table for each camera
LARGEST = 64 << 20  # bytes; a list of a million videos is smaller
_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_text(path: Path) -> str:
    """The text of a file: UTF-8 with or without a byte order mark, or UTF-16 and UTF-32 with one.

    Raises UsageError where the file cannot be read, is too large, or is not text in one of these encodings.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}).") from error
    if len(content) > LARGEST:
        raise UsageError(f"{path}: larger than {LARGEST >> 20} MB, so not a list or table of videos.")
    return decode_text(content, str(path))


def decode_text(content: bytes, name: str) -> str:
    """The text that `content` holds; `name` is what errors call it. Raises UsageError where it is not text."""
    encoding = next((encoding for mark, encoding in _BOMS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise UsageError(f"{name}: damaged {encoding.upper()} text; save it again as UTF-8.") from error
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{name}, line {line}: not UTF-8. If it was saved as ANSI or Windows-1252, save it again as UTF-8."
        ) from error
    if "\0" in text:
        raise UsageError(f"{name}: not text, or UTF-16 without a byte order mark; save it again as UTF-8.")
    return text


def read_lines(path: Path) -> list[str]:
    """The lines of a file without blanks around them, empty ones left out. Raises UsageError as `read_text` does."""
    return [line.strip() for line in re.split(r"\r\n|\r|\n", read_text(path)) if line.strip()]


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises UsageError where it cannot be read as one."""
    try:
        return tomllib.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: cannot be read as a TOML file ({cause(error)}).") from error


@dataclass(frozen=True)
class Row:
    """A row of a table: the value of each column, without blanks around it; "" where there is none."""

    path: Path
    line: int
    values: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.values.get(column, "")

    def refuse(self, sentence: str) -> NoReturn:
        """Raises UsageError that names the file and the line."""
        raise UsageError(f"{self.path}, line {self.line}: {sentence}")

    def integer(self, column: str) -> int:
        """Raises UsageError where the value is not a whole number from 0 on."""
        if not re.fullmatch(r"[0-9]{1,15}(\.0*)?", self[column]):  # spreadsheets turn 12 into 12.0
            self.refuse(f"{column} is '{self[column]}', and must be a whole number.")
        return int(self[column].partition(".")[0])


def read_table(path: Path, columns: Collection[str], *alternatives: Collection[str]) -> list[Row]:
    """The rows of a table whose header names all `columns`, or all of one of the `alternatives`, and maybe others.

    Values are separated by commas, semicolons or tabs; the header is in any case; empty rows are left out.

    Raises UsageError where the file is not such a table.
    """
    text = re.sub(r"(?i)\A(\s*)\"?sep=.\"?(?=[\r\n])", r"\1", read_text(path))  # Excel's own first line
    for delimiter in ",;\t":
        rows = _parse(path, text, delimiter)
        header = [cell.lower() for cell in rows[0][1]] if rows else []
        if any(set(names) <= set(header) for names in (columns, *alternatives)):
            break
    else:
        raise UsageError(f"{path}: the first line must be '{','.join(columns)}'.")
    if twice := sorted(name for name in {*columns}.union(*alternatives) if header.count(name) > 1):
        raise UsageError(f"{path}: two columns are named '{twice[0]}'.")
    table = []
    for line, cells in rows[1:]:
        row = Row(path, line, dict(zip(header, cells, strict=False)))
        if any(cells[len(header) :]):
            row.refuse(f"{len(cells)} values, and the header has {len(header)}; quote names that hold a '{delimiter}'.")
        table.append(row)
    return table


def _parse(path: Path, text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """Line number and cells of each row that is not empty."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    rows = []
    try:
        for cells in reader:
            if stripped := [cell.strip() for cell in cells]:
                rows += [(reader.line_num, stripped)] if any(stripped) else []
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: not a table ({error}).") from error
    return rows
