"""Train several methods with several seeds on the same features, in the same order, and evaluate them alike."""

import dataclasses
import hashlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data.sampling import split
from ..errors import AnomalyError, UsageError
from ..evaluation.metrics import metrics_of
from ..evaluation.protocol import EvaluationSet, evaluation_set
from ..inference import score_bags
from ..methods import find_method
from ..training.config import TrainConfig
from ..training.plan import Plan
from ..training.trainer import Material, TrainingData, check_classes, fit
from .comparison import ComparisonRow, check_evaluated_on
from .records import read_record, write_record, write_scores
from .table import ComparisonResult
from .workers import in_processes

SMALL = 4_000_000  # parameters; a network of so few gains little from a second thread


@dataclass(frozen=True)
class Machine:
    """What a comparison runs on.

    workers: how many small networks, of up to SMALL parameters, are trained at a time on a CPU, in processes of one
    thread each. Each has one thread with one worker, too, so results do not depend on `workers`, bit for bit. Larger
    networks are trained one after another with all threads, as are all on other devices.
    """

    device: str | torch.device = "cpu"
    workers: int = 1


@dataclass(frozen=True)
class _Run:
    """A row with one seed: what is trained and evaluated, or the result that is there already."""

    row: ComparisonRow
    plan: Plan  # with the seed
    share: float  # of the videos, held out
    path: Path
    identity: dict
    result: ComparisonResult | None
    device: torch.device
    to_frames: str
    is_small: bool

    @property
    def seed(self) -> int:
        return self.plan.config.seed


def compare(
    rows: Sequence[ComparisonRow],
    seeds: Sequence[int],
    data: TrainingData,
    output: Path,
    to_frames: str = "repeated",
    machine: Machine = Machine(),
    on_step: Callable[[ComparisonRow, int, int], None] | None = None,
) -> Iterator[ComparisonResult]:
    """Train each row with each seed and evaluate it on `data.test`, yielding results as they come.

    Without a test set, the videos that `config.validation` holds out (whole groups, if given) are evaluated on, with
    `data.truth`, ground truth by video. Use this to tune settings without using the test set. With it, all videos are
    trained on, unless `config.keep` is "validation": then those held out pick the state. `to_frames`: how the scores of
    videos held out become scores of frames (evaluation.protocol.TO_FRAMES); a test set says so itself.

    Each result is kept in OUTPUT/runs, LABEL-SEED.json, and not computed again; beside it, the scores of the segments,
    LABEL-SEED.npz. Raises UsageError, before any work, where what is there is of other settings or data, or where
    there is nothing to evaluate or to pick the best on.

    A run that fails costs no other: its error is raised after the last.
    """
    bags, test = data.bags, data.test
    if test and (conflict := test.bags.kind.conflict(bags.kind, "the test features have", "the training features")):
        raise UsageError(f"{conflict}: both need features of the same kind.")
    parts = _Parts(data, to_frames)
    runs = [_planned(row, seed, parts, output, torch.device(machine.device)) for seed in seeds for row in rows]
    return _results(runs, data, machine.workers, on_step)


