"""Streams from real files and real servers, read in the decoder's process."""

import contextlib
import dataclasses
import os
import socket
import sys
import threading
import time
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from helpers import BreaksOff, write_video
from live_fakes import Heard, serve, write_stream

from anomalycli.errors import UsageError, VideoError
from anomalycli.events import EventRule
from anomalycli.live import stream as live_stream
from anomalycli.live.redaction import redact
from anomalycli.live.sources import FolderSource, StreamSource, Waits, make_source
from anomalycli.live.watcher import Watcher
from anomalycli.media import open_stream, stream, stream_decoder
from anomalycli.media.decoder import Decoder
from anomalycli.media.messages import ClipFormat, StreamClip, StreamPlace
from anomalycli.media.video import Video

START = 1_000_000.0
FORM = ClipFormat(16, 32, 16, (0, 8))
PATIENCE = 100.0  # seconds; only a test that fails waits that long
FAST = Waits(timeout=PATIENCE, idle=0.3)


def read(source: StreamSource) -> list[StreamClip]:
    """All clips; raises VideoError only where there are none: servers end streams as broken connections end."""
    clips = []
    try:
        for message in source.messages(FORM):
            assert isinstance(message, StreamClip)
            clips.append(message)
    except VideoError as error:
        if not clips:
            raise
        assert "the connection ended or broke" in str(error)
    return clips


def offline(path: Path) -> list[np.ndarray]:
    with Decoder() as decoder:
        *clips, _ = decoder.clips(path, FORM)
    return [clip.frames for clip in clips]


def same(clips: list[StreamClip], path: Path) -> bool:
    return np.array_equal(np.stack([clip.frames for clip in clips]), np.stack(offline(path)))


def body(content: bytes, kind: str = "video/mp2t"):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.end_headers()
        handler.wfile.write(content)

    return answer


class Growth:
    """A clock for GrowingFile: each time it waits, a piece is written, and 4 seconds pass."""

    def __init__(self, path, pieces):
        self.path, self.pieces, self.now = path, list(pieces), 0.0

    def sleep(self, seconds):
        self.now += 4.0
        if self.pieces:
            with self.path.open("ab") as file:
                file.write(self.pieces.pop(0))
            os.utime(self.path, (START - 3600, START - 3600))  # the clock of its computer may be another one

    def time(self):
        return START

    def monotonic(self):
        return self.now


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".flv"])
def test_a_file_that_grows_is_read_to_its_end_with_the_frames_that_it_has_offline(tmp_path, monkeypatch, suffix):
    whole, growing = write_stream(tmp_path / f"whole{suffix}"), tmp_path / f"growing{suffix}"
    content = whole.read_bytes()
    growing.write_bytes(content[:10_000])
    os.utime(growing, (START, START))
    growth = Growth(growing, [content[at : at + 5_000] for at in range(10_000, len(content), 5_000)])
    monkeypatch.setattr(open_stream, "time", growth)
    place = StreamPlace("growing", str(growing), "gate", idle=10.0)
    clips = list(stream.Stream(place, FORM, lambda: None).clips())
    assert same(clips, whole) and not growth.pieces
    times = np.concatenate([clip.times for clip in clips])
    assert np.diff(times) == pytest.approx(1 / 25, abs=2e-3)


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".flv"])
def test_a_file_that_grows_gives_its_first_clip_after_little_of_it(tmp_path, monkeypatch, suffix):
    whole, growing = write_stream(tmp_path / f"whole{suffix}", 500), tmp_path / f"growing{suffix}"
    content = whole.read_bytes()
    growing.touch()
    os.utime(growing, (START, START))
    piece = len(content) // 100  # a fifth of a second
    growth = Growth(growing, [content[at : at + piece] for at in range(0, len(content), piece)])
    monkeypatch.setattr(open_stream, "time", growth)
    clips = stream.Stream(StreamPlace("growing", str(growing), "gate", idle=10.0), FORM, lambda: None).clips()
    next(clips)
    assert growing.stat().st_size / len(content) * 20 < 2.5, "seconds that were written until then"
    clips.close()


