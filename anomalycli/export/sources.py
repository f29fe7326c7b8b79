"""The video that pages and plots show, and that events are cut out of."""

import glob
from pathlib import Path

from ..errors import VideoError
from ..features.files import SUFFIX, load_metadata
from ..inputs import Input


def is_video(item: Input) -> bool:
    """Whether an input is a video, and not a feature file."""
    return item.path.suffix.lower() != SUFFIX


def video_of(item: Input, folder: Path | None) -> Path | None:
    """The video of an input: itself, or the one below `folder` that a feature file was made from; None without one.

    It has the name and the size that the feature file records. Raises VideoError if it is not below `folder`, and
    FeatureError if the feature file cannot be read.
    """
    if is_video(item) or folder is None:
        return item.path if is_video(item) else None
    features = load_metadata(item.path)
    here = folder / Path(item.name).parent / features.source
    for path in (here, *sorted(folder.rglob(glob.escape(features.source)))):
        if path.is_file() and features.source_bytes in (0, path.stat().st_size):
            return path
    raise VideoError(
        f"{item.path}: the video that it was made from, {features.source}, is not below {folder} in the same size. "
        "Its page and plots have no pictures, and no events are cut out."
    )
