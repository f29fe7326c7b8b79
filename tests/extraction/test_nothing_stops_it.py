"""What happens to a long extraction in real life: real files, real processes, real signals."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT

from anomalycli.backbones import Extractor
from anomalycli.backbones.mc3 import MC3
from anomalycli.errors import VideoError
from anomalycli.extraction.batching import VideoInProgress
from anomalycli.extraction.job import extract
from anomalycli.extraction.local_engine import extract_video
from anomalycli.extraction.settings import ExtractionSettings
from anomalycli.features.files import load_features
from anomalycli.media.decoder import Decoder, DecoderSettings
from anomalycli.media.decord_reader import decord
from anomalycli.media.messages import ClipFormat

BENCHMARKS = ROOT / "benchmarks"
SMALL = ("--backbone", "mc3", "--size", "16")

# Imported by every Python process that finds it: decoders that do what the name of their file says.
SABOTAGE = """
import os, signal, time
from anomalycli.media.video import Video

def sabotaged(read):
    def frames(video, *needed):
        for number, frame in enumerate(read(video, *needed)):
            if number == 18 and "crash" in video.path.name:
                os.kill(os.getpid(), signal.SIGSEGV)
            if number == 18 and "hang" in video.path.name:
                time.sleep(600)
            if number == 18 and "flood" in video.path.name:
                hoard = [bytearray(100 << 20) for _ in range(1000)]
            if "slow" in video.path.name:
                time.sleep(0.02)
            yield frame

    return frames

Video.frames = sabotaged(Video.frames)
Video._pyav_frames = sabotaged(Video._pyav_frames)  # where some frames of each clip are taken
"""


@pytest.fixture
def sabotage(tmp_path) -> dict[str, str]:
    """Environment variables under which decoders crash, hang, flood the memory or are slow, by their file's name."""
    folder = tmp_path / "sabotage"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SABOTAGE)
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))}


def report(folder: Path) -> dict[str, dict]:
    """The entries of report.json by the names of the videos."""
    return {Path(entry["path"]).name: entry for entry in json.loads((folder / "report.json").read_text())["files"]}


