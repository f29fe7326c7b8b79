"""Streams in a process of their own, seen from the parent."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from ..errors import VideoError
from .decoder import Decoder, DecoderLost, DecoderSettings
from .messages import ClipFormat, Recorded, StreamClip, StreamPlace

SLOW = 3  # timeouts of a stream after which its process counts as hung


class StreamDecoder(Decoder):
    """A decoder's process that reads one stream. It ends with the stream."""

    def __init__(self, place: StreamPlace, memory: int = 2048):
        super().__init__(DecoderSettings(stall=SLOW * place.timeout + 10, memory=memory))
        self.place = place
        self.has_end = False  # whether it reads a complete video; known before the first clip
        self._inherited = (int(place.place),) if place.kind == "pipe" else ()

    def clips(self, form: ClipFormat) -> Iterator[StreamClip | Recorded]:  # type: ignore[override]
        """Yield the clips of the stream as they happen, and recordings that are complete, until it ends.

        Raises VideoError if the stream cannot be opened, breaks, or ends its process.
        """
        request = {"do": "stream", "path": self.place.shown, "place": asdict(self.place), "form": asdict(form)}
        try:
            self._send(request)
            while True:
                head, array = self._receive()
                if "recorded" in head:
                    yield Recorded(**head["recorded"])
                    continue
                if "has_end" in head:
                    self.has_end = True
                    continue
                if array is None:
                    break
                yield StreamClip(array, np.array(head["times"]), head["fps"], head["damaged"], head["frozen"])
        except DecoderLost as lost:
            raise VideoError(f"{self.place.shown}: {lost}.") from lost
        finally:
            self._end()
        if "error" in head:
            raise VideoError(head["error"])

    def order(self, order: dict[str, Any]) -> None:
        """Have a part of the stream recorded, see `recording.Recorder`. Any thread may call it.

        Does nothing if the stream is not being read.
        """
        process = self._process
        if process and process.stdin:
            with contextlib.suppress(OSError, ValueError):  # the process has ended
                process.stdin.write(json.dumps(order).encode() + b"\n")
                process.stdin.flush()
