"""Damage is read past, counted and placed; what is no damage is not called so."""

import contextlib
from pathlib import Path

import av
import numpy as np
import pytest
from helpers import BreaksOff, write_video
from recipes import encode, noise, packets_of, zero

from anomalycli.errors import VideoError
from anomalycli.media import demuxer
from anomalycli.media.decoder import Decoder, DecoderSettings
from anomalycli.media.messages import ClipFormat, Piece
from anomalycli.media.video import Video

READERS = ("auto", "pyav")


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mp4", "libx264"), ("mov", "mpeg4"), ("avi", "mpeg4"), ("avi", "mjpeg")]
)
@pytest.mark.parametrize("reader", READERS)
def test_bad_packets_cost_themselves_and_what_depends_on_them(tmp_path, suffix, codec, reader):
    options = {"g": "10", "bf": "0"} if codec != "mjpeg" else {"strict": "-1"}
    path = encode(tmp_path / f"a.{suffix}", 60, codec, paint=noise, options=options)
    whole = [frame.astype(int) for frame in Video(path).frames()]
    video = Video(zero(path, range(25, 30)), reader=reader)
    frames = [frame.astype(int) for frame in video.frames()]
    assert 54 <= len(frames) == video.n_frames <= 60
    assert all(np.abs(first - second).max() < 8 for first, second in zip(frames[:25], whole))
    assert all(np.abs(first - second).max() < 8 for first, second in zip(frames[-20:], whole[-20:]))
    assert "5 of 60 packets are damaged, the first at 1.0 s" in video.damage
    assert video.n_lost == 60 - len(frames)
    times = video.frame_times()
    assert times is None or times[-1] == pytest.approx(59 / 25)


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "libx264"), ("mov", "mpeg4"), ("avi", "mjpeg")])
def test_a_bad_first_packet_does_not_cost_the_file(tmp_path, suffix, codec):
    options = {"g": "10", "bf": "0"} if codec != "mjpeg" else {"strict": "-1"}
    video = Video(zero(encode(tmp_path / f"a.{suffix}", 40, codec, paint=noise, options=options), [0]))
    assert 28 <= sum(1 for _ in video.frames()) < 41
    assert "1 of 40 packets is damaged, the first at 0.0 s" in video.damage


@pytest.mark.parametrize("suffix", ["h264", "ts", "h265"])
def test_a_stream_that_begins_between_key_frames_is_read_from_the_next(tmp_path, suffix):
    codec, how = ("libx265", {"format": "hevc"}) if suffix == "h265" else ("libx264", {})
    options = {"x265-params": "log-level=none:keyint=10"} if suffix == "h265" else {"g": "10", "bf": "0"}
    path = encode(tmp_path / f"a.{suffix}", 60, codec, paint=noise, options=options, **how)
    content = path.read_bytes()
    path.write_bytes(content[len(content) // 4 // 188 * 188 :])
    assert 30 <= sum(1 for _ in Video(path).frames()) < 50


@pytest.mark.parametrize(
    ("suffix", "how"),
    [
        ("mp4", {"container_options": {"movflags": "faststart"}}),
        ("mp4", {"container_options": {"movflags": "frag_keyframe+empty_moov"}}),
        ("mkv", {}),
        ("avi", {}),
        ("flv", {}),
        ("wmv", {"codec": "wmv2", "options": {}}),
        ("asf", {"codec": "msmpeg4", "options": {}}),
        ("webm", {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}}),
    ],
)
@pytest.mark.parametrize("reader", READERS)
def test_a_file_that_was_cut_off_ends_early(tmp_path, suffix, how, reader):
    path = encode(tmp_path / f"a.{suffix}", 75, paint=noise, **how)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 + 100])
    video = Video(path, reader=reader)
    n = sum(1 for _ in video.frames())
    assert 20 < n < 55
    assert "the stream ends early" in video.damage
    assert video.n_lost in (75 - n, None)


