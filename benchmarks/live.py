"""What `watch` needs and how late it is: `python benchmarks/live.py --video VIDEO --streams 8`.

Cameras are streams of one video over HTTP on this machine, from a process of their own, paced as cameras are. CPU time
is that of `watch` and its decoders, from the moment when all streams have given a clip. `--idle` shows the first
picture of the video all the time, with a camera's noise. live_soak.py runs for a day.
"""

import argparse
import contextlib
import http.server
import multiprocessing
import os
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from anomalycli.live.sources import StreamSource
from anomalycli.live.watcher import Watcher
from anomalycli.media.picture import scaled_size

FPS = 25
NOISE = 3  # grey levels, the largest


def encoded(path: Path, target: Path, size: tuple[int, int], seconds: float, idle: bool = False) -> Path:
    """The video at `path`, repeated, at another size and 25 frames/s, as MPEG-TS with a key frame each second.

    Made once: a later run takes the file that is there.
    """
    if target.exists():
        return target
    part, n, rng, scene = target.with_suffix(".part"), 0, np.random.default_rng(0), None
    with av.open(str(part), "w", format="mpegts") as out:
        stream = out.add_stream("libx264", rate=FPS, options={"g": "25", "bf": "0", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = *size, "yuv420p", 2_000_000
        while n < seconds * FPS:
            with av.open(str(path)) as source:
                for frame in source.decode(video=0):
                    picture = frame.reformat(*size, "yuv420p")
                    if idle:
                        scene = picture.to_ndarray().astype(np.int16) if scene is None else scene
                        noisy = scene + rng.integers(-NOISE, NOISE + 1, scene.shape)
                        picture = av.VideoFrame.from_ndarray(noisy.clip(0, 255).astype(np.uint8), "yuv420p")
                    picture.pts, picture.time_base, n = n, Fraction(1, FPS), n + 1
                    out.mux(stream.encode(picture))
                    if n >= seconds * FPS:
                        break
        out.mux(stream.encode())
    part.rename(target)
    return target


def serve(path: Path, port: "multiprocessing.Queue[int]") -> None:
    """Send a file over HTTP to whoever asks, each frame when its time has come."""
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
    port.put(server.server_port)
    server.serve_forever()


class Lateness:
    """Seconds from the last frame of the newest clip to its score."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_scores(self, _stream, scores) -> None:
        if scores.n_final < len(scores.scores):
            self.seconds.append(time.time() - scores.times[-1])

    def on_news(self, _stream, _news) -> None:
        pass

    def tick(self) -> None:
        pass


def cpu_seconds(but: int) -> tuple[float, float]:
    """CPU time so far: of this process, and of those that it started, but for one."""
    children: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread that has ended
            children |= set(map(int, (task / "children").read_text().split()))
    return used(os.getpid()), sum(map(used, children - {but}))


def used(pid: int) -> float:
    """CPU time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(args: argparse.Namespace, url: str, server: int) -> None:
    """Print the lateness and the CPU time of `args.streams` streams."""
    from anomalycli.extraction.batching import clip_format
    from anomalycli.inference import score_bags
    from anomalycli.score import Scorer, Skip

    scorer = Scorer.load(args.model, precision=args.precision, skip=Skip(args.still))
    if told := scorer.calibrate([args.video]):
        print(told)
    late, said = Lateness(), []
    watcher = Watcher(scorer, [late], say=said.append)
    form = clip_format(scorer.extractor)
    width, height = scaled_size(*map(int, args.size.split("x")), form.short_side, form.multiple)
    features = scorer.extractor([np.zeros((len(form.taken or range(form.length)), height, width, 3), np.uint8)])
    bag = np.repeat(features[:, :, None], scorer.info.settings.segments, 2)  # (1, n_crops, T, D)
    score_bags(scorer.model, bag, scorer.device)  # the first call of each takes longer
    for number in range(args.streams):
        watcher.add(StreamSource(f"camera{number}", "url", url))
    states = [stream.reader.state for stream in watcher.streams.values()]
    while not all(state.clips for state in states):
        watcher.step()
    late.seconds.clear()
    began, before = time.monotonic(), cpu_seconds(but=server)
    while time.monotonic() - began < args.seconds:
        watcher.step()
    wall, after = time.monotonic() - began, cpu_seconds(but=server)
    watcher.stop()
    watcher.run()
    own, decoders = ((b - a) / wall for a, b in zip(before, after, strict=True))
    half, p95 = np.percentile(late.seconds, (50, 95))
    print(
        f"{args.streams} streams of {args.size} at {FPS} frames/s, {wall:.0f} s, {scorer.precision}: "
        f"a clip is scored {half:.2f} s after its last frame (median; 95%: {p95:.2f} s); "
        f"{own + decoders:.2f} CPU cores ({own:.2f} for scores, {decoders:.2f} for decoding); "
        f"{sum(state.skipped for state in states)} of {sum(state.clips for state in states)} clips skipped, "
        f"{sum(state.still for state in states)} still"
    )
    print(*said, sep="\n", end="")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--video", type=Path, required=True, help="the video that cameras show")
    parser.add_argument("--work", type=Path, default=Path(), help="folder for the streams")
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--model", default=None)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--idle", action="store_true", help="show one picture with noise")
    parser.add_argument("--still", action="store_true", help="carry over clips in which nothing moves")
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    name = f"{args.size}-{'idle-' * args.idle}{args.seconds + 20:g}.ts"
    source = encoded(args.video, args.work / name, (width, height), args.seconds + 20, args.idle)
    context = multiprocessing.get_context("spawn")
    port: multiprocessing.Queue[int] = context.Queue()
    server = context.Process(target=serve, args=(source, port), daemon=True)
    server.start()
    assert server.pid
    load(args, f"http://127.0.0.1:{port.get()}/live.ts", server.pid)
    server.terminate()


if __name__ == "__main__":
    main()
