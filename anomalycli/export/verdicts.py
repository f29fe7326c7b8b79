"""Verdicts on videos and events, as review pages give them: kept as JSON, and written as labels for training."""

import csv
import hashlib
import io
import json
import math
import re
import threading
from pathlib import Path
from typing import Any

from ..data.labels import LABELS_FILE
from ..errors import UsageError
from ..names import csv_cell
from ..storage import write_file

VERDICTS = {"real": "Real", "false": "False alarm", "unsure": "Unsure"}  # and how pages name them
VERDICTS_FILE = "verdicts.json"
KEY = re.compile(r"[0-9a-f]{16}")
COLUMNS = ("video", "label", "start", "end", "note")
MOST_EVENTS, MOST_TEXT = 100_000, 1000  # of one video; characters of a name or a note


class VerdictStore:
    """The verdicts of a folder of pages, in its verdicts.json; labels.csv beside it has the same as labels.

    Raises UsageError where verdicts.json is not one, or where labels.csv was written or edited by somebody else.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.records: dict[str, dict] = {}
        self._digests: list[str] = []  # contents of labels.csv that are ours: the present one, and the one before
        self._lock = threading.Lock()
        try:
            held = json.loads((folder / VERDICTS_FILE).read_text(encoding="utf-8"))
            self.records = {key: checked(record) for key, record in held["records"].items() if KEY.fullmatch(key)}
            self._digests = [str(digest) for digest in held["labels"]]
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{folder / VERDICTS_FILE}: cannot be read as verdicts. Move the file away.") from error
        labels = folder / LABELS_FILE
        if labels.exists() and _digest(labels.read_bytes()) not in self._digests:
            raise UsageError(
                f"{labels}: this file is not from the review, or was edited since. Move or rename it first."
            )

    def put(self, key: str, record: Any) -> None:
        """Keep the record of one video and write both files. Raises ValueError where it is not a record."""
        with self._lock:
            self.records[key] = checked(record)
            content = labels_csv(self.records.values()).encode()
            self._digests = [_digest(content), *self._digests[:1]]
            text = json.dumps({"version": 1, "labels": self._digests, "records": self.records}, indent=1)
            write_file(self.folder / VERDICTS_FILE, text + "\n")
            write_file(self.folder / LABELS_FILE, content)


def checked(record: Any) -> dict:
    """The record with its known fields only. Raises ValueError where something is missing or wrong."""
    try:
        label = record["label"]
        if label not in (None, 0, 1) or len(record["events"]) > MOST_EVENTS:
            raise ValueError("not a label, or too many events")
        events = [_checked_event(event) for event in record["events"]]
        return {"video": _text(record["video"]), "label": label, "note": _text(record["note"]), "events": events}
    except (TypeError, KeyError, AttributeError, OverflowError) as error:
        raise ValueError(f"not a record of verdicts: {error}") from error


def _checked_event(event: Any) -> dict:
    start, end, verdict = float(event["start"]), float(event["end"]), event["verdict"]
    if not (math.isfinite(end) and 0 <= start < end) or verdict not in (None, *VERDICTS):
        raise ValueError("not an event with a verdict")
    return {"start": start, "end": end, "verdict": verdict, "note": _text(event["note"])}


def labels_csv(records) -> str:
    """Content of labels.csv: one line per verdict, 1 abnormal, 0 normal, start and end in seconds.

    Start and end are empty where the verdict is on the whole video. "Unsure" gives no line.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for record in sorted(records, key=lambda record: record["video"]):
        if record["label"] is not None:
            writer.writerow((record["video"], record["label"], "", "", csv_cell(record["note"])))
        for event in record["events"]:
            if event["verdict"] in ("real", "false"):
                label = int(event["verdict"] == "real")
                times = (f"{event[name]:.3f}" for name in ("start", "end"))
                writer.writerow((record["video"], label, *times, csv_cell(event["note"])))
    return file.getvalue()


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MOST_TEXT:
        raise ValueError("not a text, or too long")
    return value


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
