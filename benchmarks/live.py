"""What `watch` needs and how late it is: `python benchmarks/live.py latency|load|soak`.

latency, load: streams of one video over HTTP on this machine, paced as a camera is, with the bundled model. soak: two
streams in simulated time, as fast as the machine goes, with cuts of the connection; memory, and events lost or doubled.
"""

import argparse
import contextlib
import http.server
import resource
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from anomalycli.live.sources import StreamSource
from anomalycli.live.tracking import EventTracker
from anomalycli.live.watcher import Watcher
from anomalycli.live.window import ScoreWindow

FPS = 25


def encoded(path: Path, target: Path, size: tuple[int, int], seconds: float) -> Path:
    """The video at `path`, repeated, at another size and 25 frames/s, as MPEG-TS with a key frame each second.

    Made once: a later run takes the file that is there.
    """
    if target.exists():
        return target
    with av.open(str(target), "w", format="mpegts") as out:
        stream = out.add_stream("libx264", rate=FPS, options={"g": "25", "bf": "0", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = *size, "yuv420p", 2_000_000
        n = 0
        while n < seconds * FPS:
            with av.open(str(path)) as source:
                for frame in source.decode(video=0):
                    picture = frame.reformat(*size, "yuv420p")
                    picture.pts, picture.time_base, n = n, Fraction(1, FPS), n + 1
                    out.mux(stream.encode(picture))
                    if n >= seconds * FPS:
                        break
        out.mux(stream.encode())
    return target


@contextlib.contextmanager
def camera(path: Path):
    """A server that sends a file over HTTP, each frame when its time has come; yields its address."""
    content = path.read_bytes()
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        first = packets[0].dts
        due = [float((packet.dts - first) * packet.time_base) for packet in packets]
        ends = [*(packet.pos for packet in packets[1:]), len(content)]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            began, sent = time.monotonic(), 0
            with contextlib.suppress(OSError):
                for at, end in zip(due, ends, strict=True):
                    time.sleep(max(0.0, began + at - time.monotonic()))
                    self.wfile.write(content[sent:end])
                    sent = end

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/live.ts"
    server.shutdown()


class Lateness:
    """Seconds from the last frame of the newest clip to its score."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def scored(self, _stream, scores) -> None:
        if scores.n_final < len(scores.scores):
            self.seconds.append(time.time() - scores.times[-1])

    def told(self, _stream, _told) -> None:
        pass

    def tick(self) -> None:
        pass


def cpu_seconds() -> float:
    """Of this process and of the decoders that have ended."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def load(args: argparse.Namespace) -> None:
    """Print the lateness and the CPU time of `args.streams` streams."""
    from anomalycli.inference import score_bags
    from anomalycli.score import Scorer

    width, height = map(int, args.size.split("x"))
    source = encoded(args.video, Path(args.work) / f"{args.size}-{args.seconds:g}.ts", (width, height), args.seconds)
    scorer = Scorer.load(args.model, precision=args.precision)
    features = scorer.extractor([np.zeros((4, 192, 352, 3), np.uint8)])
    bag = np.repeat(features[:, :, None], scorer.info.settings.segments, 2)  # (1, n_crops, T, D)
    score_bags(scorer.model, bag, scorer.device)  # the first call of each takes longer
    late, said = Lateness(), []
    with camera(source) as url:
        watcher = Watcher(scorer, [late], say=said.append)
        began, used = time.monotonic(), cpu_seconds()
        for number in range(args.streams):
            watcher.add(StreamSource(f"camera{number}", "url", url))
        while time.monotonic() - began < args.seconds:
            watcher.step()
        watcher.stop()
        watcher.run()
        wall, used = time.monotonic() - began, cpu_seconds() - used
    states = [stream.reader.state for stream in watcher.streams.values()]
    half, p95 = np.percentile(late.seconds, (50, 95))
    print(
        f"{args.streams} streams of {args.size} at {FPS} frames/s, {wall:.0f} s, {scorer.precision}: "
        f"a clip is scored {half:.2f} s after its last frame (median; 95%: {p95:.2f} s); "
        f"{used / wall:.2f} CPU cores, the start of decoders included; "
        f"{sum(state.skipped for state in states)} of {sum(state.clips for state in states)} clips skipped"
    )


def soak(args: argparse.Namespace) -> None:
    """Print memory and events of two streams in simulated time."""
    rng, clip = np.random.default_rng(0), 16 / FPS
    segments, lanes = 32, {}
    for name in ("a", "b"):
        lanes[name] = [ScoreWindow(segments, 16), EventTracker(name, _rule()), rng.uniform(0, 100)]
    expected, found, open_ids, memory = dict.fromkeys(lanes, 0), [], set(), []
    n_clips = int(args.hours * 3600 / clip)
    cuts = {*rng.integers(0, n_clips, args.cuts).tolist()}
    for number in range(n_clips):
        for name, lane in lanes.items():
            window, tracker, begin = lane
            phase = number % 400  # an event of 10 clips each 400, about four minutes
            expected[name] += phase == 200
            features = np.full((1, 1), 1.0 if 200 <= phase < 210 else 0.0, np.float32)
            if number in cuts:
                begin = lane[2] = begin + float(rng.uniform(1, 20))
            window.add(features, begin + (16 * number + np.arange(16)) / FPS)
            bags = window.bags()
            for told in tracker.update(window.take(bags[:, :, 0, 0]), FPS):
                found += [told.event] if told.kind == "final" and told.event.is_confirmed else []
                (open_ids.add if told.kind == "start" else open_ids.discard)(told.event.id)
        if number % (n_clips // 24) == 0:
            memory.append(resident_mb())
    for name, (_, tracker, _) in lanes.items():
        found += [told.event for told in tracker.finish(None, FPS) if told.kind == "final" and told.event.is_confirmed]
        begun = sum(event.stream == name for event in found)
        print(f"{name}: {expected[name]} events happened, {begun} were found, {len({e.id for e in found})} ids in all")
    first, last = memory[1], memory[-1]
    print(f"{args.hours:g} simulated hours, {args.cuts} cuts: memory {first:.0f} MB at first, {last:.0f} MB at last")


def _rule():
    from anomalycli.events import EventRule

    return EventRule(0.5, 0.3, 1.0, 0.5)


def resident_mb() -> float:
    """Memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("latency", "load", "soak"))
    parser.add_argument("--video", type=Path, help="the video that cameras show")
    parser.add_argument("--work", default=".", help="folder for the streams")
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--model", default=None)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--cuts", type=int, default=50)
    args = parser.parse_args()
    if args.what != "soak" and not args.video:
        parser.error("--video is needed")
    soak(args) if args.what == "soak" else load(args)


if __name__ == "__main__":
    main()
