"""Recordings of a folder, over several runs of `watch`."""

import contextlib
import os

import pytest
from live_fakes import FakeSource, Heard, clip

from anomalycli.live import sources
from anomalycli.live.database import EventDatabase
from anomalycli.live.event_store import EventStore
from anomalycli.live.sources import Break, FolderSource, Waits
from anomalycli.live.watcher import Watcher

NOW = 2e9
BRIGHT_AT_THE_END = [0.2] * 8 + [0.9] * 4


@pytest.fixture(autouse=True)
def _recordings(monkeypatch):
    """Each file of a folder gives the same clips, without a decoder."""

    def open_file(name, *_):
        return FakeSource(name, *(clip(level, NOW + 0.64 * i) for i, level in enumerate(BRIGHT_AT_THE_END)))

    monkeypatch.setattr(sources, "StreamSource", open_file)


def write(path, written):
    path.touch()
    os.utime(path, (written, written))


def watch(scorer, folder, database, now):
    """What is heard of a folder until the first look at it is over; the end of the watch ends no event."""
    source = FolderSource("yard", folder, Waits(idle=10), now=lambda: now, sleep=lambda seconds: source.close())
    heard = Heard()
    store = EventStore(database, print)
    store.resume(source)
    watcher = Watcher(scorer, [heard, store], clock=lambda: now, pause=lambda seconds: True)
    reader = watcher.add(source).reader
    while reader._thread.is_alive() or reader.has_waiting:
        watcher.step()
    kinds = heard.kinds("yard")
    watcher.close()
    assert heard.kinds("yard") == kinds, "an event was open although its recording had ended"
    return heard


def test_events_end_with_their_recording_and_a_restart_goes_on_behind_it(tmp_path, scorer):
    folder = tmp_path / "recordings"
    folder.mkdir()
    write(folder / "old.mp4", NOW - 100)
    with contextlib.closing(EventDatabase(tmp_path / "events.db")) as database:
        first = watch(scorer, folder, database, NOW)
        assert first.frames == {}, "it was complete before the first start"
    write(folder / "a.mp4", NOW + 5)  # while nothing watches, and nothing was ever scored
    with contextlib.closing(EventDatabase(tmp_path / "events.db")) as database:
        second = watch(scorer, folder, database, NOW + 100)
        assert set(second.frames) == {"a.mp4"} and second.kinds("yard")[-1] == "final"
    write(folder / "b.mp4", NOW + 50)  # before the second start, by its time, and copied later
    write(folder / "c.mp4", NOW + 200)
    with contextlib.closing(EventDatabase(tmp_path / "events.db")) as database:
        third = watch(scorer, folder, database, NOW + 300)
        assert list(third.frames) == ["b.mp4", "c.mp4"]
        assert watch(scorer, folder, database, NOW + 400).frames == {}
        recordings = {one["recording"] for one in database.events()}
    assert recordings == {"a.mp4", "b.mp4", "c.mp4"}


def test_of_two_recordings_of_the_same_time_a_kill_between_them_loses_none(tmp_path, scorer):
    folder = tmp_path / "recordings"
    folder.mkdir()
    with contextlib.closing(EventDatabase(tmp_path / "events.db")) as database:
        watch(scorer, folder, database, NOW)
        for name in ("a.mp4", "b.mp4"):
            write(folder / name, NOW + 5)
        source = FolderSource("yard", folder, Waits(idle=10), now=lambda: NOW + 100)
        EventStore(database, print).resume(source)
        for message in source.messages(None):
            if isinstance(message, Break) and message.passed:
                message.passed()  # and then the process is killed
                break
    with contextlib.closing(EventDatabase(tmp_path / "events.db")) as database:
        assert list(watch(scorer, folder, database, NOW + 100).frames) == ["b.mp4"]
        write(folder / "a.mp4", NOW + 150)
        assert list(watch(scorer, folder, database, NOW + 300).frames) == ["a.mp4"], "it was written again"


def test_what_an_earlier_version_noted_of_a_folder_still_counts(tmp_path, scorer):
    folder = tmp_path / "recordings"
    folder.mkdir()
    with contextlib.closing(EventDatabase(tmp_path / "events.db")) as database:
        database._run("DROP TABLE recordings")
        database._run("INSERT INTO folders VALUES (?, ?)", (str(folder.resolve()), NOW + 50))
    write(folder / "a.mp4", NOW + 50)
    write(folder / "b.mp4", NOW + 60)
    with contextlib.closing(EventDatabase(tmp_path / "events.db")) as database:
        assert list(watch(scorer, folder, database, NOW + 100).frames) == ["b.mp4"]


def test_what_is_noted_of_recordings_is_forgotten_with_their_events_and_they_stay_scored(tmp_path, scorer):
    folder, now = tmp_path / "recordings", [NOW]
    folder.mkdir()
    with contextlib.closing(EventDatabase(tmp_path / "events.db", now=lambda: now[0])) as database:
        watch(scorer, folder, database, NOW)
        write(folder / "a.mp4", NOW + 5)
        assert list(watch(scorer, folder, database, NOW + 100).frames) == ["a.mp4"]
        now[0] += 91 * 86_400
        database.clean()
        assert database.scored_recordings(str(folder.resolve())) == {}
        write(folder / "b.mp4", now[0])
        assert list(watch(scorer, folder, database, now[0] + 100).frames) == ["b.mp4"]


def test_a_recording_that_was_being_scored_is_scored_again(tmp_path, scorer):
    folder = tmp_path / "recordings"
    folder.mkdir()
    with contextlib.closing(EventDatabase(tmp_path / "events.db")) as database:
        watch(scorer, folder, database, NOW)
        write(folder / "a.mp4", NOW + 5)
        source = FolderSource("yard", folder, Waits(idle=10), now=lambda: NOW + 100)
        EventStore(database, print).resume(source)
        messages = source.messages(None)
        assert next(messages).title == "a.mp4"
        source.close()
        assert not [message for message in messages if isinstance(message, Break)]
        assert set(watch(scorer, folder, database, NOW + 100).frames) == {"a.mp4"}
