"""What `score --still auto` skips and gains, and how far scores move, on videos of yours or drawn ones.

    python benchmarks/still.py                           # drawn: a real picture, noise, and maybe a figure that walks
    python benchmarks/still.py VIDEO...
    python benchmarks/still.py --pause VIDEO...          # the videos, each with a pause behind it

Each video is scored both ways in this process. Printed are the share of clips that were carried over; CPU time, of the
network and the rest of this process and of the decoder; how many times as much both take without the option; and the
largest difference of a frame's score. With --part 120, only two minutes of a drawn video are scored without the option,
and their CPU time is extrapolated. A pause is drawn: the mean of the last frames of a video is held, and each pixel
gets noise as strong as it has in these frames; then the video is shown once more.
"""

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from processes import cpu_seconds

from anomalycli import Scorer
from anomalycli.sample import sample_clip
from anomalycli.score import Skip

FPS, SIZE = 25, (320, 240)
LAST = 12  # frames that a pause is made of


def draw(path: Path, noise: float, seconds: int, walks: int) -> Path:
    """A picture of the sample with noise of this deviation; a figure crosses it `walks` times, four seconds each."""
    picture = next(pictures(sample_clip()))
    rng, n = np.random.default_rng(0), seconds * FPS
    starts = [n * (2 * i + 1) // (2 * walks) for i in range(walks)]

    def frames() -> Iterator[np.ndarray]:
        for i in range(n):
            frame = picture + rng.normal(0, noise, (SIZE[1], SIZE[0], 1))
            for start in starts:
                if 0 <= i - start < 4 * FPS:
                    x = 3 * (i - start)
                    frame[150:190, x : x + 14] -= 60
            yield frame

    return encode(path, frames())


def pause(path: Path, video: Path, seconds: int) -> Path:
    """The video, a pause of this length, and the video again."""
    real, rng = list(pictures(video)), np.random.default_rng(0)
    last = np.array(real[-LAST:])
    mean, deviation = last.mean(0), last.std(0).mean(2, keepdims=True)
    deviation = np.minimum(deviation, 3 * np.median(deviation))  # what moves there is no noise

    def frames() -> Iterator[np.ndarray]:
        yield from real
        for _ in range(seconds * FPS):
            yield mean + deviation * rng.standard_normal(deviation.shape)
        yield from real

    return encode(path, frames())


def pictures(path: Path) -> Iterator[np.ndarray]:
    """The frames of a video, float32 (240, 320, 3)."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.reformat(*SIZE, "rgb24").to_ndarray().astype(np.float32)


def encode(path: Path, frames: Iterator[np.ndarray]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame.clip(0, 255).astype(np.uint8), "rgb24")))
        container.mux(stream.encode())
    return path


def compare(path: Path, model: str | None, name: str, part: Path | None = None, share: float = 1.0) -> None:
    """Print one line on `path`. Without the option, only `part` is scored if given, which is this share of it."""
    scores, spent, shares = [], [], []
    for still, video in ((False, part or path), (True, path)):
        scorer = Scorer.load(model, "cpu", skip=Skip(still))
        scorer.extractor  # noqa: B018  (loads the network before the clock starts)
        begin = np.array(cpu_seconds())
        result = scorer.score(video)
        scorer._decoder.close()
        spent.append((np.array(cpu_seconds()) - begin) / (1 if still else share))
        scores.append(result.scores)
        shares.append(sum(end - start for start, end in result.still) / len(result.scores))
    off, auto = (f"{network:7.1f} + {decoder:5.1f} s" for network, decoder in spent)
    difference = "-" if part else f"{np.abs(scores[0] - scores[1]).max():.3f}"
    gain = spent[0].sum() / spent[1].sum()
    print(f"{name:36} {shares[1]:8.1%} {off:>18} {auto:>18} {gain:7.1f} {difference:>9}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--seconds", type=int, default=180, help="length of drawn videos and pauses")
    parser.add_argument("--noise", type=float, nargs="+", default=[2.0, 6.0, 12.0])
    parser.add_argument("--walks", type=int, nargs="+", default=[0, 3])
    parser.add_argument("--pause", action="store_true")
    parser.add_argument("--part", type=int, help="of drawn videos, score only so many seconds without the option")
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores\n{'':36} {'carried':>8} {'off':>18} {'auto':>18} {'gain':>7} {'scores':>9}")
    with tempfile.TemporaryDirectory() as folder:
        drawn, part = Path(folder) / "drawn.mp4", Path(folder) / "part.mp4"
        for video in args.videos:
            compare(pause(drawn, video, args.seconds) if args.pause else video, args.model, video.name)
        for noise in () if args.videos else args.noise:
            for walks in args.walks:
                draw(drawn, noise, args.seconds, walks)
                name = f"{args.seconds} s, noise {noise:g}, {walks} walks"
                if args.part:
                    draw(part, noise, args.part, 0)
                    compare(drawn, args.model, name, part, args.part / args.seconds)
                else:
                    compare(drawn, args.model, name)


if __name__ == "__main__":
    main()
