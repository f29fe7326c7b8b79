"""A run that was interrupted resumes, and what was scored once goes through the network no second time."""

import numpy as np
import pytest
import torch
from helpers import contents

from anomalycli import Scorer
from anomalycli.backbones import Extractor
from anomalycli.checkpoint import ModelInfo
from anomalycli.denet import DENet, DENetConfig
from anomalycli.events import EventRule
from anomalycli.export.outputs import Outputs, score_inputs
from anomalycli.inputs import find_inputs


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    torch.manual_seed(0)
    kind = Extractor("mc3", "cpu", size=64).kind
    config = DENetConfig(kind.dim, width=16, heads=2, feedforward=16)
    return Scorer(DENet(config), ModelInfo(config, kind, EventRule(0, 0, 0, 0)), "cpu")


@pytest.fixture
def passed(scorer, monkeypatch) -> list[int]:
    """How many clips went through the network, batch by batch."""
    clips: list[int] = []
    usual = Extractor.__call__

    def counted(self, batch):
        clips.append(len(batch))
        return usual(self, batch)

    monkeypatch.setattr(Extractor, "__call__", counted)
    return clips


def run(folder, outputs, scorer, rule=None, on_clips=None):
    return list(score_inputs(find_inputs([folder], {".mp4"}), scorer, outputs, "auto", rule, on_clips))


def test_an_interrupted_run_resumes_and_equals_one_that_was_not(make_video, tmp_path, scorer, passed):
    paint = lambda i: np.random.default_rng(i).integers(0, 256, (64, 96, 3), np.uint8)  # noqa: E731
    make_video("in/a.mp4", 60, paint=paint)
    make_video("in/b.mp4", 20, paint=paint)
    run(tmp_path / "in", Outputs(tmp_path / "whole", ["json", "srt"]), scorer)
    assert sum(passed) == 4 + 2

    passed.clear()
    outputs = Outputs(tmp_path / "out", ["json", "srt"])

    def interrupt(path, done, total):
        if path.name == "b.mp4" or done >= 2:
            raise KeyboardInterrupt

    for _ in range(4):
        try:
            run(tmp_path / "in", outputs, scorer, on_clips=interrupt)
        except KeyboardInterrupt:
            continue
    run(tmp_path / "in", outputs, scorer)
    assert sum(passed) == 4 + 2
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_another_rule_or_format_costs_no_second_pass(make_video, tmp_path, scorer, passed):
    film = make_video("in/a.mp4", 40)
    (first,) = run(tmp_path / "in", Outputs(tmp_path / "out", ["json"]), scorer)
    passed.clear()
    for outputs, rule in (
        (Outputs(tmp_path / "out", ["csv", "vtt"]), None),
        (Outputs(tmp_path / "out", ["events.json"]), EventRule(0.9, 0.9)),
        (Outputs(tmp_path / "out", margin=0.1), None),
    ):
        (again,) = run(tmp_path / "in", outputs, scorer, rule)
        np.testing.assert_array_equal(again.result.scores, first.result.scores)
        assert not again.failure
    assert passed == []
    run(tmp_path / "in", Outputs(tmp_path / "out", ["json"], overwrite=True), scorer)
    assert sum(passed) == 3
    passed.clear()
    film.write_bytes(make_video("other.mp4", 41).read_bytes())  # another recording of that name
    run(tmp_path / "in", Outputs(tmp_path / "out", ["json"]), scorer)
    assert sum(passed) == 3


def test_scores_are_kept_for_this_file_mode_and_model_alone(make_video, tmp_path, scorer, monkeypatch):
    make_video("in/a.mp4", 40)
    outputs = Outputs(tmp_path / "out", ["json"])
    (first,) = run(tmp_path / "in", outputs, scorer)
    scored = []
    usual = Scorer.score_segments

    def counted(self, features, mode):
        scored.append(mode)
        return usual(self, features, mode)

    monkeypatch.setattr(Scorer, "score_segments", counted)
    (again,) = run(tmp_path / "in", outputs, scorer, EventRule(0.4, 0.4))
    assert scored == []
    np.testing.assert_array_equal(again.result.scores, first.result.scores)
    assert again.result.rule == EventRule(0.4, 0.4)
    list(score_inputs(find_inputs([tmp_path / "in"], {".mp4"}), scorer, outputs, "window"))
    assert scored == ["window"]

    torch.manual_seed(1)
    other = Scorer(DENet(scorer.info.settings), scorer.info, "cpu")
    other._extractor = scorer.extractor
    (changed,) = run(tmp_path / "in", outputs, other)
    assert len(scored) == 2 and not np.array_equal(changed.result.scores, first.result.scores)


def test_scores_of_feature_files_are_kept_too(make_video, tmp_path, scorer, monkeypatch):
    features = scorer.score(make_video("a.mp4", 40), cache=tmp_path / "in" / "a.npz") and tmp_path / "in" / "a.npz"
    (tmp_path / "in" / "a.scores.npz").unlink()
    inputs = find_inputs([features], {".npz"})
    (first,) = score_inputs(inputs, scorer, Outputs(tmp_path / "out", ["json"]))
    monkeypatch.setattr(Scorer, "score_segments", None)
    (again,) = score_inputs(inputs, scorer, Outputs(tmp_path / "out", ["csv"]))
    np.testing.assert_array_equal(again.result.scores, first.result.scores)


@pytest.mark.parametrize("kept", ["*[0-9a-f].npz", "*.scores.npz"])
@pytest.mark.parametrize("damage", [b"", b"PK", b"\0" * 5000])
def test_a_damaged_cache_costs_nothing_but_time(make_video, tmp_path, scorer, passed, damage, kept):
    make_video("in/a.mp4", 20)
    outputs = Outputs(tmp_path / "out", ["json"])
    run(tmp_path / "in", outputs, scorer)
    before = contents(tmp_path / "out")
    for cache in (tmp_path / "out" / ".anomalycli").glob("*.npz"):
        if cache.match(kept):
            cache.write_bytes(damage)
        else:
            cache.unlink()
    passed.clear()
    run(tmp_path / "in", outputs, scorer)
    assert contents(tmp_path / "out") == before and sum(passed) == 2


def test_nothing_is_kept_where_nothing_is_written(make_video, tmp_path, scorer, passed, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_video("in/a.mp4", 20)
    run(tmp_path / "in", Outputs(tmp_path), scorer)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_features_are_kept_where_nothing_else_is_written(scorer, passed, make_video, tmp_path):
    """calibrate writes no file of a video, and resumes like score."""
    inputs = find_inputs([make_video("a.mp4", 40)], {".mp4"})
    outputs = Outputs(tmp_path / "out", features=True)
    first = [scored.result.scores for scored in score_inputs(inputs, scorer, outputs)]
    done = sum(passed)
    again = [scored.result.scores for scored in score_inputs(inputs, scorer, outputs)]
    assert sum(passed) == done > 0
    assert np.array_equal(first, again)
