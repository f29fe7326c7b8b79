"""Scores while a stream runs are those that the file so far would get, at each moment."""

import numpy as np
import pytest

from anomalycli.events import EventRule, find_events
from anomalycli.live.tracking import EventTracker
from anomalycli.live.window import ScoreWindow
from anomalycli.segments import pool, spread

L, FPS = 8, 25.0


def model(bags):
    """Scores of each window that depend on all of it: (n, L, n_crops, D) -> (n, L)."""
    mean = bags.mean((2, 3))
    smooth = np.stack([np.convolve(row, np.ones(3) / 3, "same") for row in mean])
    return 1 / (1 + np.exp(-4 * smooth + mean[:, ::-1] / 4))


def offline(x):
    """The scores of a whole file by windows that overlap by half, as `Scorer` has them."""
    if len(x) <= L:
        return model(pool(x, L)[None])[0]
    total, weights = np.zeros(len(x)), np.zeros(len(x))
    for start in {*range(0, len(x) - L, L // 2), len(x) - L}:
        for i, score in enumerate(model(x[None, start : start + L])[0]):
            total[start + i] += score * (min(i, L - 1 - i) + 1)
            weights[start + i] += min(i, L - 1 - i) + 1
    return total / weights


def bursts(rng, n):
    """Numbers of clips that arrive at once, n in all."""
    while n > 0:
        some = min(n, int(rng.integers(1, 4)) if rng.random() < 0.9 else 20)
        n -= some
        yield some


@pytest.mark.parametrize("n_clips", [1, 7, 8, 9, 12, 13, 60])
def test_at_each_moment_scores_are_those_of_the_file_so_far(n_clips):
    rng = np.random.default_rng(n_clips)
    x = rng.normal(size=(n_clips, 2, 5)).astype(np.float32)
    window, held, n, final = ScoreWindow(L, 16), np.empty(0, np.float32), 0, np.empty(0, np.float32)
    for some in bursts(rng, n_clips):
        for _ in range(some):
            n += 1
            n_frames = 7 if n == n_clips else 16
            window.add(x[n - 1], 16.0 * (n - 1) + np.arange(n_frames))
        scores = window.take(model(window.bags()))
        held = np.concatenate((held[: scores.start], scores.scores))
        assert held == pytest.approx(spread(offline(x[:n]), 16 * n - (9 if n == n_clips else 0)), abs=1e-6)
        assert np.array_equal(held[: len(final)], final), "a final score never changes"
        final = held[: scores.start + scores.n_final]
        assert np.array_equal(scores.times, scores.start + np.arange(len(scores.times)))
        assert len(window._features) <= 3 * L


@pytest.mark.parametrize("seed", range(40))
def test_final_events_are_those_of_the_file_and_each_is_told_once(seed):
    rng = np.random.default_rng(seed)
    n_clips = int(rng.integers(3, 150))
    levels = np.repeat(rng.normal(-0.5, 1, n_clips // 5 + 1), 5)[:n_clips]
    x = (rng.normal(size=(n_clips, 1, 1)) + levels[:, None, None]).astype(np.float32)
    rule = EventRule(0.5, 0.3, float(rng.choice([0, 1, 2])), float(rng.choice([0, 0.5, 1])))
    window, tracker, news, n = ScoreWindow(L, 16), EventTracker("gate", rule), [], 0
    for some in bursts(rng, n_clips):
        for _ in range(some):
            window.add(x[n], 1000 + (16 * n + np.arange(16)) / FPS)
            n += 1
        news += tracker.update(window.take(model(window.bags())), FPS)
    news += tracker.finish(None, FPS)
    expected = find_events(spread(offline(x), 16 * n_clips), FPS, rule)
    final = [told.event for told in news if told.kind == "final" and told.event.is_confirmed]
    found = sorted((round((e.start - 1000) * FPS), round((e.end - 1000) * FPS), round(e.score, 4)) for e in final)
    assert found == [(event.start, event.end, round(event.score, 4)) for event in expected]
    told_of = {told.event.id: [] for told in news}
    for told in news:
        told_of[told.event.id].append(told.kind)
    for kinds in told_of.values():
        assert (kinds[0], kinds[-1], kinds.count("start"), kinds.count("final")) == ("start", "final", 1, 1)
        assert "end" in kinds
