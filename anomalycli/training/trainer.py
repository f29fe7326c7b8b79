"""Algorithm 1 of the paper: train DE-Net on bags with video-level labels."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from torch import Tensor, nn

from ..checkpoint import ModelInfo, save_model
from ..data.bags import CROPS, Bags
from ..data.sampling import Batches, split
from ..denet import DENet, DENetConfig
from ..device import pick_precision
from ..erasing import erase
from ..errors import UsageError
from ..evaluation.protocol import EvaluationSet, evaluation_set
from ..losses import ranking_loss, variation_loss
from ..version import __version__
from .erasure_log import Erasure, write_erasures
from .state import Run, load_state, save_state
from .validation import average_precision

ERASING = ("dynamic", "always", "never")
PRECISIONS = ("auto", "fp32", "bf16")
CHECKPOINTS = {"last": "last", "validation": "best on validation", "test": "best on test"}
CHUNK = 64  # steps whose batches are drawn at once, so that a device need not wait for each


@dataclass(frozen=True)
class TrainConfig:
    """Training settings: the paper's (Sec. 4.1), and ours where the paper gives none.

    Each field is Annotated with its description and, for a fixed set of values, those values; the command line
    makes its options from them. Raises ValueError for values out of range.
    """

    steps: Annotated[int, "Batches to train on."] = 1000  # not in the paper
    batch: Annotated[int, "Abnormal videos per batch, and as many normal ones."] = 32
    lr: Annotated[float, "Learning rate of Adam."] = 1e-5
    weight_decay: Annotated[float, "Weight decay of Adam."] = 1e-3
    erasing: Annotated[str, "Abnormal videos to erase in: by dynamic assessment, always or never.", ERASING] = "dynamic"
    threshold: Annotated[float, "Delta of Eq. 10: segments that score higher are erased."] = 0.8
    alpha1: Annotated[float, "Weight of the score loss, Eq. 14-15."] = 1.0
    alpha2: Annotated[float, "Weight of the feature loss, Eq. 14-15."] = 1e-4
    lambda1: Annotated[float, "Weight of the loss without erasing, Eq. 16."] = 1.0
    lambda2: Annotated[float, "Weight of the loss after erasing, Eq. 16."] = 1.0
    crops: Annotated[
        str, "Features with several crops: their mean, a random one per batch (draw), or each as a video (all).", CROPS
    ] = "mean"
    validation: Annotated[float, "Share of the videos of each label to hold out for validation."] = 0.2
    validate_every: Annotated[int, "Steps between validations; the training state is saved as often."] = 50
    keep: Annotated[str, "Checkpoint to write: the last, or the best on validation or test.", tuple(CHECKPOINTS)] = (
        "last"
    )
    precision: Annotated[
        str, "Of the network's products; auto is bf16 where the device computes it faster.", PRECISIONS
    ] = "auto"
    seed: Annotated[int, "Same seed, same model."] = 0

    def __post_init__(self):
        if self.erasing not in ERASING:
            raise ValueError(f"Erasing is {', '.join(ERASING)}; not '{self.erasing}'.")
        if self.crops not in CROPS:
            raise ValueError(f"Crops are {', '.join(CROPS)}; not '{self.crops}'.")
        if self.keep not in CHECKPOINTS:
            raise ValueError(f"What is kept is {', '.join(CHECKPOINTS)}; not '{self.keep}'.")
        if self.precision not in PRECISIONS:
            raise ValueError(f"Precision is {', '.join(PRECISIONS)}; not '{self.precision}'.")
        if min(self.steps, self.batch, self.validate_every) < 1:
            raise ValueError("Steps, batch and the steps between validations must be 1 or more.")
        if not 0 <= self.validation < 1:
            raise ValueError(f"The share held out for validation must be in [0, 1), not {self.validation}.")

    def on(self, device: torch.device) -> "TrainConfig":
        """These settings with the precision that "auto" comes to on `device`."""
        precision = pick_precision(self.precision, device)
        return dataclasses.replace(self, precision="bf16" if precision == "bf16" else "fp32")


@dataclass(frozen=True)
class Progress:
    """Where training stands after `step` steps.

    validation_ap: average precision on what is held out; None where nothing is.
    """

    step: int
    raw_loss: Tensor
    mask: Tensor  # which abnormal segments of the batch were erased
    validation_ap: float | None

    @property
    def loss(self) -> float:
        """Asking for it waits for the device."""
        return self.raw_loss.item()

    @property
    def erased(self) -> float:
        """Share of the batch's abnormal segments that were erased. Asking for it waits for the device."""
        return self.mask.float().mean().item()


