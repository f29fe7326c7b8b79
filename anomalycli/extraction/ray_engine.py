"""Extraction on a Ray cluster: one worker per accelerator, or per pair of cores where there is none.

A worker is a Ray actor that runs `extract_here` on a few inputs at a time, writes their feature files itself and
returns the outcome of each. This module hands out the inputs; those of a worker that is lost, with its node or alone,
go to others.
"""

import logging
import os
import platform
import socket
import time
from collections import Counter, deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ..backbones import Extractor
from ..errors import AnomalyError, UsageError, cause
from ..features.files import FeatureKind
from ..inputs import Input
from .local_engine import extract_here, size_of
from .run_report import ExtractionOutcome
from .settings import Engine, ExtractionProgress, ExtractionSettings, OnProgress

CORES = 2  # of a worker without an accelerator
SOME = 16  # inputs that a worker is given at once, at most
TRIES = 3  # workers that an input may cost, and starts in a row that may fail
LOOK = 5.0  # seconds between checks of the cluster

log = logging.getLogger(__name__)


def engine(extractor: dict[str, Any], address: str | None = None) -> Engine:
    """An engine for `extract` whose workers each make an `Extractor(**extractor)` on their node.

    `address` is a cluster's as Ray knows it; without one Ray finds it (RAY_ADDRESS, the cluster that this
    machine is part of) or starts its own on this machine. Inputs and weights must be at the same path on all nodes.

    Raises UsageError where Ray is not installed or cannot do what is asked for, AnomalyError where nothing
    answers at the address.
    """
    try:
        import ray  # noqa: F401
    except ImportError as error:
        raise UsageError("A cluster needs Ray: pip install 'anomalycli[ray]'.") from error
    if address and address.startswith("ray://"):
        raise UsageError(
            f"{address}: Ray's client cannot carry this. Run the command on a machine of the cluster "
            "(`ray job submit` does), without an address."
        )
    if extractor["precision"] == "int8":
        raise UsageError("int8 is calibrated on one machine, for that machine: choose another precision for a cluster.")
    if address and ":" in address:
        _check_answer(address)
    return ClusterEngine(extractor, address)


