"""Runs of a comparison in processes beside this one, each with one thread."""

import dataclasses
import gc
import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import AnomalyError

if TYPE_CHECKING:
    from ..training.trainer import TrainingData  # imports torch, as _work does in its own way

TOLD_EVERY = 0.2  # seconds between messages on the steps of a run

# what a process does: data, run and on_step to result
Job = Callable[["TrainingData", Any, Callable[[int], None]], Any]
Outcome = tuple[int, Any, Exception | None]  # the number of the run, its result, and what went wrong if there is none


def in_processes(
    job: Job, data: "TrainingData", runs: Sequence[Any], workers: int, on_step: Callable[[int, int], None]
) -> Generator[Outcome, None, None]:
    """Yield the outcome of `job` for each of `runs`, as they come; `workers` of them are done at a time.

    `job` is a function of a module, for processes import it. `on_step` is called with the number of a run and its step.
    The features are shared: processes map them from one file. They end with this generator and with this process.
    """
    waiting = list(enumerate(runs))[::-1]
    with tempfile.TemporaryDirectory() as folder:
        shared = _shared(data, Path(folder))
        pool: dict[Connection, _Worker] = {}
        try:
            for _ in range(min(workers, len(runs))):
                worker = _Worker(job, shared)
                pool[worker.pipe] = worker
                worker.give(*waiting.pop())
            while pool:
                for pipe in wait(list(pool)):
                    assert isinstance(pipe, Connection)
                    worker = pool[pipe]
                    step, outcome = worker.receive()
                    if outcome is None:
                        on_step(worker.number, step)
                        continue
                    if waiting and worker.is_alive:
                        worker.give(*waiting.pop())
                    else:
                        pool.pop(pipe).end()
                        if waiting:
                            worker = _Worker(job, shared)
                            pool[worker.pipe] = worker
                            worker.give(*waiting.pop())
                    yield outcome
        finally:
            for worker in pool.values():
                worker.end()


class _Worker:
    """This side of a process that does one run after another."""

    def __init__(self, job: Job, shared: "_Shared"):
        context = multiprocessing.get_context("spawn")  # a fork of a process that has used torch can hang
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, pickle.dumps((job, shared))), daemon=True)
        self.process.start()
        theirs.close()
        self.number, self.is_alive = 0, True

    def give(self, number: int, run: Any) -> None:
        """Let it do this run next."""
        self.number = number
        with suppress(OSError):  # that it is gone shows when the outcome is awaited
            self.pipe.send(run)

    def receive(self) -> tuple[int, Outcome | None]:
        """A step of its run, or the outcome."""
        try:
            kind, content = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            self.is_alive = False
            code = self.process.exitcode or 0
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            lost = AnomalyError(f"the process that trained it ended ({how}). Repeat the command, with fewer at a time.")
            return 0, (self.number, None, lost)
        if kind == "step":
            return content, None
        return 0, (self.number, content, None) if kind == "result" else (self.number, None, content)

    def end(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


@dataclasses.dataclass(frozen=True)
class _Shared:
    """Training data without its features, which are in files: of the training bags, and of the test bags if any."""

    data: "TrainingData"
    files: tuple[Path, ...]

    def load(self) -> "TrainingData":
        """The data, with features that are mapped from the files; what is written to them stays in this process."""
        return _with_features(self.data, [np.load(path, mmap_mode="c") for path in self.files])


def _shared(data: "TrainingData", folder: Path) -> _Shared:
    arrays = [data.bags.x] + ([data.test.bags.x] if data.test else [])
    files = tuple(folder / f"{number}.npy" for number in range(len(arrays)))
    for path, array in zip(files, arrays):
        np.save(path, array)
    return _Shared(_with_features(data, [array[:0] for array in arrays]), files)


def _with_features(data: "TrainingData", arrays: Sequence[np.ndarray]) -> "TrainingData":
    test = data.test and dataclasses.replace(data.test, bags=dataclasses.replace(data.test.bags, x=arrays[-1]))
    return dataclasses.replace(data, bags=dataclasses.replace(data.bags, x=arrays[0]), test=test)


def _work(pipe: Connection, pickled: bytes) -> None:
    """Do one run after another, until the other side is gone. `pickled`: the job and the _Shared data."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    gc.disable()  # looking for unreachable objects takes two fifths of the time of these imports
    import torch

    job, shared = pickle.loads(pickled)
    gc.freeze()
    gc.enable()
    torch.set_num_threads(1)
    data = shared.load()
    told = 0.0

    def on_step(step: int) -> None:
        nonlocal told
        if time.monotonic() - told > TOLD_EVERY:
            told = time.monotonic()
            pipe.send(("step", step))

    with suppress(EOFError):
        while True:
            run, told = pipe.recv(), 0.0
            try:
                pipe.send(("result", job(data, run, on_step)))
            except AnomalyError as error:
                pipe.send(("error", error))
            except Exception:
                pipe.send(("error", RuntimeError(traceback.format_exc())))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os._exit(1)
