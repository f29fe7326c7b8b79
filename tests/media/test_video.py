import os
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from helpers import real_film

from anomalycli.errors import VideoError
from anomalycli.media.decord_reader import decord
from anomalycli.media.picture import scaled_size
from anomalycli.media.video import Video

ROBUSTNESS = {  # file: frames that can be read
    "-video-with-dash-.mp4": 5,
    "av1_video.mkv": 125,
    "bitmap.mp4": 5,
    "fire2.mp4": 25,
    "h264_10bits.mp4": 30,
    "h265_video.mp4": 10,
    "no_duration.webm": 74,
    "unordered.mov": 4,
    "vfr.avi": 164,
    "video_90.mov": 3,
    "video_with_failing_audio.mp4": 280,
}


@pytest.mark.parametrize("name", ROBUSTNESS)
def test_odd_but_whole_files_give_all_their_frames(shared, name):
    video = Video(shared / "robustness" / name, short_side=32, multiple=16)
    clips = list(video.clips(16))
    assert video.n_frames == ROBUSTNESS[name]
    assert (video.damage, video.n_lost) == (None, 0)
    assert len(clips) == -(-ROBUSTNESS[name] // 16)
    assert all(clip.shape == (16, video.size[1], video.size[0], 3) and clip.dtype == np.uint8 for clip in clips)


@pytest.mark.parametrize("name", ["fire2.mp4", "h264_10bits.mp4", "h265_video.mp4", "vfr.avi", "video_90.mov"])
def test_both_decoders_give_the_same_pixels(shared, name):
    if decord is None:
        pytest.skip("decord has no wheel for this platform")
    path = shared / "robustness" / name
    by_decord, by_pyav = (list(Video(path, 48, 16, reader=reader).frames()) for reader in ("decord", "pyav"))
    assert np.array_equal(by_decord, by_pyav)


def test_a_corrupt_file_gives_its_readable_frames_and_says_what_is_lost(shared):
    video = Video(shared / "robustness" / "corrupted.mp4", short_side=32)
    assert len(list(video.clips(16))) == 4
    assert (video.n_frames, video.n_lost) == (49, 1)
    assert video.damage == "1 of 50 packets is damaged, the first at 3.0 s"


def test_an_empty_a_text_and_a_missing_file_are_refused_with_their_name(shared, tmp_path):
    text = tmp_path / "notes.mp4"
    text.write_text("this is no video\n" * 100)
    for path, words in (
        (shared / "robustness" / "result.webm", "empty"),
        (text, "not a video"),
        (tmp_path / "gone.mp4", "no such file"),
    ):
        with pytest.raises(VideoError, match=words) as error:
            Video(path)
        assert path.name in str(error.value)


def test_a_truncated_file_gives_what_is_left_and_says_so(make_video, tmp_path):
    rng = np.random.default_rng(0)
    whole = make_video("whole.mkv", 75, paint=lambda i: rng.integers(0, 255, (64, 96, 3), np.uint8))
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    video = Video(cut)
    assert 10 < sum(1 for _ in video.frames()) < 50
    assert (video.damage, video.n_lost) == ("the stream ends early", None)
    mp4 = make_video("whole.mp4", 60)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(mp4.read_bytes()[: mp4.stat().st_size // 2])  # the index stands at the end of an mp4
    with pytest.raises(VideoError, match=r"cut\.mp4"):
        Video(cut)


def test_the_last_clip_repeats_its_last_frame(make_video):
    *_, last = Video(make_video(n_frames=21), short_side=32).clips(16)
    assert len(np.unique(last.mean((1, 2, 3)).round(1))) == 5
    assert (last[4:] == last[4]).all()


def test_a_video_under_16_frames_gives_one_clip(make_video):
    (clip,) = Video(make_video(n_frames=3)).clips(16)
    assert clip.shape == (16, 64, 96, 3)


def test_rotation_is_applied(shared):
    video = Video(shared / "robustness" / "video_90.mov")
    assert (video.width, video.height) == (320, 568)
    assert next(video.frames()).shape == (568, 320, 3)


def test_frames_come_in_order_and_can_be_grabbed_by_number(make_video):
    video = Video(make_video(n_frames=50))
    shades = [frame.mean() for frame in video.frames()]
    assert np.all(np.diff(shades) > 0)
    grabbed = dict(video.grab([40, 7]))
    assert {n: frame.mean() for n, frame in grabbed.items()} == pytest.approx({n: shades[n] for n in (7, 40)})


def test_frames_can_be_grabbed_where_decord_cannot_read(shared):
    video = Video(shared / "robustness" / "av1_video.mkv", short_side=32)
    frames = list(video.frames())
    assert np.array_equal(dict(video.grab([100]))[100], frames[100])


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [
        (320, 240, (176, 128)),  # 4:3
        (1080, 1920, (128, 224)),  # portrait
        (2560, 1080, (304, 128)),  # 21:9
        (1, 1, (128, 128)),
        (20000, 2, (512, 128)),  # a freak is squeezed
    ],
)
def test_the_whole_frame_is_scaled_to_a_multiple_of_16(width, height, size):
    assert scaled_size(width, height, 128, 16) == size


def test_a_real_film_has_its_frames_and_rate():
    video = Video(real_film(), short_side=64)
    assert (sum(1 for _ in video.frames()), video.fps) == (250, 25)


def encode(path, codec, numbers, options):
    """A 96x64 video with frames at these numbers, 25 a second, each brighter than the one before."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = 96, 64
        stream.pix_fmt = stream.codec_context.codec.video_formats[0].name
        for i in numbers:
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), 3 * i, np.uint8), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def test_a_transport_stream_gives_its_first_frames_and_none_twice(tmp_path):
    video = Video(encode(tmp_path / "camera.ts", "libx264", range(60), {"g": "10", "crf": "12"}))
    shades = [frame.mean() for frame in video.frames()]
    assert len(shades) == 60
    assert np.all(np.diff(shades) > 0)
    assert [frame.mean() for _, frame in video.grab([0, 30])] == [shades[0], shades[30]]


def test_frames_that_a_recorder_dropped_are_no_damage(tmp_path):
    numbers = (*range(10), *range(13, 40))  # 10, 11 and 12 are empty entries of the index
    whole, cut = encode(tmp_path / "gaps.avi", "mjpeg", numbers, {"strict": "-1"}), tmp_path / "cut.avi"
    video = Video(whole)
    assert (sum(1 for _ in video.frames()), video.n_declared, video.damage, video.n_lost) == (37, 37, None, 0)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    video = Video(cut)
    assert 10 < sum(1 for _ in video.frames()) < 30
    assert video.damage


@pytest.mark.skipif(sys.platform != "linux", reason="names that are not Unicode are Linux's")
def test_a_name_that_is_not_unicode(make_video):
    path = make_video("clip.mp4", n_frames=5)
    video = Video(path.rename(path.with_name(os.fsdecode(b"caf\xe9.mp4"))))
    assert sum(1 for _ in video.frames()) == 5
    assert [number for number, _ in video.grab([4])] == [4]
