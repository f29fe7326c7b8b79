"""Every format read back by a parser that people use."""

import csv
import io
import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import opentimelineio as otio
import pandas as pd
import pysrt
import pytest
import webvtt
from helpers import result_of, write_video

from anomalycli.export.base import BUILT_IN, Context, load_writer
from anomalycli.export.base import write_output as write
from anomalycli.export.event_clips import cut_events
from anomalycli.media.timecode import RATES, is_dropped, timecode, timeline_rate
from anomalycli.media.video import Video


def rendered(name: str, result):
    return load_writer(name).render(result, Context(Path("x"), result.path.name))


NTSC_FILM, NTSC = Fraction(24000, 1001), Fraction(30000, 1001)


@pytest.mark.parametrize("fps", [NTSC_FILM, 25, NTSC])
def test_subtitles_have_the_seconds_of_the_events(tmp_path, fps):
    spans = [(10, 35), (100_000, 100_031)]  # the second is more than an hour in
    result = result_of(spans, 120_000, fps)
    subtitles = pysrt.open(write(result, tmp_path / "clip", "srt"))
    captions = webvtt.read(write(result, tmp_path / "clip", "vtt"))
    assert len(subtitles) == len(captions) == 2
    for (start, end), subtitle, caption in zip(spans, subtitles, captions):
        assert subtitle.start.ordinal == pytest.approx(1000 * start / fps, abs=0.51)
        assert subtitle.end.ordinal == pytest.approx(1000 * end / fps, abs=0.51)
        assert caption.start == str(subtitle.start).replace(",", ".")
        assert "0.90" in subtitle.text and "0.90" in caption.text


@pytest.mark.parametrize("rate", RATES)
def test_time_code_is_that_of_opentimelineio(rate):
    step = round(rate * 60)
    edges = [frame for edge in range(step, 24 * step, step) for frame in range(edge - 25, edge + 5)]
    for frame in [*range(3000), *edges, 2_000_000]:
        code = timecode(frame, rate)
        assert otio.opentime.from_timecode(code, float(rate)).value == frame, code


def test_drop_frame_keeps_up_with_the_clock():
    assert timecode(1799, NTSC) == "00:00:59;29"
    assert timecode(1800, NTSC) == "00:01:00;02"
    assert timecode(17982, NTSC) == "00:10:00;00"
    assert timecode(107892, NTSC) == "01:00:00;00"
    assert timecode(86400, NTSC_FILM) == "01:00:00:00"  # 23.976 drops nothing
    assert [rate for rate in RATES if is_dropped(rate)] == [NTSC, Fraction(60000, 1001)]
    assert timeline_rate(29.97) == NTSC and timeline_rate(30) == 30 and timeline_rate(23.98) == NTSC_FILM


@pytest.mark.parametrize("fps", [NTSC_FILM, 25, NTSC, 30])
def test_edl_has_the_frames_of_the_events(tmp_path, fps):
    spans = [(10, 35), (1795, 1805), (60_000, 60_100)]
    path = write(result_of(spans, 70_000, fps), tmp_path / "clip", "edl")
    timeline = otio.adapters.read_from_file(str(path), "cmx_3600", rate=float(fps))
    clips = [clip.source_range for clip in timeline.find_clips()]
    assert [(c.start_time.value, c.end_time_exclusive().value) for c in clips] == spans
    assert ("FCM: DROP FRAME" in path.read_text()) == (fps == NTSC)
    if fps != NTSC:  # the parser knows no locators in drop-frame code
        peaks = [clip.markers[0].marked_range.start_time.value for clip in timeline.find_clips()]
        assert peaks[0] == 3600 * round(fps) + 12  # on the timeline, which starts at one hour


def test_variable_rate_gives_true_times(tmp_path):
    times = np.concatenate((np.arange(50) / 25, 2 + np.arange(50) / 5))  # 25 frames/s for two seconds, then 5
    result = result_of([(60, 70)], 100, 100 / 12, times=times)
    start, end = 4.0, 6.0
    subtitle = pysrt.open(write(result, tmp_path / "clip", "srt"))[0]
    assert (subtitle.start.ordinal, subtitle.end.ordinal) == (1000 * start, 1000 * end)
    rate = float(timeline_rate(result.fps))
    edl = otio.adapters.read_from_file(str(write(result, tmp_path / "clip", "edl")), "cmx_3600", rate=rate)
    cut = next(iter(edl.find_clips())).source_range
    assert cut.start_time.to_seconds() == pytest.approx(start, abs=0.5 / rate)
    assert cut.end_time_exclusive().to_seconds() == pytest.approx(end, abs=0.5 / rate)
    frames = pd.read_csv(write(result, tmp_path / "clip", "csv"))
    np.testing.assert_allclose(frames.time, times, atol=5e-4)


