"""Which feature files of a folder belong to which video: our own (.npz) and published arrays (.npy), in any mixture."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import FeatureError, UsageError, cause
from ..inputs import find_inputs, some
from .files import SUFFIX, Features, load_features
from .layouts import load_arrays, split_name


@dataclass(frozen=True)
class FeatureFolder:
    """A folder of features, and which of them to take.

    vggish: a folder of NAME__vggish.npy with the sound of published features, where it is not in `path`.
    only: a list of the videos to take, one per line, as the data sets' authors publish their splits.
    """

    path: Path
    vggish: Path | None = None
    only: Path | None = None


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
        """Raises FeatureError where a file is not whole or crops and sound do not fit together."""
        if self.paths[0].suffix.lower() == SUFFIX:
            return load_features(self.paths[0])
        return load_arrays(self.name, self.paths, self.sound)


def find_features(folder: str | Path | FeatureFolder) -> list[Source]:
    """The videos whose features are below the folder.

    Raises FeatureError where there are none, UsageError where a crop is there twice or missing, or
    some videos have sound and others have not.
    """
    if not isinstance(folder, FeatureFolder):
        folder = FeatureFolder(Path(folder))
    path = folder.path
    inputs = find_inputs([path], {SUFFIX, ".npy"}) if path.is_dir() else []
    ours = [Source(item.name, (item.path,)) for item in inputs if item.path.suffix.lower() == SUFFIX]
    arrays = [(item.path.relative_to(path.absolute()), item.path) for item in inputs if item.path.suffix == ".npy"]
    if folder.vggish:
        arrays += [(found.relative_to(folder.vggish), found) for found in sorted(folder.vggish.rglob("*__vggish.npy"))]
    published = _published(arrays)
    if folder.only:
        wanted = read_list(folder.only)
        ours, published = ([source for source in part if source.stem in wanted] for part in (ours, published))
    if not ours and not published:
        raise FeatureError(f"{path}: there is no feature file in it; `anomalycli extract` makes them.")
    _check_complete(path, published)
    return ours + published


def load_all(sources: list[Source]) -> Iterator[tuple[Source, Features]]:
    """The features of each video. Raises UsageError where two are of different kinds."""
    first = None
    for source in sources:
        features = source.load()
        first = first or (source, features.kind)
        if conflict := first[1].conflict(features.kind, f"{first[0].paths[0]} has", f"{source.paths[0]} has"):
            raise UsageError(f"{conflict}. Features of different kinds cannot be mixed: extract them alike.")
        yield source, features


def read_list(path: Path) -> set[str]:
    """Names of videos, without folders and suffixes, from a file with one video (or any part of one) per line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a list of videos ({cause(error)}).") from error
    return {split_name(Path(line.split()[0]))[0].rpartition("/")[2] for line in lines if line.strip()}


def _published(arrays: list[tuple[Path, Path]]) -> list[Source]:
    """Videos of published arrays, given as (path below its folder, path)."""
    crops: dict[str, dict[int, Path]] = {}
    sounds: dict[str, Path] = {}  # by name without folders: sound lies in a folder of its own
    for relative, path in arrays:
        name, part = split_name(relative)
        if part == "vggish":
            before = sounds.setdefault(Path(name).name, path)
        else:
            before = crops.setdefault(name, {}).setdefault(int(part), path)
        if before != path:
            raise UsageError(f"{before} and {path} are the same part of one video: name the folder of one of them.")
    return [
        Source(name, tuple(parts[part] for part in sorted(parts)), sounds.get(Path(name).name))
        for name, parts in sorted(crops.items())
    ]


def _check_complete(folder: Path, published: list[Source]) -> None:
    """Raises UsageError where a video has fewer crops than others, or lacks sound that others have."""
    most = max((len(source.paths) for source in published), default=0)
    if short := [source.name for source in published if len(source.paths) < most]:
        raise UsageError(f"{folder}: {some(short)} should have {most} crops, as the others have.")
    silent = [source.name for source in published if source.sound is None]
    if silent and len(silent) < len(published):
        raise UsageError(f"{folder}: there is no NAME__vggish.npy for {some(silent)}, and the others have it.")
