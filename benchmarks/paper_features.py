"""Memory for the paper's features of one long video with sound, at full size, with the run killed half way.

    python benchmarks/paper_features.py street-fights/clips/fight/fi00*.mp4

Makes a video of `--minutes` from the clips, with noise as sound. `extract --backbone i3d --crops 10 --audio vggish`
processes it, is killed with SIGKILL when half of its clips are done, and is started again. Networks have random
weights; speed and memory do not depend on their values. Prints the peak memory of both runs with their decoders, and
how many clips the second run reused.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from extract import random_weights
from processes import children, resident

from anomalycli.features.files import load_features

SECOND, RATE = 25, 16_000  # frames, samples
ROW = 10 * 2048 * 4  # bytes of the features of a clip

# The command, with a VGGish that need not be fetched.
COMMAND = """
from anomalycli.backbones.vggish import VGGish
from anomalycli.cli import main
VGGish.load = lambda self, on_bytes=None: self
main()
"""


def compose(clips, path, minutes):
    rng, n = np.random.default_rng(0), 0
    with av.open(str(path), "w") as out:
        picture = out.add_stream("libx264", rate=SECOND, options={"preset": "veryfast"})
        picture.width, picture.height, picture.pix_fmt = 320, 240, "yuv420p"
        sound = out.add_stream("aac", rate=RATE, layout="mono")
        while n < minutes * 60 * SECOND:
            for clip in clips:
                with av.open(str(clip)) as container:
                    for frame in container.decode(video=0):
                        frame = frame.reformat(320, 240, "yuv420p")
                        frame.pts, frame.time_base = n, Fraction(1, SECOND)
                        out.mux(picture.encode(frame))
                        if n % SECOND == 0:
                            noise = rng.normal(0, 0.1, (1, RATE)).astype(np.float32)
                            block = av.AudioFrame.from_ndarray(noise, "fltp", "mono")
                            block.rate, block.pts = RATE, n // SECOND * RATE
                            out.mux(sound.encode(block))
                        n += 1
        out.mux(picture.encode())
        out.mux(sound.encode())


def run(words, until=lambda: False):
    """Run the command and kill it once `until` is true. Returns the peak memory with decoders, bytes, and seconds."""
    process = subprocess.Popen([sys.executable, "-c", COMMAND, *map(str, words)])
    begin, peak = time.monotonic(), 0
    while process.poll() is None and not until():
        peak = max(peak, sum(resident(pid) for pid in [process.pid, *children(process.pid)]))
        time.sleep(0.1)
    if process.poll() is None:
        process.kill()
    process.wait()
    return peak, time.monotonic() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--size", type=int, default=256)
    args = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        video, output = Path(folder) / "long.mp4", Path(folder) / "features"
        compose(args.clips, video, args.minutes)
        with av.open(str(video)) as container:
            n_clips = -(-container.streams.video[0].frames // 16)
        words = ["extract", video, "-o", output, "--backbone", "i3d", "--crops", 10, "--audio", "vggish"]
        words += ["--size", args.size, "--weights", random_weights("i3d", Path(folder))]
        rows = output / "long.npz.rows"
        first, before = run(words, lambda: rows.exists() and rows.stat().st_size > n_clips // 2 * ROW)
        kept = rows.stat().st_size // ROW
        second, after = run(words)
        features = load_features(output / "long.npz")
        assert features.visual.shape == (n_clips, 10, 2048), features.visual.shape
        assert features.audio.any(1).all()
        assert sorted(path.name for path in output.iterdir()) == ["long.npz", "report.json"]
        print(f"{n_clips} clips of ten crops, short side {args.size}, with sound; {features.precision}")
        print(f"killed after {before:.0f} s with {kept} clips, which the second run of {after:.0f} s took over")
        print(f"at most {first / 1e6:.0f} MB before, {second / 1e6:.0f} MB after")


if __name__ == "__main__":
    main()
