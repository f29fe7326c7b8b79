"""Features and their labels as bags: one video, T segments, one label.

Read in place, in any mixture of folders: our own files (.npz), and published arrays (.npy):
XD-Violence's crops `NAME__0.npy ... NAME__4.npy`, (n_clips, D) each, with sound in
`NAME__vggish.npy`; UCF-Crime's `NAME_i3d.npy`, (n_clips, n_crops, D); plain (n_clips, D).
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import FeatureError, UsageError, cause
from ..features.files import SUFFIX, FeatureKind, Features, load_features
from ..inputs import find_inputs
from ..segments import CLIP_LENGTH, pool
from .labels import FILE, label_videos

PUBLISHED = "published"  # the backbone of features that do not say what made them
FPS = 25.0  # of videos whose published features do not tell
TOLERATED = 2  # clips by which sound and crops of one video may differ; they are cut to the shortest
CROPS = ("mean", "draw", "all")
_PART = re.compile(r"(?P<name>.+)__(?P<part>\d+|vggish)")


@dataclass(frozen=True)
class Bags:
    """x: (N, C, T, D) segments, float32 where C = 1, float16 where all C crops are kept.

    labels: int64 (N,), 1 = abnormal. names: of the N videos. n_frames: int64 (N,). warnings: sentences
    about videos that are damaged. seen: how many crops a clip was seen in, averaged here or not.
    """

    x: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    kind: FeatureKind
    n_frames: np.ndarray
    warnings: tuple[str, ...] = ()
    seen: int = 1

    def __getitem__(self, chosen: np.ndarray) -> "Bags":
        names = tuple(np.array(self.names)[chosen])
        return replace(self, x=self.x[chosen], labels=self.labels[chosen], names=names, n_frames=self.n_frames[chosen])

    @property
    def dim(self) -> int:
        """D: picture, and sound where there is any."""
        return self.x.shape[3]

    def fingerprint(self) -> str:
        """A hash of names, labels and features: two runs with the same one saw the same data."""
        digest = hashlib.sha256("\n".join(self.names).encode())
        digest.update(self.labels.tobytes())
        digest.update(np.ascontiguousarray(self.x).data)
        return digest.hexdigest()


@dataclass(frozen=True)
class Source:
    """Where the features of one video are: the files of its crops, and of its sound."""

    name: str
    paths: tuple[Path, ...]
    sound: Path | None = None

    @property
    def stem(self) -> str:
        """The name without folders: what lists and ground truth call the video."""
        return Path(self.name).name

    def load(self) -> Features:
        """Raises FeatureError where a file is not whole or the lengths differ by more than TOLERATED."""
        if self.paths[0].suffix.lower() == SUFFIX:
            return load_features(self.paths[0])
        crops = [_load_array(path) for path in self.paths]
        if len(crops) == 1 and crops[0].ndim == 3:
            crops = list(crops[0].swapaxes(0, 1))
        sound = _load_array(self.sound) if self.sound else None
        shapes = [array.shape for array in (*crops, *([] if sound is None else [sound]))]
        longest, n_clips = max(shape[0] for shape in shapes), min(shape[0] for shape in shapes)
        if longest - n_clips > TOLERATED or {crop.shape[1:] for crop in crops} != {crops[0].shape[1:]}:
            raise FeatureError(f"{self.paths[0]}: what belongs to this video does not fit together: {shapes}.")
        if any(len(shape) != 2 for shape in shapes) or not n_clips:
            raise FeatureError(
                f"{self.paths[0]}: {shapes[0]} features where (n_clips, D) or (n_clips, crops, D) belong."
            )
        dim = crops[0].shape[1]
        return Features(
            visual=np.stack([crop[:n_clips] for crop in crops], axis=1),
            audio=None if sound is None else sound[:n_clips],
            kind=FeatureKind(PUBLISHED, "", "", 0, dim, audio=None if sound is None else PUBLISHED),
            n_frames=n_clips * CLIP_LENGTH,
            fps=FPS,
            source=self.name,
            damage="its crops or sound differ in length" if longest > n_clips else None,
            lost=(longest - n_clips) * CLIP_LENGTH,
        )


def find_features(folder: str | Path, vggish: str | Path | None = None, only: str | Path | None = None) -> list[Source]:
    """The videos whose features are below `folder`, sound also from the folder `vggish`.

    `only` is a list of the videos to take, as the data sets' authors publish their splits.

    Raises FeatureError where there are none, UsageError where a crop is there twice or missing, or
    some videos have sound and others have not.
    """
    folder = Path(folder)
    inputs = find_inputs([folder], {SUFFIX, ".npy"}) if folder.is_dir() else []
    ours = [Source(item.name, (item.path,)) for item in inputs if item.path.suffix.lower() == SUFFIX]
    arrays = [(item.path.relative_to(folder.absolute()), item.path) for item in inputs if item.path.suffix == ".npy"]
    if vggish:
        arrays += [(path.relative_to(vggish), path) for path in sorted(Path(vggish).rglob("*__vggish.npy"))]
    crops: dict[str, dict[int, Path]] = {}
    sounds: dict[str, Path] = {}  # by name without folders: sound lies in a folder of its own
    for relative, path in arrays:
        name, part = _split_name(relative)
        if part == "vggish":
            before = sounds.setdefault(Path(name).name, path)
        else:
            before = crops.setdefault(name, {}).setdefault(int(part), path)
        if before != path:
            raise UsageError(f"{before} and {path} are the same part of one video: name the folder of one of them.")
    published = [
        Source(name, tuple(parts[part] for part in sorted(parts)), sounds.get(Path(name).name))
        for name, parts in sorted(crops.items())
    ]
    if only:
        wanted = read_list(Path(only))
        ours, published = ([source for source in part if source.stem in wanted] for part in (ours, published))
    if not ours and not published:
        raise FeatureError(f"{folder}: there is no feature file in it; `anomalycli extract` makes them.")
    most = max((len(source.paths) for source in published), default=0)
    if short := [source.name for source in published if len(source.paths) < most]:
        raise UsageError(f"{folder}: {_some(short)} should have {most} crops, as the others have.")
    silent = [source.name for source in published if source.sound is None]
    if silent and len(silent) < len(published):
        raise UsageError(f"{folder}: there is no NAME__vggish.npy for {_some(silent)}, and the others have it.")
    return ours + published


def read_list(path: Path) -> set[str]:
    """Names of videos, without folders and suffixes, from a file with a video a line (of any part of it)."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a list of videos ({cause(error)}).") from error
    return {_split_name(Path(line.split()[0]))[0].rpartition("/")[2] for line in lines if line.strip()}


