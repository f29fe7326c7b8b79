"""The command `watch`, on files that are played as streams."""

import contextlib
import dataclasses
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from live_fakes import write_stream

from anomalycli.calibration import Calibration
from anomalycli.events import EventRule
from anomalycli.live.database import EventDatabase
from anomalycli.live.sources import FolderSource
from anomalycli.score import Scorer


def bursts(i: int) -> int:
    """Bright from frame 64 to frame 128."""
    return 230 if 64 <= i < 128 else 20


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_watch_prints_events_as_lines_of_json(call, model, tmp_path):
    write_stream(tmp_path / "yard.ts", 260, bursts)
    done = call("watch", "gate=yard.ts", "--model", model, "--idle", 0, "--thumbnails")
    start, *others = lines(done.stdout)
    final = others[-1]
    assert [start["kind"], final["kind"]] == ["start", "final"]
    assert start["stream"] == "gate" and start["open"] and not start["final"]
    assert start["thumbnail"].startswith("data:image/jpeg;base64,")
    assert final["final"] and final["confirmed"] and not final["open"] and final["id"] == start["id"]
    assert 2 < final["seconds"] < 3.2 and final["start"] < final["peak"] < final["end"]
    assert "Watching gate." in done.stderr


def test_watch_prints_scores_that_are_provisional_and_then_final(call, model, tmp_path):
    write_stream(tmp_path / "yard.ts", 260, bursts)
    done = call("watch", "yard.ts", "--model", model, "--idle", 0, "--scores", "--threshold", "1")
    scores = lines(done.stdout)
    assert {line["kind"] for line in scores} == {"scores"}
    final = [score for line in scores for score in line["final"]]
    call("score", "yard.ts", "--model", model, "--mode", "window", "--csv")
    offline = np.loadtxt(tmp_path / "yard.csv", delimiter=",", skiprows=1, usecols=2)
    assert len(final) == 260 and np.abs(np.array(final) - offline).max() < 1e-3


def test_watch_marks_what_is_carried_over_if_that_is_wanted(call, model, tmp_path):
    write_stream(tmp_path / "yard.ts", 16 * 8, lambda i: 100)
    words = ("watch", "yard.ts", "--model", model, "--idle", 0, "--scores", "--threshold", 1)
    marks = [tuple(mark) for line in lines(call(*words, "--still", "auto").stdout) for mark in line.get("still", [])]
    assert marks == [(16 * number, 16 * number + 16) for number in range(4, 8)]
    assert "still" not in call(*words).stdout


def test_what_cannot_be_watched_is_said_before_any_work(call, tmp_path):
    assert "no such file or folder" in call("watch", "nowhere.ts", code=2).stderr
    assert "URLs of ftp are not read" in call("watch", "ftp://a:secret@host/x", code=2).stderr
    assert "secret" not in call("watch", "ftp://a:secret@host/x", code=2).stderr
    (tmp_path / "a.ts").touch()
    assert "Two sources are named 'a'" in call("watch", "a.ts", "a=a.ts", code=2).stderr


def test_a_file_that_is_no_video_fails_and_the_others_are_scored(call, model, tmp_path):
    write_stream(tmp_path / "yard.ts", 260, bursts)
    (tmp_path / "notes.txt").write_text("no video")
    words = ("--model", model, "--idle", 0)
    done = call("watch", "yard.ts", "notes.txt", *words, code=3)
    assert "notes.txt" in done.stderr and lines(done.stdout)[-1]["kind"] == "final"
    assert "notes.txt" in call("watch", "notes.txt", *words, code=1).stderr


def test_watch_keeps_events_in_a_database(call, model, tmp_path):
    write_stream(tmp_path / "yard.ts", 260, bursts)
    words = ("watch", "yard.ts", "--model", model, "--idle", 0)
    done = call(*words, "--database", "events.db")
    with contextlib.closing(EventDatabase(tmp_path / "events.db")) as database:
        (stored,) = database.events()
        assert database.picture(stored["id"]).startswith(b"\xff\xd8")
    final = lines(done.stdout)[-1]
    assert {name: stored[name] for name in ("id", "start", "end", "score")} == {
        name: final[name] for name in ("id", "start", "end", "score")
    }
    assert "name a file for it (--database)" in call(*words, "--webhook", "http://localhost/x", code=2).stderr
    done = call(*words, "--database", "new.db", "--webhook", "ftp://me:secret@host/x?key=1", code=2)
    assert "ftp://host/x?…: not a web address such as http://host:8080/path (--webhook)." in done.stderr
    assert not (tmp_path / "new.db").exists()