def written(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("backbone", ["mc3", "lite"])  # all frames of a clip are read, and some
def test_a_crash_a_hang_and_a_flood_cost_their_own_file_only(run, make_video, tmp_path, sabotage, backbone):
    for name in ("a", "b crash", "c hang", "d", "e flood", "f"):
        make_video(f"videos/{name}.mp4", 40)
    command = ("extract", "videos", "-o", "out", "--backbone", backbone, "--size", 32, "--stall", 6, "--memory", 1000)
    done = run(*command, code=3, **sabotage)
    files = report(tmp_path / "out")
    assert {name: entry["status"] for name, entry in files.items()} == {
        "a.mp4": "done",
        "b crash.mp4": "failed",
        "c hang.mp4": "failed",
        "d.mp4": "done",
        "e flood.mp4": "failed",
        "f.mp4": "done",
    }
    assert "SIGSEGV" in files["b crash.mp4"]["reason"]
    assert "6 s" in files["c hang.mp4"]["reason"]
    assert "1000 MB" in files["e flood.mp4"]["reason"]
    for name in ("b crash.mp4", "c hang.mp4", "e flood.mp4"):
        assert files[name]["reason"] in done.stderr
    assert written(tmp_path / "out") == ["a.npz", "d.npz", "f.npz", "report.json"]
    again = run(*command)  # the decoders are well again: those that failed are read, the others skipped
    assert "3 done, 3 skipped" in again.stderr
    assert {len(load_features(path).visual) for path in (tmp_path / "out").glob("*.npz")} == {3}


def read_whole(decoder: Decoder, path: Path):
    """All clips of a video, as arrays, and its facts."""
    *clips, facts = decoder.clips(path, ClipFormat(16, 32, 16))
    return [clip.frames for clip in clips], facts


def test_the_decoder_outlives_its_child(make_video, sabotage, monkeypatch):
    for name, value in sabotage.items():
        monkeypatch.setenv(name, value)
    good, crash, hang = (make_video(f"{name}.mp4", 40) for name in ("good", "crash", "hang"))
    with Decoder(DecoderSettings(stall=6, memory=1000)) as decoder:
        for path, word in ((crash, "SIGSEGV"), (hang, "6 s")):
            messages = decoder.clips(path, ClipFormat(16, short_side=32, multiple=16))
            assert next(messages).frames.shape == (16, 32, 48, 3)
            with pytest.raises(VideoError, match=word) as error:
                list(messages)
            assert path.name in str(error.value)
            whole, facts = read_whole(decoder, good)
            assert [(clip.dtype, clip.shape) for clip in whole] == [(np.uint8, (16, 32, 48, 3))] * 3
            assert (facts.n_frames, facts.damage, facts.lost, len(facts.ends)) == (40, None, 0, 3)


def test_a_video_that_fails_does_not_take_the_batch_with_it(make_video, tmp_path, sabotage, monkeypatch):
    for name, value in sabotage.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(MC3, "batch", {"cpu": 4})  # as on an accelerator, and at int8: its first clip waits for others
    videos = [make_video("a crash.mp4", 40), make_video("b.mp4", 60)]
    outcomes = list(extract(videos, tmp_path / "out", Extractor("mc3", "cpu", size=16), ExtractionSettings(workers=1)))
    assert [(outcome.path.name, outcome.status) for outcome in outcomes] == [
        ("a crash.mp4", "failed"),
        ("b.mp4", "done"),
    ]
    assert len(load_features(tmp_path / "out" / "b.npz").visual) == 4
    assert written(tmp_path / "out") == ["b.npz", "report.json"]


def forge(path: Path, extractor: Extractor, target: Path, rows: np.ndarray) -> None:
    """Leave rows as an interrupted run does."""
    forged = VideoInProgress(path, extractor, target).visual
    forged.extend(rows)
    forged._file.close()


@pytest.mark.parametrize("n_rows", [3, 50])  # the video has 2 clips
def test_rows_of_more_clips_than_the_video_has_are_no_features_of_it(make_video, tmp_path, n_rows):
    path, extractor = make_video("a.mp4", 20), Extractor(device="cpu", size=16)
    forge(path, extractor, tmp_path / "out" / "a.npz", np.zeros((n_rows, 1, extractor.kind.dim), np.float32))
    (outcome,) = extract([path], tmp_path / "out", extractor)
    assert outcome.status == "failed"
    assert f"a.mp4: {n_rows} clips have features, where 20 frames make 2 clips" in outcome.reason
    assert written(tmp_path / "out") == ["report.json"]
    assert [outcome.status for outcome in extract([path], tmp_path / "out", extractor)] == ["done"]


BAD_ROWS = {
    "too many": lambda dim: np.zeros((3, 1, dim), np.float32),
    "far too many": lambda dim: np.zeros((50, 1, dim), np.float32),
    "of a damaged video": lambda dim: np.zeros((1, 1, dim), np.float32),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_single_video_leaves_no_rows_of_which_nothing_can_become(make_video, tmp_path, case):
    path, extractor = make_video("a.mp4", 20), Extractor("mc3", device="cpu", size=16)
    if case == "of a damaged video":
        path.write_bytes(path.read_bytes()[:700])
    target = tmp_path / "cache" / "a.npz"
    forge(path, extractor, target, BAD_ROWS[case](extractor.kind.dim))
    with pytest.raises(VideoError, match=r"a\.mp4: "):
        extract_video(path, extractor, target=target)
    assert written(tmp_path / "cache") == []


def test_features_that_are_not_finite_are_not_written(make_video, tmp_path, monkeypatch):
    videos = [make_video(f"{name}.mp4", 20) for name in ("bad", "good")]
    extractor = Extractor(device="cpu", size=16)
    whole = Extractor.__call__
    poison = iter([np.nan])

    def poisoned(self, clips):
        features = whole(self, clips)
        features[0] += next(poison, 0)  # the first clip of the first video, whatever else is in its batch
        return features

    monkeypatch.setattr(Extractor, "__call__", poisoned)
    outcomes = list(extract(videos, tmp_path / "out", extractor, ExtractionSettings(workers=1)))
    assert [outcome.status for outcome in outcomes] == ["failed", "done"]
    assert "bad.mp4: some of its features are not finite numbers" in outcomes[0].reason


@pytest.mark.skipif(decord is None, reason="decord has no wheel for this platform")
def test_what_aborts_one_decoder_is_read_by_the_other(make_video):
    path = make_video("clip.mp4", 40)
    video = bytearray(path.read_bytes())
    n_samples = video.find(b"stts") + 12
    assert video[n_samples : n_samples + 4] == bytes((0, 0, 0, 40))
    video[n_samples : n_samples + 4] = b"\x7f\xff\xff\xff"  # decord reserves room for all of them, and aborts
    path.write_bytes(video)
    with Decoder(DecoderSettings(reader="decord")) as decoder:
        whole, facts = read_whole(decoder, path)
    assert (len(whole), facts.n_frames, facts.damage) == (3, 40, None)


def test_a_clip_taken_late_is_no_hang(make_video):
    with Decoder(DecoderSettings(stall=6, memory=1000)) as decoder:
        messages = decoder.clips(make_video("long.mp4", 640), ClipFormat(16, short_side=64, multiple=16))
        next(messages)
        time.sleep(7)
        *clips, facts = messages
        assert (len(clips), facts.n_frames) == (39, 640)


@pytest.mark.skipif(sys.platform != "linux", reason="names that are not Unicode are Linux's")
def test_names_of_all_kinds(run, make_video, tmp_path):
    names = [
        "two  words",
        "new\nline",
        "🎥 Straße",
        "-o",
        "[red]x",
        "100%",
        "'",
        '"',
        "a.b.c",
        os.fsdecode(b"caf\xe9"),
    ]
    clip = make_video("clip.mp4", 3)
    (tmp_path / "videos").mkdir()
    for name in names:
        shutil.copy(clip, tmp_path / "videos" / f"{name}.mp4")
    run("extract", "videos", "-o", "out", *SMALL)
    assert {name: entry["status"] for name, entry in report(tmp_path / "out").items()} == {
        f"{name}.mp4": "done" for name in names
    }
    assert written(tmp_path / "out") == sorted([f"{name}.npz" for name in names] + ["report.json"])
    shutil.copy(clip, tmp_path / "-o.mp4")
    given_thrice = ("--", "-o.mp4", "./-o.mp4", tmp_path / "-o.mp4")
    assert "1 done" in run("extract", "-o", "dash", *SMALL, *given_thrice).stderr
    assert written(tmp_path / "dash") == ["-o.npz", "report.json"]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_long_video_goes_on_where_it_was_stopped(start, run, make_video, tmp_path, sabotage, end):
    make_video("slow.mp4", 400)
    command = ("extract", "slow.mp4", *SMALL)
    run(*command, "-o", "alone")
    process = start(*command, "-o", "out", **sabotage)
    on_the_way = tmp_path / "out" / "slow.npz.rows"
    wait_for(lambda: on_the_way.exists() and on_the_way.stat().st_size > 5 * 4100)
    os.killpg(process.pid, end)
    process.communicate(timeout=20)
    assert not (tmp_path / "out" / "slow.npz").exists()
    n_before = on_the_way.stat().st_size // 4100
    done = run(*command, "-o", "out")
    assert f"slow.mp4: done (its first {n_before} clips in a run that was stopped)" in done.stderr
    assert (tmp_path / "out" / "slow.npz").read_bytes() == (tmp_path / "alone" / "slow.npz").read_bytes()
    assert written(tmp_path / "out") == ["report.json", "slow.npz"]


@pytest.mark.skipif(sys.platform == "win32", reason="links and permissions are POSIX's")
def test_what_cannot_be_opened_is_named_and_the_rest_is_done(make_video, tmp_path):
    clip = make_video("videos/good.mp4", 3)
    (tmp_path / "videos" / "to nothing.mp4").symlink_to(tmp_path / "nothing.mp4")
    (tmp_path / "videos" / "to itself.mp4").symlink_to("to itself.mp4")
    (tmp_path / "videos" / "to good.mp4").symlink_to(clip)
    (tmp_path / "videos" / "folder.mp4").mkdir()
    (tmp_path / "videos" / "empty.mp4").touch()
    shutil.copy(clip, tmp_path / "videos" / "forbidden.mp4")
    (tmp_path / "videos" / "forbidden.mp4").chmod(0)
    make_video("videos/locked/inside.mp4", 3).parent.chmod(0)
    make_video("videos/listed/inside.mp4", 3).parent.chmod(0o400)
    powerless = []
    if os.geteuid() == 0:  # root reads everything, unless it gives that power away
        powerless = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
        if not shutil.which("setpriv"):
            pytest.skip("this is root's own process, and there is no setpriv to make it less")
    words = [*powerless, sys.executable, "-m", "anomalycli", "extract", "videos", "gone.mp4", "-o", "out", *SMALL]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    for folder in ("locked", "listed"):
        (tmp_path / "videos" / folder).chmod(0o700)  # so that pytest can clear up
    assert done.returncode == 3, done.stderr
    files = report(tmp_path / "out")
    assert {name for name, entry in files.items() if entry["status"] == "done"} == {"good.mp4", "to good.mp4"}
    failed = {name: entry["reason"] for name, entry in files.items() if entry["status"] == "failed"}
    assert set(failed) == {
        *("to nothing.mp4", "to itself.mp4", "empty.mp4", "forbidden.mp4", "gone.mp4"),
        *("locked", "inside.mp4"),
    }
    denied = {name: failed[name] for name in ("forbidden.mp4", "locked", "inside.mp4")}
    assert all("ermission" in reason for reason in denied.values()), denied
    for name, reason in failed.items():
        assert name in reason
        assert reason in done.stderr


def test_one_name_in_two_folders(run, make_video, tmp_path):
    first, second = make_video("one/x.mp4", 3), make_video("two/x.mp4", 20)
    assert "2 done" in run("extract", first, second, "-o", "named", *SMALL).stderr
    assert written(tmp_path / "named") == ["one/x.npz", "report.json", "two/x.npz"]
    assert "2 done" in run("extract", ".", "-o", "apart", *SMALL).stderr
    assert [load_features(tmp_path / "apart" / name / "x.npz").n_frames for name in ("one", "two")] == [3, 20]


def test_a_folder_that_vanishes_in_mid_run(start, make_video, tmp_path, sabotage):
    for i in range(12):
        make_video(f"videos/slow{i:02}.mp4", 30)
    process = start("extract", "videos", "-o", "out", *SMALL, **sabotage)
    wait_for(lambda: list((tmp_path / "out").glob("*.npz")))
    shutil.rmtree(tmp_path / "videos")
    _, stderr = process.communicate(timeout=100)
    assert process.returncode == 3, stderr
    files = report(tmp_path / "out")
    assert len(files) == 12
    assert files["slow11.mp4"]["status"] == "failed"
    assert "no such file" in files["slow11.mp4"]["reason"]
    done = {name.replace(".mp4", ".npz") for name, entry in files.items() if entry["status"] == "done"}
    assert done
    assert set(written(tmp_path / "out")) == done | {"report.json"}


@pytest.mark.skipif(sys.platform != "linux", reason="a small file system of one's own is Linux's")
def test_a_full_disk(make_video, tmp_path):
    for i in range(3):
        make_video(f"videos/{i}.mp4", 160)
    alone = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "sh", "-c"]
    mount = "mount -t tmpfs -o size=200k tmpfs disk"
    (tmp_path / "disk").mkdir()
    if not shutil.which("unshare") or subprocess.run([*alone, mount], cwd=tmp_path, capture_output=True).returncode:
        pytest.skip("no file system may be mounted here")
    extract = f"'{sys.executable}' -m anomalycli extract videos -o disk/out {' '.join(SMALL)}"
    script = f"""{mount} || exit 99
        head -c 400K /dev/zero > disk/filler; {extract} 2> full; echo $? > codes
        head -c 60K /dev/zero > disk/filler; {extract} 2> nearly; echo $? >> codes; ls -A disk/out > left
        rm disk/filler; {extract} 2> free; echo $? >> codes; cp -r disk/out out"""
    subprocess.run([*alone, script], cwd=tmp_path, timeout=200, check=True)  # features of one video take 42 kB, twice
    codes, full, nearly, free, left = (
        (tmp_path / name).read_text() for name in ("codes", "full", "nearly", "free", "left")
    )
    assert codes.split() == ["1", "3", "0"], full + nearly + free
    assert re.search(r"[12] done, [12] skipped", free)
    assert "clips in a run that was stopped" in free
    for stderr in (full, nearly):
        assert "no space is left on the disk" in stderr
        assert "This is a bug" not in stderr
    assert "What was extracted is kept: repeat the command to resume." in nearly
    assert ".part" not in left
    assert written(tmp_path / "out") == ["0.npz", "1.npz", "2.npz", "report.json"]
    assert {len(load_features(path).visual) for path in (tmp_path / "out").glob("*.npz")} == {10}


def test_ctrl_c_ends_it_soon_and_the_same_command_goes_on(start, run, make_video, tmp_path, sabotage):
    for name in ("a", "b", "c hang", "d"):
        make_video(f"videos/{name}.mp4", 40)
    command = ("extract", "videos", "-o", "out", *SMALL)
    process = start(*command, **sabotage)
    wait_for(lambda: len(list((tmp_path / "out").glob("*.npz"))) >= 2)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)  # the third video would take ten minutes
    assert process.returncode == 130
    assert "same command resumes" in stderr
    assert "Traceback" not in stderr
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)  # nobody of the group is left
    whole = [path for path in written(tmp_path / "out") if path.endswith(".npz")]
    assert not [path for path in written(tmp_path / "out") if path.endswith(".part")]
    for path in whole:
        load_features(tmp_path / "out" / path)
    assert f"{4 - len(whole)} done, {len(whole)} skipped" in run(*command).stderr
    assert written(tmp_path / "out") == ["a.npz", "b.npz", "c hang.npz", "d.npz", "report.json"]


def test_a_small_soak(shared, tmp_path):
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "soak.py", shared / "street-fights" / "clips", shared / "robustness"]
        + ["--work", tmp_path, "--files", "20", "--kills", "1", "--worker-kills", "2", "--size", "16"],
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "18 good, 2 broken in 2 ways" in done.stdout


def test_a_little_fuzz(shared):
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "fuzz.py", shared / "street-fights" / "clips", "--files", "93"],
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no broken promise" in done.stdout
