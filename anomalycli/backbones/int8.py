"""Backbones in 8-bit integers for CPUs, quantised by NNCF and run by OpenVINO.

NNCF calibrates the network on a few of the user's clips (post-training quantisation). Held-out clips compare it with
the fp32 network. A network that passes is stored in the cache folder, one file per network, picture size and pair of
versions, and is not calibrated again. Where that folder cannot be written, each run calibrates its own.
"""

import contextlib
import copy
import hashlib
import importlib.metadata
import importlib.util
import io
import logging
import re
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import StorageError, UsageError, cause
from ..features.files import FeatureKind
from ..storage import atomic_write
from .rounding import round_weights
from .speed import fold_batch_norm, side_by_side
from .weights import cache_folder

if TYPE_CHECKING:
    from .base import Backbone

PACKAGES = ("openvino", "nncf")
RECIPE = 3  # increased when quantising changes, so that stored networks are made again
WANTED = 20  # clips: 15 to calibrate, 5 to compare with fp32
HELD_OUT = 4  # one clip in four
FEWEST = 8  # clips; with fewer, the ranges of the activations are unreliable
LEAST_COSINE = 0.995  # of each held-out clip to the fp32 network
MOST_DIFFERENCE = 0.02  # between the scores that the judge gives to the two networks' features
REQUIRED = f"required are {LEAST_COSINE} and {MOST_DIFFERENCE}"
CHECKED = 3  # clips of new videos on which a stored network is compared with fp32
STREAMS = 4  # most clips to run in parallel: the extractor's batch
LINEAR = ("Convolution", "GroupConvolution", "Add")  # operations of OpenVINO that can stay exact
SHAPES = 8  # picture sizes whose compiled networks are kept

Judge = Callable[[np.ndarray], np.ndarray]  # features (n_clips, n_crops, D) -> anomaly scores, of any shape


class Int8:
    """A quantised backbone with the call of a backbone. `load` and `quantise` make it.

    The features of a clip do not depend on its batch, bit for bit: each clip runs separately, as many in parallel as
    there are threads.
    """

    def __init__(self, net: "Backbone", xml: bytes, weights: np.ndarray):
        """`xml` and `weights` are OpenVINO's two files of the backbone's `maps`."""
        openvino = _openvino()
        self.core = openvino.Core()
        self.model = self.core.read_model(xml, openvino.Tensor(weights))
        self.exact, self.views, self.pool = net, net.views, net.pool
        self.queue = lru_cache(SHAPES)(self._compile)

    def __call__(self, frames: Tensor) -> Tensor:
        """(B, T, H, W, 3) uint8 -> (B, n_crops, D) float32."""
        views = torch.stack(self.views(frames), 1)  # (B, n_crops, T, height, width, 3)
        rows = views.flatten(0, 1)
        maps: list[list[Tensor]] = [[]] * len(rows)
        queue = self.queue(tuple(rows.shape[1:]))

        def keep(request: Any, i: int) -> None:
            maps[i] = [torch.from_numpy(tensor.data.copy()) for tensor in request.output_tensors]

        queue.set_callback(keep)
        for i, row in enumerate(rows):
            queue.start_async(row[None].numpy(), i)
        queue.wait_all()
        features = torch.cat(side_by_side(self.pool, maps))  # (B * n_crops, D)
        return features.unflatten(0, views.shape[:2])

    def _compile(self, shape: tuple[int, ...]) -> Any:
        openvino = _openvino()
        model = self.model.clone()
        model.reshape([1, *shape])
        threads = torch.get_num_threads()
        streams = min(threads, STREAMS)
        settings = {
            "NUM_STREAMS": str(streams),
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",  # of what is not int8
        }
        return openvino.AsyncInferQueue(self.core.compile_model(model, "CPU", settings), streams)


def check(device: torch.device) -> None:
    """Raise UsageError if int8 cannot run: on devices other than a CPU, without its packages, or without a home."""
    if device.type != "cpu":
        raise UsageError(f"int8 runs on the CPU only, and this run is on '{device}'.", "device", "precision")
    if not all(importlib.util.find_spec(name) for name in PACKAGES):
        raise UsageError("int8 needs OpenVINO and NNCF: `pip install 'anomalycli[fast]'` installs them.", "precision")
    try:
        Path.home()  # NNCF asks for it when it is imported
    except RuntimeError as error:
        raise UsageError("int8 needs a home folder, and this user has none: set HOME.", "precision") from error


def cache_path(kind: FeatureKind, crops: str) -> Path:
    """Path of the stored quantised network for these features. Raises StorageError where there is no cache folder."""
    settings = kind.backbone, kind.weights_sha256, kind.preprocessing, kind.size, crops
    versions = [importlib.metadata.version(name) for name in PACKAGES]
    key = hashlib.sha256(repr((RECIPE, *settings, *versions)).encode()).hexdigest()
    name = kind.backbone.replace(":", "-")
    return cache_folder().with_name("int8") / f"{name}-{kind.size}-{key[:16]}.npz"


def load(net: "Backbone", kind: FeatureKind, crops: str) -> Int8 | None:
    """The network that `quantise` stored for these features; None if there is none or it is damaged."""
    try:
        with np.load(cache_path(kind, crops), allow_pickle=False) as file:
            return Int8(net, file["xml"].tobytes(), file["weights"])
    except (OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile):
        return None


