"""The process that decodes, seen from its parent."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from anomalycli.errors import VideoError
from anomalycli.media.decoder import Decoder, DecoderSettings
from anomalycli.media.messages import ClipFormat, DecodedClip, VideoFacts


def read(decoder: Decoder, path: Path, form: ClipFormat) -> tuple[list[np.ndarray], VideoFacts]:
    *clips, facts = decoder.clips(path, form)
    assert isinstance(facts, VideoFacts) and all(isinstance(clip, DecodedClip) for clip in clips)
    return [clip.frames for clip in clips], facts


# (0,): the first frame only; (3, 5): neither end; 24: another length; (0, 2, 4): frames that the last clip lacks
@pytest.mark.parametrize(("length", "taken"), [(16, (0, 4, 8, 12)), (16, (0,)), (16, (3, 5)), (24, (1, 23)), (5, (4,))])
@pytest.mark.parametrize("n_frames", [3, 37, 48])
def test_some_frames_of_each_clip_are_the_same_as_of_all(make_video, length, taken, n_frames):
    rng = np.random.default_rng(0)
    path = make_video(n_frames=n_frames, paint=lambda i: rng.integers(0, 255, (64, 96, 3), np.uint8))
    with Decoder() as decoder:
        every, facts = read(decoder, path, ClipFormat(length, 32, 16))
        some, same_facts = read(decoder, path, ClipFormat(length, 32, 16, taken))
    assert len(every) == -(-n_frames // length)
    assert np.array_equal(some, np.stack(every)[:, list(taken)])
    assert (facts.n_frames, facts.fps, facts.damage) == (same_facts.n_frames, same_facts.fps, same_facts.damage)
    assert np.array_equal(facts.ends, same_facts.ends)


@pytest.mark.parametrize("reader", ["pyav", "decord"])
@pytest.mark.parametrize("taken", [None, (0, 8)])
def test_some_clips_are_the_same_as_of_all(make_video, reader, taken):
    rng = np.random.default_rng(0)
    path = make_video(n_frames=100, paint=lambda i: rng.integers(0, 255, (64, 96, 3), np.uint8))
    form = ClipFormat(16, 32, 16, taken)
    with Decoder(DecoderSettings(reader=reader)) as decoder:
        clips, facts = read(decoder, path, form)
        every_third, same_facts = read(decoder, path, dataclasses.replace(form, every=3))
        only, _ = read(decoder, path, dataclasses.replace(form, only=(1, 2, 5)))
        last, _ = read(decoder, path, dataclasses.replace(form, only=(6,)))
        resumed = list(decoder.clips(path, dataclasses.replace(form, every=3), skip=2))
    assert np.array_equal(every_third, [clips[0], clips[3], clips[6]])
    assert np.array_equal(only, [clips[1], clips[2], clips[5]]) and np.array_equal(last, [clips[6]])
    assert np.array_equal(resumed[0].frames, clips[6]) and len(resumed) == 2
    assert resumed[0].n_clips == 3
    assert (facts.n_frames, facts.damage) == (same_facts.n_frames, same_facts.damage)
    assert np.array_equal(facts.ends, same_facts.ends)


@pytest.mark.parametrize("name", ["av1_video.mkv", "vfr.avi", "video_90.mov", "corrupted.mp4", "no_duration.webm"])
def test_a_frame_that_is_grabbed_is_the_frame_that_was_scored(shared, name):
    path = shared / "robustness" / name
    with Decoder() as decoder:
        clips, facts = read(decoder, path, ClipFormat(1))
        numbers = {0, facts.n_frames // 2, facts.n_frames - 1}
        grabbed = decoder.grab(path, [*numbers, facts.n_frames, 10**6])
    assert grabbed.keys() == numbers
    for number, frame in grabbed.items():
        assert np.array_equal(frame, clips[number][0])


def test_what_cannot_be_grabbed_is_an_error_that_names_the_file(tmp_path):
    (tmp_path / "notes.mp4").write_text("no video")
    with Decoder() as decoder:
        for name in ("notes.mp4", "gone.mp4"):
            with pytest.raises(VideoError, match=name):
                decoder.grab(tmp_path / name, [0])


SCRIPT = """
import sys
from pathlib import Path
from anomalycli.media.decoder import Decoder, DecoderSettings
from anomalycli.media.messages import ClipFormat
import os
os.chdir(sys.argv[1])
with Decoder() as decoder:
    *clips, facts = decoder.clips(Path("clip.mp4"), ClipFormat(16, 32, 16))
print(len(clips), facts.n_frames)
"""


@pytest.mark.parametrize("search", ["", os.pathsep, f"{os.pathsep}/nowhere"])
def test_modules_in_the_folder_of_the_videos_are_not_imported(make_video, tmp_path, search):
    clip = make_video(n_frames=20)
    for name in ("queue", "ctypes", "typing", "json", "numpy", "av", "decord", "anomalycli", "sitecustomize", "string"):
        (tmp_path / f"{name}.py").write_text("open('imported', 'a').write(__name__)\nraise SystemExit(3)\n")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, clip.parent],
        env=os.environ | {"PYTHONPATH": search},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "2 20\n", done.stderr
    assert not (tmp_path / "imported").exists()


SLOW = """
import time
from anomalycli.media.video import Video

decoded = Video._decoded

def slow(video, packet, times):
    time.sleep(3600 if "hang" in video.path.name and packet.pts else 0.06)
    return decoded(video, packet, times)

Video._decoded = slow
"""


def test_long_reading_in_silence_is_no_hang_and_a_hang_is_one(make_video, tmp_path, monkeypatch):
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "sitecustomize.py").write_text(SLOW)
    path = os.pathsep.join(filter(None, (str(tmp_path / "slow"), os.environ.get("PYTHONPATH"))))
    monkeypatch.setenv("PYTHONPATH", path)
    with Decoder(DecoderSettings(stall=5, reader="pyav")) as decoder:
        assert decoder.grab(make_video("long.mp4", 100), [99]).keys() == {99}  # 6 s without a frame to give
        with pytest.raises(VideoError, match=r"hang\.mp4: its decoder made no progress for 5 s"):
            decoder.grab(make_video("hang.mp4", 20), [19])


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no /proc")
def test_a_decoder_keeps_no_threads_of_the_files_that_it_has_read(make_video):
    path = make_video("a.mp4", 40)

    def n_threads(decoder: Decoder) -> int:
        read(decoder, path, ClipFormat(16, 32, 16))
        decoder.grab(path, [0])  # answered once the clips are done with
        assert decoder._process
        return len(list(Path(f"/proc/{decoder._process.pid}/task").iterdir()))

    with Decoder() as decoder:
        counts = [n_threads(decoder) for _ in range(8)]
    assert min(counts[4:]) <= max(counts[:4]), counts  # PyAV 19 ends some a moment after the answer