def train(
    bags: Bags,
    output: str | Path,
    model_config: DENetConfig,
    config: TrainConfig = TrainConfig(),
    *,
    groups: Mapping[str, str] | None = None,
    truth: Mapping[str, np.ndarray] | None = None,
    test: EvaluationSet | None = None,
    watch: Sequence[str] = (),
    device: str | torch.device = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    half: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> ModelInfo:
    """Train and write the network to `output` (safetensors; fp16 with `half`), in the state `config.keep`.

    `groups` (group by video) keeps groups together where videos are held out; `truth`, bool (n_frames,)
    by video, makes validation a matter of frames. `test` is looked at only to keep the best on it.
    Of the videos in `watch`, what was erased is written to `output` + ".erasing.csv".

    Every `validate_every` steps the whole state goes to `output` + ".state", from which `resume` goes
    on to the very result of an uninterrupted run: each step draws its videos and its dropout from
    (seed, step) alone.

    Raises UsageError where there is only one class, where `output` is there already and neither
    `resume` nor `overwrite` is given, where the run to resume had other settings or data, or where
    nothing is there to pick the best on.
    """
    if test and (conflict := test.bags.kind.conflict(bags.kind, "the test features have", "the training features")):
        raise UsageError(f"{conflict}: both need features of the same kind.")
    output = Path(output)
    state = output.with_name(output.name + ".state")
    device = torch.device(device)
    config = config.on(device)
    if not resume and not overwrite:
        _refuse_to_replace(output, state)
    held_out, kept = split(bags.names, bags.labels, config.validation, config.seed, groups)
    check_classes(bags.labels[kept])
    validation = evaluation_set(bags[held_out], truth) if len(held_out) else None
    judge = {"last": None, "validation": validation, "test": test}[config.keep]
    if config.keep != "last" and judge is None:
        raise UsageError(f"There is nothing to pick the best state on: no video is set apart for {config.keep}.")
    if unknown := sorted(set(watch) - set(bags.names)):
        raise UsageError(f"There is no video '{unknown[0]}' to watch.")
    identity = {
        "model": dataclasses.asdict(model_config),
        "train": {name: value for name, value in dataclasses.asdict(config).items() if name != "steps"},
        "data": bags.fingerprint(),
        "held_out": [bags.names[i] for i in held_out],
        "watch": sorted(watch),
    }

    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = DENet(model_config).to(device)
        run = Run(model, make_optimizer(model, config))
        if resume and state.exists():
            load_state(state, run, identity)
        batches = Batches(bags.labels, kept, bags.x.shape[1], config.crops, config.batch, config.seed)
        x = torch.from_numpy(bags.x).flatten(0, 1).to(device)

        def loss_of(x_a: Tensor, x_n: Tensor) -> tuple[Tensor, Tensor]:
            return total_loss(model, x_a, x_n, config)

        for step, loss, erased in steps(model, loss_of, run.optimizer, x, batches, config, run.step):
            run.step = step
            run.erasures += _watched(bags, batches, step, erased, watch)
            if step % config.validate_every == 0 or step == config.steps:
                if validation:
                    run.ap = average_precision(model, validation, device)
                if run.ap is not None and judge is validation:
                    run.keep_best(run.ap)
                elif judge:
                    run.keep_best(average_precision(model, judge, device))
                save_state(state, run, identity)
            if on_progress:
                on_progress(Progress(step, loss, erased, run.ap))

    if run.best:
        model.load_state_dict(run.best)
    info = ModelInfo(
        model_config,
        bags.kind,
        training=dataclasses.asdict(config)
        | {
            "data": identity["data"],
            "crops_seen": bags.seen,
            "abnormal_videos": int((bags.labels[kept] == 1).sum()),
            "normal_videos": int((bags.labels[kept] == 0).sum()),
            "validation_videos": len(held_out),
            "validation_ap": run.ap,
            "validated_on": "frames" if truth is not None else "videos",
            "checkpoint": CHECKPOINTS[config.keep],
            "checkpoint_step": run.best_step if run.best else run.step,
            "checkpoint_ap": run.best_ap,
            "tool": f"anomalycli {__version__}",
        },
    )
    save_model(output, model, info, half)
    if watch:
        write_erasures(output.with_name(output.name + ".erasing.csv"), run.erasures)
    state.unlink(missing_ok=True)
    return info


def steps(
    model: nn.Module,
    loss_of: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    batches: Batches,
    config: TrainConfig,
    start: int = 0,
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Train from step `start` to config.steps, yielding steps done, loss and what was erased after each.

    x: (N * C, T, D), all bags, on the device of the model. `loss_of` takes abnormal and normal bags,
    (batch, T, D) each.
    """
    for first in range(start, config.steps, CHUNK):
        chunk = range(first, min(first + CHUNK, config.steps))
        rows = torch.from_numpy(np.stack([batches(step) for step in chunk])).to(x.device)
        for step, (abnormal, normal) in zip(chunk, rows, strict=True):
            torch.manual_seed(_step_seed(config.seed, step))
            model.train()
            loss, erased = loss_of(x[abnormal].float(), x[normal].float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield step + 1, loss.detach(), erased


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), config.lr, weight_decay=config.weight_decay, fused=True)


def check_classes(labels: np.ndarray) -> None:
    """Raises UsageError where the videos to train on are of one class."""
    if len(set(labels)) < 2:
        only = "abnormal" if labels.any() else "normal"
        raise UsageError(f"Every training video is {only}: DE-Net learns from the difference, so give both kinds.")


def total_loss(model: DENet, x_a: Tensor, x_n: Tensor, config: TrainConfig) -> tuple[Tensor, Tensor]:
    """Eq. 14-16 for a batch of abnormal and normal videos, (B, T, D) each.

    Returns the loss, a scalar, and which segments of x_a were erased, bool (B, T).
    """
    n = len(x_a)

    def loss(features: Tensor, scores: Tensor) -> Tensor:  # Eq. 14-15
        score_loss = ranking_loss(scores[:n], scores[n:])
        return config.alpha1 * score_loss + config.alpha2 * variation_loss(features[:n], features[n:])

    def run(x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            return model(x)

    features, scores = run(torch.cat((x_a, x_n)))  # the un-erase step
    unerased = config.lambda1 * loss(features, scores)
    if config.erasing == "never":
        return unerased, torch.zeros_like(scores[:n], dtype=torch.bool)
    x_e, erased = erase(x_a, scores[:n], x_n, scores[n:], config.threshold, config.erasing == "dynamic")
    return unerased + config.lambda2 * loss(*run(torch.cat((x_e, x_n)))), erased  # the erase step, Eq. 16


def _watched(bags: Bags, batches: Batches, step: int, erased: Tensor, watch: Sequence[str]) -> list[Erasure]:
    if not watch:
        return []
    rows = [(row, bags.names[bag // bags.x.shape[1]]) for row, bag in enumerate(batches(step - 1)[0])]
    return [
        Erasure(batches.epoch(step - 1, row), step, name, erased.shape[1], tuple(erased[row].nonzero()[:, 0].tolist()))
        for row, name in rows
        if name in watch
    ]


def _step_seed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence((seed, step)).generate_state(1)[0])


def _refuse_to_replace(output: Path, state: Path) -> None:
    if state.exists():
        raise UsageError(f"{state}: a run stopped on the way is there. Give --resume to go on, or --overwrite.")
    if output.exists():
        raise UsageError(f"{output}: there is a model of this name. Give --overwrite, or another --output.")