def quantise(
    net: "Backbone", clips: list[np.ndarray], kind: FeatureKind, crops: str, judge: Judge | None
) -> tuple[Int8 | None, str]:
    """Quantise the fp32 `net` on `clips`, each (T, H, W, 3) uint8, and store it if it is close enough to fp32.

    Compared on held-out clips: the features and, with `judge`, the scores. Returns the network, or None if it is not
    close enough, and what was measured and stored, as part of a sentence.
    """
    if len(clips) < FEWEST:
        return None, f"calibration needs at least {FEWEST} clips, and there are {len(clips)}"
    held_out, calibrating = clips[::HELD_OUT], [clip for i, clip in enumerate(clips) if i % HELD_OUT]
    files = quantised_files(net, calibrating)
    network = Int8(net, **files)
    good, found = compare(network, held_out, judge)
    told = f"on {len(held_out)} held-out clips, {found}"
    if not good:
        return None, f"{told}; {REQUIRED}"
    return network, f"{told}; {_store(files, kind, crops)}"


def _store(files: dict[str, Any], kind: FeatureKind, crops: str) -> str:
    """Store a network for later runs; returns, as part of a sentence, where it is or why it is not stored."""
    path = cache_path(kind, crops)
    try:
        with atomic_write(path) as partial, partial.open("wb") as file:
            np.savez(file, xml=np.frombuffer(files["xml"], np.uint8), weights=files["weights"])
    except StorageError as error:
        why = f"{path} cannot be written: {cause(error)}"
        return f"not stored, so the next run calibrates again ({why}; ANOMALYCLI_HOME names another folder)"
    return f"stored as {path}"


def compare(network: Int8, clips: list[np.ndarray], judge: Judge | None) -> tuple[bool, str]:
    """Whether the network is close enough to fp32 on these clips, and what was measured, as part of a sentence."""
    with torch.inference_mode():
        exact, fast = (
            torch.cat([run(torch.from_numpy(clip[None])) for clip in clips]).numpy() for run in (network.exact, network)
        )  # (clips, n_crops, D)
    cosine = float(((exact * fast).sum(2) / np.linalg.norm(exact, axis=2) / np.linalg.norm(fast, axis=2)).min())
    good = cosine >= LEAST_COSINE
    told = f"features have a cosine similarity of at least {cosine:.4f} to fp32"
    if judge:
        difference = float(np.abs(judge(exact) - judge(fast)).max())
        good = good and difference <= MOST_DIFFERENCE
        told += f" and scores differ by at most {difference:.3f}"
    return good, told


class View(nn.Module):
    """One view of a clip through a backbone: (B, T, H, W, 3) uint8 -> its maps."""

    def __init__(self, net: "Backbone"):
        super().__init__()
        self.net = net

    def forward(self, frames: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.net.maps(frames))


def convert(net: "Backbone", view: Tensor) -> Any:
    """OpenVINO's model of an fp32 backbone, for pictures of any size; `view` is an example of its input."""
    openvino = _openvino()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit.trace is deprecated; OpenVINO calls it
        model = openvino.convert_model(View(net), example_input=view)
    model.reshape([-1, view.shape[1], -1, -1, 3])
    return model


def rounded(net: "Backbone", views: list[Tensor], exact: re.Pattern[str]) -> "Backbone":
    """A copy of an fp32 backbone with weights that int8 holds, for inputs like `views`."""
    net = copy.deepcopy(net)
    fold_batch_norm(net.net)
    round_weights(net.net, lambda: [net.maps(view) for view in views], lambda name: bool(exact.search(name)))
    return net


def quantised_files(net: "Backbone", clips: list[np.ndarray]) -> dict[str, Any]:
    """OpenVINO's two files of the quantised network: xml and weights."""
    views = []
    for i, clip in enumerate(clips):
        of_clip = net.views(torch.from_numpy(clip[None]))
        views.append(of_clip[i % len(of_clip)])
    exact = re.compile("|".join(net.exact_at_int8) or r"(?!)")  # (?!) is found nowhere
    model = convert(rounded(net, views, exact), views[0])
    # NNCF imports it, and it warns about missing CUDA
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    import nncf
    from nncf.quantization.advanced_parameters import QuantizationParameters
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    names = [op.get_friendly_name() for op in model.get_ordered_ops() if op.get_type_name() in LINEAR]
    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):  # progress bars; stdout is for results
        model = nncf.quantize(
            model,
            nncf.Dataset([view.numpy() for view in views]),
            subset_size=len(views),
            # Both cost time during calibration only. Lowest cosine of 24 unseen clips, mc3: .9961 with neither, .9974
            # with the widest range seen, .9980 with each layer's bias measured after those before it, .9988 with both.
            fast_bias_correction=False,
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
                # One range for all channels: that of each is unreliable, and where it is exceeded the channel is cut.
                activations_quantization_params=QuantizationParameters(per_channel=False),
            ),
            ignored_scope=nncf.IgnoredScope(names=[name for name in names if exact.search(name)]),
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        _openvino().save_model(model, path, compress_to_fp16=False)
        return {"xml": path.read_bytes(), "weights": np.fromfile(path.with_suffix(".bin"), np.uint8)}


def _openvino() -> Any:
    """OpenVINO without its telemetry, which would report each import of it and of NNCF to its authors."""
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # both work without it
    import openvino

    return openvino
