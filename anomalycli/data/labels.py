"""Labels: 1 for videos that contain an anomaly, 0 for the others; and the same of single events in them.

They come from `labels.csv` (video,label), from folders `normal/` and `abnormal/`, or from names as
XD-Violence (`..._label_A` is normal, any other letter is not), UCF-Crime (`Normal_Videos_003_x264`,
`Abuse028_x264`) and TAD (`Normal_012`, `01_Accident_004`).
"""

import csv
import math
import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from ..matching import match_names
from ..storage import atomic_write
from ..textfiles import Row, read_table

LABELS_FILE = "labels.csv"
_FOLDERS = {"normal": 0, "abnormal": 1}
_XD = re.compile(r"_label_(?P<kinds>[ABG]\d?(?:-[0ABG]\d?)*)(?:__|$)")

_UCF_OR_TAD = re.compile(
    r"(?P<ucf>Normal|Abuse|Arrest|Arson|Assault|Burglary|Explosion|Fighting|RoadAccidents|Robbery|Shooting|Shoplifting"
    r"|Stealing|Vandalism)(_Videos_?)?\d{3}_x264|(?P<tad>Normal|\d\d_[A-Za-z]+)_\d{3}"
)


@dataclass(frozen=True)
class EventLabel:
    """A judgement on [start, end), in seconds: 1 for a confirmed event, 0 for a rejected one."""

    start: float
    end: float
    label: int

    def __str__(self) -> str:
        return f"{self.start:.10g}-{self.end:.10g}"


@dataclass(frozen=True)
class Labels:
    """by_video: label by video, as far as there are any. events: labels of single events, by video.

    A confirmed event makes its video abnormal; a rejected one says nothing about the rest of it. warning: a sentence
    about labels that match no video.
    """

    by_video: dict[str, int]
    events: dict[str, list[EventLabel]]
    warning: str | None = None


def label_videos(names: Collection[str], folder: Path, file: Path | None = None, events_count: bool = True) -> Labels:
    """Labels of the videos `names` (paths below `folder`, without suffix).

    `file` is read instead of the folder's `labels.csv`. Raises UsageError where two sources disagree, or the file
    cannot be understood or names a video that could be several. events_count: whether a confirmed event in a video that
    is labelled normal is an error, too.
    """
    file = file or folder / LABELS_FILE
    table, judged = read_labels(file) if os.path.lexists(file) else ({}, {})
    matches = match_names({**table, **judged}, names, str(file))
    said = {name: _from_name(name) for name in names}
    events: dict[str, list[EventLabel]] = {}
    for written, name in matches.found.items():
        if written in table:
            said[name][f"{file} ({written})"] = table[written]
        events[name] = list(dict.fromkeys(events.get(name, []) + judged.get(written, [])))
    for name, sources in said.items():
        if len(set(sources.values())) > 1:
            sides = ", ".join(f"{source} says {label}" for source, label in sources.items())
            raise UsageError(f"{name}: its labels contradict each other ({sides}).")
    by_video = {name: next(iter(sources.values())) for name, sources in said.items() if sources}
    for name, found in events.items():
        confirmed, rejected = ({str(event) for event in found if event.label == label} for label in (1, 0))
        if events_count and (both := confirmed & rejected):
            raise UsageError(f"{file}: {name} from {min(both)} seconds is labelled both 0 and 1.")
        if confirmed and by_video.setdefault(name, 1) == 0 and events_count:
            raise UsageError(f"{file}: {name} is labelled normal, and an event in it is confirmed.")
    return Labels(by_video, {name: found for name, found in events.items() if found}, matches.warning(str(file)))


def read_labels(path: Path) -> tuple[dict[str, int], dict[str, list[EventLabel]]]:
    """`labels.csv` -> label by video, and those of events by video, both named as they are there.

    Rows with `start` and `end`, in seconds, label that part of the video alone, as the report page writes them. Ground
    truth (video,n_frames,start,end) labels videos: 1 where a video has an interval.

    Raises UsageError where the file cannot be understood.
    """
    labels: dict[str, int] = {}
    events: dict[str, list[EventLabel]] = {}
    for row in read_table(path, ["video", "label"], ["video", "start"]):
        video, label = row["video"], re.sub(r"\.0*$", "", row["label"])  # spreadsheets turn 1 into 1.0
        if "label" not in row.values:
            labels[video] = int(_has_interval(row)) | labels.get(video, 0)
            continue
        if not video or label not in ("0", "1"):
            row.refuse(f"'{video},{row['label']}' is not a video and a label; a label is 0 (normal) or 1 (abnormal).")
        if row["start"] or row["end"]:
            _add_event(row, int(label), events.setdefault(video, []))
        elif labels.setdefault(video, int(label)) != int(label):
            row.refuse(f"{video} is labelled both 0 and 1.")
    return labels, events


def _has_interval(row: Row) -> bool:
    """Whether a row of ground truth has an interval. Raises UsageError where it has something else."""
    columns = [column for column in ("start", "end") if column in row.values]  # a table may lack the ends
    if not any(row[column] for column in columns):
        return False
    try:
        start, *ends = (_number(row, column) for column in columns)
        is_interval = 0 <= start < min(ends, default=math.inf)
    except ValueError:
        is_interval = False
    if not row["video"] or not is_interval:
        row.refuse(
            f"'{row['video']}' from '{row['start']}' to '{row['end']}' is not an abnormal interval of a video; start "
            "and end of a normal video are empty."
        )
    return True


def _add_event(row: Row, label: int, events: list[EventLabel]) -> None:
    """Add the event of a row to those of its video, unless it is there. Raises UsageError for a contradiction."""
    event = _event(row, label)
    for other in events:
        if (other.start, other.end) == (event.start, event.end):
            if other.label != label:
                row.refuse(f"{row['video']} from {row['start']} to {row['end']} seconds is labelled both 0 and 1.")
            return
    events.append(event)


def _event(row: Row, label: int) -> EventLabel:
    try:
        event = EventLabel(_number(row, "start"), _number(row, "end"), label)
    except ValueError:
        row.refuse(f"'{row['start']}' and '{row['end']}' are not times in seconds, such as 1.5.")
    if not 0 <= event.start < event.end < math.inf:
        row.refuse(
            f"an event must begin at 0 or later and end after that, not from {row['start']} to {row['end']} seconds."
        )
    return event


def _number(row: Row, column: str) -> float:
    """Raises ValueError where the column holds something else; a comma may be the decimal sign."""
    return float(row[column].replace(",", "."))


def write_labels(path: Path, labels: dict[str, int]) -> None:
    """Add `labels` to the file at `path`. Raises UsageError if they contradict labels in it."""
    before, _ = read_labels(path) if path.exists() else ({}, {})
    for name, label in labels.items():
        if before.get(name, label) != label:
            raise UsageError(f"{path}: {name} is labelled {before[name]} there and {label} now.")
    with atomic_write(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("video", "label"))
        writer.writerows(sorted((before | labels).items()))


def _from_name(name: str) -> dict[str, int]:
    """Labels from the folder and from the name of a video, by their source."""
    *folders, last = name.split("/")
    said = {f"folder '{part}/'": _FOLDERS[part.lower()] for part in folders if part.lower() in _FOLDERS}
    if match := _XD.search(name):
        said["name"] = int(match["kinds"] != "A")
    elif match := _UCF_OR_TAD.fullmatch(last):
        said["name"] = int("Normal" not in (match["ucf"], match["tad"]))
    return said
