"""The three commands in a row on real, untrimmed footage."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest


@pytest.fixture(scope="module")
def street(shared, tmp_path_factory):
    """Four composed videos of the test split: two normal, two with fights."""
    folder = tmp_path_factory.mktemp("street")
    compose = shared.parent / "tools" / "compose.py"
    subprocess.run([sys.executable, compose, "--split", "test", "--out", folder, "--limit", "4"], check=True)
    return folder


def test_extract_train_score(street, run, tmp_path):
    run("extract", street)
    assert (tmp_path / "features" / "labels.csv").exists()
    with open(street / "ground_truth.csv", newline="") as file:
        n_frames = {row["video"]: int(row["n_frames"]) for row in csv.DictReader(file)}

    bundled = [json.loads(line) for line in run("score", "features", "--json").stdout.splitlines()]
    peaks = {0: [], 1: []}
    for video in bundled:
        name = video["video"].split("/")[-1].removesuffix(".npz")
        scores = np.array(video["scores"])
        assert scores.shape == (n_frames[name],)
        assert np.isfinite(scores).all() and scores.min() >= 0 and scores.max() <= 1
        peaks[name.startswith("fight")].append(scores.max())
    assert len(bundled) == 4
    assert np.mean(peaks[1]) > np.mean(peaks[0])

    small = ("--width", "32", "--feedforward", "64", "--steps", "20", "--lr", "1e-3", "--batch", "2")
    told = run("train", "features", *small).stderr
    assert "--model models/denet.safetensors" in told
    video = sorted(street.glob("*.mp4"))[0]
    run("score", video, "--plot", "--csv", "--model", "models/denet.safetensors")
    assert (tmp_path / f"{video.stem}.png").stat().st_size > 10_000
    with open(tmp_path / f"{video.stem}.csv") as file:
        assert sum(1 for _ in file) == n_frames[video.stem] + 1
