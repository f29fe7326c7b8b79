import tracemalloc
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from anomalycli.backbones.vggish import LENGTH, SECONDS, VGGish, log_mel
from anomalycli.errors import UsageError
from anomalycli.media.audio import RATE, Sound
from anomalycli.media.video import Video

FLASH = 5  # the clip in whose first frame it flashes and beeps


def beep(seconds: float, at: float, rate: int, channels: int = 1) -> np.ndarray:
    """(channels, n) of silence, and of a 1 kHz tone from `at` on."""
    t = np.arange(round(seconds * rate)) / rate
    return np.tile(np.where(t >= at, 0.5 * np.sin(2 * np.pi * 1000 * (t - at)), 0), (channels, 1)).astype(np.float32)


def write(path, times=(), sounds=(), codec="pcm_s16le", rate=48000, layout="mono", shift=0.0):
    """A video whose frames begin at `times` (seconds), bright from frame 16 * FLASH on, with sound tracks."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25, options={"preset": "ultrafast", "bf": "2"})
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        video.time_base = video.codec_context.time_base = Fraction(1, 90000)
        tracks = [out.add_stream(codec, rate=rate, layout=layout) for _ in sounds]
        for i, at in enumerate(times):
            grey = 230 if i >= 16 * FLASH else 20
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), grey, np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(at * 90000), Fraction(1, 90000)
            out.mux(video.encode(frame))
        out.mux(video.encode())
        for track, samples in zip(tracks, sounds):
            for start in range(0, samples.shape[1], 1024):
                part = np.ascontiguousarray(samples[:, start : start + 1024])
                if track.codec_context.format.name != "fltp":
                    part = (part * 32767).astype(np.int16).T.reshape(1, -1)
                frame = av.AudioFrame.from_ndarray(part, format=track.codec_context.format.name, layout=layout)
                frame.rate, frame.pts = rate, start + round(shift * rate)
                out.mux(track.encode(frame))
            out.mux(track.encode())
    return path


def read(path) -> tuple[list[float], np.ndarray, list[np.ndarray], Sound]:
    """Brightness of each clip's first frame, ends of the clips, windows and the sound they come from."""
    video, sound = Video(path, 32, 2), Sound(path)
    bright = [float(clip[0].mean()) for clip in video.clips(16)]
    ends = video.clip_ends(16)
    return bright, ends, list(sound.windows(ends - SECONDS, LENGTH)), sound


CLOCKS = {
    "24": np.arange(160) / 24,
    "25": np.arange(160) / 25,
    "29.97": np.arange(160) * 1001 / 30000,
    "variable": np.cumsum(np.random.default_rng(0).choice([0.02, 0.04, 0.1], 160)),
    "variable, late start": 1.4 + np.cumsum(np.random.default_rng(1).choice([0.02, 0.04, 0.1], 160)),
}


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("container", ["mkv", "mp4"])
def test_a_flash_and_a_beep_meet_in_one_clip(tmp_path, clock, container):
    times = CLOCKS[clock]
    at = times[16 * FLASH]
    codec = {"mkv": "pcm_s16le", "mp4": "aac"}[container]
    path = write(tmp_path / f"clip.{container}", times, [beep(times[-1] + 1, at, 48000)], codec)
    bright, ends, windows, sound = read(path)
    assert [value > 128 for value in bright] == [i >= FLASH for i in range(10)]
    assert ends[:-1] == pytest.approx(times[16::16], abs=0.002)
    shown = round(SECONDS * RATE)  # the rest of a window is the reach of the last frame of its spectrogram
    loud = [np.flatnonzero(np.abs(np.nan_to_num(window[:shown])) > 0.1) for window in windows]
    frame = np.diff(times).min()
    assert [len(part) > frame * RATE for part in loud] == [i >= FLASH for i in range(10)]
    onset = ends[FLASH] - SECONDS + loud[FLASH][0] / RATE
    if ends[FLASH] - at < SECONDS:
        assert onset == pytest.approx(at, abs=frame / 2)
    assert sound.missing is None


def test_windows_hold_exactly_the_samples_of_their_time(tmp_path):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 4 * RATE)).astype(np.float32)
    path = write(tmp_path / "clip.mkv", np.arange(100) / 25, [noise], rate=RATE)
    whole = np.concatenate((np.full(RATE, np.nan), noise[0], np.full(RATE, np.nan)))
    starts = np.array([-0.32, 0.32, 0.96, 0.9601, 3.5])
    for start, window in zip(starts, Sound(path).windows(starts, LENGTH), strict=True):
        expected = whole[RATE + round(start * RATE) :][:LENGTH]
        assert np.array_equal(np.isnan(window), np.isnan(expected))
        assert np.nanmax(np.abs(window - expected)) < 1e-4


@pytest.mark.parametrize(("seconds", "shift", "missing"), [(1.5, 0, "7 of 10 clips"), (20, 0, None), (4, 2, "3 of 10")])
def test_sound_shorter_longer_and_later_than_the_picture(tmp_path, seconds, shift, missing):
    path = write(tmp_path / "clip.mkv", np.arange(160) / 25, [beep(seconds, 0, 48000)], shift=shift)
    _, ends, windows, sound = read(path)
    there = [np.mean(~np.isnan(window)) for window in windows]
    for end, share in zip(ends, there, strict=True):
        covered = min(end + 0.015, shift + seconds) - max(end - SECONDS, shift)
        assert share == pytest.approx(max(0, covered) / (LENGTH / RATE), abs=0.005)
    assert (missing is None and sound.missing is None) or sound.missing.startswith(missing)


