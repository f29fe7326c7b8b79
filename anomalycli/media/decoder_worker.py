"""The process that decodes: decoder.py starts it, and says what requests and answers look like."""

import contextlib
import ctypes
import gc
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np

from ..errors import VideoError, cause
from .audio import Sound
from .containers import open_container
from .cut import cut
from .encode import FULL, encode_proxy
from .messages import ALIVE, ClipFormat, Piece, StreamPlace
from .recording import Recorder
from .still import StillClips
from .stream import Stream
from .video import Video

SOUND_BLOCK = 32  # windows of sound in one answer
PULSE = 1.0  # seconds between answers that say nothing else

Answer = tuple[dict[str, Any], np.ndarray | None]


def main(memory: int) -> None:
    """Answer requests until stdin ends: when the parent is gone, however that came, so is this process.

    `memory` is how many MB it may take.
    """
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    end_with_parent()
    limit_memory(memory)
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a library prints does not mix with the answers
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=listen, args=(requests,), daemon=True).start()
    gc.freeze()
    while True:
        respond(json.loads(requests.get()), memory, Pulse(answers, requests))
        gc.collect()  # PyAV's filters refer to each other and have threads


def listen(requests: "queue.SimpleQueue[bytes]") -> None:
    """Queue each line of stdin, and end the process with it."""
    for line in sys.stdin.buffer:
        requests.put(line)
    os._exit(0)


def end_with_parent() -> None:
    """Linux ends a process that hangs in a decoder, too, and so does not notice that stdin has ended."""
    if sys.platform == "linux":
        parent_death_signal = 1  # PR_SET_PDEATHSIG of prctl(2)
        ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGKILL)


