"""Feature files: what a backbone saw in one video, and how it was made.

One `.npz` a video, without pickles: `visual` (n_clips, n_crops, D) float32, `audio` (n_clips, 128)
where there is sound, `times` (n_frames,) where the frame rate is variable, and `meta`, a JSON object
as UTF-8 bytes.
"""

import dataclasses
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FeatureError, cause
from ..storage import whole

VERSION = 1
SUFFIX = ".npz"
PUBLISHED = "published"  # the backbone of features that do not say what made them
AUDIO_DIM = 128

Groups = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class FeatureKind:
    """What makes features comparable: a model knows those of one kind and refuses all others."""

    backbone: str
    weights_sha256: str
    preprocessing: str
    size: int  # short side of the picture, pixels
    dim: int
    audio: str | None = None  # vggish-raw or vggish-pca
    clip_length: int = 16  # frames
    stride: int = 16  # frames
    groups: Groups = field(default=(), compare=False)  # names and widths of the parts of `dim`, in order; (): one part

    def __post_init__(self) -> None:  # JSON has lists
        object.__setattr__(self, "groups", tuple((str(name), int(width)) for name, width in self.groups))

    @property
    def width(self) -> int:
        """D of what enters the network: picture and, where it is asked for, sound."""
        return self.dim + (AUDIO_DIM if self.audio else 0)

    def difference(self, other: "FeatureKind") -> tuple[str, object, object] | None:
        """The first setting in which the two differ, as (name, ours, theirs), or None."""
        for setting in dataclasses.fields(self):
            ours, theirs = getattr(self, setting.name), getattr(other, setting.name)
            if setting.compare and ours != theirs:
                return setting.name.replace("_", " "), ours, theirs
        return None

    def conflict(self, other: "FeatureKind", here: str, there: str) -> str | None:
        """How the two kinds differ, as a clause, or None where they do not.

        `here` and `there` are the subject and verb of each side: "the model was trained with", for example.
        """
        if difference := self.difference(other):
            setting, ours, theirs = difference
            return f"{here} {setting} {ours}, and {there} {setting} {theirs}"
        return None


@dataclass(frozen=True)
class Features:
    """The features of one video.

    visual: float32 (n_clips, n_crops, D). audio: float32 (n_clips, 128) or None.
    times: seconds, float64 (n_frames,), or None where frames follow one another at `fps`.
    n_frames and fps are the video's; source is its name, source_bytes and source_mtime its file's
    size and time. lost is how many frames damage took (None: unknown), damage what it was. crops are
    named in their order. sound_track is the track that audio comes from, sound_missing what of it was
    not there: a clip without sound has zeros.
    """

    visual: np.ndarray
    kind: FeatureKind
    n_frames: int
    fps: float
    source: str
    audio: np.ndarray | None = None
    times: np.ndarray | None = None
    source_bytes: int = 0
    source_mtime: float = 0.0
    precision: str = "fp32"
    crops: str = "whole frame"
    sound_track: str | None = None
    sound_missing: str | None = None
    damage: str | None = None
    lost: int | None = 0
    tool: str = ""

    @property
    def warning(self) -> str | None:
        """A sentence about damage, if there was any."""
        if self.damage is None:
            return None
        lost = "an unknown number of frames is" if self.lost is None else f"{self.lost} frames are"
        return f"{self.source}: {self.n_frames} frames were read and {lost} lost ({self.damage})."

    @property
    def sound_warning(self) -> str | None:
        """A sentence about sound that was asked for and was not there."""
        return self.sound_missing and f"{self.source}: {self.sound_missing}; zeros stand in its place."

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.n_frames / self.fps

    def joined(self) -> np.ndarray:
        """What enters the network: picture, and behind it sound, clip by clip: float32 (n_clips, n_crops, width)."""
        if self.audio is None:
            return self.visual
        n_clips, n_crops, _ = self.visual.shape
        audio = np.broadcast_to(self.audio[:, None], (n_clips, n_crops, self.audio.shape[1]))
        return np.concatenate((self.visual, audio), axis=2)

    def metadata(self) -> str:
        """All but the arrays, as a JSON object."""
        fields = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        del fields["visual"], fields["audio"], fields["times"]
        return json.dumps({"version": VERSION} | fields | {"kind": dataclasses.asdict(self.kind)}, sort_keys=True)

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        arrays: dict[str, Any] = {"visual": self.visual}
        arrays |= {name: array for name in ("audio", "times") if (array := getattr(self, name)) is not None}
        arrays["meta"] = np.frombuffer(self.metadata().encode(), np.uint8)
        with whole(path) as partial, partial.open("wb") as file:
            np.savez(file, **arrays)


def load_features(path: Path) -> Features:
    """Raises FeatureError where the file is missing, damaged or not a feature file of this tool."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        meta = json.loads(arrays.pop("meta").tobytes())
    except FileNotFoundError as error:
        raise FeatureError(f"{path}: there is no such file.") from error
    except (OSError, ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise FeatureError(f"{path}: not a whole feature file ({cause(error)}); extract it again.") from error
    features = from_metadata(path, meta, **arrays)
    if features.visual.ndim != 3 or features.visual.shape[2] != features.kind.dim or not len(features.visual):
        raise FeatureError(f"{path}: {features.visual.shape} features where (n, crops, {features.kind.dim}) belong.")
    if features.kind.audio and (features.audio is None or features.audio.shape != (len(features.visual), AUDIO_DIM)):
        raise FeatureError(f"{path}: the sound that its metadata promise is not whole; extract it again.")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise FeatureError(f"{path}: some of its features are not finite numbers; extract it again.")
    return features


def from_metadata(path: Path, meta: dict, **arrays: Any) -> Features:
    """Raises FeatureError where `meta`, read from `path`, is not what `Features.metadata` gave."""
    if meta.pop("version", None) != VERSION:
        raise FeatureError(f"{path}: written in a format that this version does not read; extract it again.")
    try:
        return Features(kind=FeatureKind(**meta.pop("kind")), **meta, **arrays)
    except (TypeError, KeyError) as error:
        raise FeatureError(f"{path}: its metadata are not complete ({cause(error)}); extract it again.") from error
