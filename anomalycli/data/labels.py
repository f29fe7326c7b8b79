"""Video-level labels: 1 where a video holds an anomaly somewhere, 0 where it does not.

They come from `labels.csv` (video,label), from folders `normal/` and `abnormal/`, or from names as
XD-Violence (`..._label_A` is normal, any other letter is not), UCF-Crime (`Normal_Videos_003_x264`,
`Abuse028_x264`) and TAD (`Normal_012`, `01_Accident_004`) give them.
"""

import csv
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from ..errors import UsageError
from ..storage import whole

FILE = "labels.csv"
_FOLDERS = {"normal": 0, "abnormal": 1}
_XD = re.compile(r"_label_(?P<kinds>[ABG]\d?(?:-[0ABG]\d?)*)(?:__|$)")

_UCF_OR_TAD = re.compile(
    r"(?P<ucf>Normal|Abuse|Arrest|Arson|Assault|Burglary|Explosion|Fighting|RoadAccidents|Robbery|Shooting|Shoplifting"
    r"|Stealing|Vandalism)(_Videos_?)?\d{3}_x264|(?P<tad>Normal|\d\d_[A-Za-z]+)_\d{3}"
)


def label_videos(names: Iterable[str], folder: Path, file: Path | None = None) -> dict[str, int]:
    """Labels of the videos `names` (paths below `folder`, no suffix), as far as there are any.

    `file` is read instead of the folder's `labels.csv`.

    Raises UsageError where two sources disagree or `labels.csv` cannot be understood.
    """
    file = file or folder / FILE
    table = read_labels(file) if file.exists() else {}
    labels = {}
    for name in names:
        said = {f"folder '{part}/'": _FOLDERS[part] for part in PurePosixPath(name).parts[:-1] if part in _FOLDERS}
        if match := _XD.search(name):
            said["name"] = int(match["kinds"] != "A")
        elif match := _UCF_OR_TAD.fullmatch(PurePosixPath(name).name):
            said["name"] = int("Normal" not in (match["ucf"], match["tad"]))
        for key in (name, PurePosixPath(name).name):
            if key in table:
                said[str(file)] = table[key]
                break
        if len(set(said.values())) > 1:
            sides = ", ".join(f"{source} says {label}" for source, label in said.items())
            raise UsageError(f"{name}: its labels contradict each other ({sides}).")
        if said:
            labels[name] = next(iter(said.values()))
    return labels


def read_labels(path: Path) -> dict[str, int]:
    """`labels.csv` -> label by video; a video's suffix, where it has one, is dropped.

    Ground truth (video,n_frames,start,end) tells labels too: 1 where a video has an interval.
    """
    labels: dict[str, int] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if {"video", "start"} <= set(reader.fieldnames or ()):
            return {row["video"]: int(bool(row["start"])) for row in reader}
        if not {"video", "label"} <= set(reader.fieldnames or ()):
            raise UsageError(f"{path}: the first line must be 'video,label'.")
        for row in reader:
            video, label = (row["video"] or "").strip(), (row["label"] or "").strip()
            if not video or label not in ("0", "1"):
                raise UsageError(
                    f"{path}, line {reader.line_num}: '{video},{label}' is not a video and a label; "
                    "a label is 0 (normal) or 1 (abnormal)."
                )
            for key in {video, _without_suffix(video)}:
                if labels.setdefault(key, int(label)) != int(label):
                    raise UsageError(f"{path}, line {reader.line_num}: {video} is labelled both 0 and 1.")
    return labels


def write_labels(path: Path, labels: dict[str, int]) -> None:
    """Add `labels` to the file at `path`. Raises UsageError where it says otherwise already."""
    before = read_labels(path) if path.exists() else {}
    for name, label in labels.items():
        if before.get(name, label) != label:
            raise UsageError(f"{path}: {name} is labelled {before[name]} there and {label} now.")
    with whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("video", "label"))
        writer.writerows(sorted((before | labels).items()))


def _without_suffix(name: str) -> str:
    return re.sub(r"\.[A-Za-z0-9]{2,5}$", "", name)
