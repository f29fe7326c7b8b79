"""Decoding in a process of its own: what a broken file does to its decoder, it does to that process alone.

`Reader` starts `python -m anomalycli.media.decoder` and asks it for one file at a time. Requests go to its stdin as
JSON, a line each; answers come from its stdout as a JSON line, and the bytes of an array where it has a shape.
"""

import contextlib
import ctypes
import io
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..errors import VideoError, cause

STALL = 120.0  # seconds without a clip after which a decoder counts as hung
MEMORY = 4096  # MB that a decoder may take
TRIES = 3  # decoders that a file may cost; the frames do not depend on which reads them
SOUND_BLOCK = 32  # windows of sound in one answer


@dataclass(frozen=True)
class Facts:
    """What is known of a video once it is read: see `Video`. times and ends are in seconds."""

    n_frames: int
    fps: float
    times: np.ndarray | None
    ends: np.ndarray
    damage: str | None
    lost: int | None


@dataclass(frozen=True)
class SoundFacts:
    """What is known of a sound track once it is read: see `Sound`."""

    track: str | None
    missing: str | None


class _Lost(Exception):
    """The process that reads is gone, and why."""

    def __init__(self, why: str, hung: bool = False, killed: bool = False):
        super().__init__(why)
        self.hung, self.killed = hung, killed


class Reader:
    """A process that decodes, and is replaced when it crashes or makes no progress for `stall` seconds.

    It may take `memory` MB. A file that it did not survive goes to a fresh process, without decord,
    before it counts as unreadable.
    """

    def __init__(self, stall: float = STALL, memory: int = MEMORY):
        self.stall, self.memory = stall, memory
        self.n_clips: int | None = None  # of the video that is being read, as far as its container says
        self.fps = 0.0  # likewise
        self.facts: Facts | None = None  # of the video that was read last
        self.sound: SoundFacts | None = None
        self._process: subprocess.Popen | None = None
        self._hung, self._closed = False, False

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process at once and for good: a thread that is reading meets a VideoError."""
        self._closed = True
        self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]

    def clips(self, path: Path, short_side: int | None, multiple: int = 1, skip: int = 0) -> Iterator[np.ndarray]:
        """Yield the clips of `Video(path, short_side, multiple)`, uint8 (16, height, width, 3); then `facts` are known.

        The first `skip` are read, and not given.

        Raises VideoError where not one frame can be read, whatever the reason.
        """
        request = {"do": "clips", "path": os.fspath(path), "short_side": short_side, "multiple": multiple}
        facts = yield from self._arrays(path, request, skip)
        times = None if facts["times"] is None else np.array(facts["times"], np.float64)
        self.facts = Facts(**facts | {"times": times, "ends": np.array(facts["ends"], np.float64)})

    def windows(self, path: Path, starts: np.ndarray, length: int) -> Iterator[np.ndarray]:
        """Yield the windows of `Sound(path)`, float32 (up to SOUND_BLOCK, length) at a time; then `sound` is known.

        Raises VideoError where the process does not survive the file.
        """
        request = {"do": "windows", "path": os.fspath(path), "starts": starts.tolist(), "length": length}
        self.sound = SoundFacts(**(yield from self._arrays(path, request)))

    def _arrays(self, path: Path, request: dict[str, Any], given: int = 0) -> Generator[np.ndarray, None, dict]:
        """Arrays as they come, behind the first `given`, and the facts in the end; of a process that dies on the way,
        the next one goes on."""
        tries = 0
        request["with_decord"] = True
        while True:
            try:
                self._send(request)
                number = 0
                while (answer := self._receive())[1] is not None:
                    number += 1
                    if number > given:
                        given = number
                        self.n_clips, self.fps = answer[0]["n_clips"], answer[0]["fps"]
                        yield answer[1]
            except _Lost as lost:
                self._end()
                tries += 1
                if self._closed or tries == TRIES or (lost.hung and tries == 2):
                    raise VideoError(f"{path}: {lost}.") from lost
                # one that was killed from outside is not to blame; nor is PyAV for what decord does
                request["with_decord"] &= lost.killed
            except GeneratorExit:  # the caller has enough, in the middle of a file
                self._end()
                raise
            else:
                if "error" in answer[0]:
                    raise VideoError(answer[0]["error"])
                return answer[0]["facts"]

    def _send(self, request: dict[str, Any]) -> None:
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._start()
        process = self._process
        assert process and process.stdin
        with contextlib.suppress(BrokenPipeError):  # what became of it shows when the answer is awaited
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()

    def _start(self) -> None:
        debug = os.environ.get("ANOMALYCLI_DEBUG") == "1"
        self._hung = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "anomalycli.media.decoder", str(self.memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if debug else subprocess.DEVNULL,
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": _python_path()},
        )
        if self._closed:  # by another thread, in the meantime
            self._end()
            raise _Lost("the reader is closed")

    def _receive(self) -> tuple[dict, np.ndarray | None]:
        process = self._process
        assert process
        pipe = cast(io.BufferedReader, process.stdout)

        def hang() -> None:
            self._hung = True
            process.kill()

        watchdog = threading.Timer(self.stall, hang)
        watchdog.daemon = True
        watchdog.start()
        try:
            line = pipe.readline()
            if not line.endswith(b"\n"):
                raise self._death(process)
            answer = json.loads(line)
            if "shape" not in answer:
                return answer, None
            array = np.empty(answer["shape"], answer["dtype"])
            if pipe.readinto(_bytes(array)) < array.nbytes:
                raise self._death(process)
            return answer, array
        finally:
            watchdog.cancel()

    def _death(self, process: subprocess.Popen) -> _Lost:
        code = process.wait()
        if self._hung:
            return _Lost(f"its decoder made no progress for {self.stall:g} s and was stopped (--stall)", hung=True)
        why = _signal_name(-code) if code < 0 else f"exit code {code}"
        return _Lost(f"its decoder crashed ({why})", killed=code == -9)


def _bytes(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def _python_path() -> str:
    """So that the process finds this very package, however its parent came by it."""
    package = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])


# What follows runs in the process that decodes.


def main() -> None:
    """Answer requests until stdin ends: when the parent is gone, however that came, so is this process."""
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    end_with_parent()
    memory = int(sys.argv[1])
    limit_memory(memory)
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a library prints does not mix with the answers
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=listen, args=(requests,), daemon=True).start()
    while True:
        respond(json.loads(requests.get()), memory, answers)


def listen(requests: "queue.SimpleQueue[bytes]") -> None:
    for line in sys.stdin.buffer:
        requests.put(line)
    os._exit(0)


def end_with_parent() -> None:
    """Linux ends a process that hangs in a decoder, too, and so does not hear that stdin has ended."""
    if sys.platform == "linux":
        parent_death_signal = 1  # PR_SET_PDEATHSIG of prctl(2)
        ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGKILL)


def limit_memory(megabytes: int) -> None:
    """Where the system can: what is allocated beyond fails."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (megabytes << 20, hard))


