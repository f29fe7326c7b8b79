"""Cut events out of a video, one file per event."""

from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np

from ..media.decoder import Decoder
from ..media.messages import Piece
from ..result import Result
from ..storage import cannot_write, in_progress, partial_name
from .plan import event_clip_path
from .records import Record


def cut_events(
    result: Result,
    base: Path,
    margin: float = 1.0,
    record: Record | None = None,
    exact: bool = False,
    decoder: Decoder | None = None,
) -> list[Path]:
    """Write each event, with `margin` seconds before and after, to `base`.event1.mp4 and so on; return the paths.

    Video and sound are copied without encoding, so the file begins at the key frame before the margin. With `exact` the
    frames are encoded again, and the file begins and ends at the exact frame. Streams that MP4 cannot hold are written
    to Matroska (.mkv), and encoded again if that cannot hold them. `record` notes each file.

    Raises VideoError if the video cannot be cut, StorageError if a file cannot be written.
    """
    if not result.events:
        return []
    partials = [base.with_name(partial_name(f".{number}")) for number in range(1, len(result.events) + 1)]
    paths: list[Path] = []
    at = base
    try:
        base.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            decoder = decoder or stack.enter_context(Decoder())
            for partial in partials:
                stack.enter_context(in_progress(partial))
            suffixes = decoder.cut(result.path, _pieces(result, margin, partials), exact)
        for number, (partial, suffix) in enumerate(zip(partials, suffixes, strict=True), 1):
            at = event_clip_path(base, number, suffix)
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
