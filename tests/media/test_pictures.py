"""What is shown: turned and mirrored pictures, cover pictures, and files that are no videos."""

import os
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from recipes import encode

from anomalycli.errors import UsageError, VideoError
from anomalycli.media.audio import Sound
from anomalycli.media.decoder import Decoder, DecoderSettings
from anomalycli.media.messages import ClipFormat
from anomalycli.media.video import Video


def corners(i: int) -> np.ndarray:
    """Another grey in each corner."""
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:32, :48], picture[:32, 48:], picture[32:, :48], picture[32:, 48:] = 40, 100, 160, 220
    return picture


def turned(path: Path, a: float, b: float, c: float, d: float) -> Path:
    """Write x' = ax + cy, y' = bx + dy into the display matrix of an MP4 file."""
    content = bytearray(path.read_bytes())
    at = content.find(b"tkhd") + 4 + 40
    numbers = [round(value * 65536) for value in (a, b, c, d)]
    content[at : at + 36] = struct.pack(">9i", *numbers[:2], 0, *numbers[2:], 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


def shown(picture: np.ndarray) -> list[list[int]]:
    height, width = picture.shape[:2]
    rows = [picture[y, [width // 4, 3 * width // 4], 0] for y in (height // 4, 3 * height // 4)]
    return [[round(int(value) / 60) for value in row] for row in rows]


UPRIGHT = np.array([[1, 2], [3, 4]])


@pytest.mark.parametrize("reader", ["auto", "decord", "pyav"])
@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((1, 0, 0, 1), UPRIGHT),
        ((-1, 0, 0, 1), UPRIGHT[:, ::-1]),  # mirrored, as front cameras do
        ((1, 0, 0, -1), UPRIGHT[::-1]),
        ((-1, 0, 0, -1), UPRIGHT[::-1, ::-1]),
        ((0, 1, 1, 0), UPRIGHT.T),
        ((0, 1, -1, 0), np.rot90(UPRIGHT, -1)),
        ((0, -1, 1, 0), np.rot90(UPRIGHT)),
        ((0, -1, -1, 0), UPRIGHT[::-1, ::-1].T),
    ],
)
def test_a_picture_is_turned_and_mirrored_as_its_matrix_says(tmp_path, matrix, expected, reader):
    video = Video(turned(encode(tmp_path / "a.mp4", 3, paint=corners), *matrix), reader=reader)
    frame = next(video.frames())
    assert shown(frame) == (expected - 0).tolist() or shown(frame) == expected.tolist()
    assert frame.shape[:2] == ((96, 64) if matrix[0] == 0 else (64, 96)) == (video.height, video.width)


@pytest.mark.parametrize("degrees", [10, 45, 100, 269])
def test_a_picture_at_an_odd_angle_keeps_its_sides(tmp_path, degrees):
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    video = Video(turned(encode(tmp_path / "a.mp4", 3, paint=corners), cosine, sine, -sine, cosine))
    frame = next(video.frames())
    if degrees == 269:  # by less than a degree and a half
        assert frame.shape[:2] in ((64, 96), (96, 64))
    else:
        assert (video.width, video.height) == (96, 64) and frame.shape == (64, 96, 3)


def with_cover(path: Path, codec: str | None, cover_first: bool = False) -> Path:
    """Sound, a cover picture, and a video by `codec`."""
    with av.open(str(path), "w") as out:
        sound = out.add_stream("libmp3lame" if path.suffix == ".mp3" else "aac", rate=48000, layout="mono")
        streams = [("cover", "mjpeg", (320, 320), 1), ("video", codec, (96, 64), 20)][:: 1 if cover_first else -1]
        made = []
        for name, encoder, (width, height), n in streams:
            if encoder:
                stream = out.add_stream(encoder, rate=25, options={"strict": "-1"} if name == "cover" else {})
                stream.width, stream.height = width, height
                stream.pix_fmt = "yuv420p" if name == "video" else "yuvj420p"
                if name == "cover":
                    stream.disposition = Disposition.attached_pic
                made.append((stream, n))
        for stream, n in made:
            for _ in range(n):
                picture = np.full((stream.height, stream.width, 3), 128, np.uint8)
                out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            out.mux(stream.encode())
        for at in range(0, 40_000, sound.frame_size or 1024):
            samples = np.zeros((1, sound.frame_size or 1024), np.float32)
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.rate, frame.pts = 48000, at
            out.mux(sound.encode(frame))
        out.mux(sound.encode())
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mp3", "mov"])
def test_a_cover_picture_alone_is_no_video(tmp_path, suffix):
    path = with_cover(tmp_path / f"song.{suffix}", None)
    with pytest.raises(VideoError, match=rf"song\.{suffix}: (the file has (a cover picture|no picture)|not a video)"):
        Video(path)


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
@pytest.mark.parametrize("cover_first", [True, False])
@pytest.mark.parametrize("reader", ["auto", "decord", "pyav"])
def test_a_video_with_a_cover_picture_is_the_video(tmp_path, suffix, cover_first, reader):
    video = Video(with_cover(tmp_path / f"film.{suffix}", "libx264", cover_first), reader=reader)
    assert (sum(1 for _ in video.frames()), video.width, video.height) == (20, 96, 64)


LISTS = {
    "hls.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{secret}\n#EXT-X-ENDLIST\n",
    "hls.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{secret}\n#EXT-X-ENDLIST\n",
    "marked.mp4": "\ufeff#EXTM3U\n#EXTINF:5,\n{secret}\n",
    "concat.mp4": "ffconcat version 1.0\nfile '{secret}'\n",
    "pls.avi": "[playlist]\nFile1={secret}\n",
    "dash.mkv": '<?xml version="1.0"?>\n<MPD><Period><BaseURL>{secret}</BaseURL></Period></MPD>\n',
    "session.ts": "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=video 5004 RTP/AVP 96\r\n",
}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("reader", ["auto", "decord", "pyav"])
def test_a_file_that_names_others_opens_none_of_them(tmp_path, name, reader):
    (tmp_path / "private").mkdir()
    secret = encode(tmp_path / "private" / "secret.ts", 20)
    path = tmp_path / name
    path.write_text(LISTS[name].format(secret=secret), encoding="utf-8")
    with Decoder(DecoderSettings(reader=reader)) as decoder:
        with pytest.raises(VideoError, match=f"{name}: a playlist and not a video"):
            list(decoder.clips(path, ClipFormat(16, 32)))
        with pytest.raises(VideoError, match=name):
            decoder.grab(path, [0])
    assert Sound(path).track is None


@pytest.mark.parametrize("reader", ["auto", "decord", "pyav"])
@pytest.mark.parametrize(
    "first", ["#EXTM3U\n#EXTINF:9,\n{secret}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile {secret}\n"]
)
def test_a_stream_behind_a_playlist_is_neither(tmp_path, reader, first):
    """To an old FFmpeg such a file is a playlist, and to a new one a raw stream."""
    secret = encode(tmp_path / "secret.ts", 20, paint=lambda i: np.full((64, 96, 3), 250, np.uint8))
    stream = encode(tmp_path / "plain.h264", 20)
    for name in ("both.h264", "both.mp4", "both.ts"):
        path = tmp_path / name
        path.write_bytes(first.format(secret=secret).encode() + stream.read_bytes())
        with Decoder(DecoderSettings(reader=reader)) as decoder, pytest.raises(VideoError, match="playlist"):
            list(decoder.clips(path, ClipFormat(16, 32)))


def test_a_pattern_of_pictures_is_no_video(tmp_path):
    from PIL import Image

    for number in range(3):
        Image.new("RGB", (96, 64)).save(tmp_path / f"a{number}.png")
    (tmp_path / "a%d.png").write_bytes((tmp_path / "a0.png").read_bytes())
    with pytest.raises(VideoError, match="not a video that can be read"):
        Video(tmp_path / "a%d.png")


@pytest.mark.skipif(os.name == "nt", reason="pipes and devices are POSIX's")
def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder.mp4").mkdir()
    for path, words in (
        (tmp_path / "pipe.mp4", "a pipe or a device"),
        (Path("/dev/zero"), "a pipe or a device"),
        (tmp_path / "folder.mp4", "a folder"),
        (tmp_path / "gone.mp4", "no such file"),
        (tmp_path / ("a" * 300), "cannot be opened"),
        (tmp_path / "pipe.mp4" / "a.mp4", "cannot be opened"),
    ):
        with pytest.raises(VideoError, match=words):
            Video(path)
        assert Sound(path).track is None


@pytest.mark.parametrize("reader", ["ffmpeg", "", "Decord"])
def test_readers_that_there_are_not_are_refused(reader):
    with pytest.raises(UsageError, match="give auto, decord, pyav"):
        DecoderSettings(reader=reader)
