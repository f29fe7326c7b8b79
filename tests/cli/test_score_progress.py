"""What `score` says while it works and at the end."""

import dataclasses
import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import result_of
from rich.progress import Progress

from anomalycli.cli import score_progress, tables
from anomalycli.cli.score_progress import ScoreProgress, Tally, durations_of, rough
from anomalycli.errors import VideoError
from anomalycli.export.outputs import Scored
from anomalycli.inputs import Input
from anomalycli.media.decoder import Decoder


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    """A clock that stands still unless it is moved."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(score_progress.time, "monotonic", lambda: clock.now)
    return clock


@pytest.fixture
def said(monkeypatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(score_progress, "say", lines.append)
    return lines


def scored(name: str, spans=None, warning=None) -> Scored:
    if spans is None:
        return Scored(name, failure=f"{name}: the file is empty.")
    result = result_of(spans, 3600 * 25, 25, name)
    return Scored(name, result=dataclasses.replace(result, warning=warning))


def test_the_line_says_which_video_how_far_and_how_long_it_takes(clock, said):
    inputs = [Input(Path(f"{name}.mp4"), name) for name in ("hall", "yard", "shed")]
    with Progress(disable=True) as bar:
        progress = ScoreProgress(inputs, {item.path: 3600.0 for item in inputs}, bar)
        shown = lambda: bar.tasks[0].description  # noqa: E731
        progress.on_clips(inputs[0].path, 10, 1000)
        assert shown() == "1/3 hall.mp4 0:36 of 1:00:00"
        clock.now += 600
        progress.on_clips(inputs[0].path, 500, 1000)
        assert shown() == "1/3 hall.mp4 30:00 of 1:00:00, 50 min left in all"
        assert said[:1] == ["3:00:00 of video: about 1 h 00 min on this machine"]
        assert said[1:] == ["1/3 hall.mp4 30:00 of 1:00:00, 50 min left in all"]  # where there is no terminal
        clock.now += 600
        progress.finished(scored("hall.mp4", [(100, 200), (400, 500)]))
        assert said[-1] == "1/3 hall.mp4: 2 events, highest score 0.90 at 0:06"
        progress.on_clips(inputs[1].path, 1, 1000)
        assert shown() == "2/3 yard.mp4 0:04 of 1:00:00, 2 events, 40 min left in all"
        progress.finished(scored("yard.mp4"))
        progress.finished(scored("shed.mp4", []))  # scored by an earlier run: it takes no time
        assert progress.sentence() == "2 scored, 1 failed, 2 events in 1 video, 3.0 times real time"


def test_what_it_came_to():
    tally = Tally()
    for one in (scored("a.mp4", [(10, 90), (200, 300)]), scored("b.mp4", [], "half of it is lost"), scored("c.mp4")):
        tally.add(one)
    assert tally.sentence(None) == "2 scored, 1 of them partial, 1 failed, 2 events in 1 video"
    assert [row["video"] for row in tally.sorted_rows()] == ["a.mp4", "b.mp4", "c.mp4"]
    assert tally.sorted_rows()[-1]["events"] == "[red]failed[/]"
    assert Tally(scored=1).sentence(2.04) == "1 scored, no events, 2.0 times real time"


@pytest.mark.parametrize("width", [40, 50, 80, 120])
def test_the_table_is_right_at_any_width(monkeypatch, width):
    tally = Tally()
    for one in (scored("camera/hall-of-the-second-floor.mp4", [(100, 200), (40_000, 50_000)]), scored("b.mp4")):
        tally.add(one)
    console, out = tables.Console, io.StringIO()
    monkeypatch.setattr(tables, "Console", lambda **settings: console(file=out, width=width, **settings))
    monkeypatch.setenv("COLUMNS", str(width))  # without it, what is not a terminal has no width
    tables.print_summary(tally.sorted_rows())
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width and len(lines) <= 6
    assert "0:04-0:08" in out.getvalue() and "26:40-33:20" in out.getvalue() and "failed" in lines[-1]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3.4, "3 s"), (59.4, "59 s"), (59.6, "1 min"), (3599, "1 h 00 min"), (8 * 3600 + 240, "8 h 04 min")],
)
def test_estimates_are_rough(seconds, words):
    assert rough(seconds) == words


def test_durations_are_read_from_headers(make_video, tmp_path):
    film = make_video(n_frames=50, size=(32, 32))
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"nothing")
    with Decoder() as decoder:
        found = durations_of([Input(film, "clip"), Input(broken, "broken")], decoder)
        assert found == {film: pytest.approx(2.0, abs=0.1), broken: None}
        with pytest.raises(VideoError):
            decoder.duration(broken)
    assert durations_of([Input(film, "clip")], None) == {}