def test_a_file_is_complete_once_it_has_not_grown_for_a_while(tmp_path, monkeypatch):
    path = tmp_path / "growing.ts"
    path.write_bytes(b"a")
    os.utime(path, (START, START))
    growth = Growth(path, [b"b"] * 8)
    monkeypatch.setattr(open_stream, "time", growth)
    growing = open_stream.GrowingFile(path, StreamPlace("growing", str(path), "gate", idle=10.0), lambda: None)
    with contextlib.closing(growing.file):
        assert b"".join(iter(lambda: growing.read(100), b"")) == b"a" + b"b" * 8
    assert growth.now == 4 * (8 + 3)  # three more waits of 4 s make 10 s


def test_final_scores_of_a_file_played_as_a_stream_are_those_of_score(tmp_path, scorer):
    path = write_stream(tmp_path / "clip.ts", 16 * 21 + 5, lambda i: 200 if 90 < i < 160 else 60)
    heard = Heard()
    watcher = Watcher(scorer, [heard])
    watcher.add(StreamSource("gate", "growing", str(path), Waits(idle=0.0)))
    watcher.run()
    expected = scorer.score(path, "window")
    assert len(expected.events) > 0
    assert heard.frames["gate"] == pytest.approx(expected.scores, abs=1e-3)
    begin = path.stat().st_mtime - len(expected.scores) / 25
    final = [told.event for told in heard.news if told.kind == "final" and told.event.is_confirmed]
    assert [(round((event.start - begin) * 25), round((event.end - begin) * 25)) for event in final] == [
        (event.start, event.end) for event in expected.events
    ]


def test_a_stream_over_http(tmp_path):
    path = write_stream(tmp_path / "clip.ts")
    with serve(body(path.read_bytes())) as address:
        clips = read(StreamSource("gate", "url", f"http://admin:secret@{address}/live?key=hidden", FAST))
    assert same(clips, path)
    assert abs(clips[-1].times[-1] - time.time()) < 3600


