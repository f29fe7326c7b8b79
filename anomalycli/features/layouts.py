"""Features as public research code reads and writes them: folders of plain `.npy` files.

xd: XD-Violence's, one `NAME__0.npy` ... per crop, (n_clips, D), and `NAME__vggish.npy`, (n_clips, 128). A video of
n frames has (n - 1) // 16 clips: its last frame is dropped first, and then the last clip where it is not full.
rtfm: RTFM's, `NAME_i3d.npy`, (n_clips, n_crops, D). The last clip is kept and padded: n / 16 clips, rounded up.
Of both, `NAME.json`, written last, has what the arrays cannot say.

Read, and not written: UR-DMU's (n_crops, n_clips, D) in one file, and plain `NAME.npy`, (n_clips, D).
"""

import json
import re
import struct
import warnings
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from tokenize import TokenError

import numpy as np

from ..choices import LAYOUTS
from ..errors import FeatureError, UsageError, cause
from ..storage import atomic_write, check_file, write_file
from .files import PUBLISHED, SUFFIX, FeatureKind, Features, from_metadata, load_metadata

_FIRST = {"xd": "__0", "rtfm": "_i3d"}  # the end of the name of the first array that is written
FPS = 25.0  # of videos whose published features do not tell
TOLERATED = 2  # clips by which sound and crops of one video may differ; they are cut to the shortest
CROP_COUNTS = (1, 5, 10)  # of published features
_NAME_AND_PART = re.compile(r"(?P<name>.+)__(?P<part>\d+|vggish)", re.IGNORECASE)
# what NumPy raises for files that are not arrays, damaged, or promise more than they hold
_UNREADABLE = (OSError, ValueError, EOFError, SyntaxError, TokenError, struct.error, MemoryError, TypeError, KeyError)


def target(folder: Path, name: str, layout: str) -> Path:
    """The file that exists once the features of video `name` are complete."""
    return folder / (name + (SUFFIX if layout == "npz" else ".json"))


