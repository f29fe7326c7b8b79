"""Find the feature files of each video in a folder: our own (.npz) and published arrays (.npy), in any mixture."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeVar

from ..errors import DamagedError, FeatureError, UsageError
from ..inputs import find_inputs
from ..matching import Matches, match_names
from ..textfiles import read_lines
from ..wording import some
from .files import SUFFIX, Features, load_features
from .layouts import array_shape, has_crops_first, load_arrays, split_name

Loaded = TypeVar("Loaded", covariant=True)
_TWICE = "{} and {} are the same part of one video: name the folder of one of them."


@dataclass(frozen=True)
class FeatureFolder:
    """A folder of features, and which of them to use.

    vggish: a folder of NAME__vggish.npy with the sound of published features, where it is not beside them.
    only: a list of the videos to take, one per line, as the data sets' authors publish their splits.
    """

    path: Path
    vggish: Path | None = None
    only: Path | None = None


@dataclass(frozen=True)
class FeatureSource:
    """The feature files of one video: one or more for its crops, and one for its sound.

    crops_first: whether the one file of all crops is (n_crops, n_clips, D).
    """

    name: str
    paths: tuple[Path, ...]
    sound: Path | None = None
    crops_first: bool = False

    @property
    def stem(self) -> str:
        """The name without folders."""
        return Path(self.name).name

    def load(self) -> Features:
        """Read the features. Raises FeatureError if a file is damaged or crops and sound do not fit together."""
        if self.paths[0].suffix.lower() == SUFFIX:
            return load_features(self.paths[0])
        return load_arrays(self.name, self.paths, self.sound, self.crops_first)


@dataclass(frozen=True)
class FoundFeatures:
    """The videos whose features to use, and sentences about names without a match."""

    sources: list[FeatureSource]
    warnings: tuple[str, ...] = ()


def find_features(folder: str | Path | FeatureFolder) -> FoundFeatures:
    """The videos whose features are below the folder.

    Raises FeatureError where there are none, UsageError where two files are features of one video, crops or sound are
    missing, or the folder holds a training and a test split and no list of one is given.
    """
    if not isinstance(folder, FeatureFolder):
        folder = FeatureFolder(Path(folder))
    path, warnings = folder.path, tuple[str, ...]()
    check_folder(path, "features")
    inputs = find_inputs([path], {SUFFIX, ".npy"})
    ours = [FeatureSource(item.name, (item.path,)) for item in inputs if item.path.suffix.lower() == SUFFIX]
    arrays = [item.path for item in inputs if item.path.suffix.lower() != SUFFIX]
    published = _published([(file.relative_to(path.absolute()), file) for file in arrays])
    _check_names(path, ours, published)
    sources = ours + published
    if folder.only:
        sources, warnings = _listed(sources, folder.only)
    else:
        _check_splits(path, sources)
    if not sources:
        listed = f" that {folder.only} lists" if folder.only else ""
        raise FeatureError(
            f"{path}: there is no feature file{listed} in it (.npz of this tool, or .npy). `anomalycli extract` makes "
            "them."
        )
    arrays_used = {source.name for source in sources} - {source.name for source in ours}
    published = _with_sound(path, [source for source in sources if source.name in arrays_used], folder.vggish)
    return FoundFeatures([s for s in sources if s.name not in arrays_used] + _with_axes(published), warnings)


def check_folder(path: Path, content: str) -> None:
    """Raise FeatureError where there is no folder of that name."""
    if not path.is_dir():
        wrong = "it is a file, not a folder" if path.exists() else "there is no such folder"
        raise FeatureError(f"{path}: {wrong}. Name the folder of the {content}.")


def load_all(
    sources: list[FeatureSource], left_out: list[str] | None = None
) -> Iterator[tuple[FeatureSource, Features]]:
    """Yield the features of each video, and treat damaged ones as `load_whole` does.

    Raises UsageError if two are of different kinds.
    """
    first = None
    for source, features in load_whole(sources, left_out):
        first = first or (source, features.kind)
        if conflict := first[1].conflict(features.kind, f"{first[0].paths[0]} has", f"{source.paths[0]} has"):
            raise UsageError(f"{conflict}. Features of different kinds cannot be mixed: extract them alike.")
        yield source, features


class Loadable(Protocol[Loaded]):
    """The files of one video. `load` raises FeatureError where they are damaged."""

    @property
    def name(self) -> str: ...
    def load(self) -> Loaded: ...


def load_whole(sources: Sequence[Loadable[Loaded]], left_out: list[str] | None = None) -> Iterator[tuple[Any, Loaded]]:
    """Yield what is loaded of each video. Sentences on files that are damaged are added to `left_out`.

    Raises DamagedError, after all files were read, where no video is whole, or where one is not and there is no
    `left_out`; then nothing is yielded after the first that is not.
    """
    damaged: dict[str, str] = {}
    for source in sources:
        try:
            loaded = source.load()
        except FeatureError as error:
            damaged[source.name] = str(error)
        else:
            if not damaged or left_out is not None:
                yield source, loaded
    if damaged and (left_out is None or len(damaged) == len(sources)):
        raise _damaged(damaged, len(sources))
    if left_out is not None:
        left_out += damaged.values()


def _damaged(sentences: dict[str, str], n_videos: int) -> DamagedError:
    """The error for videos whose files are damaged: sentences by video, of `n_videos`."""
    if len(sentences) == 1:
        return DamagedError(next(iter(sentences.values())), ())
    words = f"The files of {len(sentences)} of {n_videos} videos are damaged: {some(sentences)}. Make them again."
    return DamagedError(words, list(sentences.values()))


def _listed(sources: list[FeatureSource], path: Path) -> tuple[list[FeatureSource], tuple[str, ...]]:
    """The sources that a list names, one video or file per line, and a sentence on lines that match none.

    What follows the name on a line, after a blank, a tab, a comma or a semicolon, is not read.
    """
    names = [source.name for source in sources]
    left = lines = read_lines(path)
    chosen: set[str] = set()
    for cut in (r"$", r"[\t;,]", r"\s"):
        written = {re.split(cut, line, maxsplit=1)[0]: line for line in left}
        matches = match_names(written, names, str(path))
        chosen.update(matches.found.values())
        left = [written[name] for name in matches.unknown]
    warning = Matches(dict.fromkeys(set(lines) - set(left), ""), left).warning(str(path))
    return [source for source in sources if source.name in chosen], (warning,) if warning else ()


def _published(arrays: list[tuple[Path, Path]]) -> list[FeatureSource]:
    """Videos of published arrays, given as (path below the folder, path); their sound is not among other files yet."""
    crops: dict[str, dict[int, Path]] = defaultdict(dict)
    sounds: dict[str, Path] = {}
    for relative, path in arrays:
        name, part = split_name(relative)
        before = sounds.setdefault(name, path) if part == "vggish" else crops[name].setdefault(int(part), path)
        if before != path:
            raise UsageError(_TWICE.format(before, path))
    return [
        FeatureSource(name, tuple(parts[part] for part in sorted(parts)), sounds.get(name))
        for name, parts in sorted(crops.items())
    ]


def _check_names(folder: Path, ours: list[FeatureSource], published: list[FeatureSource]) -> None:
    """Raises UsageError where two of the published features, or one of them and one of ours, are of one video."""
    by_stem = {source.stem: source for source in ours}
    for source in published:
        other = by_stem.setdefault(source.stem, source)
        if other is not source:
            raise UsageError(
                f"{folder}: {other.paths[0].relative_to(folder.absolute())} and "
                f"{source.paths[0].relative_to(folder.absolute())} are both features of {source.stem}: name the folder "
                "of one of them."
            )


def _check_splits(folder: Path, sources: list[FeatureSource]) -> None:
    """Raises UsageError where some videos lie in a folder of a test split and others do not."""
    test = [source.name for source in sources if _in_test_folder(source.name)]
    if test and len(test) < len(sources):
        other = next(source.name for source in sources if not _in_test_folder(source.name))
        raise UsageError(
            f"{folder}: it holds a test split ({test[0]}) and other videos ({other}): name the folder of one split, "
            "or give a list of its videos."
        )


def _in_test_folder(name: str) -> bool:
    words = (word for part in PurePosixPath(name).parts[:-1] for word in re.split(r"[\W_]+", part.lower()))
    return any(re.fullmatch(r"(rgb|flow|i3d|vggish|audio|video|features?)?test(ing)?", word) for word in words)


def _with_sound(folder: Path, sources: list[FeatureSource], vggish: Path | None) -> list[FeatureSource]:
    """`sources` with their sound, from `vggish` or, where it is not there, from folders beside that.

    Raises UsageError where a video has fewer crops than others, or none has its sound.
    """
    most = max((len(source.paths) for source in sources), default=0)
    if short := [source.name for source in sources if len(source.paths) < most]:
        raise UsageError(f"{folder}: {some(short)} should have {most} crops, as the others have.")
    for place in (vggish, vggish.absolute().parent) if vggish else ():
        if place == vggish and not place.is_dir():
            raise UsageError(f"{place}: there is no such folder of sound features.")
        wanted = {source.stem for source in sources if source.sound is None or place == vggish}
        found = _sounds(place, wanted, deep=place == vggish)
        for source in sources:
            if source.sound and source.stem in found and not source.sound.samefile(found[source.stem]):
                raise UsageError(_TWICE.format(source.sound, found[source.stem]))
        sources = [replace(source, sound=source.sound or found.get(source.stem)) for source in sources]
    silent = [source.name for source in sources if source.sound is None]
    if silent and (vggish or len(silent) < len(sources)):
        looked = f"in {vggish} or the folders beside it" if vggish else "in it"
        others = "" if len(silent) == len(sources) else ", and the others have it"
        raise UsageError(f"{folder}: there is no NAME__vggish.npy for {some(silent)} {looked}{others}.")
    return sources


def _sounds(place: Path, stems: Collection[str], deep: bool) -> dict[str, Path]:
    """Files of sound by the stem of their video, anywhere below `place`, or else in its folders."""
    files = place.rglob("*__*") if deep else place.glob("*/*__*")
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(files):
        name, part = split_name(Path(path.name))
        if part == "vggish" and name in stems and path.suffix.lower() == ".npy":
            found[name].append(path)
    for paths in found.values():
        if len(paths) > 1:
            raise UsageError(_TWICE.format(paths[0], paths[1]))
    return {name: paths[0] for name, paths in found.items()}


def _with_axes(sources: list[FeatureSource]) -> list[FeatureSource]:
    """`sources` with the order of the axes of files that hold all crops of a video."""
    shapes = {}
    for source in sources:
        with suppress(FeatureError):  # raised where it is loaded
            if len(source.paths) == 1 and len(shape := array_shape(source.paths[0])) == 3:
                shapes[source.paths[0]] = shape
    if not shapes or not has_crops_first(shapes):
        return sources
    return [replace(source, crops_first=source.paths[0] in shapes) for source in sources]