def test_a_stream_over_udp(tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    content = write_stream(tmp_path / "clip.ts").read_bytes()
    stopped = threading.Event()

    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            while not stopped.is_set():  # nobody knows when the receiver is there
                for at in range(0, len(content), 1316):
                    with contextlib.suppress(OSError):
                        out.sendto(content[at : at + 1316], ("127.0.0.1", port))
                    if stopped.wait(0.001):
                        return

    sender = threading.Thread(target=send)
    sender.start()
    source = StreamSource("gate", "url", f"udp://127.0.0.1:{port}", FAST)
    try:
        clips = list(islice(source.messages(FORM), 3))
    finally:
        stopped.set()
        sender.join()
        source.close()
    assert all(clip.frames.shape == (2, 32, 48, 3) for clip in clips) and len(clips) == 3


def test_an_hls_playlist_that_a_url_names(tmp_path):
    path = write_stream(tmp_path / "part.ts")
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\npart.ts\n#EXT-X-ENDLIST\n"

    def answer(handler):
        is_part = handler.path.endswith(".ts")
        kind = "video/mp2t" if is_part else "application/vnd.apple.mpegurl"
        body(path.read_bytes() if is_part else playlist.encode(), kind)(handler)

    with serve(answer) as address:
        source = StreamSource("gate", "url", f"http://{address}/live.m3u8", FAST)
        assert source.lasts and same(read(source), path) and not source.lasts


def test_a_transport_stream_of_known_size_has_an_end_and_one_that_goes_on_has_none(tmp_path):
    content = write_stream(tmp_path / "clip.ts").read_bytes()

    def answer(handler):  # without ranges: FFmpeg cannot look at the end
        handler.send_response(200)
        if handler.path == "/file":
            handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    with serve(answer) as address:
        for name, lasts in (("file", False), ("live", True)):
            source = StreamSource("gate", "url", f"http://{address}/{name}", FAST)
            assert read(source) and source.lasts is lasts


def test_a_complete_video_at_a_url_is_read_once_and_whole(tmp_path, scorer, monkeypatch):
    monkeypatch.setattr(live_stream, "WAITING", 1)  # a camera would lose clips by this
    path, asked = write_stream(tmp_path / "clip.mp4"), []

    def answer(handler):
        asked.append(handler.headers.get("Range"))
        content = path.read_bytes()
        begin = int((asked[-1] or "bytes=0-")[6:].split("-")[0])
        handler.send_response(206 if asked[-1] else 200)
        handler.send_header("Content-Length", str(len(content) - begin))
        handler.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        handler.send_header("Accept-Ranges", "bytes")
        handler.end_headers()
        handler.wfile.write(content[begin:])

    heard, said = Heard(), []
    with serve(answer) as address:
        watcher = Watcher(scorer, [heard], say=said.append, pause=lambda _seconds: watcher.stop() or True)
        watcher.add(StreamSource("gate", "url", f"http://{address}/clip.mp4", FAST))
        watcher.run()  # ends, also where the stream would be opened again
    assert heard.frames["gate"] == pytest.approx(scorer.score(path, "window").scores, abs=1e-3)
    assert said == []


def test_a_playlist_leads_from_a_file_nowhere_and_from_a_url_to_no_file(tmp_path):
    asked = []
    path = write_stream(tmp_path / "part.ts")

    def answer(handler):
        asked.append(handler.path)
        lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:6", "#EXTINF:6,", f"file://{path}", "#EXT-X-ENDLIST", ""]
        body("\n".join(lines).encode(), "application/vnd.apple.mpegurl")(handler)

    with serve(answer) as address:
        with pytest.raises(VideoError):
            read(StreamSource("gate", "url", f"http://{address}/live.m3u8", FAST))
        assert asked == ["/live.m3u8"]
        playlist = tmp_path / "list.ts"
        playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\nhttp://{address}/part.ts\n#EXT-X-ENDLIST\n")
        with pytest.raises(VideoError):
            read(StreamSource("gate", "growing", str(playlist), FAST))
    assert asked == ["/live.m3u8"]


def refuse(code):
    return lambda handler: handler.send_error(code)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refuse(401), "user name or the password is wrong"),
        (refuse(404), "nothing at this address"),
        (body(b"<html>not a camera</html>" * 100, "text/html"), "it cannot be read|no stream of video|ended or broke"),
        (body(b""), "it cannot be read|before its first picture|ended or broke"),
    ],
)
def test_what_a_server_refuses_is_a_sentence_without_the_password(answer, words):
    with serve(answer) as address:
        source = StreamSource("gate", "url", f"http://admin:sec@ret@{address}/live?key=hidden", FAST)
        with pytest.raises(VideoError, match=rf"gate \(http://{address}/live\?…\): .*({words})") as caught:
            read(source)
    assert "sec" not in str(caught.value) and "ret" not in str(caught.value).replace("interpreted", "")
    assert "hidden" not in str(caught.value)


def test_no_such_host_nothing_there_and_silence_are_sentences(monkeypatch):
    with pytest.raises(VideoError, match=r"there is no host 'x+'"):
        read(StreamSource("gate", "url", f"http://{'x' * 64}/live", FAST))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and does not listen
        with pytest.raises(VideoError, match="nothing answers at this address and port"):
            read(StreamSource("gate", "url", f"http://127.0.0.1:{silent.getsockname()[1]}/live", FAST))
    monkeypatch.setattr(stream_decoder, "SLOW", 2 * PATIENCE)  # its process may take that long to start
    stopped = threading.Event()
    with serve(lambda handler: stopped.wait(PATIENCE)) as address:
        with pytest.raises(VideoError, match=r"no data for 0\.5 s"):
            read(StreamSource("gate", "url", f"http://{address}/live", Waits(timeout=0.5)))
        stopped.set()


@pytest.mark.parametrize("rate", [Fraction(1, 60), 120])
def test_streams_of_other_frame_rates_are_scored_as_score_does(tmp_path, scorer, rate):
    path = write_stream(tmp_path / "clip.mkv", 16 * 21 + 5, lambda i: 200 if 90 < i < 160 else 60, rate=rate)
    heard, times = Heard(), []
    heard.on_scores = lambda stream, scores: (Heard.on_scores(heard, stream, scores), times.append(scores.times))
    watcher = Watcher(scorer, [heard], rule=EventRule(0.6, 0.4, float(8 / rate), float(8 / rate)))
    watcher.add(StreamSource("gate", "growing", str(path), Waits(idle=0.0)))
    watcher.run()
    expected = scorer.score(path, "window")
    assert expected.fps == pytest.approx(float(rate))
    assert heard.frames["gate"] == pytest.approx(expected.scores, abs=1e-3)
    assert all(np.diff(some) == pytest.approx(float(1 / rate), abs=2e-3) for some in times)
    assert [told.kind for told in heard.news][-2:] == ["end", "final"]


