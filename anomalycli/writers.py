"""Results as files and text for other programs."""

import csv
import dataclasses
import json
from pathlib import Path

from .score import Result


def write_csv(result: Result, path: Path) -> None:
    """A line a frame: frame (from 0), time (seconds), score."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("frame", "time", "score"))
        for frame, score in enumerate(result.scores):
            writer.writerow((frame, f"{frame / result.fps:.3f}", f"{score:.5f}"))


def to_json(result: Result) -> str:
    """One JSON object in one line; events have frames (half-open) and seconds."""
    return json.dumps(
        {
            "video": str(result.path),
            "n_frames": len(result.scores),
            "fps": result.fps,
            "duration": round(result.duration, 3),
            "span": result.span,
            "events": [
                dataclasses.asdict(event)
                | {
                    "score": round(event.score, 5),
                    "start_time": round(event.start / result.fps, 3),
                    "end_time": round(event.end / result.fps, 3),
                    "peak_time": round(event.peak / result.fps, 3),
                }
                for event in result.events
            ],
            "rule": dataclasses.asdict(result.rule),
            "warning": result.warning,
            "note": result.note,
            "scores": [round(float(score), 5) for score in result.scores],
        }
    )