def test_channels_are_averaged_and_the_best_of_several_tracks_is_taken(tmp_path):
    times = np.arange(50) / 25
    surround = np.zeros((6, 2 * 48000), np.float32)
    surround[2] = beep(2, 0, 48000)[0]
    path = write(tmp_path / "surround.mp4", times, [surround], "aac", layout="5.1")
    _, _, windows, sound = read(path)
    assert np.nanmax(np.abs(windows[1])) == pytest.approx(0.5 / 6, rel=0.1)
    assert sound.track == "aac, 48000 Hz, 5.1"
    two = write(tmp_path / "two.mkv", times, [beep(2, 0, 48000), 0 * beep(2, 0, 48000)])
    assert "the best of 2 sound tracks" in Sound(two).track


def test_a_gap_in_the_track_is_a_gap_and_moves_nothing(tmp_path):
    path = tmp_path / "gap.mkv"
    tone = beep(1, 0, 48000)
    with av.open(str(path), "w") as out:
        track = out.add_stream("pcm_s16le", rate=48000, layout="mono")
        for begin in (0, 3):
            frame = av.AudioFrame.from_ndarray((tone * 32767).astype(np.int16), format="s16", layout="mono")
            frame.rate, frame.pts = 48000, begin * 48000
            out.mux(track.encode(frame))
    before, between, after = Sound(path).windows(np.array([0.0, 1.5, 2.9]), RATE)
    assert not np.isnan(before[: RATE - 100]).any()
    assert np.isnan(between).all()
    assert np.flatnonzero(~np.isnan(after))[0] == pytest.approx(0.1 * RATE, abs=20)


@pytest.mark.parametrize("years", [0.5, 30, 3000])
def test_a_gap_of_years_takes_no_longer_than_its_windows(tmp_path, years):
    seconds = years * 365 * 86400
    path = write(tmp_path / "a.mkv", np.arange(50) / 25, [beep(2, 0.5, 48000)])
    sound = Sound(path)
    frames = list(sound._frames())
    for frame in frames[len(frames) // 2 :]:
        frame.pts += round(seconds / frame.time_base)
    sound._frames = lambda: iter(frames)
    n = int(1.0 * RATE)
    near, gap, far, behind = sound.windows(np.array([0.0, seconds / 2, seconds + 1.2, seconds + 9]), n // 2)
    assert not np.isnan(near).any() and not np.isnan(far).any()
    assert np.isnan(gap).all() and np.isnan(behind).all()


def test_a_broken_track_gives_what_can_be_read_and_says_so(tmp_path):
    path = write(tmp_path / "clip.mp4", np.arange(100) / 25, [beep(4, 0, 48000)], "aac")
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
    rng = np.random.default_rng(0)
    for packet in packets[60:120]:
        data[packet.pos : packet.pos + packet.size] = rng.bytes(packet.size)
    path.write_bytes(data)
    _, _, windows, sound = read(path)
    assert "damaged" in sound.missing
    assert not np.isnan(windows[0][-4000:]).any()
    assert not np.isnan(windows[-1][:4000]).any()


def test_no_track_and_no_file_of_sound_are_not_errors(tmp_path, make_video, shared):
    sound = Sound(make_video("silent.mp4", 20))
    assert np.isnan(list(sound.windows(np.zeros(2), 10))).all()
    assert (sound.track, sound.missing) == (None, "there is no sound track")
    for path in (shared / "robustness").iterdir():
        sound = Sound(path)
        assert len(list(sound.windows(np.arange(5) * 0.64, LENGTH))) == 5, path
        assert sound.track or sound.missing, path


def test_the_front_end_is_torchvggishs_own():
    from torchvggish.vggish_input import waveform_to_examples

    windows = np.random.default_rng(0).uniform(-1, 1, (3, LENGTH)).astype(np.float32)
    theirs = torch.cat([waveform_to_examples(window, RATE) for window in windows]).detach().numpy()
    assert theirs.shape == (3, 1, 96, 64)
    assert np.allclose(log_mel(windows), theirs, atol=1e-5)


def test_the_memory_of_a_long_track_is_flat(tmp_path):
    seconds = 300
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (1, RATE * seconds)).astype(np.float32)
    path = write(tmp_path / "long.mkv", [0], [noise], rate=RATE)
    starts = np.arange(seconds * 25 // 16) * 16 / 25
    tracemalloc.start()
    for _ in Sound(path).windows(starts, LENGTH):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < noise.nbytes / 10


def test_the_network_is_torchvggishs_own_and_quantises_as_it_does(monkeypatch):
    from torchvggish import torchvggish

    rng = np.random.default_rng(0)
    params = {"pca_eigen_vectors": rng.normal(0, 3, (128, 128)), "pca_means": rng.normal(0, 0.01, (128, 1))}
    monkeypatch.setattr(torchvggish.hub, "load_state_dict_from_url", lambda url: params)
    ours = VGGish("vggish-pca").eval()
    theirs = torchvggish._vgg(postprocess=True).eval()
    theirs.load_state_dict(ours.net.state_dict())
    ours.eigenvectors.copy_(torch.as_tensor(params["pca_eigen_vectors"]))
    ours.means.copy_(torch.as_tensor(params["pca_means"])[:, 0])
    windows = rng.uniform(-1, 1, (2, LENGTH)).astype(np.float32)
    with torch.inference_mode():
        patches = torch.from_numpy(log_mel(windows))
        quantised = theirs(patches)
        theirs.postprocess = False
        raw = theirs(patches)
        assert torch.equal(ours(windows), quantised)
        assert ours(windows[:1]).shape == (1, 128)  # their own squeezes a batch of one
        ours.mode = "vggish-raw"
        assert torch.equal(ours(windows), raw)
    assert 0 <= quantised.min() < quantised.max() <= 255
    with pytest.raises(UsageError, match="vggish-raw"):
        VGGish("loud")
