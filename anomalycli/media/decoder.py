"""Decoding in a process of its own: a file that breaks its decoder breaks that process alone.

This is the parent's side. `Decoder` starts a process that runs decoder_worker.py and asks it for one file at a time.
Requests go to its stdin, one line of JSON each. Each answer comes from its stdout: one line of JSON, and the bytes of
an array where the line has a shape. The last answer to a request has no array: it holds `facts`, or `error`. Answers
without anything come while a long file is read in silence.
"""

import contextlib
import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..errors import UsageError, VideoError
from . import READERS
from .messages import ALIVE, ClipFormat, DecodedClip, Piece, SoundFacts, SoundWindows, VideoFacts

READER = "ANOMALYCLI_READER"  # the environment variable that names the reader of all decoders
TRIES = 3  # decoders that a file may cost; the frames do not depend on which reads them
PACKAGE = __name__.split(".")[0]

# What the process runs. It searches the current folder, which may hold anything, for no module, and finds this very
# package, however its parent found it.
START = f"""import sys
sys.path[:] = [folder for folder in sys.path if folder]
import typing
sys.path.insert(0, sys.argv[1])
import {PACKAGE}
del sys.path[0]
from {PACKAGE}.media.decoder_worker import main
main(int(sys.argv[2]))"""


@dataclass(frozen=True)
class DecoderSettings:
    """How a decoder reads, and what its process may take.

    stall: seconds without progress after which it counts as hung. memory: MB. reader: one of READERS, as `Video` has
    them; the one that ANOMALYCLI_READER names, or auto.
    """

    stall: float = 120.0
    memory: int = 4096
    reader: str = field(default_factory=lambda: os.environ.get(READER) or "auto")

    def __post_init__(self) -> None:
        """Raises UsageError where there is no such reader."""
        if self.reader not in READERS:
            raise UsageError(f"There is no reader '{self.reader}': give {', '.join(READERS)}.")
        if self.reader == "decord" and not importlib.util.find_spec("decord"):
            raise UsageError("decord is not installed: choose another reader, or `pip install decord`.")


class DecoderLost(Exception):
    """The process that decodes has ended, and why."""

    def __init__(self, why: str, hung: bool = False, killed: bool = False):
        super().__init__(why)
        self.hung, self.killed = hung, killed


