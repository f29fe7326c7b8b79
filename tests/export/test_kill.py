"""A run that is killed, twice, and repeated ends like one that was not. benchmarks/kill.py does so at 20 moments."""

import dataclasses
import time

import torch
from helpers import contents, kind, write_video

from anomalycli.checkpoint import ModelInfo, save_model
from anomalycli.events import EventRule
from anomalycli.features.files import load_features
from anomalycli.methods.linear import Linear, LinearSettings

WORDS = ("--html", "--plot", "--clips", "--model", "model", "--video-dir", "films", "--device", "cpu", "-o")


def test_a_run_that_is_killed_and_repeated_equals_one_that_was_not(tmp_path, make_features, start, call):
    features = make_features(normal=0, abnormal=3, n_clips=3)
    (tmp_path / "films").mkdir()
    for number in range(3):
        film = write_video(tmp_path / "films" / f"video{number:02}.mp4", list(range(0, 43 * 40, 40)))
        path = features / f"video{number:02}.npz"
        dataclasses.replace(load_features(path), source_bytes=film.stat().st_size).save(path)
    settings = LinearSettings(feature_dim=32, segments=8)
    model = Linear(settings)
    with torch.no_grad():
        model.layer.weight[0, 0] = 1.0
    save_model(tmp_path / "model", model, ModelInfo(settings, kind(), EventRule(0, 0, 0, 0), method="linear"))
    call("score", "features", *WORDS, "whole")

    for sign in ("video00.html", "video01.event1.mp4"):  # killed once this file is there
        process = start("score", "features", *WORDS, "out")
        end = time.monotonic() + 120
        while not (tmp_path / "out" / sign).exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.005)
        process.kill()
        process.wait()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / ".anomalycli").glob("*.scores.npz")}
    assert kept
    call("score", "features", *WORDS, "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
