"""Algorithm 1 of the paper: train DE-Net on bags with video-level labels."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor

from . import __version__
from .checkpoint import ModelInfo, load_tensors, save_model, save_tensors
from .datasets import Bags
from .denet import DENet, DENetConfig
from .erasing import erase
from .errors import CheckpointError, UsageError
from .losses import ranking_loss, variation_loss

ERASING = ("dynamic", "always", "never")


@dataclass(frozen=True)
class TrainConfig:
    """How to train: the paper's settings (Sec. 4.1), and where it is silent, ours.

    Raises ValueError where a number makes no sense.
    """

    steps: int = 1000  # not in the paper
    batch: int = 32  # abnormal videos a step, and as many normal ones
    lr: float = 1e-5
    weight_decay: float = 1e-3
    erasing: str = "dynamic"  # always: every abnormal video, without assessment; never: MSTM alone
    threshold: float = 0.8  # delta, Eq. 10
    alpha1: float = 1.0  # Eq. 14-15
    alpha2: float = 1e-4
    lambda1: float = 1.0  # Eq. 16
    lambda2: float = 1.0
    validation: float = 0.2  # share of the videos held out, of each label
    validate_every: int = 50  # steps; the state that --resume needs is saved as often
    seed: int = 0

    def __post_init__(self):
        if self.erasing not in ERASING:
            raise ValueError(f"Erasing is {', '.join(ERASING)}; not '{self.erasing}'.")
        if min(self.steps, self.batch, self.validate_every) < 1:
            raise ValueError("Steps, batch and the steps between validations must be 1 or more.")
        if not 0 <= self.validation < 1:
            raise ValueError(f"The share held out for validation must be in [0, 1), not {self.validation}.")


@dataclass(frozen=True)
class Progress:
    """Where training stands after `step` steps.

    erased: share of the batch's abnormal segments that were erased. validation_ap: average precision
    of the videos held out, a video's score being its highest; None where none are held out.
    """

    step: int
    loss: float
    erased: float
    validation_ap: float | None


def train(
    bags: Bags,
    output: str | Path,
    model_config: DENetConfig,
    config: TrainConfig = TrainConfig(),
    *,
    device: str | torch.device = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    half: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> ModelInfo:
    """Train and write the last state of the network to `output` (safetensors; fp16 with `half`).

    Every `validate_every` steps the whole state goes to `output` + ".state", from which `resume` goes
    on to the very result of an uninterrupted run: each step draws its videos and its dropout from
    (seed, step) alone.

    Raises UsageError where there is only one class, where `output` is there already and neither
    `resume` nor `overwrite` is given, or where the run to resume had other settings or data.
    """
    output = Path(output)
    state = output.with_name(output.name + ".state")
    device = torch.device(device)
    if not resume and not overwrite:
        _refuse_to_replace(output, state)
    held_out, kept = _split(bags.labels, config)
    abnormal, normal = (kept[bags.labels[kept] == label] for label in (1, 0))
    if not len(abnormal) or not len(normal):
        only = "abnormal" if len(abnormal) else "normal"
        raise UsageError(f"Every training video is {only}: DE-Net learns from the difference, so give both kinds.")
    identity = {
        "model": dataclasses.asdict(model_config),
        "train": {name: value for name, value in dataclasses.asdict(config).items() if name != "steps"},
        "data": bags.fingerprint(),
    }
    x = torch.from_numpy(bags.x[:, 0]).to(device)

    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = DENet(model_config).to(device)
        optimizer = torch.optim.Adam(model.parameters(), config.lr, weight_decay=config.weight_decay, fused=True)
        step, ap = 0, None
        if resume and state.exists():
            step, ap = _load_state(state, model, optimizer, identity)
        while step < config.steps:
            torch.manual_seed(_step_seed(config.seed, step))
            x_a = x[draw(abnormal, step, config.batch, (config.seed, 1))]
            x_n = x[draw(normal, step, config.batch, (config.seed, 0))]
            model.train()
            loss, erased = total_loss(model, x_a, x_n, config)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            if step % config.validate_every == 0 or step == config.steps:
                if len(held_out):
                    ap = _validation_ap(model, x[held_out], bags.labels[held_out])
                _save_state(state, model, optimizer, identity, step, ap)
            if on_progress:
                on_progress(Progress(step, loss.item(), erased.float().mean().item(), ap))

    info = ModelInfo(
        model_config,
        bags.kind,
        training=dataclasses.asdict(config)
        | {
            "data": identity["data"],
            "abnormal_videos": len(abnormal),
            "normal_videos": len(normal),
            "validation_videos": len(held_out),
            "validation_ap": ap,
            "checkpoint": "last",
            "tool": f"anomalycli {__version__}",
        },
    )
    save_model(output, model, info, half)
    state.unlink(missing_ok=True)
    return info


def total_loss(model: DENet, x_a: Tensor, x_n: Tensor, config: TrainConfig) -> tuple[Tensor, Tensor]:
    """Eq. 14-16 for a batch of abnormal and normal videos, (B, T, D) each.

    Returns the loss, a scalar, and which segments of x_a were erased, bool (B, T).
    """
    n = len(x_a)

    def loss(features: Tensor, scores: Tensor) -> Tensor:  # Eq. 14-15
        score_loss = ranking_loss(scores[:n], scores[n:])
        return config.alpha1 * score_loss + config.alpha2 * variation_loss(features[:n], features[n:])

    features, scores = model(torch.cat((x_a, x_n)))  # the un-erase step
    unerased = config.lambda1 * loss(features, scores)
    if config.erasing == "never":
        return unerased, torch.zeros_like(scores[:n], dtype=torch.bool)
    x_e, erased = erase(x_a, scores[:n], x_n, scores[n:], config.threshold, config.erasing == "dynamic")
    return unerased + config.lambda2 * loss(*model(torch.cat((x_e, x_n)))), erased  # the erase step, Eq. 16


def draw(videos: np.ndarray, step: int, batch: int, seed: tuple[int, ...]) -> np.ndarray:
    """The videos of one step: all are seen once, in an order shuffled anew, before any comes again."""
    at = np.arange(step * batch, (step + 1) * batch)
    rounds = {r: np.random.default_rng((*seed, r)).permutation(videos) for r in np.unique(at // len(videos))}
    return np.array([rounds[i // len(videos)][i % len(videos)] for i in at])


def _split(labels: np.ndarray, config: TrainConfig) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the videos held out, `validation` of each label, and of those to train on."""
    held_out = [np.empty(0, int)]
    for label in (0, 1):
        videos = np.random.default_rng((config.seed, label)).permutation(np.flatnonzero(labels == label))
        held_out.append(videos[: int(len(videos) * config.validation)])
    if any(len(part) == 0 for part in held_out[1:]):
        held_out = held_out[:1]  # one class alone has no AP
    held_out = np.sort(np.concatenate(held_out))
    return held_out, np.setdiff1d(np.arange(len(labels)), held_out)


