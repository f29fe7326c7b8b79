"""Ground truth of frames, as a table: a row an interval of `video,n_frames,start,end`."""

import csv
from pathlib import Path

from .errors import UsageError, cause


def read_truth(path: Path) -> dict[str, list[tuple[int, int]]]:
    """Abnormal intervals by video: frames, half-open; none where a video is normal (start and end empty).

    Raises UsageError where the file cannot be understood.
    """
    truth: dict[str, list[tuple[int, int]]] = {}
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file):
                spans = truth.setdefault(row["video"], [])
                if row["start"] or row["end"]:
                    spans.append((int(row["start"]), int(row["end"])))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: not a table of video,n_frames,start,end ({cause(error)}).") from error
    return truth