class _Parts:
    """Which videos of the data are trained on and which are held out, by share and seed."""

    def __init__(self, data: TrainingData, to_frames: str):
        self.data, self.to_frames = data, to_frames
        self.split = cache(self._split)

    @cached_property
    def fingerprints(self) -> dict[str, str | None]:
        """Hashes of what results depend on besides settings."""
        data, test = self.data, self.data.test
        return {
            "train": data.bags.fingerprint(),
            "test": test.bags.fingerprint() if test else None,
            "evaluation": f"{test.to_frames}, {test.fingerprint()}" if test else self.to_frames,
        }

    def _split(self, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        bags = self.data.bags
        held_out, kept = split(bags.names, bags.labels, share, seed, bags.grouped(self.data.groups))
        check_classes(bags.labels[kept])
        if self.data.test is None and self.data.truth is not None and len(held_out):
            evaluation_set(bags[held_out], self.data.truth)
        return held_out, kept

    def check(self, config: TrainConfig, share: float) -> None:
        """Raise UsageError where there is nothing to evaluate on, or to pick the best on."""
        held_out, _ = self.split(share, config.seed)
        has_test = self.data.test is not None
        check_evaluated_on(has_test, len(held_out) > 0 and (has_test or self.data.truth is not None), config.keep)

    def sets(self, plan: Plan, share: float) -> tuple[Material, EvaluationSet]:
        """What a plan is trained on and what it is evaluated on."""
        bags, test, truth = self.data.bags, self.data.test, self.data.truth
        held_out, kept = self.split(share, plan.config.seed)
        picker = evaluation_set(bags[held_out], None) if plan.config.keep == "validation" and len(held_out) else None
        if test is None:
            test = dataclasses.replace(evaluation_set(bags[held_out], truth), to_frames=self.to_frames)
        return Material(bags, kept, picker, picker), test


def _planned(row: ComparisonRow, seed: int, parts: _Parts, output: Path, device: torch.device) -> _Run:
    plan = row.plan.with_training(seed=seed).on(device)
    config = plan.config
    share = config.validation if parts.data.test is None or config.keep == "validation" else 0
    held_out, _ = parts.split(share, seed)
    identity = parts.fingerprints | {
        "method": plan.method,
        "method_settings": dataclasses.asdict(plan.settings),
        "training": dataclasses.asdict(config),
        "held_out": _digest([parts.data.bags.names[i] for i in held_out]),
    }
    path = output / "runs" / f"{row.label}-{seed}.json"
    result = read_record(path, identity)
    if result is None:
        parts.check(config, share)
    is_small = device.type == "cpu" and result is None and _n_parameters(plan.method, plan.settings) <= SMALL
    return _Run(row, plan, share, path, identity, result, device, parts.to_frames, is_small)


@cache
def _n_parameters(method: str, settings: Any) -> int:
    with torch.random.fork_rng():
        network = find_method(method).build(settings)
    return sum(parameter.numel() for parameter in network.parameters())


def _work(run: _Run) -> int:
    """A measure of the time that a run takes."""
    return run.plan.config.steps * _n_parameters(run.plan.method, run.plan.settings)


def _results(
    runs: Sequence[_Run],
    data: TrainingData,
    workers: int,
    on_step: Callable[[ComparisonRow, int, int], None] | None,
) -> Iterator[ComparisonResult]:
    yield from (run.result for run in runs if run.result)
    failures = []
    with closing(_outcomes([run for run in runs if not run.result], data, workers, on_step)) as outcomes:
        for run, result, error in outcomes:
            if result:
                yield result
            if error:
                failures.append((run, error))
    for run, error in failures:
        more = f" {len(failures) - 1} more failed." if len(failures) > 1 else ""
        error.args = (f"{run.row.label}, seed {run.seed}: {error}{more}",)
        raise error


def _outcomes(
    runs: Sequence[_Run],
    data: TrainingData,
    workers: int,
    on_step: Callable[[ComparisonRow, int, int], None] | None,
) -> Generator[tuple[_Run, ComparisonResult | None, Exception | None], None, None]:
    """Each run with its result, or with what went wrong."""

    def told(run: _Run, step: int) -> None:
        if on_step:
            on_step(run.row, run.seed, step)

    small = sorted((run for run in runs if run.is_small), key=_work, reverse=True)  # so that all end at about one time
    beside = small if min(workers, len(small)) > 1 else []
    if beside:
        with closing(in_processes(_done, data, beside, workers, lambda i, step: told(beside[i], step))) as outcomes:
            yield from ((beside[i], result, error) for i, result, error in outcomes)
    for run in runs:
        if beside and run.is_small:
            continue
        try:
            result = _done(data, run, partial(told, run))
        except AnomalyError as error:
            yield run, None, error
        else:
            yield run, result, None


def _done(data: TrainingData, run: _Run, on_step: Callable[[int], None]) -> ComparisonResult:
    """Train and evaluate a run, and keep its result."""
    material, test = _Parts(data, run.to_frames).sets(run.plan, run.share)
    assert test.truth is not None
    with _threads(1 if run.is_small else torch.get_num_threads()):
        trained = fit(run.plan, material, run.device, on_progress=lambda now: on_step(now.step))
        segments = score_bags(trained.method, test.bags.x, run.device)
    write_scores(run.path.with_suffix(".npz"), test.bags.names, segments)
    metrics = metrics_of(test.frame_scores(segments), test.truth)
    result = ComparisonResult(run.row.label, run.seed, trained.kept_step, dataclasses.asdict(metrics))
    write_record(run.path, result, run.identity)
    return result


@contextmanager
def _threads(n: int) -> Iterator[None]:
    """Let torch use `n` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _digest(names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()
