"""Checkpoints: a trained method as safetensors, with its settings and training record in the metadata."""

import dataclasses
import hashlib
import importlib.resources
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from .errors import AnomalyError, CheckpointError, UsageError, cause
from .events import EventRule
from .features.files import FeatureKind
from .inference import score_bags
from .methods import Method, build_method, build_vote, find_method
from .segments import pool
from .settings import make_settings
from .storage import check_file, write_file

VERSION = 2
READ = (1, 2)  # 1: DE-Net alone, its loss among the settings of training
MOST_MEMBERS = 100  # more are a damaged file
BUNDLED = ("fights", "fights-mc3")  # names of the models that come with the installation; the first is the default
_KEY = "anomalycli"  # safetensors writes several keys in any order; one keeps files the same, bit for bit


@dataclass(frozen=True)
class TrainingRecord:
    """Training record of a model. Fields that an older file lacks are None.

    settings: the trainer's, by name; where several methods vote, the first one's. data: the fingerprint of the features
    and labels. run: the fingerprint of all that the model depends on. crops_seen: how many crops a clip was seen in.
    checkpoint: which state was kept ("last", "best on validation", "best on test"), of which step, and its average
    precision there. validated_on: frames or videos. recipe: what the recipe chose, in words. video_auc, video_ap:
    estimates by cross-validation in `folds` folds, with 95% intervals.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    data: str | None = None
    crops_seen: int = 1
    abnormal_videos: int | None = None
    normal_videos: int | None = None
    validation_videos: int | None = None
    validation_ap: float | None = None
    validated_on: str | None = None
    checkpoint: str | None = None
    checkpoint_step: int | None = None
    checkpoint_ap: float | None = None
    tool: str | None = None
    recipe: str | None = None
    video_auc: float | None = None
    video_auc_low: float | None = None
    video_auc_high: float | None = None
    video_ap: float | None = None
    video_ap_low: float | None = None
    video_ap_high: float | None = None
    folds: int | None = None
    run: str | None = None


@dataclass(frozen=True)
class Voter:
    """One method of a model in which several vote; fields as ModelInfo's.

    training: the trainer's settings, by name; empty in older files, and no part of the repr.
    """

    method: str
    settings: Any
    standardised: bool = False
    members: int = 1
    training: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class ModelInfo:
    """What a model is: its method with its settings, the features it knows, its events' defaults, its training.

    standardised: whether the mean and deviation of features (scaled ones too) are among its tensors. members: networks
    of the method, whose mean is its score. voters: where several methods vote, all of them; the fields above are then
    the first one's.
    """

    settings: Any  # the method's
    kind: FeatureKind
    events: EventRule = EventRule()
    training: TrainingRecord = TrainingRecord()
    method: str = "de-net"
    standardised: bool = False
    members: int = 1
    voters: tuple[Voter, ...] = ()


def save_model(path: Path, model: Any, info: ModelInfo, half: bool = False) -> None:
    """Write the model, an nn.Module; with `half`, its weights as fp16, in half the space."""
    tensors = {}
    for name, tensor in model.state_dict().items():
        dtype = tensor.dtype if not tensor.is_floating_point() else torch.float16 if half else torch.float32
        tensors[name] = tensor.detach().cpu().to(dtype).contiguous()
    save_tensors(path, tensors, dataclasses.asdict(info))


def load_model(path: Path) -> tuple[Method, ModelInfo]:
    """The model in fp32 on the CPU, in eval mode, of whatever method. Raises CheckpointError for any other file.

    `path` may be the name of a bundled model (BUNDLED).
    """
    if str(path) in BUNDLED and not path.exists():
        return load_bundled(str(path))
    tensors, meta = load_tensors(path)
    try:
        info = _read_info(meta)
        model = _restore(info, tensors)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, UsageError) as error:
        reason = str(error) if isinstance(error, AnomalyError) else f"{cause(error)}."
        raise CheckpointError(f"{path}: not a model that this installation can load: {reason}") from error
    return model.eval(), info


def load_bundled(name: str = BUNDLED[0]) -> tuple[Method, ModelInfo]:
    """A bundled model, from the checkout where the package is imported from one without being installed."""
    try:
        file = importlib.resources.files("anomalycli.bundled") / f"{name}.safetensors"
    except ModuleNotFoundError:
        return load_model(Path(__file__).parents[1] / "weights" / f"{name}.safetensors")
    with importlib.resources.as_file(file) as path:
        return load_model(path)


@cache
def bundled_for(kind: FeatureKind) -> str | None:
    """The name of the bundled model that was trained on features of this kind, or None."""
    return next((name for name in BUNDLED if not load_bundled(name)[1].kind.difference(kind)), None)


def bundled_judge(kind: FeatureKind) -> Callable[[np.ndarray], np.ndarray] | None:
    """The bundled model as a function from features to scores, or None if it does not know features of this kind."""
    model, info = load_bundled()
    return None if info.kind.difference(kind) else judge_of(model, info)


def judge_of(model: Method, info: ModelInfo) -> Callable[[np.ndarray], np.ndarray]:
    """`model` as a function from features (n_clips, n_crops, D), without sound, to scores (n_segments,)."""

    def judge(visual: np.ndarray) -> np.ndarray:
        segments = pool(visual, info.settings.segments).swapaxes(0, 1)  # (n_crops, T, D)
        silent = np.pad(segments, ((0, 0), (0, 0), (0, info.kind.width - info.kind.dim)))  # zeros: a silent video
        return score_bags(model, silent[None], next(iter(model.parameters())).device)[0]

    return judge


def fingerprint(model: Any) -> str:
    """A hash of a network's weights."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def save_tensors(path: Path, tensors: dict[str, torch.Tensor], meta: dict) -> None:
    """Write tensors with a JSON object as metadata, atomically."""
    write_file(path, save(tensors, {_KEY: json.dumps({"version": VERSION} | meta, sort_keys=True)}))