def test_an_mp4_without_its_index_is_said_to_be_cut_off(tmp_path):
    path = encode(tmp_path / "a.mp4", 40, paint=noise)
    content = path.read_bytes()
    assert content.rindex(b"moov") > len(content) // 2  # where recorders write it
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(
        VideoError, match=r"a\.mp4: not a video .* its index is missing, as in a recording that was cut off"
    ):
        Video(path)


@pytest.mark.parametrize("trailer", [b"junk" * 100, b"\0\0\x10\0free", b"\xff" * 64])
@pytest.mark.parametrize("how", [{}, {"container_options": {"movflags": "frag_keyframe+empty_moov"}}])
def test_what_a_camera_appends_to_a_whole_video_is_no_damage(tmp_path, trailer, how):
    path = encode(tmp_path / "a.mp4", 40, **how)
    path.write_bytes(path.read_bytes() + trailer)
    video = Video(path)
    assert sum(1 for _ in video.frames()) == 40
    assert video.damage is None


@pytest.mark.parametrize("suffix", ["ts", "mpg", "h264"])
def test_where_nothing_says_how_long_a_file_should_be_its_end_is_its_end(tmp_path, suffix):
    codec = "mpeg2video" if suffix == "mpg" else "libx264"
    path = encode(tmp_path / f"a.{suffix}", 75, codec, paint=noise)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 // 188 * 188])
    video = Video(path)
    assert 25 < sum(1 for _ in video.frames()) < 50
    assert "ends early" not in (video.damage or "")


@pytest.mark.parametrize("words", ["01:00:00.000000000", "two minutes", "", "1:2:3:4", "-1", "99:99"])
@pytest.mark.parametrize(
    ("suffix", "codec"), [("nut", "libx264"), ("mkv", "libx264"), ("webm", "libvpx"), ("mp4", "libx264")]
)
def test_a_tag_that_tells_another_duration_is_only_a_tag(tmp_path, words, suffix, codec):
    plain, path = encode(tmp_path / f"plain.{suffix}", 30, codec, options={"g": "10"}), tmp_path / f"tagged.{suffix}"
    with av.open(str(plain)) as source, av.open(str(path), "w") as out:
        stream = source.streams.video[0]
        copy = out.add_stream_from_template(stream)
        copy.metadata["DURATION"] = words
        copy.metadata["duration"] = words
        for packet in source.demux(stream):
            if packet.size:
                packet.stream = copy
                out.mux(packet)
    video = Video(path)
    assert (sum(1 for _ in video.frames()), video.damage) == (30, None)


def without_packets(path: Path, target: Path, numbers) -> Path:
    """A copy of the picture without the packets of these numbers."""
    with av.open(str(path)) as source, av.open(str(target), "w") as out:
        stream = source.streams.video[0]
        copy = out.add_stream_from_template(stream)
        for number, packet in enumerate(source.demux(stream)):
            if packet.size and number not in numbers:
                packet.stream = copy
                out.mux(packet)
    return target


