"""The saved state of a training run, from which it resumes with the same result."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..checkpoint import load_tensors, save_tensors
from ..errors import CheckpointError, UsageError
from ..methods import Method, find_method
from ..settings import defaults_of
from .config import TrainConfig
from .erasure_log import Erasure

_DIFFERENT = (
    ("data", "other features or labels"),
    ("method", "another method"),
    ("model", "another network"),
    ("train", "other settings"),
    ("held_out", "other videos held out"),
    ("watch", "other videos watched"),
    ("judged_on", "other ground truth or test videos"),
    ("start", "another model to fine-tune"),
)


class TrainingState:
    """A run between two steps: the method, its optimizer, and the best state so far."""

    def __init__(self, method: Method, optimizer: torch.optim.Optimizer):
        self.method, self.optimizer = method, optimizer
        self.step = 0
        self.ap: float | None = None
        self.best: dict[str, Tensor] = {}
        self.best_ap: float | None = None
        self.best_step = 0
        self.erasures: list[Erasure] = []

    def keep_best(self, ap: float) -> None:
        """Keep the weights as they are now if `ap` is higher than before."""
        if self.best_ap is None or ap > self.best_ap:
            self.best = {name: tensor.clone() for name, tensor in self.method.state_dict().items()}
            self.best_ap, self.best_step = ap, self.step

    @property
    def kept_step(self) -> int:
        """The step whose weights are kept."""
        return self.best_step if self.best else self.step


@dataclass(frozen=True)
class StateFile:
    """The file of a run's state, and the identity (method, settings, data) that a resumed run must share."""

    path: Path
    identity: dict

    def save(self, run: TrainingState) -> None:
        """Write the state atomically."""
        tensors = {f"model.{name}": tensor for name, tensor in run.method.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in run.best.items()}
        for i, moments in run.optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{i}.{name}": tensor for name, tensor in moments.items()}
        meta = {
            "run": self.identity,
            "step": run.step,
            "ap": run.ap,
            "best_ap": run.best_ap,
            "best_step": run.best_step,
            "erasures": [dataclasses.astuple(erasure) for erasure in run.erasures],
        }
        save_tensors(self.path, {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, meta)

    def load(self, run: TrainingState) -> None:
        """Restore the saved state into `run`.

        Raises UsageError where the state is of another run, CheckpointError where the file is not a state.
        """
        tensors, meta = load_tensors(self.path)
        try:
            before = {"judged_on": self.identity.get("judged_on")} | _identity(meta["run"])  # older states lack it
            for part, different in _DIFFERENT:
                if before.get(part) != self.identity.get(part):
                    raise UsageError(
                        f"{self.path}: that run had {different}. Resume it with what it began with, or overwrite it.",
                        "overwrite",
                    )
            _restore(run, tensors, meta)
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{self.path}: not a state that a run can resume from; overwrite it.") from error

    def remove(self) -> None:
        """Remove the file, if it is there."""
        self.path.unlink(missing_ok=True)


def _restore(run: TrainingState, tensors: dict[str, Tensor], meta: dict) -> None:
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "adam": {}}
    for key, tensor in tensors.items():
        part, _, name = key.partition(".")
        parts[part][name] = tensor
    run.method.load_state_dict(parts["model"])
    moments: dict[int, dict[str, Tensor]] = {}
    for key, tensor in parts["adam"].items():
        i, _, name = key.partition(".")
        moments.setdefault(int(i), {})[name] = tensor
    run.optimizer.load_state_dict(run.optimizer.state_dict() | {"state": moments})
    run.step, run.ap, run.best = meta["step"], meta["ap"], parts["best"]
    run.best_ap, run.best_step = meta["best_ap"], meta["best_step"]
    run.erasures = [Erasure(epoch, at, video, n, tuple(segments)) for epoch, at, video, n, segments in meta["erasures"]]


def _identity(run: dict) -> dict:
    """The identity in a state; settings that did not exist when it was written have their defaults.

    Version 0.1 knew DE-Net alone and had its loss among the settings of training.
    """
    method = find_method(run.get("method", "de-net"))
    train = dict(run["train"])
    model = run["model"] | {name: train.pop(name) for name in method.names if name in train}
    defaults = {name: value for name, value in defaults_of(TrainConfig).items() if name != "steps"}
    return run | {"method": method.name, "model": defaults_of(method.settings) | model, "train": defaults | train}