@pytest.mark.parametrize("words", [["recordings"], ["--config", "cameras.toml"]])
def test_a_folder_goes_on_where_an_earlier_watch_left_off(call, model, tmp_path, monkeypatch, words):
    since = []
    (tmp_path / "recordings").mkdir()
    (tmp_path / "cameras.toml").write_text("[cameras.gate]\nsource = 'recordings'\n")
    monkeypatch.setattr(FolderSource, "lasts", False)
    monkeypatch.setattr(FolderSource, "messages", lambda source, form: since.append(source.since) or [])
    for _ in range(2):
        call("watch", *words, "--model", model, "--database", "events.db")
    assert since[0] == since[1]


@pytest.mark.parametrize("name", ["--keep-days", "--keep-mb", "--clips-mb"])
@pytest.mark.parametrize("value", ["0", "-1", "nan"])
def test_limits_on_what_is_kept_are_above_0(call, tmp_path, name, value):
    (tmp_path / "yard.ts").touch()
    refused = call("watch", "yard.ts", "--database", "events.db", f"{name}={value}", code=2).stderr
    assert name in refused and ("finite number" if value == "nan" else "x>0") in refused
    assert not (tmp_path / "events.db").exists()


SIGNALLED = """
import os, signal, sys, threading
sys.path[:0] = sys.argv[1:3]
number = int(sys.argv[3])
from anomalycli.backbones.base import BUILT_IN
import anomalycli.score
BUILT_IN["brightness"] = "live_brightness:Brightness"
from anomalycli.live import lines
told = lines.Lines.on_news
def then_signal(self, stream, news):
    told(self, stream, news)
    if news.kind == "start":
        os.kill(os.getpid(), number)
lines.Lines.on_news = then_signal
sys.argv[1:] = sys.argv[4:]
from anomalycli.cli import main
main()
"""


def test_a_signal_ends_the_open_event(model, tmp_path):
    write_stream(tmp_path / "yard.ts", 260, lambda i: 230 if i >= 64 else 20)
    tests = Path(__file__).parents[1]
    words = ("watch", "yard.ts", "--model", model, "--idle", "900", "--database", "events.db")
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED, tests, tests.parent, str(int(signal.SIGTERM)), *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    news = lines(done.stdout)
    assert [line["kind"] for line in news][-2:] == ["end", "final"] and news[-1]["reason"] == "the watch was stopped"
    with contextlib.closing(EventDatabase(tmp_path / "events.db")) as database:
        assert [one["final"] for one in database.events()] == [True]


def test_watch_reads_cameras_from_a_file(call, model, tmp_path):
    write_stream(tmp_path / "yard.ts", 260, bursts)
    (tmp_path / "cameras.toml").write_text(
        f"model = '{model}'\nidle = 0\n[cameras.gate]\nsource = 'yard.ts'\n"
        "[cameras.shed]\nsource = 'yard.ts'\nthreshold = 1.0\n"
    )
    done = call("watch", "--config", "cameras.toml")
    assert {line["stream"] for line in lines(done.stdout)} == {"gate"}
    assert "Watching gate, shed." in done.stderr
    assert "Name a source" in call("watch", "--model", model, code=2).stderr


def test_calibrations_are_of_one_stream_or_of_all(call, model, tmp_path):
    write_stream(tmp_path / "yard.ts", 260, bursts)
    by = Scorer.load(model, device="cpu").scored_by("window")
    scene = Calibration(EventRule(0.5, 0.3), 0.1, 1.0, 1, 0, 3.0, 30.0, 1.0, False, ((0.1, 1.0),), 1, by)
    scene.save(tmp_path / "scene.json")
    dataclasses.replace(scene, scored_by=dataclasses.replace(by, model="another")).save(tmp_path / "other.json")
    words = ("watch", "a=yard.ts", "b=yard.ts", "--model", model, "--idle", 0, "--threshold", 1)
    assert {line["stream"] for line in lines(call(*words, "--calibration", "a=scene.json").stdout)} == {"a"}
    assert {line["stream"] for line in lines(call(*words, "--calibration", "scene.json").stdout)} == {"a", "b"}
    assert "no stream is named 'c'" in call(*words, "--calibration", "c=scene.json", code=2).stderr
    assert "made with another model" in call(*words, "--calibration", "other.json", code=2).stderr
    for name, told in (("", "for all streams"), ("a=", "for the stream 'a'")):
        twice = ("--calibration", f"{name}scene.json", "--calibration", f"{name}other.json")
        assert f"another calibration is {told}" in call(*words, *twice, code=2).stderr
