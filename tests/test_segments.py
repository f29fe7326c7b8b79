import numpy as np
import pytest

from anomalycli.segments import centres, parts, pool, repeat, spread

COUNTS = [1, 10, 63, 64, 65, 1000, 70_000]


@pytest.mark.parametrize("n", COUNTS)
def test_every_clip_is_in_a_segment_and_parts_are_near_equal(n):
    start, end = parts(n, 64)
    clips = [set(range(a, b)) for a, b in zip(start, end)]
    assert set().union(*clips) == set(range(n))
    sizes = end - start
    assert sizes.min() >= 1
    assert sizes.max() - sizes.min() <= 1
    if n >= 64:
        assert sizes.sum() == n


@pytest.mark.parametrize("n", COUNTS)
def test_pooling_is_the_mean_over_each_part(n):
    features = np.random.default_rng(n).normal(size=(n, 3)).astype(np.float32)
    pooled = pool(features, 64)
    assert pooled.shape == (64, 3)
    assert pooled.dtype == np.float32
    for i, (a, b) in enumerate(zip(*parts(n, 64))):
        assert pooled[i] == pytest.approx(features[a:b].mean(0), abs=1e-5)


@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("tail", [0, 1, 15])
def test_there_are_as_many_scores_as_frames(n, tail):
    n_frames = n * 16 - tail
    scores = spread(np.random.default_rng(0).random(64), n_frames)
    assert scores.shape == (n_frames,)
    assert scores.dtype == np.float32
    assert (scores >= 0).all() and (scores <= 1).all()


@pytest.mark.parametrize("n", COUNTS)
def test_what_is_pooled_from_a_ramp_spreads_back_to_the_ramp(n):
    clips = np.arange(n) + 0.5  # each clip's feature is its own middle, in clips
    frames = spread(pool(clips[:, None], 64)[:, 0], 16 * n)
    expected = (np.arange(16 * n) + 0.5) / 16
    inside = slice(16 * (n // 64 + 1), -16 * (n // 64 + 1))
    # in a clip that several segments share, the ramp becomes a stair of that clip
    assert frames[inside] == pytest.approx(expected[inside], abs=0.01 if n >= 64 else 1)


def test_scores_are_linear_between_the_middles_of_segments():
    frames = spread(np.array([0.0, 1.0]), 64)  # two segments of two clips: middles at 16 and 48
    assert list(centres(4, 2)) == [16, 48]
    assert frames[:16] == pytest.approx(0)
    assert frames[48:] == pytest.approx(1)
    assert frames[31:33] == pytest.approx([15.5 / 32, 16.5 / 32])


def test_a_brief_peak_lands_on_its_own_frames():
    scores = np.zeros(64)
    scores[40] = 1
    frames = spread(scores, 64 * 16)
    assert 40 * 16 <= frames.argmax() < 41 * 16


def test_no_clip_is_an_error():
    with pytest.raises(ValueError, match="no clip"):
        pool(np.empty((0, 4)), 64)


@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("clip_length", [16, 8, 32])
def test_repeated_scores_are_those_of_the_segment_that_holds_the_frame(n, clip_length):
    n_frames = n * clip_length - 1
    scores = np.random.default_rng(0).random(64)
    frames = repeat(scores, n_frames, clip_length)
    assert frames.dtype == scores.dtype
    start, end = parts(n, 64)
    for frame in np.random.default_rng(1).integers(n_frames, size=200):
        clip = frame // clip_length
        if n >= 64:
            (segment,) = np.flatnonzero((start <= clip) & (clip < end))
        else:
            segment = int((frame + 0.5) / clip_length * 64 / n)
        assert frames[frame] == scores[segment]


def test_scores_of_clips_are_repeated_over_their_frames():
    scores = np.random.default_rng(0).random(7)
    assert np.array_equal(repeat(scores, 7 * 16), scores.repeat(16))
    assert np.array_equal(repeat(scores, 7 * 16 - 5), scores.repeat(16)[:-5])