def test_faulty_streams_are_sentences_and_the_others_are_scored(tmp_path, scorer):
    write_sound(tmp_path / "sound.ts")
    (tmp_path / "empty.ts").touch()
    path = write_stream(tmp_path / "clip.ts")
    said, heard, once = [], Heard(), threading.Event()

    def pause(_seconds):  # each stream is opened once
        return once.wait(PATIENCE)

    with serve(refuse(401)) as address:
        words = {
            "gate": f"http://admin:secret@{address}/live",
            "yard": f"http://{'x' * 64}/live",
            "hall": str(tmp_path / "sound.ts"),
            "shed": str(tmp_path / "empty.ts"),
            "door": str(path),
        }
        watcher = Watcher(scorer, [heard], say=said.append, pause=pause)
        readers = {
            name: watcher.add(make_source(word, Waits(PATIENCE, 0.0), name)).reader for name, word in words.items()
        }
        while not all(reader.state.is_over or reader.state.fault for reader in readers.values()) or any(
            reader.has_waiting for reader in readers.values()
        ):
            watcher.step()
        once.set()
        watcher.close()
    assert heard.frames.keys() == {"door"} and len(heard.frames["door"]) == 150
    for name, fault in {
        "gate": "password is wrong",
        "yard": "no host",
        "hall": "no picture",
        "shed": "not a video",
    }.items():
        assert [sentence for sentence in said if sentence.startswith(name) and fault in sentence], said
    assert "secret" not in " ".join(said)


def test_sound_alone_is_a_sentence(tmp_path):
    path = write_sound(tmp_path / "sound.ts")
    with pytest.raises(VideoError, match="no picture, only other tracks"):
        read(StreamSource("gate", "growing", str(path), FAST))


def test_a_codec_that_nobody_knows_is_a_sentence(make_video):
    path = make_video("a.mp4", 20)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(VideoError, match=r"not one frame can be decoded \(decoder not found\)"):
        read(StreamSource("gate", "growing", str(path), FAST))
    with pytest.raises(VideoError, match=r"a\.mp4: not one frame can be decoded \(decoder not found\)"):
        Video(path)


def write_sound(path: Path) -> Path:
    """A file of sound alone."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mp2", rate=16000)
        for i in range(40):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.int16), "s16", "mono")
            frame.rate, frame.pts = 16000, i * 1152
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def test_clips_in_which_nothing_moves_come_without_frames_and_frozen_ones_are_told(tmp_path):
    path, rng = tmp_path / "idle.mkv", np.random.default_rng(0)
    scene = rng.integers(40, 200, (48, 64, 1)).repeat(3, 2)
    with av.open(str(path), "w") as out:
        video = out.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "bgr0"
        for i in range(16 * 12):
            noise = rng.integers(-2, 3, scene.shape) if i < 16 * 9 else 0
            picture = (scene + noise).astype(np.uint8)
            picture[20:40, 20:40] = 255 if 16 * 6 <= i < 16 * 7 else picture[20:40, 20:40]
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(video.encode())
    source = StreamSource("gate", "growing", str(path), Waits(idle=0.0))
    clips = list(source.messages(dataclasses.replace(FORM, still=True)))
    assert [clip.is_still for clip in clips] == [False] * 4 + [True] * 2 + [False] * 2 + [True] * 4
    assert [clip.is_frozen for clip in clips] == [False] * 10 + [True] * 2
    assert not any(clip.is_still for clip in read(StreamSource("gate", "growing", str(path), Waits(idle=0.0))))


def test_a_device_is_read_as_ffmpeg_reads_devices(monkeypatch):
    """FFmpeg's test picture stands in for a webcam: it is a device too, without a file or a network."""
    if "lavfi" not in av.formats_available:
        pytest.skip("FFmpeg was built without its virtual device")
    monkeypatch.setattr(open_stream, "DEVICES", {sys.platform: "lavfi"})
    place = StreamPlace("device", "testsrc=size=64x48:rate=25", "webcam")
    reading = stream.Stream(place, FORM, lambda: None).clips()
    clips = list(islice(reading, 3))
    reading.close()
    assert [clip.frames.shape for clip in clips] == [(2, 32, 48, 3)] * 3
    assert not np.array_equal(clips[0].frames, clips[2].frames)


