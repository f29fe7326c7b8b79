"""Files that show events, from streams over HTTP."""

import contextlib
import os
import threading

import av
import numpy as np
import pytest
from live_fakes import serve, write_stream

from anomalycli.live.clips import ClipSaver
from anomalycli.live.database import EventDatabase
from anomalycli.live.event_store import EventStore
from anomalycli.live.sources import StreamSource, Waits
from anomalycli.live.watcher import Watcher


class Ordered:
    """A listener that sets an event when a clip was ordered: the camera sends no more before."""

    def __init__(self):
        self.once = threading.Event()

    def on_scores(self, stream, scores):
        pass

    def on_news(self, stream, news):
        self.once.set()

    def tick(self):
        pass


@pytest.mark.parametrize("suffix", ["ts", "flv"])
def test_an_event_is_saved_with_what_came_before_it(tmp_path, scorer, suffix):
    bright = range(160, 224)
    path = write_stream(tmp_path / f"camera.{suffix}", 400, lambda i: 230 if i in bright else 20)
    content, ordered, said = path.read_bytes(), Ordered(), []
    first = len(content) * 3 // 5  # to about frame 240

    def answer(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(content[:first])
        ordered.once.wait(100)
        for at in range(first, len(content), 5000):
            handler.wfile.write(content[at : at + 5000])

    with serve(answer) as address, contextlib.closing(EventDatabase(tmp_path / "events.db")) as database:
        saver = ClipSaver(tmp_path / "clips", said.append, margin=1.0, database=database)
        watcher = Watcher(scorer, [EventStore(database, print), saver, ordered], pause=lambda seconds: True)
        reader = watcher.add(
            StreamSource("front gate", "url", f"http://{address}/live", Waits(100.0, kept=20.0))
        ).reader
        while reader._thread.is_alive() or reader.has_waiting:
            watcher.step()
        watcher.close()
        watcher.step()
        saver.close()
        clips = {one["clip"] for one in database.events() if one.get("clip")}
    files = {str(file.relative_to(tmp_path / "clips")) for file in (tmp_path / "clips").rglob("*") if file.is_file()}
    assert files == clips and files, said
    (name,) = sorted(files)[:1]
    assert name.startswith("front_gate/") and name.endswith(".mp4")
    with av.open(str(tmp_path / "clips" / name)) as saved:
        levels = np.array([frame.to_ndarray(format="gray").mean() for frame in saved.decode(video=0)])
    assert 20 < len(levels) < 400 and levels[:20].mean() < 60 and (levels > 150).sum() >= 40


def test_the_oldest_clips_are_deleted_and_nothing_of_others(tmp_path):
    folder = tmp_path / "clips"
    (folder / "gate").mkdir(parents=True)
    for day in (1, 2, 3, 4):
        (folder / "gate" / f"2026010{day}T000000Z-{day:016x}.mp4").write_bytes(os.urandom(400_000))
    (folder / "gate" / "holiday.mp4").write_bytes(os.urandom(2_000_000))
    saver = ClipSaver(folder, print, megabytes=1.0)
    saver._limit()
    kept = sorted(path.name for path in (folder / "gate").iterdir())
    assert [name[:8] for name in kept] == ["20260103", "20260104", "holiday."]
