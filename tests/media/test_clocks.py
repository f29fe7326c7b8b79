"""When frames are shown: joined and trimmed recordings, clocks that wrap, late starts, streams without times."""

import av
import numpy as np
import pytest
from recipes import encode, trim

from anomalycli.media.audio import Sound
from anomalycli.media.video import Video

READERS = ("auto", "pyav")


def shades_and_times(video: Video) -> tuple[list[float], np.ndarray]:
    shades = [float(frame.mean()) for frame in video.frames()]
    times = video.frame_times()
    return shades, np.arange(len(shades)) / video.fps if times is None else times


@pytest.mark.parametrize("suffix", ["ts", "m2ts", "mpg", "vob", "flv"])
@pytest.mark.parametrize("reader", READERS)
def test_a_joined_recording_lasts_as_long_as_its_parts(tmp_path, suffix, reader):
    codec = "mpeg2video" if suffix in ("mpg", "vob") else "libx264"
    with_sound = codec == "libx264"
    parts = [encode(tmp_path / f"{n}.{suffix}", n, codec, sound=n / 25 * with_sound) for n in (50, 50, 30)]
    joined = tmp_path / f"joined.{suffix}"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    video = Video(joined, reader=reader)
    shades, times = shades_and_times(video)
    assert (len(shades), video.damage, video.n_lost) == (130, None, 0)
    assert shades[:50] == pytest.approx(shades[50:100], abs=3)
    assert np.diff(times) == pytest.approx(np.full(129, 0.04), abs=0.021 if suffix == "flv" else 0.011)
    assert np.diff(video.clip_ends(10)) == pytest.approx(np.full(12, 0.4), abs=0.05)


@pytest.mark.parametrize("suffix", ["ts", "flv", "mkv"])
def test_the_sound_of_a_joined_recording_goes_with_its_picture(tmp_path, suffix):
    part = encode(tmp_path / f"part.{suffix}", 50, sound=2.0).read_bytes()
    joined = tmp_path / f"joined.{suffix}"
    joined.write_bytes(part + part)
    video = Video(joined)
    assert sum(1 for _ in video.frames()) == 100
    windows = list(Sound(joined).windows(video.clip_ends(10) - 0.4, 6400))
    heard = [np.mean(~np.isnan(window)) for window in windows]
    assert min(heard) > 0.8, heard


@pytest.mark.parametrize("offset", ["95440", "95443.5", "26.5"])
@pytest.mark.parametrize("suffix", ["ts", "m2ts", "mts"])
def test_a_clock_that_wraps_is_no_damage(tmp_path, offset, suffix):
    path = encode(
        tmp_path / f"wraps.{suffix}", 150, options={"g": "10"}, container_options={"output_ts_offset": offset}
    )
    video = Video(path)
    shades, times = shades_and_times(video)
    assert (len(shades), video.damage) == (150, None)
    assert times == pytest.approx(np.arange(150) / 25, abs=1e-3)


@pytest.mark.parametrize(("suffix", "promised"), [("mp4", 50), ("mov", 50), ("m4v", 50)])
@pytest.mark.parametrize("reader", READERS)
def test_frames_that_an_edit_list_hides_are_neither_read_nor_missed(tmp_path, suffix, promised, reader):
    whole = encode(tmp_path / f"whole.{suffix}", 100, options={"g": "50", "bf": "2"})
    video = Video(trim(whole, tmp_path / f"trimmed.{suffix}", 1.2, 2.0), reader=reader)
    shades, times = shades_and_times(video)
    assert (video.damage, video.n_lost) == (None, 0)
    assert len(shades) == pytest.approx(promised, abs=2)
    assert video.n_declared == len(shades)
    assert shades[0] == pytest.approx(90, abs=4)  # the frame at 1.2 s, not the key frame at 0
    assert times == pytest.approx(np.arange(len(shades)) / 25, abs=1e-3)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "ts", "flv"])
@pytest.mark.parametrize("reader", READERS)
def test_a_video_that_begins_after_its_sound_is_on_the_players_clock(tmp_path, suffix, reader):
    video = Video(encode(tmp_path / f"late.{suffix}", 50, begin=3.0, sound=5.0), reader=reader)
    assert sum(1 for _ in video.frames()) == 50
    assert video.frame_times() == pytest.approx(3 + np.arange(50) / 25, abs=0.06)
    assert video.damage is None


@pytest.mark.parametrize(("suffix", "codec", "rate"), [("h264", "libx264", 30), ("h265", "libx265", 12)])
@pytest.mark.parametrize("reader", READERS)
def test_a_raw_stream_has_its_own_rate(tmp_path, suffix, codec, rate, reader):
    options = {"x265-params": "log-level=none"} if codec == "libx265" else None
    how = {"format": "hevc"} if suffix == "h265" else {}
    video = Video(encode(tmp_path / f"raw.{suffix}", 40, codec, rate, options=options, **how), reader=reader)
    assert sum(1 for _ in video.frames()) == 40
    assert (video.fps, video.frame_times(), video.damage) == (rate, None, None)
    assert video.clip_ends(10)[-1] == pytest.approx(40 / rate)


def test_a_raw_mpeg_stream_has_its_own_rate(tmp_path):
    video = Video(encode(tmp_path / "raw.mpg", 40, "mpeg2video", 30, format="mpeg2video"))
    assert sum(1 for _ in video.frames()) == 40
    assert (video.fps, video.frame_times(), video.damage) == (30, None, None)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "msmpeg4"])
@pytest.mark.parametrize("reader", READERS)
def test_avi_has_no_times_of_presentation_and_is_steady(tmp_path, codec, reader):
    options = {"g": "12", "bf": "2"} if codec != "msmpeg4" else {}
    video = Video(encode(tmp_path / "a.avi", 60, codec, options=options), reader=reader)
    assert sum(1 for _ in video.frames()) == 60
    assert (video.frame_times(), video.damage) == (None, None)
    assert video.clip_ends(10) == pytest.approx(np.arange(1, 7) * 0.4)


@pytest.mark.parametrize("beginning", ["ts", "mkv"])
def test_times_of_a_variable_rate_hold_behind_a_beginning_that_cannot_be_decoded(tmp_path, beginning):
    from fractions import Fraction

    stamps = [*range(0, 2000, 40), *range(2000, 6000, 200)]
    path = tmp_path / f"a.{beginning}"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"g": "25", "bf": "0", "x264-params": "repeat-headers=1"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        packets = []
        for number, stamp in enumerate(stamps):
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), 3 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 1000)
            packets += stream.encode(frame)
        for packet in [*packets, *stream.encode()][10:]:  # the first key frame is missing
            out.mux(packet)
    video = Video(path, reader="pyav")
    shades = [frame.mean() for frame in video.frames()]
    first = round(shades[0] / 3)
    times = video.frame_times()
    expected = np.array(stamps[first:]) / 1000
    assert len(shades) == len(stamps) - first
    assert np.diff(times) == pytest.approx(np.diff(expected), abs=0.002)