def test_a_webcam_that_is_not_there_is_a_sentence():
    with pytest.raises(VideoError, match=r"video99 \(/dev/video99\): it cannot be read"):
        read(make_source("/dev/video99", FAST))


def test_a_pipe(tmp_path):
    path = write_stream(tmp_path / "clip.ts")
    out, into = os.pipe()

    def send():
        with os.fdopen(into, "wb") as file, contextlib.suppress(OSError):
            file.write(path.read_bytes())

    sender = threading.Thread(target=send)
    sender.start()
    source = StreamSource("pipe", "pipe", str(out), FAST)
    assert same(read(source), path)
    sender.join()
    os.close(out)
    assert source.shown == source.place.shown == "pipe"


def test_a_stream_that_breaks_gives_the_frames_that_its_decoder_holds(tmp_path):
    path = write_video(tmp_path / "b_frames.ts", list(range(0, 2000, 40)))
    opened = stream.Stream(StreamPlace("growing", str(path), "gate", idle=0.0), FORM, lambda: None)
    opened.container = BreaksOff(opened.container, 20)
    clips = []
    with pytest.raises(VideoError, match=r"^gate: .*input/output error"):
        for clip in opened.clips():
            clips.append(clip)
    assert sum(len(clip.times) for clip in clips) == 20


def test_a_folder_gives_each_recording_once_it_is_complete(tmp_path, scorer):
    folder = tmp_path / "recordings"
    folder.mkdir()
    old = write_stream(folder / "old.ts", 20)
    now = [2e9]
    os.utime(old, (now[0] - 100, now[0] - 100))
    steps = iter(["write", "grow", "complete", "close"])

    def sleep(_seconds):
        step = next(steps)
        if step == "write":
            write_stream(folder / "a.mp4", 40)
            write_stream(folder / "b.mkv", 20)
            (folder / "broken.mp4").write_bytes(b"x" * 1000)
            (folder / "notes.txt").write_text("no video")
            for age, name in enumerate(("a.mp4", "b.mkv", "broken.mp4")):
                os.utime(folder / name, (now[0] + 1 + age, now[0] + 1 + age))
        elif step == "grow":
            now[0] += 5  # still within `idle`
        elif step == "complete":
            now[0] += 60
        else:
            source.close()

    source = FolderSource("yard", folder, Waits(idle=10), now=lambda: now[0], sleep=sleep)
    heard, said = Heard(), []
    watcher = Watcher(scorer, [heard], say=said.append)
    reader = watcher.add(source).reader
    while not source._closed or reader.has_waiting:
        watcher.step()
    watcher.close()
    assert sorted(source.read) == ["a.mp4", "b.mkv", "broken.mp4"]
    assert {name: len(scores) for name, scores in heard.frames.items()} == {"a.mp4": 40, "b.mkv": 20}
    assert "broken.mp4" in said[0] and "not a video" in said[0]


@pytest.mark.parametrize(
    ("word", "name", "shown"),
    [
        ("gate=rtsp://u:p@10.0.0.8:554/1", "gate", "rtsp://10.0.0.8:554/1"),
        ("rtsp://u:p%40x@camera.lan/1?key=2", "camera.lan", "rtsp://camera.lan/1?…"),
        ("Back door=http://a:b/c@x/live", "Back door", "http://x/live"),
        ("udp://@239.0.0.1:1234", "239.0.0.1", "udp://239.0.0.1:1234"),
    ],
)
def test_sources_have_names_and_show_no_credentials(word, name, shown):
    source = make_source(word)
    assert (source.name, source.shown) == (name, shown)
    sentence = f"{name} ({shown}): there is nothing."
    assert redact(redact(sentence)) == sentence


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("", "A source is empty"),
        ("ftp://camera/x", "URLs of ftp are not read"),
        ("http://[::1", "not a URL"),
        ("rtsp:///live", "without the name of a host"),
    ],
)
def test_what_is_no_source_is_a_sentence_also_where_a_file_names_it(word, sentence):
    with pytest.raises(UsageError, match=sentence):
        make_source(word, name="gate")


