"""What several tests need: the shared data, small videos, small feature folders, the command line."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from click.testing import CliRunner
from helpers import SHARED, kind

from anomalycli.errors import AnomalyError
from anomalycli.features.files import Features

# Where the suite runs in the background of a shell, Ctrl-C is ignored, and children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config):
    """Give each worker one thread: several of two threads each are slower.

    It is set before workers start, since PyTorch reads it when it is loaded, and this file loads it. A worker and the
    processes that it starts must agree: with another number of threads the last bits of a training differ.
    """
    if config.option.numprocesses:
        os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """Escape what cannot be encoded in captured output: names that are not Unicode would end the worker."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


def pytest_terminal_summary(terminalreporter):
    """Write the ids of skipped tests to the file that ANOMALYCLI_SKIPPED names: .ci/run runs them with all extras."""
    if path := os.environ.get("ANOMALYCLI_SKIPPED"):
        skipped = terminalreporter.stats.get("skipped", [])
        Path(path).write_text("".join(f"{report.nodeid}\n" for report in skipped), encoding="utf-8")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real videos and labels that stands beside the checkout."""
    if not SHARED.is_dir():
        if os.environ.get("ANOMALYCLI_REQUIRE_SHARED") == "1":
            pytest.fail(f"{SHARED} is required here and absent")
        pytest.skip(f"{SHARED} is absent: real videos are not part of the repository")
    return SHARED


@pytest.fixture
def run(tmp_path):
    """Run the command line in a process of its own, in `tmp_path`."""

    def run(*words, code: int | None = 0, **env) -> subprocess.CompletedProcess:
        done = subprocess.run(
            [sys.executable, "-m", "anomalycli", *map(str, words)],
            cwd=tmp_path,
            env=os.environ | {"COLUMNS": "200"} | env,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert code is None or done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done

    return run


@pytest.fixture
def call(tmp_path, monkeypatch):
    """As `run`, but in this process: for what needs no process of its own, and takes no seconds to start one."""
    from anomalycli.cli import cli

    def call(*words, code: int = 0) -> SimpleNamespace:
        monkeypatch.chdir(tmp_path)
        result = CliRunner().invoke(cli, [str(word) for word in words])
        error = result.exception
        known = isinstance(error, AnomalyError)
        exit_code, message = (error.exit_code, f"Error: {error}\n") if known else (result.exit_code, "")
        assert exit_code == code, (exit_code, error, result.output, result.exc_info)
        return SimpleNamespace(stdout=result.stdout, stderr=result.stderr + message)

    return call


@pytest.fixture
def start(tmp_path):
    """Start the command line in a process group of its own, in `tmp_path`."""
    started = []

    def start(*words, **env) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-m", "anomalycli", *map(str, words)],
            cwd=tmp_path,
            env=os.environ | {"COLUMNS": "200"} | env,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def make_video(tmp_path):
    """Write an H.264 video; `paint(i)` gives frame i as uint8 (height, width, 3)."""

    def make(name="clip.mp4", n_frames=40, size=(96, 64), fps=25, paint=None) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as out:
            stream = out.add_stream("libx264", rate=fps, options={"crf": "12", "preset": "ultrafast"})
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            for i in range(n_frames):
                picture = paint(i) if paint else np.full((size[1], size[0], 3), 3 * i % 256, np.uint8)
                out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            out.mux(stream.encode())
        return path

    return make


@pytest.fixture
def make_features(tmp_path):
    """A folder of random feature files of width 32: normal and abnormal, labelled in labels.csv."""

    def make(folder="features", normal=6, abnormal=6, n_clips=10, **changes) -> Path:
        root = tmp_path / folder
        rng = np.random.default_rng(0)
        lines = ["video,label"]
        for i in range(normal + abnormal):
            label = int(i >= normal)
            visual = rng.normal(size=(n_clips, 1, 32)).astype(np.float32)
            visual[3:5] += 2 * label
            name = f"video{i:02}"
            Features(visual, kind(**changes), n_clips * 16 - 5, 25.0, f"{name}.mp4").save(root / f"{name}.npz")
            lines.append(f"{name},{label}")
        (root / "labels.csv").write_text("\n".join(lines) + "\n")
        return root

    return make
