"""Kill `score` at random moments, repeat the command, and compare with a run that was not interrupted.

    python benchmarks/kill.py --moments 20

Draws three short videos, scores them with pages, plots and event clips, and kills the process with SIGKILL at moments
spread evenly over the time that a whole run takes. The same command must then give the same files, byte for byte, and
leave the features of videos that were finished as they were.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np

WORDS = ("score", "in", "--html", "--plot", "--clips", "--threshold", "0.01", "-f", "json", "-o")


def main() -> None:
    """Run, kill, run again, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    moments = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for number, name in enumerate(("hall", "shed", "yard")):
            draw(root / "in" / f"{name}.mp4", number)
        begin = time.monotonic()
        run(root, "whole").wait()
        length = time.monotonic() - begin
        whole = files(root / "whole")
        print(f"a whole run takes {length:.1f} s and writes {len(whole)} files")
        equal, kept = 0, 0
        for number in range(options.moments):
            out = root / f"out{number}"
            moment = moments.uniform(0, length)
            killed = run(root, out.name)
            time.sleep(moment)
            killed.kill()
            killed.wait()
            before = {path: path.stat().st_mtime_ns for path in out.glob(".anomalycli/*.npz")}
            again = run(root, out.name).wait()
            same = again == 0 and files(out) == whole
            untouched = all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
            equal, kept = equal + same, kept + untouched
            print(
                f"killed at {moment:5.1f} s: {'equal' if same else 'DIFFERENT'}, {len(before)} stored files, ", end=""
            )
            print("untouched" if untouched else "MADE AGAIN", flush=True)
        print(f"{equal} of {options.moments} equal, {kept} of {options.moments} without scoring anything twice")
    sys.exit(equal + kept < 2 * options.moments)


def run(root: Path, out: str) -> subprocess.Popen:
    """Start `score` in `root`."""
    package = str(Path(__file__).resolve().parents[1])
    command = [sys.executable, "-m", "anomalycli", *WORDS, out, "-q"]
    env = os.environ | {"PYTHONPATH": package}
    return subprocess.Popen(command, cwd=root, env=env, stdout=subprocess.DEVNULL)


def files(folder: Path) -> dict[str, bytes]:
    """Contents of the files of the user, without what the tool keeps for itself."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def draw(path: Path, seed: int) -> None:
    """Six seconds of a square that moves."""
    path.parent.mkdir(exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 60, (120, 160, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "25"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for number in range(150):
            picture = noise.copy()
            left = (3 + seed) * number % 120
            picture[40:80, left : left + 40] = 220
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())


if __name__ == "__main__":
    main()