def _check_answer(address: str) -> None:
    """Ray itself ends the process where nothing answers, after a minute."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError) as error:
        raise AnomalyError(f"{address}: no Ray cluster answers there ({cause(error)}).") from error


class Worker:
    """The part that runs on a node. It makes its extractor at its first call.

    Raises AnomalyError if that would make features of another kind than `kind`.
    """

    def __init__(self, settings: dict[str, Any], kind: FeatureKind):
        self.settings, self.kind = settings, kind
        self.extractor: Extractor | None = None

    def make(
        self, targets: dict[Input, Path], settings: ExtractionSettings
    ) -> Generator[ExtractionOutcome, None, None]:
        """Make the files of `targets` on this node, and yield their outcomes."""
        self.extractor = self.extractor or Extractor(**self.settings)
        node = f"The node {platform.node()} works with"
        if conflict := self.extractor.kind.conflict(self.kind, node, "this run with"):
            raise AnomalyError(f"{conflict}: every node needs the same version and weights.")
        yield from extract_here(targets, self.extractor, settings)


@dataclass(frozen=True)
class ClusterEngine:
    """The engine that `engine` returns. extractor: arguments of the workers' `Extractor`."""

    extractor: dict[str, Any]
    address: str | None = None

    def __call__(
        self,
        targets: dict[Input, Path],
        extractor: Extractor,
        settings: ExtractionSettings,
        on_progress: OnProgress | None = None,
    ) -> Generator[ExtractionOutcome, None, None]:
        """Make the files of `targets` on the cluster. Raises AnomalyError if there is none or no node is left."""
        import ray

        if not targets:
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster started here sends no usage statistics
        try:
            with _elsewhere():
                ray.init(self.address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise AnomalyError(f"{self.address or 'Ray'}: no Ray cluster can be reached ({cause(error)}).") from error
        files, done, clips, seconds = 0, 0, 0, 0.0
        every = sum(size_of(item.path) for item in targets)
        try:
            absolute = {item: path.absolute() for item, path in targets.items()}
            run = ClusterRun(absolute, self.extractor, extractor.kind, settings)
            for outcome in run.outcomes():
                yield outcome
                files, done = files + 1, done + size_of(outcome.path)
                clips, seconds = clips - (-outcome.frames // extractor.kind.clip_length), seconds + outcome.seconds
                if on_progress:
                    on_progress(ExtractionProgress(outcome.path, clips, seconds, len(targets), files, every, done))
        finally:
            ray.shutdown()


@dataclass
class _BusyWorker:
    """A worker and its inputs; none while it starts."""

    actor: Any
    items: list[Input]
    has_started: bool


class ClusterRun:
    """Hands out the inputs to workers, and collects their outcomes."""

    def __init__(
        self,
        targets: dict[Input, Path],
        extractor: dict[str, Any],
        kind: FeatureKind,
        settings: ExtractionSettings,
    ):
        import ray

        self.targets, self.extractor, self.kind, self.settings = targets, extractor, kind, settings
        self.waiting = deque(targets)
        self.losses: Counter[Input] = Counter()
        self.at_work: dict[Any, _BusyWorker] = {}  # by the stream of outcomes
        self.bad_starts = 0  # in a row
        self.why = ""  # the last worker was lost
        with_gpu = extractor["device"] != "cpu" and ray.cluster_resources().get("GPU", 0)
        cores = min(CORES, max((node.get("CPU", 0) for node in _nodes()), default=0))
        # Ray lets PyTorch have as many threads as the worker has cores, unless OMP_NUM_THREADS says otherwise
        self.needs = {"GPU": 1, "CPU": 1} if with_gpu else {"CPU": max(1, cores)}

    def outcomes(self) -> Generator[ExtractionOutcome, None, None]:
        """Yield the outcome of each input as soon as it is known."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        left = len(self.targets)
        head = ray.get_runtime_context().gcs_address
        while left:
            _check_head(head)
            self._start_workers()
            ready, _ = ray.wait([*self.at_work], timeout=LOOK)
            for stream in cast(list[Any], ready):
                worker = self.at_work[stream]
                try:
                    outcome: ExtractionOutcome = ray.get(next(stream))
                except StopIteration:
                    del self.at_work[stream]
                    self.bad_starts = 0
                    if self.waiting:
                        self._give(worker.actor, self._some())
                except RayTaskError as error:
                    raise error.cause from None
                except RayError as error:
                    del self.at_work[stream]
                    for failed in self._lose(worker, cause(error)):
                        left -= 1
                        yield failed
                else:
                    worker.items = [item for item in worker.items if item.path != outcome.path]
                    left -= 1
                    yield outcome

    def _start_workers(self) -> None:
        """As many as the nodes that are alive have places for: nodes may come and go."""
        import ray

        places = self._places()
        if not places:
            raise AnomalyError(
                "The cluster has no node left to work on. What is there is whole: run the same command again to resume."
            )
        if not self.at_work and self.bad_starts >= TRIES:
            raise AnomalyError(f"No worker starts on the cluster: {self.why}")
        if self.bad_starts < TRIES:
            n_gpus = self.needs.get("GPU", 0)
            actor = ray.remote(num_cpus=self.needs["CPU"], num_gpus=n_gpus)(Worker)
            for _ in range(min(places - len(self.at_work), len(self.waiting))):
                self._give(actor.remote(self.extractor, self.kind), [])

    def _places(self) -> int:
        return sum(int(min(node.get(name, 0) // n for name, n in self.needs.items())) for node in _nodes())

    def _some(self) -> list[Input]:
        """Many while there are many, so that short ones share decoders and batches; few at the end, so that all
        workers end together; one that was lost before goes alone, so that it takes no other with it."""
        share = len(self.waiting) // (2 * max(1, len(self.at_work)))
        n = 1 if self.losses[self.waiting[0]] else max(1, min(SOME, share))
        return [self.waiting.popleft() for _ in range(n)]

    def _give(self, actor: Any, items: list[Input]) -> None:
        stream = actor.make.remote({item: self.targets[item] for item in items}, self.settings)
        self.at_work[stream] = _BusyWorker(actor, items, has_started=bool(items))

    def _lose(self, worker: _BusyWorker, why: str) -> Generator[ExtractionOutcome, None, None]:
        """Put back what a lost worker had; what has cost too many of them has failed."""
        import ray

        ray.kill(worker.actor)  # one that is only unreachable would continue
        self.why = why
        self.bad_starts += not worker.has_started
        log.debug("A worker was lost (%s); %d of its files go to others", why, len(worker.items))
        for item in reversed(worker.items):
            self.losses[item] += 1
            if self.losses[item] < TRIES:
                self.waiting.appendleft(item)
            else:
                yield ExtractionOutcome(item.path, "failed", f"{item.path}: {TRIES} workers were lost over it ({why}).")


@contextmanager
def _elsewhere() -> Iterator[None]:
    """In the root folder: where Ray is started, its workers look for modules."""
    here = os.getcwd()  # noqa: PTH109
    os.chdir(os.path.abspath(os.sep))  # noqa: PTH100
    try:
        yield
    finally:
        os.chdir(here)


def _check_head(address: str) -> None:
    """Raise AnomalyError if nothing listens at the head's address: Ray would wait a minute, and end the process."""
    host, port = address.rsplit(":", 1)
    for left in reversed(range(TRIES)):
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=LOOK).close()
            return
        except OSError as error:
            if not left:
                raise AnomalyError(
                    f"The head of the cluster, {address}, was lost ({cause(error)}). What is there is whole: start the "
                    "cluster, and run the same command again to resume."
                ) from error
            time.sleep(1)


def _nodes() -> list[dict[str, float]]:
    """Resources of each node that is alive."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]
