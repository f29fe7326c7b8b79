"""A check that an export format fulfils the contract of `base.Writer`."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ..events import EventRule, find_events
from ..result import Result
from .base import Context, formats, load_writer, output_path, write_output


def check_writer(name: str) -> None:
    """Raises AssertionError, with a sentence, where the format of this name breaks the contract.

    Its videos: one with two events, one without events, one with one frame, one with a variable frame rate, and one
    whose name is not text. None of the files exists.
    """
    assert name in formats(), f"'{name}' is not among the formats: is the entry point installed?"
    writer = load_writer(name)
    with TemporaryDirectory() as folder:
        for case, result in _results().items():
            path = output_path(Path(folder) / "video", name)
            content = writer.render(result, Context(path, "video.mp4"))
            assert isinstance(content, str | bytes), f"{case}: render returned {type(content).__name__}"
            again = writer.render(result, Context(path, "video.mp4"))
            assert content == again, f"{case}: the same result was written in two ways"
            assert not path.exists(), f"{case}: render wrote the file itself"
            written = write_output(result, Path(folder) / "video", name)
            assert written == path and path.is_file(), f"{case}: there is no {path.name}"
            path.unlink()
        assert not list(Path(folder).iterdir()), "render left files behind"


def _results() -> dict[str, Result]:
    scores = np.full(200, 0.1, np.float32)
    calm = scores.copy()
    scores[20:60], scores[120:150] = 0.9, 0.7
    times = np.cumsum(np.full(200, 0.04)) ** 1.1
    return {
        "two events": _result("video.mp4", scores),
        "no event": _result("video.mp4", calm),
        "one frame": _result("video.mp4", calm[:1]),
        "variable frame rate": _result("video.mp4", scores, times),
        "a name that is no text": _result("a\udcff\nb.mp4", scores),
    }


def _result(name: str, scores: np.ndarray, times: np.ndarray | None = None) -> Result:
    rule = EventRule()
    return Result(Path(name), scores, 25.0, find_events(scores, 25.0, rule, times), "video", rule, times=times)
