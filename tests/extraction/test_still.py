"""Clips in which nothing moves take the features of the last one that was computed, if that is asked for."""

import dataclasses
import json

import numpy as np
import pytest
from helpers import kind, result_of

from anomalycli.export.base import Context, write_output
from anomalycli.export.report import HTML
from anomalycli.extraction.local_engine import extract_video, kept_features
from anomalycli.features.files import load_features
from anomalycli.features.score_cache import VideoScores

MOVES = 9  # the clip from which on something moves


class Means:
    """An extractor whose features are the number of the call, of clips that are given in batches."""

    kind = kind(dim=3, size=64)
    size, multiple, frames_taken, crops, precision, vggish = 64, 16, (0, 4, 8, 12), "whole frame", "fp32", None
    every = 1

    def __init__(self, still: bool, batch: int = 1):
        self.still, self.batch, self.n_clips = still, batch, 0

    def identity(self):
        return {"still": self.still}

    def __call__(self, clips):
        rows = np.arange(self.n_clips, self.n_clips + len(clips), dtype=np.float32)
        self.n_clips += len(clips)
        return np.repeat(rows, 3).reshape(-1, 1, 3)


@pytest.fixture
def video(make_video):
    def paint(i):
        picture = np.full((64, 96, 3), 128, np.uint8)
        if i >= MOVES * 16:
            picture[20:30, i % 80 : i % 80 + 12] = 30
        return picture

    return make_video(n_frames=(MOVES + 2) * 16, paint=paint)


@pytest.mark.parametrize("batch", [1, 3])
def test_still_clips_cost_nothing_and_are_recorded(video, tmp_path, batch):
    extractor = Means(still=True, batch=batch)
    extract_video(video, extractor, target=tmp_path / "a.npz")
    features = load_features(tmp_path / "a.npz")
    assert features.still == tuple(range(4, MOVES))
    assert extractor.n_clips == MOVES + 2 - len(features.still)
    assert features.visual[:, 0, 0].tolist() == [0, 1, 2, 3] + [3] * 5 + [4, 5]
    assert kept_features(tmp_path / "a.npz", video, extractor)
    assert kept_features(tmp_path / "a.npz", video, Means(still=False)) is None


def test_all_clips_are_computed_where_it_is_not_asked_for(video, tmp_path):
    extractor = Means(still=False)
    features = extract_video(video, extractor, target=tmp_path / "a.npz")
    assert extractor.n_clips == MOVES + 2 and features.still == ()
    assert "still" not in json.loads(features.metadata())  # the same bytes as before there was such a thing
    assert kept_features(tmp_path / "a.npz", video, Means(still=True))  # what is computed is good enough


def test_outputs_mark_frames_whose_features_are_carried_over(tmp_path):
    scores = VideoScores(np.zeros(4), "video", 60, 25.0, 16, "a.mp4", still=(1, 2, 3))
    assert scores.frames_of(scores.still) == [(16, 60)]
    assert scores.frames_of((0, 2)) == [(0, 16), (32, 48)]
    plain = result_of([(10, 20)], 60, 25)
    result = dataclasses.replace(plain, still=[(16, 60)])
    lines = write_output(result, tmp_path / "a", "csv").read_text().splitlines()
    assert lines[0] == "frame,time,score,at,still" and lines[16].endswith(",0") and lines[17].endswith(",1")
    assert json.loads(write_output(result, tmp_path / "a", "json").read_text())["still"] == [[16, 60]]
    page = HTML().render(result, Context(tmp_path / "a.html", "a.mp4"))
    assert "Nothing moved in 0:02" in page and "0:01\N{EN DASH}0:02" in page
    assert write_output(plain, tmp_path / "b", "csv").read_text().startswith("frame,time,score,at\n")
    assert "still" not in json.loads(write_output(plain, tmp_path / "b", "json").read_text())
    assert "Nothing moved" not in HTML().render(plain, Context(tmp_path / "b.html", "a.mp4"))
