"""Small copies of videos for browsers, which play neither HEVC nor the containers of many recorders."""

from pathlib import Path

import numpy as np

from ..media.decoder import Decoder
from ..result import Result
from ..storage import atomic_write
from .plan import proxy_path
from .records import Record

BEFORE, AFTER = 4.0, 2.0  # seconds around an event that are kept: a page plays it from three seconds before


def write_proxy(result: Result, video: Path, base: Path, kind: str, record: Record, decoder: Decoder) -> Path:
    """Write the copy of a video, for its page, and return its path.

    kind: `events` keeps the events and what is around them, and a frame every few seconds of the rest; `all` keeps all,
    and takes the copy of an earlier run if it is unchanged.

    Raises VideoError if the video cannot be read, StorageError if the copy cannot be written.
    """
    path = proxy_path(base)
    note = path.with_name(f"{path.name}.{kind}").name  # in the record alone: what the copy holds
    if kind == "all" and note in record.files and record.owns(path):
        return path
    with atomic_write(path) as partial:
        decoder.proxy(video, partial, result.edges.tolist(), kept_frames(result) if kind == "events" else None)
        record.files = {name: held for name, held in record.files.items() if not name.startswith(f"{path.name}.")}
        record.files[note] = []
        record.expect(path, partial)
    return path


def kept_frames(result: Result) -> list[tuple[int, int]]:
    """The frames of the events and of the seconds around them, half-open."""
    edges, kept = result.edges[:-1], []
    for event in result.events:
        start, end = result.edges[event.start] - BEFORE, result.edges[event.end] + AFTER
        kept.append((int(np.searchsorted(edges, start)), int(np.searchsorted(edges, end))))
    return kept