def test_opentimelineio_links_the_video_and_marks_the_peak(tmp_path):
    result = result_of([(10, 35), (100, 140)], 500, NTSC, str(tmp_path / "a b%.mp4"))
    timeline = otio.adapters.read_from_file(str(write(result, tmp_path / "clip", "otio")))
    first, second = timeline.find_clips()
    assert first.media_reference.target_url == (tmp_path / "a b%.mp4").as_uri()
    assert (second.source_range.start_time.value, second.source_range.duration.value) == (100, 40)
    assert second.markers[0].marked_range.start_time.value == 120
    assert second.metadata["anomalycli"]["score"] == pytest.approx(0.9)


def test_scores_and_events_come_back_from_csv_npy_json(tmp_path):
    result = result_of([(10, 35)], 100, 25)
    np.testing.assert_array_equal(np.load(write(result, tmp_path / "x", "npy")), result.scores)
    np.testing.assert_allclose(pd.read_csv(write(result, tmp_path / "x", "csv")).score, result.scores, atol=1e-5)
    whole = json.loads(write(result, tmp_path / "x", "json").read_text())
    assert len(whole["scores"]) == 100
    events = pd.read_csv(write(result, tmp_path / "x", "events.csv"))
    assert events.loc[0, ["event", "start", "end", "peak"]].tolist() == [1, 10, 35, 22]
    assert json.loads(write(result, tmp_path / "x", "events.json").read_text())["events"] == whole["events"]
    assert whole["events"][0]["end_time"] == 35 / 25


@pytest.mark.parametrize("suffix", BUILT_IN)
def test_a_video_without_events_gives_a_valid_file(tmp_path, suffix):
    path = write(result_of([], 50, 25), tmp_path / "deep" / "er" / "quiet", suffix)
    assert path.name == f"quiet.{suffix}" and path.stat().st_size >= (suffix != "srt")
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_line_break_in_a_name_cannot_add_an_edit():
    text = rendered("edl", result_of([(10, 20)], 50, 25, "a\n002  AX       V     C.mp4"))
    assert len([line for line in text.splitlines() if line.startswith("00")]) == 1
    assert pysrt.from_string(rendered("srt", result_of([(1, 9)], 50, 25, "a\n\n9\n.mp4")))[0].index == 1


def test_dataframe_has_the_event_of_each_frame():
    frames = result_of([(10, 35), (50, 60)], 100, 25).to_dataframe()
    assert list(frames.columns) == ["frame", "time", "score", "event"]
    assert frames.event.tolist()[9:11] == [0, 1] and frames.event.tolist()[59:61] == [2, 0]
    assert frames.time[25] == 1


def test_clips_hold_the_event_and_its_margins(tmp_path):
    path = write_video(tmp_path / "film.mp4", list(range(0, 20_000, 40)))
    result = result_of([(200, 225), (490, 500)], 500, 25, str(path))
    first, last = cut_events(result, tmp_path / "out" / "film", margin=1)
    assert [first.name, last.name] == ["film.event1.mp4", "film.event2.mp4"]
    greys = [int(frame.mean()) for frame in Video(first).frames()]
    whole = [int(frame.mean()) for frame in Video(path).frames()]
    assert 75 <= len(greys) <= 75 + 15  # 3 s, back to the key frame before (each 12th), on to the end of B-frames
    assert any(greys == pytest.approx(whole[at : at + len(greys)], abs=2) for at in range(160, 176))
    assert [int(f.mean()) for f in Video(last).frames()][-1] == pytest.approx(whole[-1], abs=2)
    assert not list((tmp_path / "out").glob("*.part"))


def test_npy_is_without_pickles():
    np.load(io.BytesIO(rendered("npy", result_of([], 5, 25))), allow_pickle=False)


HOSTILE = [
    "=cmd()|x.mp4",
    "@SUM(A1).mp4",
    "+1.mp4",
    "-1.mp4",
    "a\x1b[31m\n002  AX\r.mp4",
    "bad\udcff.mp4",
    "\u202egpj.mp4",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text_in_every_file(tmp_path, name):
    result = result_of([(10, 35)], 100, 25, name)
    for suffix in BUILT_IN:
        content = write(result, tmp_path / "x", suffix).read_bytes()
        if suffix in ("npy", "png", "pdf"):
            continue
        text = content.decode("utf-8", "strict")
        assert not set(text) & set("\x1b\r\udcff\u202e"), suffix
    with open(tmp_path / "x.events.csv", newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["video"][0] not in "=@+-" and row["event"] == "1"
    assert (tmp_path / "x.edl").read_text().count("\n001  AX") == 1
    assert sum(line[:3].isdigit() for line in (tmp_path / "x.edl").read_text().splitlines()) == 1


@pytest.mark.parametrize("suffix", ["srt", "vtt"])
def test_subtitles_without_events_are_read_by_players(tmp_path, suffix):
    path = write(result_of([], 50, 25), tmp_path / "x", suffix)
    with av.open(str(path)) as container:
        assert [stream.type for stream in container.streams] == ["subtitle"]