def respond(request: dict, memory: int, answers: Any) -> None:
    path = Path(request["path"])
    try:
        job = read_clips(path, request) if request["do"] == "clips" else read_windows(path, request)
        end = yield_to(answers, job)
    except VideoError as error:
        end = {"error": str(error)}
    except MemoryError:
        end = {"error": f"{path}: reading it takes more than {memory} MB (--memory)."}
    except Exception as error:
        end = {"error": f"{path}: it cannot be read ({cause(error)})."}
    send(answers, end)


def yield_to(answers: Any, job: Generator[tuple[np.ndarray, dict], None, dict]) -> dict:
    """Send each array of `job` with what is said of it; returns the facts that it returns."""
    while True:
        try:
            array, head = next(job)
        except StopIteration as end:
            return {"facts": end.value}
        send(answers, head | {"shape": array.shape, "dtype": array.dtype.str}, array)


def send(answers: Any, head: dict, array: np.ndarray | None = None) -> None:
    for part in (json.dumps(head).encode() + b"\n", b"" if array is None else _bytes(np.ascontiguousarray(array))):
        left = memoryview(part)
        while left:
            left = left[answers.write(left) :]


def read_clips(path: Path, request: dict) -> Generator[tuple[np.ndarray, dict], None, dict]:
    from .video import CLIP_LENGTH, Video

    video = Video(path, request["short_side"], request["multiple"], with_decord=request["with_decord"])
    n_clips = -(-video.n_declared // CLIP_LENGTH) if video.n_declared else None
    for clip in video.clips():
        yield clip, {"n_clips": n_clips, "fps": video.fps}
    times = video.frame_times()
    return {
        "n_frames": video.n_frames,
        "fps": video.fps,
        "times": None if times is None else times.tolist(),
        "ends": video.clip_ends().tolist(),
        "damage": video.damage,
        "lost": video.n_lost,
    }


def read_windows(path: Path, request: dict) -> Generator[tuple[np.ndarray, dict], None, dict]:
    from .audio import Sound

    sound = Sound(path)
    windows = sound.windows(np.array(request["starts"]), request["length"])
    while some := list(islice(windows, SOUND_BLOCK)):
        yield np.stack(some), {"n_clips": len(request["starts"]), "fps": 0.0}
    return {"track": sound.track, "missing": sound.missing}


if __name__ == "__main__":
    main()
