"""Frames that nobody takes and no other frame needs stay undecoded, and nothing else changes."""

import random
from fractions import Fraction

import av
import numpy as np
import pytest
from recipes import encode, noise, packets_of, trim, zero

from anomalycli.media import video as video_module
from anomalycli.media.selection import is_disposable
from anomalycli.media.video import EVERY, Video

TAKEN = (0, 4, 8, 12)
B_FRAMES = {"bf": "3", "g": "25", "b-pyramid": "none", "b_strategy": "0", "crf": "30"}
FRAGMENTS = {"container_options": {"movflags": "frag_keyframe+empty_moov"}}


def moving(i: int) -> np.ndarray:
    return np.roll(noise(0), (i, 2 * i), (0, 1))


@pytest.fixture
def decoded(monkeypatch):
    """The frames that came out of decoders, cleared by the test. The first one comes twice."""
    frames = []

    def frames_of(packet):
        some = av_frames_of(packet)
        frames.extend(some)
        return some

    av_frames_of = video_module.frames_of
    monkeypatch.setattr(video_module, "frames_of", frames_of)
    return frames


def reading(path, taken=None, numbers=EVERY):
    """All that is told of a video, and its clips' frames TAKEN."""
    video = Video(path, 64)
    clips = [clip if taken else clip[list(TAKEN)] for clip in video.clips(16, taken, numbers)]
    facts = video.n_frames, video.damage, video.n_lost, video.clip_ends(16).tolist()
    return np.stack(clips).tobytes(), facts, None if video.frame_times() is None else video.frame_times().tolist()


def both(path, decoded):
    """A reading that decodes all, one that need not, and how many frames each decoded."""
    decoded.clear()
    whole, n_whole = reading(path), len(decoded)
    decoded.clear()
    return whole, reading(path, TAKEN), n_whole, len(decoded)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("a.mp4", {}),
        ("a.mkv", {}),
        ("fragments.mp4", FRAGMENTS),
        ("open.mkv", {"options": {"x264-params": "bframes=3:open-gop=1:keyint=20:crf=30"}}),
        ("pyramid.mov", {"options": {"bf": "5", "crf": "30", "b-pyramid": "normal", "b_strategy": "0"}}),
        ("slices.mp4", {"options": B_FRAMES | {"x264-params": "slices=3"}}),
        ("late.mp4", {"begin": 3.0, "sound": 1.0}),
    ],
)
def test_fewer_frames_are_decoded_and_the_clips_are_the_same(tmp_path, decoded, name, how):
    path = encode(tmp_path / name, 85, paint=moving, **{"options": B_FRAMES} | how)
    whole, some, n_whole, n_some = both(path, decoded)
    assert some == whole
    assert n_whole == 85 + 1 and n_some < 65


def test_of_clips_that_are_not_taken_only_referenced_frames_are_decoded(tmp_path, decoded):
    path = encode(tmp_path / "a.mp4", 16 * 9, paint=moving, options=B_FRAMES)
    whole = Video(path, 64)
    expected = [clip for number, clip in enumerate(whole.clips(16)) if number in (0, 4, 8)]
    for numbers in (range(0, 100, 4), (0, 4, 8)):
        decoded.clear()
        assert np.array_equal(list(Video(path, 64).clips(16, None, numbers)), expected)
        assert len(decoded) < 95


def variable(path, options):
    """A video whose frames are unevenly apart, some by half a second."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=1000, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for i in range(85):
            frame = av.VideoFrame.from_ndarray(moving(i), format="rgb24")
            frame.pts, frame.time_base = 33 * i + i * 7919 % 13 + 500 * (i // 20), Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def test_times_of_a_variable_rate_are_those_of_all_frames(tmp_path, decoded):
    whole, some, n_whole, n_some = both(variable(tmp_path / "a.mkv", B_FRAMES), decoded)
    assert some == whole and whole[2] is not None
    assert n_some < 75 < n_whole


UNUSUAL = {
    "no B-frames": lambda path: encode(path, 70, paint=moving, options={"bf": "0"}),
    "interlaced": lambda path: encode(path, 70, paint=moving, options=B_FRAMES | {"x264-params": "tff=1"}),
    "trimmed": lambda path: trim(encode(path.with_name("b.mp4"), 99, paint=moving, options=B_FRAMES), path, 1.5, 2.2),
    "no index of times": lambda path: encode(path.with_suffix(".ts"), 70, paint=moving, options=B_FRAMES),
    "another codec": lambda path: encode(path, 70, "mpeg4", paint=moving, options={"bf": "2"}),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_of_other_files_every_packet_is_decoded(tmp_path, decoded, name):
    whole, some, n_whole, n_some = both(UNUSUAL[name](tmp_path / "a.mp4"), decoded)
    assert some == whole and n_some == n_whole


def cut_off(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    return path


def spoilt(path, seed):
    """Write noise over the beginning of a packet in the middle: lengths, kind of packet and kind of frame."""
    draw = random.Random(seed)
    content, (position, _) = bytearray(path.read_bytes()), packets_of(path)[draw.randrange(20, 70)]
    begin = position + draw.randrange(6)
    content[begin : begin + 8] = draw.randbytes(8)
    path.write_bytes(content)
    return path


DAMAGES = {
    "a key frame": lambda path: zero(path, [50]),
    "many packets": lambda path: zero(path, range(41, 49)),
    "the last packets": lambda path: zero(path, range(83, 85)),
    "the second half": cut_off,
} | {f"noise {seed}": lambda path, seed=seed: spoilt(path, seed) for seed in range(8)}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_files_give_what_they_give_with_all_packets_decoded(tmp_path, decoded, name):
    suffix, how = ("mp4", FRAGMENTS) if "half" in name else ("mp4", {})
    path = encode(tmp_path / f"a.{suffix}", 85, paint=moving, options=B_FRAMES, **how)
    whole, some, *_ = both(DAMAGES[name](path), decoded)
    assert some == whole


def test_a_packet_with_signs_of_damage_is_not_left_out(tmp_path):
    path = encode(tmp_path / "a.mp4", 30, paint=moving, options=B_FRAMES)
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    free = [packet for packet in packets if is_disposable(packet, 4)]
    assert 15 <= len(free) < 25
    for packet in free:
        assert not is_disposable(packet[:-1], 4) and not is_disposable(packet + b"\0", 4)
        for at in (*range(4), 4):  # its length, its kind
            assert not is_disposable(packet[:at] + bytes([packet[at] ^ 0x41]) + packet[at + 1 :], 4)
        assert not is_disposable(packet[:4] + bytes(len(packet) - 4), 4)