def save(features: Features, path: Path, layout: str) -> None:
    """Write features to `path`, a `target`, and the arrays of xd and rtfm beside it."""
    if layout == "npz":
        features.save(path)
        return
    n_clips = len(features.visual)
    if layout == "xd":
        n_clips = max(1, (features.n_frames - 1) // features.kind.clip_length)
    shapes = {}
    for suffix, array in _arrays(features, layout).items():
        shapes[suffix] = array[:n_clips].shape
        with atomic_write(_array_path(path, suffix)) as partial, partial.open("wb") as file:
            np.save(file, array[:n_clips])
    write_file(path, json.dumps(json.loads(features.metadata()) | {"arrays": shapes}, sort_keys=True))


def load_made(path: Path, layout: str) -> Features:
    """What `save` wrote to `path`, as far as its metadata tell, without the arrays.

    Raises FeatureError if it is not whole or of another layout; of the arrays of xd and rtfm, sizes alone are checked.
    """
    if layout == "npz":
        return load_metadata(path)
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
        shapes = meta.pop("arrays", {}) or {_FIRST[layout]: ()}  # not recorded up to version 0.1
        for suffix, shape in shapes.items():
            if array_shape(_array_path(path, suffix)) != tuple(shape) and shape != ():
                raise FeatureError(f"{path}: the array '{suffix}' has another shape; extract it again.")
    except (OSError, ValueError, RecursionError, TypeError, AttributeError) as error:
        raise FeatureError(f"{path}: not the metadata of features ({cause(error)}).") from error
    if _FIRST[layout] not in shapes:
        raise FeatureError(f"{path}: made in another format than {layout}; extract it again.")
    return from_metadata(path, meta, visual=np.empty((0, 0, 0), np.float32))


def split_name(path: Path) -> tuple[str, str]:
    """A published file's video (with its folders), and which part of it: the number of a crop, or vggish."""
    name = re.sub(r"(?i)\.(npy|npz|mp4|avi)$", "", path.as_posix())
    if match := _NAME_AND_PART.fullmatch(name):
        return match["name"], match["part"].lower()
    return name.removesuffix("_i3d"), "0"


def has_crops_first(shapes: Mapping[Path, tuple[int, ...]]) -> bool:
    """Whether arrays of three axes are (n_crops, n_clips, D), by what is constant over the files of a folder.

    Raises UsageError where both readings fit.
    """
    first, second = ({shape[axis] for shape in shapes.values()} for axis in (0, 1))
    if len(first) != len(second) and min(len(first), len(second)) == 1:
        return len(first) == 1
    (a, b), path = next(iter(shapes.values()))[:2], next(iter(shapes))
    if len(first) == len(second) == 1 and (a in CROP_COUNTS) != (b in CROP_COUNTS):
        return a in CROP_COUNTS
    raise UsageError(
        f"{path}: ({a}, {b}, D) can be {a} clips of {b} crops or {a} crops of {b} clips, and the other files do not "
        "tell which. Save each crop as a file of its own: NAME__0.npy, NAME__1.npy ..., (n_clips, D)."
    )


def load_arrays(
    name: str, paths: tuple[Path, ...], sound_path: Path | None = None, crops_first: bool = False
) -> Features:
    """The features of video `name` from published arrays: one file per crop or one of all, and its sound.

    Raises FeatureError where a file is not whole or the lengths differ by more than TOLERATED.
    """
    crops = [_load_features(path) for path in paths]
    if len(crops) == 1 and crops[0].ndim == 3:
        crops = list(crops[0] if crops_first else crops[0].swapaxes(0, 1))
    sound = _load_features(sound_path) if sound_path else None
    shapes = [array.shape for array in (*crops, *([] if sound is None else [sound]))]
    longest, n_clips = max(shape[0] for shape in shapes), min(shape[0] for shape in shapes)
    if longest - n_clips > TOLERATED or {crop.shape[1:] for crop in crops} != {crops[0].shape[1:]}:
        raise FeatureError(f"{paths[0]}: the crops and the sound of this video do not fit together: {shapes}.")
    if any(len(shape) != 2 for shape in shapes):
        raise FeatureError(f"{paths[0]}: {shapes[0]} features where (n_clips, D) or (n_clips, crops, D) belong.")
    kind = FeatureKind(PUBLISHED, "", "", 0, crops[0].shape[1], audio=None if sound is None else PUBLISHED)
    return Features(
        visual=np.stack([crop[:n_clips] for crop in crops], axis=1),
        audio=None if sound is None else sound[:n_clips],
        kind=kind,
        n_frames=n_clips * kind.clip_length,
        fps=FPS,
        source=name,
        damage="its crops or sound differ in length" if longest > n_clips else None,
        lost=(longest - n_clips) * kind.clip_length,
    )


def _load_features(path: Path) -> np.ndarray:
    """The array of a file, which holds some numbers, on at least one axis."""
    array = load_array(path)
    if not array.size or not array.ndim:
        raise FeatureError(f"{path}: an array of shape {array.shape} holds no features.")
    return array


def _array_path(path: Path, suffix: str) -> Path:
    """The array of this suffix beside the metadata at `path`."""
    return path.with_name(f"{path.stem}{suffix}.npy")


def check_format(layout: str, audio: str | None) -> None:
    """Raises UsageError where there is no such format, or it has no place for sound."""
    if layout not in LAYOUTS:
        raise UsageError(f"There is no format '{layout}'; there are: {', '.join(LAYOUTS)}.", "layout")
    if layout == "rtfm" and audio:
        raise UsageError(
            "The format rtfm has no place for sound: choose xd, or extract without sound.", "layout", "audio"
        )


def _arrays(features: Features, layout: str) -> dict[str, np.ndarray]:
    """Arrays by the end of their name."""
    if layout == "rtfm":
        return {"_i3d": features.visual}
    crops = {f"__{i}": features.visual[:, i] for i in range(features.visual.shape[1])}
    return crops if features.audio is None else crops | {"__vggish": features.audio}


def array_shape(path: Path) -> tuple[int, ...]:
    """The shape of an array in a .npy file, without reading it. Raises FeatureError where it is not a whole one."""
    return _open_array(path).shape


def load_array(path: Path, dtype: type = np.float32) -> np.ndarray:
    """An array of numbers, integers too, in a .npy file. Raises FeatureError where it is not a whole one or not finite.

    The result is of type `dtype`.
    """
    stored = _open_array(path)
    if stored.dtype.kind not in "fiu":
        raise FeatureError(f"{path}: its values are of type {stored.dtype}, and numbers are needed.")
    with np.errstate(over="ignore"):
        array: np.ndarray = stored.astype(dtype)
    if not np.isfinite(array).all():
        raise FeatureError(f"{path}: its values are not finite numbers.")
    return array


def _open_array(path: Path) -> np.ndarray:
    """The array without reading it: one that promises more than its file holds is refused and not allocated.

    One that lies at a URL is read whole.
    """
    try:
        if not isinstance(path, Path):
            return np.load(BytesIO(path.read_bytes()), allow_pickle=False)
        check_file(path)
        with warnings.catch_warnings():  # of files that Python 2 wrote, which are read all the same
            warnings.simplefilter("ignore", UserWarning)
            return np.lib.format.open_memmap(path, mode="r")
    except _UNREADABLE as error:
        if "Python objects" in str(error) or "allow_pickle" in str(error):
            raise FeatureError(
                f"{path}: it holds Python objects, which can run code and are not read. Save each array of numbers "
                "as a file of its own."
            ) from error
        raise FeatureError(f"{path}: not a whole array of numbers ({cause(error)}).") from error