def is_checkpoint(path: Path) -> bool:
    """Whether the file is one from `save_tensors`, by its head."""
    try:
        check_file(path)
        with safe_open(path, framework="pt") as file:
            return _KEY in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def load_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """Read a file from `save_tensors`. Raises CheckpointError if it is missing, damaged or not one."""
    try:
        check_file(path)
        with safe_open(path, framework="pt") as file:
            meta = json.loads((file.metadata() or {})[_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: there is no such file.") from error
    except (SafetensorError, OSError, KeyError, ValueError, RecursionError, MemoryError) as error:
        raise CheckpointError(f"{path}: not a model file of this tool, or not whole ({cause(error)}).") from error
    if not isinstance(meta, dict) or meta.pop("version", None) not in READ:
        raise CheckpointError(f"{path}: written in a format that this version does not read.")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointError(f"{path}: {name} holds numbers that are not finite.")
    return tensors, meta


def _read_info(meta: dict) -> ModelInfo:
    features = dict(meta["kind"])
    groups = features.pop("groups", ())
    kind = dataclasses.replace(make_settings(FeatureKind, features), groups=groups)
    events = EventRule(**meta["events"])  # it accepts its fields' former names
    if "config" in meta:  # version 1
        return _read_former(meta, kind, events)
    first = _read_voter(meta)
    facts = dict(meta["training"])
    history = dict(facts.pop("settings"))
    record = dataclasses.replace(make_settings(TrainingRecord, facts), settings=history)
    voters = tuple(
        dataclasses.replace(_read_voter(voter), training=dict(voter.get("training", {})))
        for voter in meta.get("voters", ())
    )
    if len(voters) > MOST_MEMBERS:
        raise ValueError(f"{len(voters)} voters")
    return ModelInfo(
        first.settings,
        kind,
        events,
        record,
        method=first.method,
        standardised=first.standardised,
        members=first.members,
        voters=voters,
    )


def _read_voter(meta: Mapping[str, Any]) -> Voter:
    """The method that a model has, or that is one of its voters."""
    method = find_method(meta["method"])
    settings: Any = make_settings(method.settings, meta["settings"])
    prepared = {name: meta[name] for name in ("standardised", "members") if name in meta}
    if prepared and not 1 <= prepared["members"] <= MOST_MEMBERS:
        raise ValueError(f"{prepared['members']} members")
    return Voter(method.name, settings, **prepared)


def _read_former(meta: dict, kind: FeatureKind, events: EventRule) -> ModelInfo:
    """Of version 1: a DE-Net, all whose other settings are in one flat object."""
    method = find_method("de-net")
    history = dict(meta["training"])
    loss = {name: history.pop(name) for name in method.names if name in history}
    known = {each.name for each in dataclasses.fields(TrainingRecord)}
    facts = {name: history.pop(name) for name in list(history) if name in known}
    settings: Any = make_settings(method.settings, meta["config"] | loss)
    record = dataclasses.replace(make_settings(TrainingRecord, facts), settings=history)
    return ModelInfo(settings, kind, events, record, method.name)


def _restore(info: ModelInfo, tensors: Mapping[str, torch.Tensor]) -> Any:
    """The network of `info` with these tensors; shapes are compared before any memory is taken for it."""
    with torch.device("meta"):
        voters = info.voters or (Voter(info.method, info.settings, info.standardised, info.members),)
        built = [build_method(each.method, each.settings, each.standardised, each.members) for each in voters]
        model: Any = build_vote(built) if info.voters else built[0]
    expected = model.state_dict()
    if expected.keys() != tensors.keys():
        odd = min(expected.keys() ^ tensors.keys())
        raise ValueError(f"its settings and its tensors differ in {odd}")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise ValueError(f"{name} has the shape {[*tensor.shape]} where {[*expected[name].shape]} belongs")
    model.load_state_dict({name: tensor.to(expected[name].dtype) for name, tensor in tensors.items()}, assign=True)
    return model
