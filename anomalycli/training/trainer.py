"""The trainer of all methods: from a plan and labelled bags to a checkpoint. For DE-Net it is Algorithm 1."""

import copy
import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checkpoint import ModelInfo, TrainingRecord, fingerprint, save_model
from ..data.bags import Bags
from ..data.sampling import BagBatches, arranged, split
from ..device import keep_freed_memory
from ..errors import UsageError
from ..evaluation.protocol import EvaluationSet, evaluation_set
from ..events import EventRule
from ..methods import Method, find_method
from ..methods.prepared import scaled, standardised
from ..storage import check_writable
from ..version import __version__
from .config import CHECKPOINTS, TrainConfig, check_keep
from .destination import Destination as Destination
from .erasure_log import Erasure, write_erasures
from .loop import Step, make_optimizer, optimise
from .plan import Plan
from .state import StateFile, TrainingState
from .validation import average_precision


@dataclass(frozen=True)
class TrainingData:
    """Data of a training run.

    groups: group (source, camera) by video; videos of one group are held out together or not at all. truth: bool
    (n_frames,) by video, if validation is to be on frames. test: used only to keep the checkpoint that is best on it.
    watch: videos whose erased segments are recorded.
    """

    bags: Bags
    groups: Mapping[str, str] | None = None
    truth: Mapping[str, np.ndarray] | None = None
    test: EvaluationSet | None = None
    watch: Sequence[str] = ()


@dataclass(frozen=True)
class Material:
    """The bags of one run: those trained on (`kept`), validated on, and those that pick the state to keep.

    start: a trained network to begin from, which stays as it is; None begins anew.
    """

    bags: Bags
    kept: np.ndarray
    validation: EvaluationSet | None = None
    picker: EvaluationSet | None = None
    watch: Sequence[str] = ()
    start: Method | None = None

    def __post_init__(self):
        check_classes(self.bags.labels[self.kept])


@dataclass(frozen=True)
class TrainingProgress:
    """Progress after a step, and the method in its current state.

    validation_ap: average precision on what is held out; None where nothing is, or before it is measured.
    """

    last: Step
    validation_ap: float | None
    method: Method

    @property
    def step(self) -> int:
        """Steps done."""
        return self.last.number

    @property
    def loss(self) -> float:
        """Reading it waits for the device."""
        return self.last.loss.item()

    @property
    def erased(self) -> float | None:
        """Share of the batch's abnormal segments that were erased. Reading it waits for the device.

        None where the method erases nothing: it has no setting `erasing`, or that is "never".
        """
        share = self.last.erased.float().mean().item()
        erases = getattr(self.method.settings, "erasing", "never") != "never"
        return share if erases or share else None


def train(
    plan: Plan,
    data: TrainingData,
    destination: Destination,
    device: str | torch.device = "cpu",
    on_progress: Callable[[TrainingProgress], None] | None = None,
) -> ModelInfo:
    """Train and write the checkpoint, in the state that `config.keep` names.

    Of the videos that are watched, what was erased is written beside it, to NAME.erasing.csv. Every
    `config.validate_every` steps the whole state goes to NAME.state, from which a resumed run gives the same
    result as an uninterrupted one.

    Raises UsageError where there is only one class, where the checkpoint exists and is neither to be resumed nor
    overwritten, where the run to resume had other settings or data, or where there is nothing to pick the best on.
    """
    bags, test = data.bags, data.test
    if test and (conflict := test.bags.kind.conflict(bags.kind, "the test features have", "the training features")):
        raise UsageError(f"{conflict}: both need features of the same kind.")
    device = torch.device(device)
    plan = plan.on(device)
    destination.check()
    if data.watch:
        check_writable(destination.beside(".erasing.csv"))
    held_out, material = _divide(plan.config, data)
    identity = identity_of(plan, material, held_out)
    del identity["train"]["steps"]  # a run may be resumed with more of them
    state = StateFile(destination.beside(".state"), identity)
    run_of = hash_of({name: part for name, part in identity.items() if name != "watch"})
    destination.check_finished(state.path.exists(), lambda info: _is_of(info, plan, bags, run_of))
    if not destination.resume:
        state.remove()
    run = fit(plan, material, device, state, on_progress)
    record = dataclasses.replace(
        record_of(plan, material),
        validation_ap=run.ap,
        validated_on="frames" if data.truth is not None else "videos",
        checkpoint_step=run.kept_step,
        checkpoint_ap=run.best_ap,
        run=run_of,
    )
    info = ModelInfo(plan.settings, data.bags.kind, EventRule(), record, plan.method, plan.config.prepares)
    save_model(destination.path, run.method, info, destination.half)
    if data.watch:
        write_erasures(destination.beside(".erasing.csv"), run.erasures)
    state.remove()
    return info


def fit(
    plan: Plan,
    material: Material,
    device: torch.device,
    state: StateFile | None = None,
    on_progress: Callable[[TrainingProgress], None] | None = None,
) -> TrainingState:
    """Train to the end; the method returned has the weights to keep. With `state`, save there and resume from it."""
    config, bags = plan.config, material.bags
    if device.type == "cpu":
        keep_freed_memory()
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        method = (copy.deepcopy(material.start) if material.start else _build(plan, material)).to(device)
        run = TrainingState(method, make_optimizer(method, config))
        if state and state.path.exists():
            state.load(run)
        rows, rows_per_video = arranged(bags.x, config.crops)
        batches = BagBatches(bags.labels, material.kept, rows_per_video, config.crops, config.batch, config.seed)
        x = torch.from_numpy(rows).to(device)
        for step in optimise(method, run.optimizer, x, batches, config, run.step):
            run.step = step.number
            run.erasures += _watched(material, batches, step)
            if step.number % config.validate_every == 0 or step.number == config.steps:
                _check_finite(run)
                _validate(run, material, device)
                if state:
                    state.save(run)
            if on_progress:
                on_progress(TrainingProgress(step, run.ap, method))
    if run.best:
        method.load_state_dict(run.best)
    return run