def load_all(sources: list[Source]) -> Iterator[tuple[Source, Features]]:
    """Raises UsageError where two are of different kinds."""
    first = None
    for source in sources:
        features = source.load()
        first = first or (source, features.kind)
        if difference := first[1].difference(features.kind):
            setting, ours, theirs = difference
            raise UsageError(
                f"{first[0].paths[0]} and {source.paths[0]} cannot be mixed: their {setting} is {ours} and {theirs}. "
                "Extract them with the same settings."
            )
        yield source, features


def load_bags(
    folder: str | Path,
    n_segments: int = 64,
    *,
    crops: str = "mean",
    vggish: str | Path | None = None,
    only: str | Path | None = None,
    labels: str | Path | None = None,
) -> Bags:
    """All features below `folder`, pooled to `n_segments`, with their labels.

    `labels` is a file like labels.csv, or of ground truth, instead of what lies in the folder.
    `crops`: "mean" averages them; "draw" and "all" keep them, for training to draw one each time a
    video comes, or to take each as a video of its own.

    Raises FeatureError where a file is not whole or none is there, UsageError where a label is
    missing, labels contradict each other or the files are of different kinds.
    """
    folder = Path(folder)
    if crops not in CROPS:
        raise UsageError(f"Crops are {', '.join(CROPS)}; not '{crops}'.")
    sources = find_features(folder, vggish, only)
    names = tuple(source.name for source in sources)
    known = label_videos(names, folder, Path(labels) if labels else None)
    if missing := [name for name in names if name not in known]:
        raise UsageError(
            f"{folder}: no label for {_some(missing)}. Give {folder / FILE} with the lines 'video,label' "
            "(1 = abnormal), or folders normal/ and abnormal/."
        )
    x, n_frames, warnings, seen = [], [], [], set()
    for _, features in load_all(sources):
        clips = joined(features)
        seen.add(clips.shape[1])
        segments = pool(clips.mean(1, keepdims=True) if crops == "mean" else clips, n_segments)  # (T, C, D)
        x.append(segments.swapaxes(0, 1) if segments.shape[1] == 1 else segments.swapaxes(0, 1).astype(np.float16))
        n_frames.append(features.n_frames)
        warnings += [features.warning] if features.warning else []
    if len({video.shape for video in x}) > 1:
        raise UsageError(f"{folder}: its videos have different numbers of crops; give --crops mean.")
    y = np.array([known[name] for name in names])
    return Bags(np.stack(x), y, names, features.kind, np.array(n_frames), tuple(warnings), max(seen))


def joined(features: Features) -> np.ndarray:
    """What enters the network, float32 (n_clips, n_crops, D): picture, and behind it sound, clip by clip."""
    if features.audio is None:
        return features.visual
    n_clips, n_crops, _ = features.visual.shape
    audio = np.broadcast_to(features.audio[:, None], (n_clips, n_crops, features.audio.shape[1]))
    return np.concatenate((features.visual, audio), axis=2)


def _split_name(path: Path) -> tuple[str, str]:
    """A published file's video (with its folders), and which part of it: the number of a crop, or vggish."""
    name = re.sub(r"\.(npy|npz|mp4|avi)$", "", path.as_posix())
    if match := _PART.fullmatch(name):
        return match["name"], match["part"]
    return name.removesuffix("_i3d"), "0"


def _load_array(path: Path) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FeatureError(f"{path}: not a whole array of features ({cause(error)}).") from error
    if array.dtype.kind != "f" or not np.isfinite(array).all():
        raise FeatureError(f"{path}: its features are not finite numbers.")
    return array.astype(np.float32, copy=False)


def _some(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
