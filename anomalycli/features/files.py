"""Feature files: the features of one video, and how they were made.

One `.npz` per video, without pickles: `visual` (n_clips, n_crops, D) float32, `audio` (n_clips, 128)
where there is sound, `times` (n_frames,) where the frame rate is variable, and `meta`, a JSON object
as UTF-8 bytes.
"""

import dataclasses
import json
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FeatureError, cause
from ..storage import atomic_write
from . import schema
from .archive import Archive, tail

VERSION = 1
SUFFIX = ".npz"
ARRAYS = ("visual", "audio", "times", "meta")
PUBLISHED = "published"  # the backbone of published features, which do not record theirs
AUDIO_DIM = 128

Groups = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class FeatureKind:
    """Kind of features: everything that must be equal for features to be used together."""

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
        """Width of the network input: visual features and, if used, audio features."""
        return self.dim + (AUDIO_DIM if self.audio else 0)

    def difference(self, other: "FeatureKind") -> tuple[str, object, object] | None:
        """The first setting in which the two differ, as (name, ours, theirs), or None."""
        if self == other:
            return None
        for setting in dataclasses.fields(self):
            ours, theirs = getattr(self, setting.name), getattr(other, setting.name)
            if setting.compare and ours != theirs:
                return setting.name.replace("_", " "), ours, theirs
        return None

    def conflict(self, other: "FeatureKind", here: str, there: str) -> str | None:
        """How the two kinds differ, as a clause, or None if they are equal.

        `here` and `there` are the subject and verb of each side: "the model was trained with", for example.
        """
        if difference := self.difference(other):
            setting, ours, theirs = difference
            return f"{here} {setting} {ours}, and {there} {setting} {theirs}"
        return None


