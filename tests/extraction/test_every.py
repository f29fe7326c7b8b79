"""Every Nth clip is computed, and every clip where scores rise, if that is asked for."""

import json

import numpy as np
import pytest
import torch
from helpers import kind

from anomalycli import Scorer
from anomalycli.checkpoint import ModelInfo
from anomalycli.denet import DENetConfig
from anomalycli.errors import UsageError
from anomalycli.events import EventRule
from anomalycli.export.base import Context, write_output
from anomalycli.export.outputs import Outputs, score_inputs
from anomalycli.export.report import HTML
from anomalycli.extraction.skip import rising
from anomalycli.features.files import load_features
from anomalycli.features.interpolation import filled, with_only
from anomalycli.inputs import find_inputs
from anomalycli.media.decoder import Decoder
from anomalycli.score import Skip

N_CLIPS = 24
DECODER = Decoder()  # one for all tests: its process takes longer to start than a test
BRIGHT, DIM = range(11, 15), range(19, 22)  # clips


class Bright:
    """An extractor whose feature of a clip is its brightness, from 0 to 1. `clips`: how many were computed."""

    kind = kind(dim=1, size=32)
    size, multiple, frames_taken, crops, precision, vggish = 32, 16, (0, 8), "whole frame", "fp32", None
    batch, calibration_clips, still, every = 2, 0, False, 1

    def __init__(self):
        self.clips = 0

    def identity(self):
        return {"every": self.every, "still": self.still}

    def __call__(self, clips):
        self.clips += len(clips)
        return np.array([clip.mean() / 255 for clip in clips], np.float32).reshape(-1, 1, 1)


class Same(torch.nn.Module):
    """A network whose scores are the features."""

    def forward(self, x):
        return x, x[..., 0]


def scorer_of(skip: Skip) -> Scorer:
    config = DENetConfig(1, segments=N_CLIPS, scales=1, heads=1, feedforward=1)
    info = ModelInfo(config, Bright.kind, EventRule(0.6, 0.4, 0, 0))
    scorer = Scorer(Same(), info, "cpu", decoder=DECODER, skip=skip)
    scorer._extractor = Bright()
    scorer._extractor.still, scorer._extractor.every = skip.still, skip.every
    return scorer


@pytest.fixture(scope="module", autouse=True)
def decoder():
    with DECODER:
        yield


@pytest.fixture
def video(make_video):
    grey = lambda i: 200 if i // 16 in BRIGHT else 60 if i // 16 in DIM else 20  # noqa: E731
    return make_video(n_frames=N_CLIPS * 16 - 3, size=(48, 32), paint=lambda i: np.full((32, 48, 3), grey(i), np.uint8))


def run(video, scorer, folder, rule=None, on_clips=None):
    outputs = Outputs(folder, ["json", "csv"])
    (scored,) = score_inputs(find_inputs([video], {".mp4"}), scorer, outputs, "auto", rule, on_clips)
    return scored.result


def middles(result):
    return result.scores[8::16]


def test_all_clips_are_computed_around_those_whose_scores_are_high(video):
    whole, some = scorer_of(Skip()), scorer_of(Skip(every=4))
    expected, result = whole.score(video), some.score(video)
    assert whole.extractor.clips == N_CLIPS and expected.interpolated == []
    assert some.extractor.clips == 6 + 6  # 0, 4, ... 20, and those between 8 and 16 besides 12
    assert result.interpolated == [(16, 64), (80, 128), (17 * 16, 20 * 16), (21 * 16, 24 * 16 - 3)]
    assert result.events == expected.events and len(result.events) == 1
    assert np.array_equal(result.scores[8 * 16 : 16 * 16], expected.scores[8 * 16 : 16 * 16])


def test_what_lies_between_the_computed_clips_is_missed(video):
    scorer = scorer_of(Skip(every=10))  # 0, 10 and 20 are dark
    assert scorer.score(video).events == [] and scorer.extractor.clips == 3


def test_a_lower_threshold_computes_more_and_an_earlier_run_changes_nothing(video, tmp_path):
    low, usual = EventRule(0.3, 0.3, 0, 0), None
    first = run(video, scorer_of(Skip(every=4)), tmp_path / "a", usual)
    scorer = scorer_of(Skip(every=4))
    lower = run(video, scorer, tmp_path / "a", low)
    assert scorer.extractor.clips == 6 and lower.interpolated == [(16, 64), (80, 128)]
    scorer = scorer_of(Skip(every=4))
    again = run(video, scorer, tmp_path / "a", usual)
    assert scorer.extractor.clips == 0
    assert np.array_equal(again.scores, first.scores) and again.interpolated == first.interpolated


