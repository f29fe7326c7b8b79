"""Streams from sources without a camera: scores and news of events."""

import contextlib
import dataclasses
import os
import threading

import numpy as np
import pytest
import torch
from live_fakes import FakeSource, Heard, clip, still_clip

from anomalycli.cli.watch import tell
from anomalycli.errors import UsageError, VideoError
from anomalycli.events import EventRule
from anomalycli.live.sources import Break, Fault
from anomalycli.live.stream import LONGER_TIMEOUT, StreamReader
from anomalycli.live.watcher import Watcher
from anomalycli.media.messages import ClipFormat

START = 1_000_000.0
FORM = ClipFormat(16, 32, 16, (0, 8))


def clips(levels, start=START):
    """A clip of each brightness, one after another."""
    return [clip(level, start + 0.64 * number) for number, level in enumerate(levels)]


def watch(scorer, *sources, **settings):
    """Watch until the sources are over; returns the listener and the sentences."""
    heard, said = Heard(), []
    watcher = Watcher(scorer, [heard], say=said.append, **settings)
    for source in sources:
        watcher.add(source)
    watcher.run()
    return heard, said


LOUD = [0.2] * 5 + [0.9] * 4 + [0.2] * 12


def test_an_event_starts_ends_and_becomes_final(scorer):
    heard, said = watch(scorer, FakeSource("gate", *clips(LOUD)))
    confirmed = {told.event.id for told in heard.news if told.kind == "final" and told.event.is_confirmed}
    assert len(confirmed) == 1
    news = [told for told in heard.news if told.event.id in confirmed]
    assert [news[0].kind, news[-1].kind] == ["start", "final"]
    event = news[-1].event
    assert START + 5 * 0.64 - 0.64 < event.start < START + 5 * 0.64 + 0.64
    assert START + 9 * 0.64 - 0.64 < event.end < START + 9 * 0.64 + 0.64
    assert event.start <= event.peak < event.end and not event.is_open and event.is_final
    assert said == []


def test_several_streams_do_not_mix(scorer):
    calm = [0.2] * len(LOUD)
    alone, _ = watch(scorer, FakeSource("gate", *clips(LOUD)))
    heard, _ = watch(scorer, FakeSource("yard", *clips(calm)), FakeSource("gate", *clips(LOUD)))
    assert heard.kinds("yard") == []
    assert heard.frames["gate"] == pytest.approx(alone.frames["gate"], abs=1e-6)
    assert len(heard.frames["yard"]) == 16 * len(calm)


def test_one_stream_that_breaks_does_not_hold_up_another(scorer):
    broken = FakeSource("yard", VideoError("yard: it refuses access."), lasts=True)
    heard, said, lost, over = Heard(), [], threading.Event(), threading.Event()

    def pause(seconds):
        lost.set()
        return over.wait(100)

    watcher = Watcher(scorer, [heard], say=said.append, pause=pause)
    watcher.add(broken)
    assert lost.wait(100)
    watcher.add(FakeSource("gate", *clips(LOUD)))
    while not watcher.streams["gate"].reader.state.is_over or watcher.streams["gate"].reader.has_waiting:
        watcher.step()
    over.set()
    watcher.close()
    assert "final" in heard.kinds("gate")
    assert [sentence for sentence in said if "refuses access" in sentence and "Trying again" in sentence]


