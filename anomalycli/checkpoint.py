"""Model files: safetensors, with the configuration and what it was trained on in the metadata."""

import dataclasses
import importlib.resources
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from .denet import DENet, DENetConfig
from .errors import CheckpointError, cause
from .events import EventRule
from .features.files import FeatureKind
from .segments import pool
from .storage import write_whole

VERSION = 1
BUNDLED = "street-fights.safetensors"
_KEY = "anomalycli"  # safetensors writes several keys in any order; one keeps files the same, bit for bit


@dataclass(frozen=True)
class ModelInfo:
    """What a model is: its network, the features it knows, its events' defaults, how it was trained."""

    config: DENetConfig
    kind: FeatureKind
    events: EventRule = EventRule()
    training: dict = field(default_factory=dict)


def save_model(path: Path, model: DENet, info: ModelInfo, half: bool = False) -> None:
    """Write the model; with `half`, its weights as fp16, in half the space."""
    dtype = torch.float16 if half else torch.float32
    tensors = {name: tensor.detach().cpu().to(dtype).contiguous() for name, tensor in model.state_dict().items()}
    save_tensors(path, tensors, dataclasses.asdict(info))


def load_model(path: Path) -> tuple[DENet, ModelInfo]:
    """Returns the model in fp32 on the CPU, in eval mode. Raises CheckpointError where it is not one."""
    tensors, meta = load_tensors(path)
    try:
        info = ModelInfo(
            DENetConfig(**meta["config"]), FeatureKind(**meta["kind"]), EventRule(**meta["events"]), meta["training"]
        )
        model = DENet(info.config)
        model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: not a model of this tool ({cause(error)}).") from error
    return model.eval(), info


def load_bundled() -> tuple[DENet, ModelInfo]:
    """The model that comes with the installation."""
    with importlib.resources.as_file(importlib.resources.files("anomalycli.bundled") / BUNDLED) as path:
        return load_model(path)


def bundled_judge(kind: FeatureKind) -> Callable[[np.ndarray], np.ndarray] | None:
    """The bundled model as a function from features to scores, or None if it does not know features of this kind."""
    model, info = load_bundled()
    return None if info.kind.difference(kind) else judge_of(model, info)


def judge_of(model: DENet, info: ModelInfo) -> Callable[[np.ndarray], np.ndarray]:
    """`model` as a function from features (n_clips, n_crops, D), without sound, to scores (n_segments,)."""

    @torch.inference_mode()
    def judge(visual: np.ndarray) -> np.ndarray:
        segments = torch.from_numpy(pool(visual, info.config.segments)).transpose(0, 1)  # (n_crops, T, D)
        missing = info.kind.width - info.kind.dim
        device = next(model.parameters()).device
        bags = torch.nn.functional.pad(segments, (0, missing)).to(device)  # zeros: a silent video
        return model(bags)[1].mean(0).cpu().numpy()

    return judge


def save_tensors(path: Path, tensors: dict[str, torch.Tensor], meta: dict) -> None:
    """Write tensors and a JSON object beside them, whole or not at all."""
    write_whole(path, save(tensors, {_KEY: json.dumps({"version": VERSION} | meta, sort_keys=True)}))


def load_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """What `save_tensors` wrote. Raises CheckpointError where the file is missing, damaged or another's."""
    try:
        with safe_open(path, framework="pt") as file:
            meta = json.loads((file.metadata() or {})[_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: there is no such file.") from error
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path}: not a model file of this tool, or not whole ({cause(error)}).") from error
    if meta.pop("version") != VERSION:
        raise CheckpointError(f"{path}: written in a format that this version does not read.")
    return tensors, meta
