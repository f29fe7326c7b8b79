"""CPU time and memory at the start of `extract` over many videos whose features are all there.

    python benchmarks/many_files.py --files 20000

The videos are links to one file that is never opened, and their feature files links to one of 40 clips, so the figures
are those of files that the system has in its cache. The libraries are imported before the clock starts.
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from anomalycli.backbones import Extractor
from anomalycli.extraction.job import extract
from anomalycli.features.files import Features

CLIPS = 40


def make(root: Path, extractor: Extractor, n: int) -> tuple[Path, Path]:
    """A folder of `n` videos and one of their features."""
    videos, features = root / "videos", root / "features"
    videos.mkdir()
    video = videos / "0.mp4"
    video.write_bytes(b"never read")
    visual = np.zeros((CLIPS, 1, extractor.kind.dim), np.float32)
    about = {"precision": extractor.precision, "crops": extractor.crops}
    stat = video.stat()
    about |= {"source_bytes": stat.st_size, "source_mtime": stat.st_mtime}
    Features(visual, extractor.kind, CLIPS * 16, 25.0, video.name, **about).save(features / "0.npz")
    for i in range(1, n):
        os.link(video, videos / f"{i}.mp4")
        os.link(features / "0.npz", features / f"{i}.npz")
    return videos, features


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000)
    args = parser.parse_args()
    extractor = Extractor()
    with tempfile.TemporaryDirectory() as folder:
        videos, features = make(Path(folder), extractor, args.files)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        begin = time.process_time()
        outcomes = extract([videos], features, extractor)
        start = time.process_time() - begin
        skipped = sum(outcome.status == "skipped" for outcome in outcomes)
        end = time.process_time() - begin
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - memory
    print(f"{skipped} of {args.files} skipped; CPU time to the first {start:.2f} s, with the report {end:.2f} s")
    print(f"memory grew by {grown:.0f} MB, {1000 * grown / args.files:.1f} KB per file")


if __name__ == "__main__":
    main()
