"""Streams without a camera, for the tests of live/: clips of one brightness, sources of a script, a listener."""

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np

from anomalycli.errors import VideoError
from anomalycli.media.messages import StreamClip


def clip(level: float, start: float, n_frames: int = 16, fps: float = 25.0, size: int = 32) -> StreamClip:
    """A clip of one brightness, 0 to 1, taken from `start` on."""
    frames = np.full((2, size, size, 3), round(255 * level), np.uint8)
    return StreamClip(frames, start + np.arange(n_frames) / fps, fps, 0)


def still_clip(start: float) -> StreamClip:
    """A clip in which nothing moves, as the decoder's process gives it where that was asked for."""
    return StreamClip(np.empty((0, 32, 32, 3), np.uint8), start + np.arange(16) / 25, 25.0, 0)


class FakeSource:
    """A source that gives what it is made of: messages, errors to raise, calls to make."""

    def __init__(self, name: str, *script, is_live: bool = False, lasts: bool = False):
        self.name, self.shown, self.is_live, self.lasts = name, f"fake {name}", is_live, lasts
        self.script, self.closed = list(script), threading.Event()

    def messages(self, form) -> Iterator:
        while self.script and not self.closed.is_set():
            step = self.script.pop(0)
            if isinstance(step, VideoError):
                raise step
            if isinstance(step, Callable):
                step()
            else:
                yield step

    def record(self, order):
        return False

    def close(self):
        self.closed.set()


class Heard:
    """A listener that keeps all scores and news."""

    def __init__(self):
        self.news, self.frames, self.ticks = [], {}, 0

    def on_scores(self, stream, scores):
        key = stream.recording or stream.name
        held = self.frames.get(key, np.empty(0, np.float32))
        self.frames[key] = np.concatenate((held[: scores.start], scores.scores))

    def on_news(self, stream, news):
        self.news.append(news)

    def tick(self):
        self.ticks += 1

    def kinds(self, name: str) -> list[str]:
        return [told.kind for told in self.news if told.event.stream == name]


def write_stream(
    path: Path, n_frames: int = 150, level=lambda i: i * 3 % 256, form: str | None = None, rate=25
) -> Path:
    """A small video with noise on each frame, brightness by `level`; its format by the path's suffix, or `form`."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", format=form) as out:
        stream = out.add_stream("libx264", rate=rate, options={"g": "10", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(n_frames):
            picture = np.clip(level(i) + rng.integers(-20, 20, (48, 64, 3)), 0, 255).astype(np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode())
    return path


@contextlib.contextmanager
def serve(answer):
    """A server that gives each request to `answer(handler)`; yields its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            with contextlib.suppress(OSError):
                answer(self)

        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