def test_what_is_interpolated_is_never_taken_for_computed(video, tmp_path):
    run(video, scorer_of(Skip(every=4)), tmp_path)
    every_clip = scorer_of(Skip())
    whole = run(video, every_clip, tmp_path)
    assert every_clip.extractor.clips == N_CLIPS and whole.interpolated == []
    assert np.array_equal(whole.scores, scorer_of(Skip()).score(video).scores)
    sparse = scorer_of(Skip(every=8))
    assert run(video, sparse, tmp_path).interpolated == [] and sparse.extractor.clips == 0  # all are there


@pytest.mark.parametrize("moment", [2, 6, 7, 12])  # in the first pass, at its end; in the second, at its end
def test_an_interrupted_run_equals_one_that_was_not(video, tmp_path, moment):
    calls = []

    def interrupt(path, done, total):
        calls.append(done)
        if len(calls) == moment:
            raise KeyboardInterrupt

    expected = run(video, scorer_of(Skip(every=4)), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(video, scorer_of(Skip(every=4)), tmp_path / "out", on_clips=interrupt)
    scorer = scorer_of(Skip(every=4))
    result = run(video, scorer, tmp_path / "out")
    assert scorer.extractor.clips == 12 - (moment + 1) // 2 * 2
    assert result.scores.tobytes() == expected.scores.tobytes() and result.interpolated == expected.interpolated
    (features,) = (load_features(path) for path in tmp_path.glob("out/**/*.npz") if "scores" not in path.name)
    assert len(features.interpolated) == N_CLIPS - 12
    assert list(tmp_path.glob("out/**/*.rows")) == []


def test_still_clips_of_those_computed_are_carried_over(make_video):
    flat = make_video(n_frames=N_CLIPS * 16, size=(48, 32), paint=lambda i: np.full((32, 48, 3), 20, np.uint8))
    scorer = scorer_of(Skip(still=True, every=4))
    result = scorer.score(flat)
    assert scorer.extractor.clips == 4 and result.still == [(256, 272), (320, 336)]  # clips 16 and 20
    assert (256 + 16, 320) in result.interpolated


def test_outputs_mark_interpolated_frames(video, tmp_path):
    result = scorer_of(Skip(every=4)).score(video)
    lines = write_output(result, tmp_path / "a", "csv").read_text().splitlines()
    assert lines[0] == "frame,time,score,at,interpolated"
    assert [line[-1] for line in lines[1:]] == [
        str(int(any(start <= frame < end for start, end in result.interpolated))) for frame in range(len(lines) - 1)
    ]
    document = json.loads(write_output(result, tmp_path / "a", "json").read_text())
    assert document["interpolated"] == [list(pair) for pair in result.interpolated] and "still" not in document
    assert "0:08 of it was not computed" in HTML().render(result, Context(tmp_path / "a.html", "a.mp4"))


def test_the_command_takes_every_nth_clip(video, call):
    every, whole = (json.loads(call("score", video, "--json", *words).stdout) for words in (["--every", "5"], []))
    assert every["interpolated"] and "interpolated" not in whole
    call("score", video, "--every", "0", code=2)


def test_features_between_computed_clips_are_linear(make_features):
    rows = np.array([[[0, 8]], [[4, 0]], [[5, 5]]], np.float32)
    expected = [[0, 8], [1, 6], [2, 4], [3, 2], [4, 0], [5, 5], [5, 5]]
    assert filled(rows, [0, 4, 5], 7)[:, 0].tolist() == expected
    assert filled(rows[:1], [0], 3)[:, 0].tolist() == [[0, 8]] * 3
    features = load_features(next(make_features().glob("*.npz")))
    some = with_only(features, range(0, 10, 3))
    assert some.interpolated == (1, 2, 4, 5, 7, 8) and np.array_equal(some.visual[::3], features.visual[::3])


def test_scores_rise_around_clips_that_are_high():
    scores = np.zeros(18)
    assert rising(scores, 4, 0.5) == []
    scores[8] = 0.3  # more than half of the threshold
    assert rising(scores, 4, 0.5) == [*range(4, 12)]
    scores[:] = 0
    scores[16] = 0.3
    assert rising(scores, 4, 0.5) == [*range(12, 18)]
    scores[5] = 1  # of a clip that was not computed
    assert rising(scores, 4, 0.5) == [*range(12, 18)]


def test_no_stride_below_one():
    with pytest.raises(UsageError, match="not every 0"):
        Skip(every=0)
