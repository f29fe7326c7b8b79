"""Clips in which nothing moves, on drawn scenes at three levels of noise."""

import numpy as np
import pytest

from anomalycli.media.still import FIRST, LONGEST, StillClips, block_means

HEIGHT, WIDTH = 96, 128
BEGIN = 14  # the clip in which something happens
NOISE = pytest.mark.parametrize("noise", [1, 3, 6])  # grey levels, standard deviation of a pixel


def background() -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    picture = 120 + 40 * np.sin(x / 23) + 30 * np.cos(y / 17)
    picture[20:60, 30:70] -= 45  # a wall
    return picture


def scene(happens, noise: float, n_clips: int = BEGIN + 6) -> list[np.ndarray]:
    """Clips of four frames; `happens(picture, t)` draws into the frame at t quarters of a clip."""
    rng, clips = np.random.default_rng(0), []
    grain = noise * rng.standard_normal((5, HEIGHT, WIDTH, 3), np.float32)  # drawn once: it takes time
    for number in range(n_clips):
        frames = []
        for t in range(4 * number, 4 * number + 4):
            picture = background()
            happens(picture, t)
            frames.append((picture[..., None] + np.roll(grain[t % 5], rng.integers(999))).clip(0, 255))
        clips.append(np.array(frames, np.uint8))
    return clips


def still(happens, noise: float, n_clips: int = BEGIN + 6) -> list[bool]:
    tell = StillClips()
    return [tell(clip) for clip in scene(happens, noise, n_clips)]


def nothing(picture, t):
    pass


def flicker(picture, t):
    picture *= 1 + 0.02 * np.sin(1.7 * t)


def figure_at_the_far_edge(picture, t):
    if t >= 4 * BEGIN:
        picture[20 + t - 4 * BEGIN :, -4:][:9] += 40  # 4 x 9 pixels


def slow_door(picture, t):
    if t >= 4 * BEGIN:
        picture[30:80, 90 : 91 + (t - 4 * BEGIN) // 4] -= 40  # a pixel per clip


def light_goes_out(picture, t):
    if t >= 4 * BEGIN:
        picture *= 0.6


def one_lamp_goes_out(picture, t):
    if t >= 4 * BEGIN:
        picture[40:70, 60:90] *= 0.75


def small_fire(picture, t):
    if t >= 4 * BEGIN:
        size = 5 + (t - 4 * BEGIN) // 12
        picture[70 : 70 + size, 20 : 20 + size] = 210 + 30 * (t % 2)


@NOISE
@pytest.mark.parametrize("happens", [nothing, flicker])
def test_nothing_but_noise_is_still(happens, noise):
    told = still(happens, noise)
    assert not any(told[:FIRST]) and all(told[FIRST:])


@NOISE
@pytest.mark.parametrize("happens", [figure_at_the_far_edge, slow_door, light_goes_out, one_lamp_goes_out, small_fire])
def test_what_a_person_would_notice_is_not_still(happens, noise):
    told = still(happens, noise)
    assert all(told[FIRST:BEGIN])
    assert not told[BEGIN]
    if happens in (figure_at_the_far_edge, slow_door):
        assert not any(told[BEGIN:])  # it goes on


def test_an_exposure_step_is_computed_and_is_the_scene_from_then_on():
    def step(picture, t):
        picture *= 1.2 if t >= 4 * BEGIN else 1

    told = still(step, 3)
    assert not told[BEGIN] and all(told[BEGIN + 1 :])


def test_a_burnt_in_clock_does_not_keep_a_scene_from_being_still():
    digits = np.random.default_rng(1).choice([20.0, 235.0], (10, 10, 6))

    def clock(picture, t):
        picture[4:14, 100:106] = digits[t // 6 % 10]

    assert np.mean(still(clock, 2, 40)[FIRST:]) > 0.5


def test_traffic_is_no_clock_however_steadily_it_flows():
    def traffic(picture, t):
        for start in (0, 50, 100):
            x = (start + 9 * t) % WIDTH
            picture[4:12, x : x + 8] += 60  # in the upper sixth

    assert not any(still(traffic, 2, 40))


def test_no_clip_is_carried_over_for_longer_than_the_limit():
    told = still(nothing, 2, FIRST + LONGEST + 3)
    assert told.index(False, FIRST) == FIRST + LONGEST


def test_another_size_is_another_scene():
    tell = StillClips()
    for clip in scene(nothing, 1, 8):
        tell(clip)
    assert not tell(np.zeros((4, 32, 32, 3), np.uint8))


def test_blocks_have_the_mean_luma_of_their_pixels():
    clip = np.random.default_rng(0).integers(0, 256, (2, 20, 27, 3), np.uint8)
    blocks = block_means(clip)
    assert blocks.shape == (2, 2, 3)
    red, green, blue = clip[1, 8:16, 16:24].reshape(-1, 3).mean(0)
    assert blocks[1, 1, 2] == pytest.approx(0.299 * red + 0.587 * green + 0.114 * blue, rel=1e-5)
    assert block_means(clip[:, :5, :6]).shape == (2, 1, 1)