@torch.inference_mode()
def _validation_ap(model: DENet, x: Tensor, labels: np.ndarray) -> float:
    model.eval()
    scores = torch.cat([model(part)[1].amax(1) for part in x.split(64)])
    return float(average_precision_score(labels, scores.cpu()))


def _step_seed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence((seed, step)).generate_state(1)[0])


def _refuse_to_replace(output: Path, state: Path) -> None:
    if state.exists():
        raise UsageError(f"{state}: a run stopped on the way is there. Give --resume to go on, or --overwrite.")
    if output.exists():
        raise UsageError(f"{output}: there is a model of this name. Give --overwrite, or another --output.")


def _save_state(path: Path, model: DENet, optimizer, identity: dict, step: int, ap: float | None) -> None:
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for i, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{i}.{name}": tensor for name, tensor in moments.items()}
    save_tensors(path, {k: v.cpu().contiguous() for k, v in tensors.items()}, {"run": identity, "step": step, "ap": ap})


def _load_state(path: Path, model: DENet, optimizer, identity: dict) -> tuple[int, float | None]:
    tensors, meta = load_tensors(path)
    for part, sentence in (
        ("data", "other features or labels"),
        ("model", "another network"),
        ("train", "other settings"),
    ):
        if meta["run"][part] != identity[part]:
            raise UsageError(f"{path}: that run had {sentence}. Resume it as it was begun, or give --overwrite.")
    try:
        model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
        moments: dict[int, dict[str, Tensor]] = {}
        for key in (key for key in tensors if key.startswith("adam.")):
            _, i, name = key.split(".")
            moments.setdefault(int(i), {})[name] = tensors[key]
        optimizer.load_state_dict(optimizer.state_dict() | {"state": moments})
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path}: not a state to go on from; give --overwrite.") from error
    return meta["step"], meta["ap"]
