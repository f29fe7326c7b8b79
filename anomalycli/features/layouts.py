"""Features as public research code reads and writes them: folders of plain `.npy` files.

xd: XD-Violence's, one `NAME__0.npy` ... per crop, (n_clips, D), and `NAME__vggish.npy`, (n_clips, 128).
rtfm: RTFM's, `NAME_i3d.npy`, (n_clips, n_crops, D).
plain: `NAME.npy`, (n_clips, D); read, not written.
Both xd and rtfm count whole clips of 16 frames only, as the ground truth that goes with them does: the last clip,
where it is not full, is left out. `NAME.json`, written last, has what the arrays cannot say.
"""

import json
import re
from pathlib import Path

import numpy as np

from ..errors import FeatureError, UsageError, cause
from ..storage import whole, write_whole
from .files import PUBLISHED, SUFFIX, FeatureKind, Features, from_metadata, load_metadata

FORMATS = ("npz", "xd", "rtfm")
FPS = 25.0  # of videos whose published features do not tell
TOLERATED = 2  # clips by which sound and crops of one video may differ; they are cut to the shortest
_PART = re.compile(r"(?P<name>.+)__(?P<part>\d+|vggish)")


def target(folder: Path, name: str, layout: str) -> Path:
    """The file that exists once the features of video `name` are complete."""
    return folder / (name + (SUFFIX if layout == "npz" else ".json"))


def save(features: Features, path: Path, layout: str) -> None:
    """Write features to `path`, a `target`, and the arrays of xd and rtfm beside it."""
    if layout == "npz":
        features.save(path)
        return
    n_clips = max(1, features.n_frames // features.kind.clip_length)
    for suffix, array in _arrays(features, layout).items():
        with whole(path.with_name(f"{path.stem}{suffix}.npy")) as partial, partial.open("wb") as file:
            np.save(file, array[:n_clips])
    write_whole(path, features.metadata())


def load_made(path: Path) -> Features:
    """What was written to `path`, as far as its metadata tell, without the arrays.

    Raises FeatureError if it is not whole; of xd and rtfm, whose metadata are written last, only these are read.
    """
    if path.suffix == SUFFIX:
        return load_metadata(path)
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FeatureError(f"{path}: not the metadata of features ({cause(error)}).") from error
    return from_metadata(path, meta, visual=np.empty((0, 0, 0), np.float32))


def split_name(path: Path) -> tuple[str, str]:
    """A published file's video (with its folders), and which part of it: the number of a crop, or vggish."""
    name = re.sub(r"\.(npy|npz|mp4|avi)$", "", path.as_posix())
    if match := _PART.fullmatch(name):
        return match["name"], match["part"]
    return name.removesuffix("_i3d"), "0"


def load_arrays(name: str, paths: tuple[Path, ...], sound_path: Path | None = None) -> Features:
    """The features of video `name` from published arrays: one file per crop or one of all, and its sound.

    Raises FeatureError where a file is not whole or the lengths differ by more than TOLERATED.
    """
    crops = [_load_array(path) for path in paths]
    if len(crops) == 1 and crops[0].ndim == 3:
        crops = list(crops[0].swapaxes(0, 1))
    sound = _load_array(sound_path) if sound_path else None
    shapes = [array.shape for array in (*crops, *([] if sound is None else [sound]))]
    longest, n_clips = max(shape[0] for shape in shapes), min(shape[0] for shape in shapes)
    if longest - n_clips > TOLERATED or {crop.shape[1:] for crop in crops} != {crops[0].shape[1:]}:
        raise FeatureError(f"{paths[0]}: the crops and the sound of this video do not fit together: {shapes}.")
    if any(len(shape) != 2 for shape in shapes) or not n_clips:
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


def check_format(layout: str, audio: str | None) -> None:
    """Raises UsageError where there is no such format, or it has no place for sound."""
    if layout not in FORMATS:
        raise UsageError(f"There is no format '{layout}'; there are: {', '.join(FORMATS)}.", "layout")
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


def _load_array(path: Path) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FeatureError(f"{path}: not a whole array of features ({cause(error)}).") from error
    if array.dtype.kind != "f" or not np.isfinite(array).all():
        raise FeatureError(f"{path}: its features are not finite numbers.")
    return array.astype(np.float32, copy=False)