def test_a_stream_is_opened_again_after_longer_and_longer_waits_and_the_event_goes_on(scorer):
    waits = []
    levels = clips([0.2] * 9 + [0.9] * 3), clips([0.9] * 3 + [0.2] * 12, START + 12 * 0.64 + 10)
    lost = [VideoError("gate: no data for 20 s.") for _ in range(8)]
    source = FakeSource("gate", *levels[0], *lost, *levels[1], lasts=True)
    heard, said = Heard(), []

    def pause(seconds):
        waits.append(seconds)
        return not source.script

    watcher = Watcher(scorer, [heard], say=said.append, clock=lambda: START + 18, pause=pause)
    reader = watcher.add(source).reader
    while reader._thread.is_alive() or reader.has_waiting:
        watcher.step()
    watcher.close()
    assert waits[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert sum("no data for 20 s" in sentence for sentence in said) == 1
    assert [sentence for sentence in said if sentence.startswith("gate: back after")]
    ids = {told.event.id for told in heard.news if told.kind == "final" and told.event.is_confirmed}
    (event,) = [told.event for told in heard.news if told.kind == "final" and told.event.is_confirmed]
    assert len(ids) == 1 and event.end - event.start == pytest.approx(6 * 0.64 + 10, abs=1.5)


def test_after_a_long_gap_scoring_begins_anew_and_the_event_before_has_ended(scorer):
    before, after = clips([0.2] * 9 + [0.9] * 3), clips([0.2] * 20, START + 3600)
    heard, _ = watch(scorer, FakeSource("gate", *before, *after))
    confirmed = [told.event for told in heard.news if told.kind == "final" and told.event.is_confirmed]
    assert [event.reason for event in confirmed] == ["the stream was interrupted"]
    assert confirmed[0].end < START + 12 * 0.64 + 0.1


def test_a_stream_of_one_frame_per_minute_is_not_interrupted_after_each_clip(scorer):
    slow = [clip(level, START + 960 * number, fps=1 / 60) for number, level in enumerate(LOUD)]
    heard, _ = watch(scorer, FakeSource("gate", *slow), rule=EventRule(0.6, 0.4, 60, 60))
    reasons = {told.event.reason for told in heard.news if told.kind == "final"}
    assert reasons and "the stream was interrupted" not in reasons
    assert len(heard.frames["gate"]) == 16 * len(LOUD), "all in one window after another"


@pytest.mark.parametrize(("n_frames", "n_said"), [(1, 1), (16, 0)])
def test_frames_too_far_apart_for_the_timeout_are_told_once_with_the_option(capsys, n_frames, n_said):
    now = [START]

    def pause(seconds):
        now[0] += seconds
        return not source.script

    script = []
    for number in range(8):  # each time it is opened, some frames come, and then none for long
        script += [clip(0.2, START + 60 * number, n_frames), VideoError("gate: no data for 20 s.")]
    source = FakeSource("gate", *script, is_live=True, lasts=True)
    reader = StreamReader(source, FORM, tell, threading.Event(), pause, clock=lambda: now[0])
    reader.start()
    reader._thread.join(100)
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("choose a longer timeout (--timeout).") == n_said and "back after" in said


def test_a_pipe_that_is_silent_for_the_timeout_ends_with_a_hint(scorer):
    _, said = watch(scorer, FakeSource("pipe", VideoError("pipe: no data for 20 s.")))
    assert said == [f"pipe: no data for 20 s. {LONGER_TIMEOUT}"]


def test_recordings_of_a_folder_are_scored_each_by_itself(scorer):
    source = FakeSource("dir", Break("a.mp4"), *clips(LOUD), Fault("b.mp4: not a video."), Break("c.mp4"), *clips(LOUD))
    heard, said = watch(scorer, source)
    confirmed = [told.event for told in heard.news if told.kind == "final" and told.event.is_confirmed]
    assert len(confirmed) == 2 and confirmed[0].start == confirmed[1].start
    assert said == ["b.mp4: not a video."]


def test_what_is_skipped_of_a_live_stream_is_told_and_keeps_its_time(scorer):
    source = FakeSource("gate", *clips([0.2] * 100), is_live=True)
    heard, said = Heard(), []
    watcher = Watcher(scorer, [heard], say=said.append, clock=lambda: START + 64)
    reader = watcher.add(source).reader
    reader._thread.join(100)  # all arrives before anything is scored
    waiting = list(reader._waiting)
    assert sum(entry.frames is not None for entry in waiting) <= 8
    watcher.run()
    assert len(heard.frames["gate"]) == 1600
    (sentence,) = said
    assert f"{reader.state.skipped} of 100 clips were skipped" in sentence and "behind" in sentence


def test_a_file_is_never_skipped_however_slow_scoring_is(scorer):
    source = FakeSource("file", *clips([0.2] * 40))
    heard, said = watch(scorer, source)
    assert len(heard.frames["file"]) == 640 and said == []


def test_a_picture_that_does_not_change_is_told_once():
    said = []
    frozen = [dataclasses.replace(one, is_frozen=True) for one in clips([0.5] * 150)]
    source = FakeSource("gate", *frozen, clip(0.6, START + 100), is_live=True)
    reader = StreamReader(source, FORM, said.append, threading.Event())
    reader.start()
    reader._thread.join(100)
    assert said == [
        "gate: the picture has not changed for 60 s. The camera may be frozen.",
        "gate: the picture changes again.",
    ]


def test_still_clips_take_the_features_of_the_clip_before_and_are_marked(scorer):
    class Marked(Heard):
        def on_scores(self, stream, scores):
            super().on_scores(stream, scores)
            marks.extend(stream.still)

    marks, levels = [], [0.2] * 5 + [0.9] * 4 + [0.2] * 12
    moving = clips(levels)
    still = [still_clip(one.times[0]) if number in (2, 3, 7, 8, 15) else one for number, one in enumerate(moving)]
    reference, _ = watch(scorer, FakeSource("gate", *moving))
    heard, watcher = Marked(), None
    watcher = Watcher(scorer, [heard])
    state = watcher.add(FakeSource("gate", *still)).reader.state
    watcher.run()
    assert np.array_equal(heard.frames["gate"], reference.frames["gate"])
    assert marks == [(16 * number, 16 * number + 16) for number in (2, 3, 7, 8, 15)]
    assert (state.still, state.skipped) == (5, 0)


def test_still_clips_like_a_clip_that_was_skipped_count_as_skipped_too(scorer):
    source = FakeSource("gate", *clips([0.2] * 100), still_clip(START + 64), is_live=True)
    heard, said = Heard(), []
    watcher = Watcher(scorer, [heard], say=said.append, clock=lambda: START + 64)
    reader = watcher.add(source).reader
    reader._thread.join(100)
    assert reader._waiting[-2].frames is None, "the clip that the still one is like"
    skipped = sum(entry.frames is None for entry in reader._waiting)
    watcher.run()
    assert (reader.state.still, reader.state.skipped) == (0, skipped) and len(heard.frames["gate"]) == 1616


def test_after_a_gap_still_clips_are_scored_on(scorer):
    source = FakeSource("gate", *clips([0.2] * 4), *(still_clip(START + 600 + 0.64 * number) for number in range(3)))
    ends = []
    heard = Heard()
    heard.on_scores = lambda stream, scores: ends.append((scores.start + len(scores.scores), scores.times[-1]))
    watcher = Watcher(scorer, [heard])
    watcher.add(source)
    watcher.run()
    assert ends[-1] == (48, pytest.approx(START + 600 + 47 / 25))


def test_what_is_read_as_fast_as_possible_is_never_late(scorer):
    watcher = Watcher(scorer, [], clock=lambda: START + 5000)
    file = watcher.add(FakeSource("file", *clips(LOUD)))
    camera = watcher.add(FakeSource("gate", *clips(LOUD), is_live=True))
    watcher.run()
    assert file.lag == 0 and camera.lag == pytest.approx(5000 - len(LOUD) * 0.64, abs=0.1)


def test_another_picture_size_in_the_middle_is_scored_on(scorer):
    source = FakeSource("gate", *clips([0.2] * 4), clip(0.2, START + 4 * 0.64, 7, size=64), *clips([0.2], START + 3.2))
    heard, said = watch(scorer, source)
    assert len(heard.frames["gate"]) == 16 * 5 + 7 and said == []


def test_cores_are_shared_between_the_network_and_the_decoders(scorer, monkeypatch):
    threads = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with contextlib.closing(Watcher(scorer, [])) as watcher:
        for number in range(20):
            watcher.add(FakeSource(str(number)))
    assert threads == [4] * 3 + [3] * 4 + [2] * 4 + [1] * 9


def test_int8_without_a_calibration_is_refused(scorer):
    scorer.extractor.calibration_clips = 20
    with pytest.raises(UsageError, match="score a recording of these cameras at int8 once"):
        Watcher(scorer, [])


def test_a_model_that_needs_sound_is_refused(scorer):
    scorer.info = dataclasses.replace(scorer.info, kind=dataclasses.replace(scorer.info.kind, audio="vggish"))
    with pytest.raises(UsageError, match="needs sound"):
        Watcher(scorer, [])
