"""VGGish: 0.96 s of sound -> 128 features, with torchvggish's own log-mel front end and network."""

import importlib
import importlib.util
import pickle
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import AnomalyError, UsageError, cause
from ..features.files import AUDIO_DIM
from .weights import OnBytes, fetch, load_weights, numpy_arrays

SECONDS = 0.96  # a patch is 96 frames of the spectrogram, 10 ms apart
HOP, STFT, FRAMES, BANDS = 160, 400, 96, 64  # samples, samples, frames per patch, mel bands
LENGTH = (FRAMES - 1) * HOP + STFT  # samples per window: 0.96 s, and the 15 ms by which its last frame exceeds them
MODES = ("vggish-raw", "vggish-pca")


class VGGish(nn.Module):
    """Windows of 16 kHz mono sound, (B, LENGTH) -> (B, 128).

    mode `vggish-raw`: the network's output. `vggish-pca`: after PCA, whitening and quantisation to 0..255, as the
    features of AudioSet are. Hershey et al., "CNN Architectures for Large-Scale Audio Classification" (ICASSP 2017).

    This is torchvggish's version, which differs from the TensorFlow original in two points: a ReLU follows the last
    layer, and quantisation rounds to the nearest integer where TensorFlow's truncates.
    """

    eigenvectors: Tensor
    means: Tensor

    def __init__(self, mode: str = "vggish-raw"):
        if mode not in MODES:
            raise UsageError(f"There is no audio mode '{mode}'; there are: {', '.join(MODES)}.")
        super().__init__()
        self.mode = mode
        theirs = torchvggish("torchvggish")
        self.net = theirs.VGG(theirs.make_layers(), postprocess=False)  # its own loader always downloads
        self.register_buffer("eigenvectors", torch.eye(AUDIO_DIM))
        self.register_buffer("means", torch.zeros(AUDIO_DIM))

    def load(self, on_bytes: OnBytes | None = None) -> "VGGish":
        """Read the weights; download them first if needed. Raises AnomalyError if they are missing or do not fit."""
        load_weights(self.net, fetch("vggish", on_bytes))
        if self.mode == "vggish-pca":
            self._load_pca(fetch("vggish-pca", on_bytes))
        return self

    def _load_pca(self, path: Path) -> None:
        try:
            with torch.serialization.safe_globals(numpy_arrays()):
                params = torch.load(path, map_location="cpu", weights_only=True)
            self.eigenvectors.copy_(torch.as_tensor(params["pca_eigen_vectors"]))
            self.means.copy_(torch.as_tensor(params["pca_means"]).reshape(AUDIO_DIM))
        except (OSError, RuntimeError, pickle.UnpicklingError, KeyError, ValueError, TypeError) as error:
            raise AnomalyError(f"{path}: not the PCA parameters of VGGish ({cause(error)}).") from error

    @torch.inference_mode()
    def forward(self, windows: np.ndarray) -> Tensor:  # (B, LENGTH)
        x = self.net(torch.from_numpy(log_mel(windows)).to(self.means.device))  # (B, 128)
        if self.mode == "vggish-raw":
            return x
        x = (x - self.means) @ self.eigenvectors.T
        return torch.round((x.clamp(-2, 2) + 2) * (255 / 4))


def log_mel(windows: np.ndarray) -> np.ndarray:
    """(B, LENGTH) -> float32 (B, 1, 96, 64), through torchvggish's spectrogram in a single call.

    Windows are padded to whole hops and concatenated; spectrogram frames that overlap two windows are dropped.
    """
    mel_features, vggish_params = torchvggish("mel_features"), torchvggish("vggish_params")
    hops = -(-LENGTH // HOP)  # frames that begin in one window: 98, of which 96 lie within it
    row = np.pad(windows, ((0, 0), (0, hops * HOP - LENGTH))).ravel()
    frames = mel_features.log_mel_spectrogram(
        np.pad(row, (0, STFT)),
        audio_sample_rate=vggish_params.SAMPLE_RATE,
        log_offset=vggish_params.LOG_OFFSET,
        window_length_secs=vggish_params.STFT_WINDOW_LENGTH_SECONDS,
        hop_length_secs=vggish_params.STFT_HOP_LENGTH_SECONDS,
        num_mel_bins=BANDS,
        lower_edge_hertz=vggish_params.MEL_MIN_HZ,
        upper_edge_hertz=vggish_params.MEL_MAX_HZ,
    )
    frames = frames[: len(windows) * hops].reshape(len(windows), hops, BANDS)
    return frames[:, None, :FRAMES].astype(np.float32)


@cache
def torchvggish(name: str) -> ModuleType:
    """The module of torchvggish of this name, without the package around it.

    The package imports resampy and soundfile, and with them numba and llvmlite, for reading and resampling of its own.
    """
    package, full = ModuleType("torchvggish"), f"torchvggish.{name}"
    spec = importlib.util.find_spec("torchvggish")
    assert spec and spec.submodule_search_locations
    package.__path__ = spec.submodule_search_locations  # type: ignore[assignment]
    others = {known: sys.modules.pop(known) for known in list(sys.modules) if known.split(".")[0] == package.__name__}
    sys.modules[package.__name__] = package
    try:
        return importlib.import_module(full)
    finally:  # whoever imports torchvggish gets all of it
        for known in [known for known in sys.modules if known.split(".")[0] == package.__name__]:
            del sys.modules[known]
        sys.modules |= others