DAMAGES = {  # name: how a copy of the file is made, whose frames readers that repeat frames miscount
    "no_first_key.mkv": lambda path, target: without_packets(path, target, range(12)),
    "no_key.mkv": lambda path, target: without_packets(path, target, range(10, 11)),
    "zeros.mp4": lambda path, target: zero(path.rename(target), range(25, 30)),
    "zeros.avi": lambda path, target: zero(path.rename(target), [7, 8]),
    "whole.mov": lambda path, target: path.rename(target),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_frame_that_is_grabbed_is_the_one_that_was_read_whatever_the_damage(tmp_path, name):
    codec = "mpeg4" if name.endswith(".avi") else "libx264"
    path = encode(tmp_path / f"source.{name[-3:]}", 50, codec, options={"g": "10", "bf": "2"})
    path = DAMAGES[name](path, tmp_path / name)
    counts = {}
    for reader in ("auto", "decord"):
        with Decoder(DecoderSettings(reader=reader)) as decoder:
            for taken in (None, (0, 15)):
                *clips, facts = decoder.clips(path, ClipFormat(16, 64, 16, taken))
                grabbed = decoder.grab(path, [0, 15, facts.n_frames - 1, facts.n_frames], 64)
                assert sorted(grabbed) == [0, 15, facts.n_frames - 1]
                assert np.array_equal(clips[0].frames[[0, -1]], [grabbed[0], grabbed[15]])
                counts[reader, taken] = facts.n_frames, facts.damage
    assert len(set(counts.values())) == 1, counts


@pytest.mark.parametrize("suffix", ["wmv", "asf"])
@pytest.mark.parametrize("left", ["all", "no index"])
def test_what_ends_behind_its_last_packet_is_whole(tmp_path, suffix, left):
    path = encode(tmp_path / f"a.{suffix}", 75, "wmv2", paint=noise, options={})
    if left == "no index":
        path.write_bytes(path.read_bytes()[:-40])
    video = Video(path)
    assert (sum(1 for _ in video.frames()), video.damage) == (75, None)


def test_a_file_none_of_whose_packets_can_be_decoded_is_refused_with_its_name(tmp_path):
    path = encode(tmp_path / "a.mp4", 20)
    with pytest.raises(VideoError, match=r"a\.mp4: not one frame can be decoded"):
        list(Video(zero(path, range(20))).frames())
    assert len(packets_of(path)) == 20


def patched(path: Path, mark: bytes, at: int, number: bytes) -> Path:
    """Write `number` at this distance behind the first `mark`."""
    content = bytearray(path.read_bytes())
    place = content.index(mark) + len(mark) + at
    content[place : place + len(number)] = number
    path.write_bytes(content)
    return path


HUGE = b"\xff\xff\xff\x7f"  # as AVI has it
LIES = {  # what aborts decord, or has it reserve gigabytes
    "length.avi": (b"strh", 36, HUGE),
    "frames.avi": (b"avih", 20, HUGE),
    "count.mp4": (b"stts", 8, b"\x7f\xff\xff\xff"),
    "sizes.mp4": (b"stsz", 8, b"\x7f\xff\xff\xff"),
    "chunks.mov": (b"stsc", 4, b"\x7f\xff\xff\xff"),
}


@pytest.mark.parametrize("name", LIES)
def test_what_a_header_lies_about_costs_its_own_file_at_most(tmp_path, name):
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    path = patched(encode(tmp_path / name, 40, codec), *LIES[name])
    good = encode(tmp_path / "good.mp4", 40)
    with Decoder(DecoderSettings(stall=20, memory=2048)) as decoder:
        for lying in (True, False):
            with contextlib.suppress(*[VideoError] * lying):
                *clips, facts = decoder.clips(path if lying else good, ClipFormat(16, 32))
                assert len(clips) == -(-facts.n_frames // 16)
                assert set(decoder.grab(path if lying else good, [0, facts.n_frames - 1])) == {0, facts.n_frames - 1}
                edges = tuple((np.arange(6) / 25).tolist())
                decoder.cut(path if lying else good, [Piece(str(tmp_path / "piece"), 0, edges)])


def test_a_header_that_lies_about_the_length_alone_costs_nothing(tmp_path):
    for name in ("length.avi", "frames.avi", "count.mp4"):
        codec = "mpeg4" if name.endswith("avi") else "libx264"
        path = patched(encode(tmp_path / name, 40, codec), *LIES[name])
        with Decoder() as decoder:
            *clips, facts = decoder.clips(path, ClipFormat(16, 32))
        assert (len(clips), facts.n_frames, facts.damage, facts.lost) == (3, 40, None, 0), name


def test_a_file_that_cannot_be_read_further_gives_the_frames_that_its_decoder_holds(tmp_path, monkeypatch):
    path = write_video(tmp_path / "b_frames.ts", list(range(0, 2000, 40)))
    packets = demuxer.Demuxer._packets
    monkeypatch.setattr(demuxer.Demuxer, "_packets", lambda self, container: packets(self, BreaksOff(container, 20)))
    video = Video(path)
    assert sum(1 for _ in video.frames()) == 20
    assert "input/output error" in video.damage