class Decoder:
    """A process that decodes, and is replaced when it crashes or exceeds its limits.

    A file that it did not survive goes to a fresh process, without decord, before it counts as unreadable.
    """

    def __init__(self, settings: DecoderSettings = DecoderSettings()):
        self.settings = settings
        self._process: subprocess.Popen | None = None
        self._inherited: tuple[int, ...] = ()  # file descriptors that the process gets
        self._hung, self._closed = False, False
        self.turn = threading.RLock()  # of the thread whose requests are answered: answers do not say whose they are

    def __reduce__(self) -> tuple[type, tuple[DecoderSettings]]:
        return Decoder, (self.settings,)  # in another process, it starts one of its own

    def __enter__(self) -> "Decoder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the process now, not at the first request: it imports its libraries in the meantime."""
        if self._process is None:
            self._start()

    def close(self) -> None:
        """End the process at once and for good: a thread that is reading meets a VideoError."""
        self._closed = True
        self._end()

    def clips(self, path: Path, form: ClipFormat, skip: int = 0) -> Iterator[DecodedClip | VideoFacts]:
        """Yield the clips of a video without the first `skip`, which are decoded all the same, and then its facts.

        Raises VideoError if not one frame can be read, whatever the reason.
        """
        for head, array in self._answers(path, {"do": "clips", "form": asdict(form)}, skip):
            if array is not None:
                yield DecodedClip(array, head["n_clips"], head["fps"])
            else:
                yield _video_facts(head["facts"])

    def windows(self, path: Path, starts: np.ndarray, length: int) -> Iterator[SoundWindows | SoundFacts]:
        """Yield the windows of `Sound(path)`, some at a time, and then what is known of the track.

        Raises VideoError if the process does not survive the file.
        """
        for head, array in self._answers(path, {"do": "windows", "starts": starts.tolist(), "length": length}):
            yield SoundFacts(**head["facts"]) if array is None else SoundWindows(array)

    def grab(self, path: Path, numbers: Iterable[int], short_side: int | None = None) -> dict[int, np.ndarray]:
        """The frames of these numbers, counted as `clips` counts them: each uint8 (height, width, 3), RGB.

        Numbers that the video does not reach are left out. Raises VideoError if not one frame can be read.
        """
        request = {"do": "grab", "numbers": sorted(set(numbers)), "short_side": short_side}
        return {head["number"]: array for head, array in self._answers(path, request) if array is not None}

    def duration(self, path: Path) -> float | None:
        """How long a video is by its header, in seconds; None where that does not say. No frame is decoded.

        Raises VideoError if it is not a video.
        """
        return self._facts(path, {"do": "duration"})["duration"]

    def proxy(
        self, path: Path, target: Path, edges: Sequence[float], kept: Sequence[tuple[int, int]] | None = None
    ) -> None:
        """Write a small H.264 copy of the video to `target`, with sound where MP4 holds it, and with the same times.

        edges: when its frames begin and the last one ends, seconds (n_frames + 1,). kept: half-open intervals of frames
        outside of which one frame every few seconds is enough; None keeps all.

        Raises VideoError if it cannot be read, OSError if the copy cannot be written.
        """
        whole = [(0, len(edges) - 1)]
        request = {"do": "proxy", "target": str(target.absolute()), "edges": [0.0, *map(float, edges[1:])]}
        request["kept"] = whole if kept is None else list(kept)
        self._facts(path, request)

    def cut(self, path: Path, pieces: Sequence[Piece], exact: bool = False) -> list[str]:
        """Write each piece of the video, its sound too, to its target; returns the suffix that belongs to each.

        A piece is copied from the key frame before it. With `exact`, and where it cannot be copied, its frames alone
        are encoded anew. Raises VideoError if it cannot be cut, OSError if it cannot be written.
        """
        request = {"do": "cut", "pieces": [asdict(piece) for piece in pieces], "exact": exact}
        return self._facts(path, request)["suffixes"]

    def _facts(self, path: Path, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request that no array answers. Raises OSError if a file cannot be written."""
        (facts,) = (head["facts"] for head, _ in self._answers(path, request))
        if number := facts.get("errno"):
            raise OSError(number, os.strerror(number))
        return facts

    def _answers(
        self, path: Path, request: dict[str, Any], given: int = 0
    ) -> Generator[tuple[dict[str, Any], np.ndarray | None], None, None]:
        """Arrays without the first `given`, each with what belongs to it, and at last the facts without an array.

        When a process dies on the way, the next one continues.
        """
        request |= {"path": os.fspath(path), "reader": self.settings.reader}
        tries = 0
        while True:
            try:
                self._send(request)
                number = 0
                while (answer := self._receive())[1] is not None:
                    number += 1
                    if number > given:
                        given = number
                        yield answer
            except DecoderLost as lost:
                self._end()
                tries += 1
                if self._closed or tries == TRIES or (lost.hung and tries == 2):
                    raise VideoError(f"{path}: {lost}.") from lost
                # neither a kill from outside nor decord is the fault of PyAV
                if not lost.killed:
                    request["reader"] = "pyav"
            except GeneratorExit:  # the caller stops in the middle of a file
                self._end()
                raise
            else:
                if "error" in answer[0]:
                    raise VideoError(answer[0]["error"])
                yield answer
                return

    def _send(self, request: dict[str, Any]) -> None:
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._start()
        process = self._process
        assert process and process.stdin
        with contextlib.suppress(BrokenPipeError):  # _receive says why
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()

    def _start(self) -> None:
        debug = os.environ.get("ANOMALYCLI_DEBUG") == "1"
        folder = Path(__file__).resolve().parents[2]
        self._hung = False
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, str(folder), str(self.settings.memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if debug else subprocess.DEVNULL,
            pass_fds=self._inherited,
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": _python_path()},
        )
        if self._closed:  # by another thread, in the meantime
            self._end()
            raise DecoderLost("the decoder is closed")

    def _end(self) -> None:
        process, self._process = self._process, None
        if process:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]

    def _receive(self) -> tuple[dict[str, Any], np.ndarray | None]:
        """The next answer. Those without content, which say that the process is alive, only wind up the watchdog."""
        while (answer := self._receive_any())[0] == ALIVE:
            continue
        return answer

    def _receive_any(self) -> tuple[dict[str, Any], np.ndarray | None]:
        process = self._process
        assert process
        pipe = cast(io.BufferedReader, process.stdout)

        def hang() -> None:
            self._hung = True
            process.kill()

        watchdog = threading.Timer(self.settings.stall, hang)
        watchdog.daemon = True
        watchdog.start()
        try:
            line = pipe.readline()
            if not line.endswith(b"\n"):
                raise self._death(process)
            head = json.loads(line)
            if "shape" not in head:
                return head, None
            array = np.empty(head["shape"], head["dtype"])
            if pipe.readinto(array.reshape(-1).view(np.uint8).data) < array.nbytes:
                raise self._death(process)
            return head, array
        finally:
            watchdog.cancel()

    def _death(self, process: subprocess.Popen) -> DecoderLost:
        code = process.wait()
        if self._hung:
            return DecoderLost(f"its decoder made no progress for {self.settings.stall:g} s and was stopped", hung=True)
        why = _signal_name(-code) if code < 0 else f"exit code {code}"
        return DecoderLost(f"its decoder crashed ({why})", killed=code == -9)


def _video_facts(facts: dict[str, Any]) -> VideoFacts:
    times = None if facts["times"] is None else np.array(facts["times"], np.float64)
    ends, still = np.array(facts["ends"], np.float64), tuple(facts["still"])
    return VideoFacts(**facts | {"times": times, "ends": ends, "still": still})


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def _python_path() -> str:
    """PYTHONPATH without empty parts, which would mean the current folder."""
    return os.pathsep.join(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
