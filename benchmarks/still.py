"""What `score --still auto` skips and gains, and how far scores move, on videos of yours or drawn ones.

    python benchmarks/still.py                       # drawn: a real picture, noise, and sometimes a figure that walks
    python benchmarks/still.py VIDEO...

For each video both ways are run in turns in this process: the share of clips that were carried over, CPU time (decoding
included) and the largest difference of a frame's score.
"""

import argparse
import os
import resource
import tempfile
from pathlib import Path

import av
import numpy as np

from anomalycli import Scorer
from anomalycli.sample import sample_clip

FPS, SIZE = 25, (320, 240)


def draw(path: Path, noise: float, seconds: int, walks: int) -> Path:
    """A picture of the sample with noise of this deviation; a figure crosses it `walks` times, four seconds each."""
    with av.open(str(sample_clip())) as container:
        picture = next(container.decode(video=0)).reformat(*SIZE, "rgb24").to_ndarray().astype(np.float32)
    rng, n = np.random.default_rng(0), seconds * FPS
    starts = [n * (2 * i + 1) // (2 * walks) for i in range(walks)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for i in range(n):
            frame = picture + rng.normal(0, noise, (SIZE[1], SIZE[0], 1))
            for start in starts:
                if 0 <= i - start < 4 * FPS:
                    x = 3 * (i - start)
                    frame[150:190, x : x + 14] -= 60
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame.clip(0, 255).astype(np.uint8), "rgb24")))
        container.mux(stream.encode())
    return path


def cpu() -> float:
    """CPU time of this process and the decoders that have ended."""
    times = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in times)


def compare(path: Path, model: str | None, name: str) -> None:
    """Print one line on `path`."""
    scores, seconds, shares = [], [], []
    for still in (False, True):
        scorer = Scorer.load(model, still=still)
        scorer.extractor  # noqa: B018  (loads the network before the clock starts)
        begin = cpu()
        result = scorer.score(path)
        scorer._decoder.close()
        seconds.append(cpu() - begin)
        scores.append(result.scores)
        shares.append(sum(end - start for start, end in result.still) / len(result.scores))
    difference = float(np.abs(scores[0] - scores[1]).max())
    gain = seconds[0] / seconds[1]
    print(
        f"{name:40} {shares[1]:8.1%} {seconds[0]:9.1f} s {seconds[1]:9.1f} s {gain:6.1f} x {difference:9.3f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--seconds", type=int, default=180)
    parser.add_argument("--noise", type=float, nargs="+", default=[2.0, 6.0, 12.0])
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores\n{'':40} {'carried':>8} {'off':>11} {'auto':>11} {'gain':>8} {'scores':>9}")
    for video in args.videos:
        compare(video, args.model, video.name)
    with tempfile.TemporaryDirectory() as folder:
        for noise in () if args.videos else args.noise:
            for walks in (0, 3):
                path = draw(Path(folder) / "drawn.mp4", noise, args.seconds, walks)
                compare(path, args.model, f"{args.seconds} s, noise {noise:g}, {walks} walks")


if __name__ == "__main__":
    main()