def _check_finite(run: TrainingState) -> None:
    """Raise UsageError where training has diverged."""
    if not all(parameter.isfinite().all() for parameter in run.method.parameters()):
        raise UsageError(
            f"The network holds no finite numbers any more after step {run.step}: training diverges. Choose a lower "
            "learning rate, unless features are damaged (values of millions).",
            "lr",
        )


def _build(plan: Plan, material: Material) -> Method:
    method, config = find_method(plan.method).build(plan.settings), plan.config
    if not config.standardise:
        return scaled(method, material.bags.dim, config.scale) if config.prepares else method
    kind = material.bags.kind
    groups = [width for _, width in kind.groups] + [kind.width - kind.dim] * bool(kind.audio)
    made = standardised(method, material.bags.x[material.kept], groups, config.balance, config.group_dropout)
    made.deviation /= config.scale
    return made


def check_classes(labels: np.ndarray) -> None:
    """Raise UsageError where the videos to train on are of one class."""
    if len(set(labels)) < 2:
        only = "abnormal" if labels.any() else "normal"
        instead = "" if labels.any() else " Normal footage alone can set thresholds: `anomalycli calibrate`."
        raise UsageError(f"Every training video is {only}: training needs normal and abnormal videos.{instead}")


def _divide(config: TrainConfig, data: TrainingData) -> tuple[list[str], Material]:
    """The videos held out, and the material of the run."""
    bags = data.bags
    held_out, kept = split(bags.names, bags.labels, config.validation, config.seed, bags.grouped(data.groups))
    validation = evaluation_set(bags[held_out], data.truth) if len(held_out) else None
    picker = {"last": None, "validation": validation, "test": data.test}[config.keep]
    material = Material(bags, kept, validation, picker, data.watch)
    check_keep(config.keep, picker is not None)
    trained_on = {bags.names[i]: bags.labels[i] for i in kept}
    for name in data.watch:
        if name not in bags.names:
            raise UsageError(f"There is no video '{name}' to watch.", "watch")
        if name not in trained_on:
            raise UsageError(f"'{name}' is held out: only videos that are trained on are erased.", "watch")
        if trained_on[name] == 0:
            raise UsageError(f"'{name}' is a normal video: only abnormal ones are erased.", "watch")
    return [bags.names[i] for i in held_out], material


def _validate(run: TrainingState, material: Material, device: torch.device) -> None:
    if material.validation:
        run.ap = average_precision(run.method, material.validation, device)
    if run.ap is not None and material.picker is material.validation:
        run.keep_best(run.ap)
    elif material.picker:
        run.keep_best(average_precision(run.method, material.picker, device))


def identity_of(plan: Plan, material: Material, held_out: Sequence[str] = ()) -> dict[str, Any]:
    """Everything that a resumed run must share with the original one, as a JSON object. held_out: names of videos."""
    judges = filter(None, (material.validation, material.picker))
    return {
        "method": plan.method,
        "model": dataclasses.asdict(plan.settings),
        "train": dataclasses.asdict(plan.config),
        "data": material.bags.fingerprint(),
        "held_out": list(held_out),
        "watch": sorted(material.watch),
        "judged_on": [judge.bags.fingerprint() + judge.fingerprint() for judge in judges],
        **({"start": fingerprint(material.start)} if material.start else {}),
    }


def hash_of(identity: Any) -> str:
    """A hash of a JSON object, equal for equal ones."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _is_of(info: ModelInfo, plan: Plan, bags: Bags, run: str) -> bool:
    """Whether a model is of this plan, these bags, and this run as far as it says; older ones do not."""
    before, config = info.training, dataclasses.asdict(plan.config)
    if before.data != bags.fingerprint() or before.run not in (None, run):
        return False
    return (info.method, info.settings, before.settings) == (plan.method, plan.settings, config)


def record_of(plan: Plan, material: Material) -> TrainingRecord:
    """The record of a run as far as it is known before the run."""
    bags, labels = material.bags, material.bags.labels[material.kept]
    return TrainingRecord(
        settings=dataclasses.asdict(plan.config),
        data=bags.fingerprint(),
        crops_seen=bags.seen,
        abnormal_videos=int((labels == 1).sum()),
        normal_videos=int((labels == 0).sum()),
        validation_videos=len(bags.names) - len(labels),
        checkpoint=CHECKPOINTS[plan.config.keep],
        tool=f"anomalycli {__version__}",
    )


def _watched(material: Material, batches: BagBatches, step: Step) -> list[Erasure]:
    if not material.watch:
        return []
    names, n_segments = material.bags.names, material.bags.x.shape[2]
    rows = [(row, names[bag // batches.n_crops]) for row, bag in enumerate(batches(step.number - 1)[0])]
    return [
        Erasure(batches.epoch(step.number - 1, row), step.number, name, n_segments, _indices(step.erased[row]))
        for row, name in rows
        if name in material.watch
    ]


def _indices(mask: Tensor) -> tuple[int, ...]:
    return tuple(mask.nonzero()[:, 0].tolist())