@dataclass(frozen=True)
class Features:
    """The features of one video.

    visual: float32 (n_clips, n_crops, D). audio: float32 (n_clips, 128) or None. times: seconds, float64 (n_frames,),
    or None for a constant frame rate `fps`. n_frames and fps are those of the video; source is its name, source_bytes
    and source_mtime are size and time of its file. damage describes damage, lost is the number of lost frames (None:
    unknown). crops lists the crops in order. sound_track is the track of the audio features, sound_missing describes
    missing sound; clips without sound have zeros. creation_time is the text that the video's container has, or None.
    still has the numbers of the clips in which nothing moved, whose features are those of the last other clip before;
    interpolated those of the clips that were not computed, whose features lie between those of the nearest that were.
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
    creation_time: str | None = None
    tool: str = ""
    still: tuple[int, ...] = ()
    interpolated: tuple[int, ...] = ()

    @property
    def warning(self) -> str | None:
        """A sentence about damage, if there was any."""
        if self.damage is None:
            return None
        lost = "1 frame is" if self.lost == 1 else f"{self.lost} frames are"
        if self.lost is None:
            lost = "an unknown number of frames is"
        return f"{self.source}: {self.n_frames} frames were read and {lost} lost ({self.damage})."

    @property
    def sound_warning(self) -> str | None:
        """A sentence about missing sound, or None."""
        return self.sound_missing and f"{self.source}: {self.sound_missing}; its features are zeros."

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.n_frames / self.fps

    def joined(self) -> np.ndarray:
        """Input of the network, visual and then audio features per clip: float32 (n_clips, n_crops, width)."""
        if self.audio is None:
            return self.visual
        n_clips, n_crops, _ = self.visual.shape
        audio = np.broadcast_to(self.audio[:, None], (n_clips, n_crops, self.audio.shape[1]))
        return np.concatenate((self.visual, audio), axis=2)

    def metadata(self) -> str:
        """Everything except the arrays, as a JSON object."""
        fields = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        del fields["visual"], fields["audio"], fields["times"]
        for name in ("still", "interpolated"):
            if not fields[name]:  # as files of the version before are
                del fields[name]
        return json.dumps({"version": VERSION} | fields | {"kind": dataclasses.asdict(self.kind)}, sort_keys=True)

    def save(self, path: Path) -> None:
        """Write the file atomically."""
        arrays: dict[str, Any] = {"visual": self.visual}
        arrays |= {name: array for name in ("audio", "times") if (array := getattr(self, name)) is not None}
        arrays["meta"] = np.frombuffer(self.metadata().encode(), np.uint8)
        with atomic_write(path) as partial, partial.open("wb") as file:
            np.savez(file, **arrays)


def load_features(path: Path) -> Features:
    """The features of one file. Raises FeatureError if it is missing, damaged or not a feature file of this tool."""
    with Archive(path, ARRAYS) as archive:
        features = _described(archive)
        arrays = {name: archive.read(name) for name in archive.headers if name != "meta"}
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise FeatureError(f"{path}: some of its features are not finite numbers; extract it again.")
    if (times := arrays.get("times")) is not None and (np.diff(times) < 0).any():
        raise FeatureError(f"{path}: the times of its frames go backwards; extract it again.")
    return dataclasses.replace(features, visual=arrays["visual"], audio=arrays.get("audio"), times=arrays.get("times"))


def load_metadata(path: Path) -> Features:
    """As `load_features`, without reading the arrays: `visual` is (n_clips, n_crops, 0), `audio` and `times` are None.

    Checks that the arrays are complete, not their values: of a file as this tool writes it, by the directory of the
    archive and the metadata at its end.
    """
    if features := _from_tail(path):
        return features
    with Archive(path, ARRAYS) as archive:
        return _described(archive)


def _from_tail(path: Path) -> Features | None:
    """What `load_metadata` returns, from the last bytes of the file; None where they leave anything in doubt."""
    try:
        sizes, content = tail(path) or ({}, b"")
        meta, kind = _parsed(content)
        n_frames, floats, doubles = meta["n_frames"], 4, 8
        n_clips = -(-n_frames // kind.clip_length)
        n_crops, rest = divmod(sizes.pop("visual", 0), n_clips * kind.dim * floats)
        expected = {"meta": len(content)} | ({"audio": n_clips * AUDIO_DIM * floats} if kind.audio else {})
        if "times" in sizes:
            expected["times"] = n_frames * doubles
        if rest or not n_crops or sizes != expected:
            return None
        return _checked(path, meta, kind, visual=np.empty((n_clips, n_crops, 0), np.float32))
    except FileNotFoundError as error:
        raise FeatureError(f"{path}: there is no such file.") from error
    except (OSError, ValueError, RecursionError, TypeError, KeyError, ArithmeticError, FeatureError):
        return None  # numbers are checked at the end: until then they may be anything


def _parsed(content: bytes) -> tuple[dict[str, Any], FeatureKind]:
    """Metadata without the kind, and the kind, which is parsed once where many files have the same."""
    found = _KIND.search(content)
    if not found:
        raise ValueError("no kind")
    meta = json.loads((content[: found.start()] + content[found.end() :]).decode())
    if "kind" in meta:
        raise ValueError("two kinds")
    return meta, _kind_of(found[1])


_KIND = re.compile(rb'"kind": ({[^{}]*}), ')  # as `Features.metadata` writes it; quotes within texts have a backslash


@lru_cache(maxsize=16)
def _kind_of(text: bytes) -> FeatureKind:
    return _checked_kind(Path(), json.loads(text))


def _described(archive: Archive) -> Features:
    """Features from metadata, checked against the shapes of the arrays."""
    path = archive.path
    if missing := {"visual", "meta"} - archive.headers.keys():
        raise FeatureError(f"{path}: not a whole feature file (it has no {min(missing)}); extract it again.")
    shapes = {name: shape for name, (shape, _) in archive.headers.items()}
    try:
        meta = json.loads(archive.read("meta").tobytes())
    except (ValueError, RecursionError) as error:
        raise FeatureError(f"{path}: its metadata cannot be read ({cause(error)}); extract it again.") from error
    visual = shapes["visual"]
    n_clips, n_crops = visual[:2] if len(visual) == 3 else (0, 0)
    features = from_metadata(path, meta, visual=np.empty((n_clips, n_crops, 0), np.float32))
    kind = features.kind
    if len(visual) != 3 or visual[2] != kind.dim or not n_clips or not n_crops:
        raise FeatureError(f"{path}: {visual} features where (n, crops, {kind.dim}) belong.")
    expected = -(-features.n_frames // kind.clip_length)
    if n_clips != expected:
        raise FeatureError(
            f"{path}: {n_clips} clips, where {features.n_frames} frames make {expected}; extract it again."
        )
    if shapes.get("audio") != ((n_clips, AUDIO_DIM) if kind.audio else None):
        raise FeatureError(f"{path}: its sound is not what its metadata say; extract it again.")
    if shapes.get("times", (features.n_frames,)) != (features.n_frames,):
        raise FeatureError(f"{path}: its times are not those of {features.n_frames} frames; extract it again.")
    return features


def from_metadata(path: Path, meta: Any, **arrays: Any) -> Features:
    """Raises FeatureError if `meta`, read from `path`, is not what `Features.metadata` gave."""
    kind = _checked_kind(path, meta.pop("kind", None)) if _is_ours(meta) and "kind" in meta else None
    return _checked(path, meta, kind, **arrays)


def _checked_kind(path: Path, kind: Any) -> FeatureKind:
    try:
        if wrong := schema.fault(kind, schema.KIND):
            raise FeatureError(f"{path}: its metadata are wrong: {wrong}; extract it again.")
        made = FeatureKind(**kind)
    except TypeError as error:
        raise FeatureError(f"{path}: its metadata are not complete ({cause(error)}); extract it again.") from error
    if made.groups and sum(width for _, width in made.groups) != made.dim:
        raise FeatureError(f"{path}: its metadata are wrong: groups that do not add up to {made.dim}.")
    return made


def _checked(path: Path, meta: Any, kind: FeatureKind | None, **arrays: Any) -> Features:
    if not _is_ours(meta):
        raise FeatureError(f"{path}: written in a format that this version does not read; extract it again.")
    meta = dict(meta)
    del meta["version"]
    try:
        if wrong := schema.fault(meta, schema.FEATURES):
            raise FeatureError(f"{path}: its metadata are wrong: {wrong}; extract it again.")
        if kind is None:
            raise KeyError("kind")
        for name in meta.keys() & {"still", "interpolated"}:
            meta[name] = tuple(meta[name])
        return Features(kind=kind, **meta, **arrays)
    except (TypeError, KeyError) as error:
        raise FeatureError(f"{path}: its metadata are not complete ({cause(error)}); extract it again.") from error


def _is_ours(meta: Any) -> bool:
    return isinstance(meta, dict) and meta.get("version") == VERSION
