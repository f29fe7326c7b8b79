"""The state of a training run on disk: what it needs to go on to the same end."""

import dataclasses
from pathlib import Path

import torch
from torch import Tensor, nn

from ..checkpoint import load_tensors, save_tensors
from ..errors import CheckpointError, UsageError
from .erasure_log import Erasure


class Run:
    """A run between two steps; its identity (settings, data) is kept beside it."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer):
        self.model, self.optimizer = model, optimizer
        self.step = 0
        self.ap: float | None = None
        self.best: dict[str, Tensor] = {}
        self.best_ap: float | None = None
        self.best_step = 0
        self.erasures: list[Erasure] = []

    def keep_best(self, ap: float) -> None:
        if self.best_ap is None or ap > self.best_ap:
            self.best = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
            self.best_ap, self.best_step = ap, self.step


def save_state(path: Path, run: Run, identity: dict) -> None:
    tensors = {f"model.{name}": tensor for name, tensor in run.model.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in run.best.items()}
    for i, moments in run.optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{i}.{name}": tensor for name, tensor in moments.items()}
    meta = {
        "run": identity,
        "step": run.step,
        "ap": run.ap,
        "best_ap": run.best_ap,
        "best_step": run.best_step,
        "erasures": [dataclasses.astuple(erasure) for erasure in run.erasures],
    }
    save_tensors(path, {k: v.cpu().contiguous() for k, v in tensors.items()}, meta)


def load_state(path: Path, run: Run, identity: dict) -> None:
    """Raises UsageError where the state is of another run, CheckpointError where it is none."""
    tensors, meta = load_tensors(path)
    for part, sentence in (
        ("data", "other features or labels"),
        ("model", "another network"),
        ("train", "other settings"),
        ("held_out", "other videos held out"),
        ("watch", "other videos watched"),
    ):
        if meta["run"].get(part) != identity[part]:
            raise UsageError(f"{path}: that run had {sentence}. Resume it as it was begun, or give --overwrite.")
    try:
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "adam": {}}
        for key, tensor in tensors.items():
            part, _, name = key.partition(".")
            parts[part][name] = tensor
        run.model.load_state_dict(parts["model"])
        moments: dict[int, dict[str, Tensor]] = {}
        for key, tensor in parts["adam"].items():
            i, _, name = key.partition(".")
            moments.setdefault(int(i), {})[name] = tensor
        run.optimizer.load_state_dict(run.optimizer.state_dict() | {"state": moments})
        run.step, run.ap, run.best = meta["step"], meta["ap"], parts["best"]
        run.best_ap, run.best_step = meta["best_ap"], meta["best_step"]
        run.erasures = [
            Erasure(epoch, at, video, n, tuple(segments)) for epoch, at, video, n, segments in meta["erasures"]
        ]
    except (RuntimeError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: not a state to go on from; give --overwrite.") from error
