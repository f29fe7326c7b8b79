"""Features as public research code reads them: folders of plain `.npy` files.

xd: XD-Violence's, `NAME__0.npy` ... one a crop, (n_clips, D), and `NAME__vggish.npy`, (n_clips, 128).
rtfm: RTFM's, `NAME_i3d.npy`, (n_clips, n_crops, D).
Both count whole clips of 16 frames only, as the ground truth that goes with them does: the last clip,
where it is not full, is left out. `NAME.json`, written last, has what the arrays cannot say.
"""

import json
from pathlib import Path

import numpy as np

from ..errors import FeatureError, UsageError, cause
from ..storage import whole, write_whole
from .files import SUFFIX, Features, from_metadata, load_features

FORMATS = ("npz", "xd", "rtfm")


def target(folder: Path, name: str, layout: str) -> Path:
    """The file that is there once the features of video `name` are."""
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
    """What was written to `path`, as far as its metadata tell: of xd and rtfm, `visual` is empty."""
    if path.suffix == SUFFIX:
        return load_features(path)
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FeatureError(f"{path}: not the metadata of features ({cause(error)}).") from error
    return from_metadata(path, meta, visual=np.empty((0, 0, 0), np.float32))


def check_format(layout: str, audio: str | None) -> None:
    """Raises UsageError where there is no such format, or it has no place for sound."""
    if layout not in FORMATS:
        raise UsageError(f"There is no format '{layout}'; there are: {', '.join(FORMATS)}.")
    if layout == "rtfm" and audio:
        raise UsageError("The format rtfm has no place for sound: take --format xd, or leave --audio out.")


def _arrays(features: Features, layout: str) -> dict[str, np.ndarray]:
    """Arrays by the end of their name."""
    if layout == "rtfm":
        return {"_i3d": features.visual}
    crops = {f"__{i}": features.visual[:, i] for i in range(features.visual.shape[1])}
    return crops if features.audio is None else crops | {"__vggish": features.audio}
