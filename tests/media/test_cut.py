"""Pieces of a video: what is written can be decoded, begins where it should, and holds the frames that it should."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import recipes

from anomalycli.errors import VideoError
from anomalycli.media.decoder import Decoder
from anomalycli.media.messages import Piece
from anomalycli.media.video import Video

N, FPS, SIZE = 100, 25, 64


def grey(number: int) -> int:
    return 20 + 2 * number  # another for each frame


def write_film(path: Path, codec: str, options: dict | None = None, sound: str | None = None, form=None) -> Path:
    """100 frames, each of another grey, with a key frame every 12, and a tone."""
    with av.open(str(path), "w", format=form) as out:
        stream = out.add_stream(codec, rate=FPS, options=options or {})
        stream.width = stream.height = SIZE
        stream.pix_fmt = {"gif": "rgb8", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
        stream.gop_size = 12
        stream.bit_rate = 400_000
        tone = out.add_stream(sound, rate=48_000, layout="mono") if sound else None
        for number in range(N):
            picture = np.full((SIZE, SIZE, 3), grey(number), np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
        for number in range(N // 2 if tone else 0):
            wave = np.sin(np.arange(3840) / 20).astype(np.float32)[None]
            chunk = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
            chunk.rate, chunk.pts, chunk.time_base = 48_000, number * 3840, Fraction(1, 48_000)
            out.mux(tone.encode(chunk))
        if tone:
            out.mux(tone.encode())
    return path


X264 = {"bf": "2", "preset": "ultrafast"}
FILMS = {
    "a.mp4": ("libx264", X264, "aac"),
    "a.mkv": ("libx264", X264, "aac"),
    "a.mov": ("libx264", X264 | {"x264-params": "open-gop=1"}, None),
    "a.ts": ("libx264", X264, "mp2"),
    "a.m2ts": ("libx264", X264, "ac3"),
    "a.flv": ("libx264", X264, "aac"),
    "a.mpg": ("mpeg2video", {"bf": "2"}, "mp2"),
    "a.vob": ("mpeg2video", {"bf": "2"}, "ac3"),
    "a.avi": ("mpeg4", {}, "mp3"),
    "b.avi": ("libx264", X264, None),
    "a.wmv": ("wmv2", {}, None),
    "a.webm": ("libvpx", {"deadline": "realtime"}, None),
    "a.mjpeg": ("mjpeg", {}, None),
    "a.h264": ("libx264", X264, None),
}


def piece(target: Path, start: int, end: int, fps: float = FPS) -> Piece:
    return Piece(str(target), start, tuple((np.arange(start, end + 1) / fps).tolist()))


def cut(film: Path, intervals: list[tuple[int, int]], exact: bool = False) -> list[Path]:
    pieces = [piece(film.with_name(f"{n}.part"), start, end) for n, (start, end) in enumerate(intervals)]
    with Decoder() as decoder:
        suffixes = decoder.cut(film, pieces, exact)
    return [Path(p.target).rename(film.with_name(f"cut{n}.{s}")) for n, (p, s) in enumerate(zip(pieces, suffixes))]


def greys(path: Path) -> list[int]:
    return [int(frame.mean()) for frame in Video(path).frames()]


@pytest.mark.parametrize("name", FILMS)
def test_a_piece_plays_from_the_key_frame_before_it_to_its_end(tmp_path, name):
    codec, options, sound = FILMS[name]
    film = write_film(tmp_path / name, codec, options, sound)
    whole = greys(film)
    pieces = [(0, 10), (40, 60), (95, 100)]
    for (start, end), path in zip(pieces, cut(film, pieces), strict=True):
        end = min(end, len(whole))
        held = greys(path)
        at = [int(np.abs(np.array(whole) - value).argmin()) for value in (held[0], held[-1])]
        assert start - 30 <= at[0] <= start + 1, (name, at, held)  # from the key frame before
        assert end - 2 <= at[1] <= end + 4, (name, at, held)
        assert np.abs(np.diff([np.abs(np.array(whole) - value).argmin() for value in held]) - 1).max() <= 1
        with av.open(str(path)) as container:
            times = [frame.time for frame in container.decode(video=0)]
            if name in ("a.mp4", "a.mkv", "a.ts", "a.m2ts", "a.flv"):
                heard = [frame.time for frame in open_sound(path)]
                assert abs(heard[0] - times[0]) < 0.1 and heard[-1] > times[-1] - 0.2
        assert times == sorted(times) and times[0] < 0.1
        assert times[-1] == pytest.approx((len(held) - 1) / FPS, abs=0.1)


def open_sound(path: Path):
    with av.open(str(path)) as container:
        yield from container.decode(audio=0)


@pytest.mark.parametrize("name", ["a.mp4", "a.ts", "a.wmv", "a.h264"])
def test_an_exact_piece_has_the_frames_that_were_asked_for_and_no_other(tmp_path, name):
    codec, options, sound = FILMS[name]
    film = write_film(tmp_path / name, codec, options, sound)
    whole = greys(film)
    first, second = cut(film, [(7, 31), (50, 53)], exact=True)
    assert greys(first) == pytest.approx(whole[7:31], abs=3)
    assert greys(second) == pytest.approx(whole[50:53], abs=3)
    with av.open(str(first)) as container:
        assert [frame.time for frame in container.decode(video=0)] == pytest.approx(np.arange(24) / FPS, abs=0.002)


def test_joined_recordings_whose_clock_starts_anew_are_cut_by_frames(tmp_path):
    film = write_film(tmp_path / "a.ts", *FILMS["a.ts"])
    film.write_bytes(film.read_bytes() * 2)
    whole = greys(film)
    assert len(whole) > 150
    (path,) = cut(film, [(130, 150)])
    assert greys(path) == pytest.approx(whole[130:150], abs=3)


def test_a_key_frame_that_does_not_decode_is_not_begun_with(tmp_path):
    film = write_film(tmp_path / "a.mkv", *FILMS["a.mkv"])
    with av.open(str(film)) as container:
        keys = [p for p in container.demux(video=0) if p.size and p.is_keyframe]
        size = keys[3].size  # frame 36
        content = bytearray(film.read_bytes())
        start = content.find(bytes(keys[3]))
    content[start + 4 : start + size] = b"\0" * (size - 4)
    film.write_bytes(content)
    (path,) = cut(film, [(40, 60)])
    held = greys(path)
    assert held and held[0] <= grey(36)


def test_what_is_no_video_is_an_error(tmp_path):
    (tmp_path / "no.mp4").write_bytes(b"no video" * 100)
    with pytest.raises(VideoError, match=r"no\.mp4"):
        cut(tmp_path / "no.mp4", [(0, 10)])
    film = write_film(tmp_path / "a.mp4", *FILMS["a.mp4"])
    with pytest.raises(VideoError, match="none of its frames can be read"):
        cut(film, [(200, 220)], exact=True)


def test_a_folder_that_cannot_be_written_is_an_error_of_the_system(tmp_path):
    film = write_film(tmp_path / "a.mp4", *FILMS["a.mp4"])
    with Decoder() as decoder, pytest.raises((OSError, VideoError)):
        decoder.cut(film, [piece(tmp_path / "no" / "such" / "x.part", 0, 10)])


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("exact", [False, True])
def test_a_piece_of_a_video_that_begins_after_its_sound_is_the_piece_that_was_meant(tmp_path, suffix, exact):
    path = recipes.encode(tmp_path / f"late.{suffix}", 75, begin=3.0, sound=6.0)
    video = Video(path)
    assert sum(1 for _ in video.frames()) == 75
    edges = [*video.frame_times()[30:50], video.frame_times()[50]]
    with Decoder() as decoder:
        decoder.cut(path, [Piece(str(tmp_path / "piece"), 30, tuple(edges))], exact)
    with av.open(str(tmp_path / "piece")) as container:
        shades = [frame.to_ndarray(format="rgb24").mean() / 3 for frame in container.decode(video=0)]
    assert shades[0] == pytest.approx(30, abs=1) and shades[-1] == pytest.approx(49, abs=2)


@pytest.mark.parametrize("suffix", ["ts", "flv", "m2ts"])
def test_a_piece_of_the_second_part_of_a_joined_recording_is_of_that_part(tmp_path, suffix):
    first = recipes.encode(tmp_path / f"1.{suffix}", 40)
    second = recipes.encode(tmp_path / f"2.{suffix}", 40, paint=lambda i: np.full((64, 96, 3), 200 + i, np.uint8))
    path = tmp_path / f"joined.{suffix}"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    edges = tuple((np.arange(50, 61) / 25).tolist())
    with Decoder() as decoder:
        decoder.cut(path, [Piece(str(tmp_path / "piece"), 50, edges)])
    with av.open(str(tmp_path / "piece")) as container:
        shades = [frame.to_ndarray(format="rgb24").mean() for frame in container.decode(video=0)]
    assert len(shades) == 10 and min(shades) > 200
