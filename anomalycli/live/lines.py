"""Events as lines of JSON."""

import base64
import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from .messages import clock, message, to_json
from .tracking import Told
from .watcher import WatchedStream
from .window import Scores

QUALITY = 80  # of JPEG pictures


class Lines:
    """Writes each piece of news as a line. thumbnails: with the newest picture; scores: each clip's scores too."""

    def __init__(self, write: Callable[[str], None], thumbnails: bool = False, scores: bool = False):
        self.write, self.thumbnails, self.scores = write, thumbnails, scores

    def scored(self, stream: WatchedStream, scores: Scores) -> None:
        if self.scores:
            final = [round(float(score), 5) for score in scores.scores[: scores.n_final]]
            at = clock(scores.times[-1]) if len(scores.times) else None
            newest = None if scores.n_final == len(scores.scores) else round(scores.newest, 5)
            fields = {"kind": "scores", "stream": stream.name, "at": at, "provisional": newest}
            self.write(to_json(fields | {"first_frame": scores.start, "final": final}))

    def told(self, stream: WatchedStream, told: Told) -> None:
        more = {}
        if self.thumbnails and told.kind == "start" and stream.picture is not None:
            more["thumbnail"] = "data:image/jpeg;base64," + base64.b64encode(jpeg(stream.picture)).decode()
        self.write(to_json(message(told, stream.recording, **more)))

    def tick(self) -> None:
        pass


def jpeg(picture: np.ndarray) -> bytes:
    """A picture, uint8 (height, width, 3), as JPEG."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
