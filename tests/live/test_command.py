"""The command `watch`, on files that are played as streams."""

import json

import numpy as np
from live_fakes import write_stream


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
    offline = np.loadtxt(tmp_path / "yard.csv", delimiter=",", skiprows=1)[:, 2]
    assert len(final) == 260 and np.abs(np.array(final) - offline).max() < 1e-3


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
