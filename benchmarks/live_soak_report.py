"""What came of a run of live_soak.py, by the logs of its cameras and of what was scored, and the database of events."""

import contextlib
import itertools
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from live_cameras import FRAME
from live_soak_watch import ROW

TOLERANCE = 10  # frames by which an event may be found beside where it was
READ = 0.8  # share of an event's frames that were scored from which it must be found


@dataclass
class Truth:
    """An event that happened: system times of its frames, and which of them were scored."""

    times: np.ndarray
    scored: np.ndarray
    found: list[str] = field(default_factory=list)


def scored_rows(path: Path) -> np.ndarray:
    names = ["camera", "first", "last", "at", "number"]
    dtype = np.dtype(
        {"names": names, "formats": ["i4", "f8", "f8", "f8", "i4"], "offsets": [0, 8, 16, 24, 32], "itemsize": ROW.size}
    )
    content = path.read_bytes()
    return np.frombuffer(content[: len(content) // ROW.size * ROW.size], dtype)


def truths(frames: np.ndarray, rows: np.ndarray, half: float) -> list[Truth]:
    """The events of a camera; `half` is the time of half a frame."""
    scored = np.zeros(len(frames) + 1, int)
    order = np.argsort(frames["wall"], kind="stable")
    walls = frames["wall"][order]
    np.add.at(scored, np.searchsorted(walls, rows["first"] - half), 1)
    np.add.at(scored, np.searchsorted(walls, rows["last"] + half), -1)
    is_scored = np.empty(len(frames), bool)
    is_scored[order] = scored.cumsum()[:-1] > 0
    edges = np.flatnonzero(np.diff(np.concatenate(([0], frames["mark"], [0]))))
    return [
        Truth(frames["wall"][first:last], is_scored[first:last] & (frames["sent"][first:last] > 0))
        for first, last in edges.reshape(-1, 2)
    ]


def time_errors(frames: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Frames by which the times of pictures are off, by the numbers that are burnt in: infinite where none is near."""
    rows = rows[rows["at"] > 0]
    order = np.argsort(frames["wall"], kind="stable")
    walls, numbers = frames["wall"][order], frames["number"][order]
    steps = np.maximum(np.diff(frames["steady"], append=np.inf), 1e-3)[order]  # 0 where a camera came back at once
    errors = []
    for at, number in zip(rows["at"], rows["number"], strict=True):
        near = slice(*np.searchsorted(walls, (at - 10, at + 10)))
        same = numbers[near] == number
        errors.append(np.min(np.abs(walls[near][same] - at) / steps[near][same], initial=np.inf))
    return np.array(errors)


def report(work: Path, memory: list, done: dict) -> dict:
    """What came of a run."""
    rows = scored_rows(work / "scored")
    columns = "stream, id, start, end, final"
    with contextlib.closing(sqlite3.connect(work / "events.db")) as database:
        events = database.execute(f"SELECT {columns} FROM events WHERE confirmed ORDER BY start").fetchall()
    cameras = []
    for camera in (0, 1):
        frames = np.fromfile(work / f"frames{camera}", FRAME)
        found = [event[1:] for event in events if int(event[0]) == camera]
        cameras.append(of_camera(frames, rows[rows["camera"] == camera], found))
    return {"done": done, "memory of watch (hours, MB)": memory, "cameras": cameras}


def of_camera(frames: np.ndarray, rows: np.ndarray, found: list[tuple]) -> dict:
    """The report of one camera. found: its events, (id, start, end, is final)."""
    slowest = float(np.diff(frames["steady"]).max())
    happened = truths(frames, rows, slowest / 2)
    edges, false, shared = match(happened, found, TOLERANCE * slowest)
    must = [truth for truth in happened if truth.scored.mean() >= READ]
    part = [truth for truth in happened if 0 < truth.scored.mean() < READ]
    spans = sorted((start, end) for _, start, end, _ in found)
    errors = time_errors(frames, rows)
    return {
        "frames": len(frames),
        "sent": int(frames["sent"].sum()),
        "events that happened": len(happened),
        "of these never read": sum(not truth.scored.any() for truth in happened),
        "read in part": len(part),
        "read in part and found": sum(bool(truth.found) for truth in part),
        "must be found": len(must),
        "lost": [(float(t.times[0]), float(t.times[-1]), int(t.scored.sum())) for t in must if not t.found],
        "doubled": [(float(t.times[0]), float(t.scored.mean()), t.found) for t in happened if len(t.found) > 1],
        "events found": len(found),
        "of these false": false,
        "two in one": shared,
        "overlapping": sum(one[1] > other[0] for one, other in itertools.pairwise(spans)),
        "not final": sum(not event[3] for event in found),
        "begin and end off by at most (s)": edges,
        "times of pictures checked": len(errors),
        "off by more than a frame": int((errors > 1.001).sum()),
        "off by at most (frames)": float(np.max(errors[np.isfinite(errors)], initial=0)),
        "no such picture near": int(np.isinf(errors).sum()),
    }


def match(happened: list[Truth], found: list[tuple], near: float) -> tuple[list[float], list, list]:
    """Give each event found to those that happened then.

    Returns how far begin and end are off at most where all of an event was read, what is false, and what is two.
    """
    edges, false, shared = [(0.0, 0.0)], [], []
    for number, start, end, _ in found:
        over = [truth for truth in happened if truth.times[0] - near < end and start < truth.times[-1] + near]
        for truth in over:
            truth.found.append(number)
            if truth.scored.all() and len(over) == 1:
                edges.append((abs(start - truth.times[0]), abs(end - truth.times[-1])))
        if not over:
            false.append((start, end))
        if len(over) > 1:
            shared.append((start, end))
    return np.max(edges, 0).round(3).tolist(), false, shared
