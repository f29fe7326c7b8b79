"""Cameras of a TOML file, and changes of it while they are watched."""

import contextlib

import pytest
from live_fakes import FakeSource, Heard, clip

from anomalycli.errors import UsageError
from anomalycli.live import cameras as module
from anomalycli.live.cameras import CameraFile, read_cameras
from anomalycli.live.sources import Waits
from anomalycli.live.watcher import Watcher

START = 1_000_000.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[cameras.gate]\nthreshold = 0.5\n", r"\[cameras.gate\]: a camera needs a source"),
        ("[cameras.gate]\nsource = 'a.ts'\nthreshhold = 0.5\n", "Did you mean 'threshold'"),
        ("[cameras.gate]\nsource = 'a.ts'\nthreshold = 'high'\n", "threshold must be a number"),
        ("[cameras.'']\nsource = 'a.ts'\n", "a camera needs a name"),
        ("[camras.gate]\nsource = 'a.ts'\n", r"\[camras.gate\]: cameras are tables of the form \[cameras.NAME\]"),
        ("cameras = 'a.ts'\n", "cameras must be tables"),
        ("[cameras", "cannot be read as a TOML file"),
    ],
)
def test_a_file_with_a_mistake_is_refused_with_its_place(tmp_path, text, words):
    (tmp_path / "cameras.toml").write_text(text)
    with pytest.raises(UsageError, match=words):
        read_cameras(tmp_path / "cameras.toml")


def test_passwords_come_from_the_environment(tmp_path, monkeypatch):
    path = tmp_path / "cameras.toml"
    path.write_text("[cameras.gate]\nsource = 'rtsp://admin:${GATE}@10.0.0.8/1'\nend-threshold = 0.1\n")
    (camera,) = read_cameras(path).values()
    with pytest.raises(UsageError, match="GATE is not set"):
        camera.open("gate", Waits())
    monkeypatch.setenv("GATE", "secret")
    source = camera.open("gate", Waits())
    assert source.place.place == "rtsp://admin:secret@10.0.0.8/1" and source.shown == "rtsp://10.0.0.8/1"


def test_a_file_that_is_read_again_leaves_streams_that_stay_alone(tmp_path, scorer, monkeypatch):
    opened, said, removed = {}, [], []

    def make_source(word, waits, name):
        clips = [clip(0.2, START + 0.64 * number) for number in range(5)]
        opened[name] = FakeSource(name, *clips, lasts=True)
        return opened[name]

    monkeypatch.setattr(module, "make_source", make_source)
    path, heard = tmp_path / "cameras.toml", Heard()
    path.write_text("[cameras.gate]\nsource = 'a'\n[cameras.yard]\nsource = 'b'\n")
    listeners = [heard]
    watcher = Watcher(scorer, listeners, clock=lambda: START + 4)
    with contextlib.closing(watcher):
        cameras = CameraFile(path, Waits(), said.append, check=lambda calibration: None, removed=removed.append)
        listeners.append(cameras)
        cameras.start(watcher)
        gate = watcher.streams["gate"]
        path.write_text("[cameras.gate]\nsource = 'a'\nthreshold = 0.9\n[cameras.shed]\nsource = 'c'\n")
        assert list(watcher.streams) == ["gate", "yard"]
        cameras.reload()
        watcher.step()
        assert list(watcher.streams) == ["gate", "shed"] and removed == ["yard"]
        assert watcher.streams["gate"] is gate and not opened["gate"].closed.is_set()
        assert gate.tracker.rule.start_threshold == 0.9 and opened["yard"].closed.is_set()
        path.write_text("[cameras.gate]\nsource = 3\n")
        cameras.reload()
        watcher.step()
        assert list(watcher.streams) == ["gate", "shed"]
        assert "read again; watching gate, shed" in said[0] and said[1].endswith("The cameras stay as they were.")