def test_what_a_camera_had_in_store_keeps_its_times(tmp_path):
    path = write_stream(tmp_path / "clip.ts")
    with serve(body(path.read_bytes())) as address:  # all at once, faster than it was recorded
        clips = read(StreamSource("gate", "url", f"http://{address}/live", FAST))
    times = np.concatenate([clip.times for clip in clips])
    assert np.diff(times) == pytest.approx(1 / 25, abs=2e-3)


def test_a_stream_that_begins_between_key_frames_has_the_times_of_its_frames(tmp_path, monkeypatch):
    for limit in ("OPENING", "LATE", "RECENT"):  # however slow this machine is
        monkeypatch.setattr(stream, limit, 1000)
    path = write_stream(tmp_path / "clip.ts", 100)
    with av.open(str(path)) as container:
        first = [packet.pos for packet in container.demux(video=0) if packet.size][12]
    content = path.read_bytes()
    tables = content[: 3 * 188]
    with serve(body(tables + content[first:])) as address:
        opened = stream.Stream(StreamPlace("url", f"http://{address}/live", "gate", PATIENCE), FORM, lambda: None)
        begin = opened.wall.opened + opened.wall.offset
        clip = next(reading := opened.clips())
        reading.close()
    assert clip.times[0] - begin == pytest.approx(8 / 25, abs=0.02), "the key frame is the eighth after the first"


def test_what_came_before_a_stream_was_read_was_taken_before(tmp_path, monkeypatch):
    path = write_stream(tmp_path / "clip.ts", 160)
    now = [1000.0]
    monkeypatch.setattr(stream, "time", SimpleNamespace(time=lambda: now[0], monotonic=lambda: now[0]))
    monkeypatch.setattr(stream, "_known_start", lambda *_: None)  # as of a camera
    read_packets = stream.Stream._packets

    def packets(self, with_sound):
        for number, packet in enumerate(read_packets(self, with_sound)):
            now[0] += 0 if number < 80 else 0.5 if number == 90 else 0.04  # one is late on its way
            yield packet

    monkeypatch.setattr(stream.Stream, "_packets", packets)
    clips = list(stream.Stream(StreamPlace("growing", str(path), "gate", idle=0.0), FORM, lambda: None).clips())
    times = np.concatenate([clip.times for clip in clips])
    assert times == pytest.approx(1000 + (np.arange(160) - 79) / 25, abs=1e-3)


def test_the_clock_of_a_stream_follows_pauses_and_not_the_systems_jumps(monkeypatch):
    now = [1000.0, 50.0]  # the system's clock, the steady one
    monkeypatch.setattr(stream.time, "time", lambda: now[0])
    monkeypatch.setattr(stream.time, "monotonic", lambda: now[1])
    wall = stream.WallClock()

    def frame(seconds, later):
        now[0], now[1] = now[0] + later, now[1] + later
        return wall(seconds)

    assert frame(7.0, 0) == 1000 and frame(7.04, 0.04) == pytest.approx(1000.04)
    assert frame(7.08, 0.5) == pytest.approx(1000.08)  # late on its way
    assert frame(7.12, 30) == pytest.approx(1030.54)  # the camera had stopped
    assert not wall.was_set()
    now[0] += 3600
    assert wall.was_set()


def test_a_stream_over_rtsp(tmp_path):
    """From a server that speaks UDP alone, so TCP is tried first and refused."""
    rtsp = pytest.importorskip("rtsp")
    path = write_stream(tmp_path / "clip.h264", form="h264")
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    port, stopped = free_port(), threading.Event()
    server = rtsp.Server(f"127.0.0.1:{port}")
    server.start()

    def send():
        while not stopped.is_set():
            for packet in packets:
                server.send_frame(packet, 3600)
                if stopped.wait(0.005):
                    return

    sender = threading.Thread(target=send)
    sender.start()
    source = StreamSource("gate", "url", f"rtsp://admin:secret@127.0.0.1:{port}/stream", Waits(PATIENCE))
    try:
        clips = list(islice(source.messages(FORM), 2))
    finally:
        stopped.set()
        sender.join()
        source.close()
        server.stop()
    assert [clip.frames.shape for clip in clips] == [(2, 32, 48, 3)] * 2
