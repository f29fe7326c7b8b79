"""Speed of extraction relative to the network alone and to the usual script, and its memory.

    python benchmarks/extract.py rate VIDEO...                       # lite
    python benchmarks/extract.py rate VIDEO... --only bare decoders anomalycli     # without the usual script
    python benchmarks/extract.py rate VIDEO... --backbone mc3
    python benchmarks/extract.py rate VIDEO... --backbone i3d --random-weights
    python benchmarks/extract.py rate VIDEO... --device cuda --workers 16 --only bare decoders anomalycli
    python benchmarks/extract.py memory CLIP...                      # videos of one and of thirty minutes, 720p

rate: clips per second of four things on the same files, in turn, medians over `--repeats`: the usual script, as public
extractors do it (decode a whole file, resize with torch, the network as it is loaded, fp32, one clip after the other);
the bare network, fed from memory, at the precision of the run; the decoders alone, `--workers` processes; and
`anomalycli.extraction.job` from files to files, the start of its decoders included. Loading the network is in none of
them.

memory: the most that `anomalycli extract` and its decoders held at once, by the length of the video.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from processes import children, cpu_seconds, resident
from torch.nn.functional import interpolate

from anomalycli.backbones import DEFAULT, Extractor, int8
from anomalycli.backbones.base import find_backbone
from anomalycli.extraction.batching import clip_format
from anomalycli.extraction.job import calibrate, extract
from anomalycli.extraction.settings import ExtractionSettings
from anomalycli.media.decoder import Decoder
from anomalycli.media.prefetch import feed
from anomalycli.media.video import Video

CLIP_LENGTH = 16
MINUTE = 1500  # frames, at 25 per second


def usual(path, net, size, taken):
    """Features of one file by the usual script: decode it completely, resize with torch, one clip at a time in fp32."""
    with av.open(str(path)) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    width, height = Video(path, size, net.multiple).size
    for start in range(0, len(frames), CLIP_LENGTH):
        clip = frames[start : start + CLIP_LENGTH]
        clip = np.concatenate([clip, np.repeat(clip[-1:], CLIP_LENGTH - len(clip), 0)])[taken]
        x = torch.from_numpy(clip).permute(0, 3, 1, 2).float()
        x = interpolate(x, (height, width), mode="bilinear", antialias=True)
        with torch.inference_mode():
            net(x.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)[None])


def rate(args):
    with tempfile.TemporaryDirectory() as folder:
        weights = random_weights(args.backbone, Path(folder)) if args.random_weights else None
        plain = find_backbone(args.backbone)().load(weights).eval()
        ours = Extractor(args.backbone, args.device, args.precision, args.size, crops=args.crops, weights=weights)
    settings = ExtractionSettings(workers=args.workers)
    if ours.calibration_clips:
        int8.MOST_DIFFERENCE = 1.0  # it is timed whatever it does to the bundled model's scores
        print(calibrate(args.videos, ours))
    taken = list(ours.frames_taken or range(CLIP_LENGTH))
    clips = [
        clip
        for path in args.videos
        for clip in Video(path, ours.size, ours.multiple).clips(CLIP_LENGTH, ours.frames_taken)
    ]

    def script():
        for path in args.videos:
            usual(path, plain, ours.size, taken)

    def bare():
        for at in range(0, len(clips), ours.batch):
            ours(clips[at : at + ours.batch])

    def decoders():
        def read(decoder, path):
            return decoder.clips(path, clip_format(ours))

        with closing(feed(args.videos, read, [Decoder() for _ in range(args.workers)])) as messages:
            deque(messages, maxlen=0)

    def whole():
        with tempfile.TemporaryDirectory() as folder:
            outcomes = list(extract(args.videos, folder, ours, settings))
        assert [outcome.status for outcome in outcomes] == ["done"] * len(args.videos), outcomes  # each file once
        return sum(outcome.seconds for outcome in outcomes)

    length = whole()  # and everything is warm
    before = cpu_seconds()
    whole()
    of_network, of_decoders = (now - then for now, then in zip(cpu_seconds(), before, strict=True))
    runs = {"usual script": script, "bare network": bare, "decoders": decoders, "anomalycli": whole}
    runs = {name: run for name, run in runs.items() if any(word in name for word in args.only)}
    seconds = {name: [] for name in runs}
    for _ in range(args.repeats):
        for name, run in runs.items():
            begin = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - begin)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"{args.backbone}, {ours.precision}, pictures of {clips[0].shape[2]}x{clips[0].shape[1]}, "
          f"{args.device}, {args.workers} decoders, {torch.get_num_threads()} threads, "
          f"{len(args.videos)} files, {len(clips)} clips")  # fmt: skip
    print(f"CPU time per clip of anomalycli: {1000 * of_network / len(clips):.0f} ms, and in its decoders "
          f"{1000 * of_decoders / len(clips):.0f} ms")  # fmt: skip
    for name, median in medians.items():
        print(f"{name:13} {len(clips) / median:7.2f} clips/s {length / median:7.2f} x real time   "
              f"runs of {', '.join(f'{s:.1f}' for s in seconds[name])} s")  # fmt: skip
    for other in [name for name in medians if name != "anomalycli" and "anomalycli" in medians]:
        print(f"anomalycli: {medians[other] / medians['anomalycli']:.2f} times as fast as the {other}")


def random_weights(backbone, folder):
    """A file of random weights in the form of the published one; speed does not depend on their values."""
    path = folder / "random.pth"
    torch.save({"model_state": find_backbone(backbone)().net.state_dict()}, path)
    return path


def memory(args):
    with tempfile.TemporaryDirectory(dir=args.work) as folder:
        peaks = {}
        for minutes in (1, args.minutes):
            video = Path(folder) / f"{minutes}.mp4"
            looped(Path(folder) / "1.mp4", video, minutes) if minutes > 1 else encode(args.videos, video)
            peaks[minutes] = peak_memory(video, Path(folder) / f"features-{minutes}", args.size or 32)
            print(f"{minutes:3} min, {video.stat().st_size / 1e6:.0f} MB: {peaks[minutes] / 1e6:.0f} MB at most")
    print(f"{args.minutes} minutes take {peaks[args.minutes] / peaks[1]:.3f} times the memory of one")


def encode(clips, path):
    """One minute of 720p video made of `clips`."""
    n = 0
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "28"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        while n < MINUTE:
            for clip in clips:
                with av.open(str(clip)) as container:
                    for frame in container.decode(video=0):
                        if n < MINUTE:
                            picture = frame.reformat(1280, 720, "yuv420p")
                            picture.pts, picture.time_base, n = n, Fraction(1, 25), n + 1
                            out.mux(stream.encode(picture))
        out.mux(stream.encode())


def looped(source, path, times):
    """A file that repeats the packets of `source`."""
    begin = 0
    with av.open(str(path), "w") as out:
        stream = None
        for _ in range(times):
            with av.open(str(source)) as container:
                video = container.streams.video[0]
                stream = stream or out.add_stream_from_template(video)
                for packet in container.demux(video):
                    if packet.dts is not None:
                        packet.pts, packet.dts, packet.stream = packet.pts + begin, packet.dts + begin, stream
                        out.mux(packet)
                begin += video.duration


def peak_memory(video, folder, size):
    """Peak memory of the command and its decoders together, in bytes, sampled ten times per second."""
    command = [sys.executable, "-m", "anomalycli", "extract", str(video), "-o", str(folder), "--size", str(size)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(resident(pid) for pid in [process.pid, *children(process.pid)]))
        time.sleep(0.1)
    assert process.returncode == 0, process.stderr.read().decode()
    return peak


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("rate")
    one.set_defaults(run=rate)
    one.add_argument("videos", nargs="+", type=Path)
    one.add_argument("--backbone", default=DEFAULT)
    one.add_argument("--random-weights", action="store_true")
    one.add_argument("--precision", default="auto")
    one.add_argument("--device", default="cpu")
    one.add_argument("--crops", type=int, default=1)
    one.add_argument("--workers", type=int, default=2, help="decoding processes")
    one.add_argument("--size", type=int)
    one.add_argument("--repeats", type=int, default=3)
    one.add_argument("--only", nargs="+", default=[""], help="what to time: that whose name holds one of these words")
    two = commands.add_parser("memory")
    two.set_defaults(run=memory)
    two.add_argument("videos", nargs="+", type=Path)
    two.add_argument("--minutes", type=int, default=30)
    two.add_argument("--size", type=int)
    two.add_argument("--work", type=Path)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
