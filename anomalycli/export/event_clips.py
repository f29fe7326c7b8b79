"""Events cut out of a video, as files of their own."""

import secrets
from contextlib import suppress
from pathlib import Path

import numpy as np

from ..media.decoder import Decoder
from ..media.messages import Piece
from ..score import Result
from ..storage import cannot_write
from .plan import clip_path
from .records import Record


def cut_events(
    result: Result, base: Path, margin: float = 1.0, record: Record | None = None, exact: bool = False
) -> list[Path]:
    """Write each event, with `margin` seconds before and after, to `base`.event1.mp4 and so on; return the paths.

    The streams are copied as they are, sound too, so an event clip begins at the key frame before the margin. With
    `exact`, its frames are encoded anew, and it begins and ends at the frame. What an MP4 file cannot hold is put into
    a Matroska file (.mkv), and what that cannot hold is encoded. `record` notes each file.

    Raises VideoError where the video cannot be cut, StorageError where an event clip cannot be written.
    """
    if not result.events:
        return []
    partials = [base.with_name(f".{number}.{secrets.token_hex(8)}.part") for number in range(1, len(result.events) + 1)]
    paths: list[Path] = []
    at = base
    try:
        base.parent.mkdir(parents=True, exist_ok=True)
        with Decoder() as decoder:
            suffixes = decoder.cut(result.path, _pieces(result, margin, partials), exact)
        for number, (partial, suffix) in enumerate(zip(partials, suffixes, strict=True), 1):
            at = clip_path(base, number, suffix)
            if record:
                record.expect(at, partial)
            paths.append(partial.replace(at))
    except OSError as error:
        raise cannot_write(at, error) from error
    finally:
        for partial in partials:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
    return paths


def _pieces(result: Result, margin: float, targets: list[Path]) -> list[Piece]:
    pieces = []
    last = len(result.scores)
    for event, target in zip(result.events, targets, strict=True):
        start = int(np.searchsorted(result.edges, result.edges[event.start] - margin - 1e-6))
        end = min(last, int(np.searchsorted(result.edges, result.edges[event.end] + margin - 1e-6)))
        pieces.append(Piece(str(target.absolute()), start, tuple(result.edges[start : end + 1].tolist())))
    return pieces