def limit_memory(megabytes: int) -> None:
    """Make allocations beyond this size fail, where the system can."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (megabytes << 20, hard))


def respond(request: dict[str, Any], memory: int, pulse: "Pulse") -> None:
    """Send all answers to one request."""
    path, answers = Path(request["path"]), pulse.answers
    try:
        for head, array in JOBS[request["do"]](path, request, pulse):
            send(answers, head, array)
    except VideoError as error:
        send(answers, {"error": str(error)})
    except MemoryError:
        send(answers, {"error": f"{path}: reading it takes more than the {memory} MB that a decoder may use."})
    except Exception as error:
        send(answers, {"error": f"{path}: it cannot be read ({cause(error)})."})


class Pulse:
    """Called with each packet and frame that is read, says now and then that the process is alive."""

    def __init__(self, answers: BinaryIO, requests: "queue.SimpleQueue[bytes]"):
        self.answers, self.requests, self.last = answers, requests, time.monotonic()

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self.last > PULSE:
            self.last = now
            send(self.answers, ALIVE)


def send(answers: BinaryIO, head: dict[str, Any], array: np.ndarray | None = None) -> None:
    """Write one answer: `head` as a line of JSON, and the bytes of `array`."""
    content: bytes | memoryview = b""
    if array is not None:
        array = np.ascontiguousarray(array)
        head = head | {"shape": array.shape, "dtype": array.dtype.str}
        content = array.reshape(-1).view(np.uint8).data
    for part in (json.dumps(head).encode() + b"\n", content):
        left = memoryview(part)
        while left:
            left = left[answers.write(left) :]


def read_clips(path: Path, request: dict[str, Any], pulse: Pulse) -> Iterator[Answer]:
    """Answers to a request for clips: each clip, and then the facts."""
    form = ClipFormat(**request["form"])
    video = Video(path, form.short_side, form.multiple, reader=request["reader"], on_progress=pulse)
    n_clips = len(list(form.numbers(-(-video.n_declared // form.length)))) if video.n_declared else None
    tell_still, still = StillClips() if form.still else None, []
    for clip, number in zip(video.clips(form.length, form.taken, form.numbers()), form.numbers()):
        if tell_still and tell_still(clip):
            still.append(number)
            clip = clip[:0]
        yield {"n_clips": n_clips, "fps": video.fps}, clip
    times = video.frame_times()
    facts = {
        "n_frames": video.n_frames,
        "fps": video.fps,
        "times": None if times is None else times.tolist(),
        "ends": video.clip_ends(form.length).tolist(),
        "damage": video.damage,
        "lost": video.n_lost,
        "still": still,
        "creation_time": video.creation_time,
    }
    yield {"facts": facts}, None


def read_windows(path: Path, request: dict[str, Any], pulse: Pulse) -> Iterator[Answer]:
    """Answers to a request for windows of sound: some at a time, and then what is known of the track."""
    sound = Sound(path, pulse)
    windows = sound.windows(np.array(request["starts"]), request["length"])
    while some := list(islice(windows, SOUND_BLOCK)):
        yield {}, np.stack(some)
    yield {"facts": {"track": sound.track, "missing": sound.missing}}, None


def grab_frames(path: Path, request: dict[str, Any], pulse: Pulse) -> Iterator[Answer]:
    """Answers to a request for frames: each frame that the video has."""
    video = Video(path, request["short_side"], reader=request["reader"], on_progress=pulse)
    for number, frame in video.grab(request["numbers"]):
        yield {"number": number}, frame
    yield {"facts": {}}, None


def read_duration(path: Path, request: dict[str, Any], pulse: Pulse) -> Iterator[Answer]:
    """The answer to a request for the duration by the header."""
    with open_container(path) as container:
        duration = container.duration and container.duration / av.time_base
    yield {"facts": {"duration": duration if duration and duration > 0 else None}}, None


def cut_pieces(path: Path, request: dict[str, Any], pulse: Pulse) -> Iterator[Answer]:
    """Answers to a request to cut: the suffix of each file that was written."""
    pieces = [Piece(piece["target"], piece["start"], tuple(piece["edges"])) for piece in request["pieces"]]
    yield written(lambda: {"suffixes": cut(path, pieces, request["exact"], pulse, request["reader"])})


def read_stream(_path: Path, request: dict[str, Any], pulse: Pulse) -> Iterator[Answer]:
    """Answers to a request for a stream: each clip, as it happens."""
    place = StreamPlace(**request["place"])
    stream = Stream(place, ClipFormat(**request["form"]), pulse)
    recorder = Recorder(stream.video, stream.sound, place.kept, pulse.requests) if place.kept else None
    if stream.has_end:
        yield {"has_end": True}, None
    try:
        for clip in stream.clips(recorder):
            head = {"times": clip.times.tolist(), "fps": clip.fps, "damaged": clip.damaged, "frozen": clip.is_frozen}
            yield head, clip.frames
            yield from recorded(recorder)
    finally:
        if recorder:
            recorder.close()
            for head, _ in recorded(recorder):
                send(pulse.answers, head)
    yield {"facts": {}}, None


def recorded(recorder: Recorder | None) -> Iterator[Answer]:
    """Answers on recordings that are complete."""
    for done in recorder.done() if recorder else ():
        yield {"recorded": asdict(done)}, None


def make_proxy(path: Path, request: dict[str, Any], pulse: Pulse) -> Iterator[Answer]:
    """The answer to a request for a small copy, once it is written."""
    piece = Piece(request["target"], 0, tuple(request["edges"]))
    yield written(lambda: encode_proxy(path, piece, request["kept"], pulse, request["reader"]))


def written(write: Callable[[], dict[str, Any] | None]) -> Answer:
    """The answer with what `write` returns, or with the number of the error where the disk takes no more."""
    try:
        return {"facts": write() or {}}, None
    except OSError as error:
        if error.errno not in FULL:
            raise
        return {"facts": {"errno": error.errno}}, None


JOBS: dict[str, Callable[[Path, dict[str, Any], Pulse], Iterator[Answer]]] = {
    "clips": read_clips,
    "windows": read_windows,
    "grab": grab_frames,
    "cut": cut_pieces,
    "duration": read_duration,
    "proxy": make_proxy,
    "stream": read_stream,
}
