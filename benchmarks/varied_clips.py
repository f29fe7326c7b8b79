"""The clips of the train split of street-fights, varied, for the training of the bundled model.

    python benchmarks/varied_clips.py street-fights varied
    python benchmarks/varied_clips.py street-fights fast --fast

Writes OUTPUT/fight/NAME.mp4 and OUTPUT/noFight/NAME.mp4: a part of the picture (45% to all of each side, so that people
are closer), mirrored or not, faster or slower, brighter or darker, some shaken as if held by hand, some with noise,
compressed more or less. Both labels are varied alike: what was done to a clip tells nothing about its label.

With --fast, only the normal clips, 1.5 to 3 times as fast and down to 30% of each side: fast and large movement is not
a fight.
"""

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

QUALITIES = ("20", "26", "32")


@dataclass(frozen=True)
class Variation:
    """Speeds, and shares of each side of the picture, that are drawn from; and the seed."""

    speeds: tuple[float, ...] = (0.7, 1, 1, 1, 1.4)
    shares: tuple[float, ...] = (1, 0.8, 0.6, 0.45)
    seed: int = 1


FAST = Variation((1.5, 2.0, 2.5, 3.0), (1, 0.8, 0.6, 0.45, 0.3), 2)


def vary(source: Path, target: Path, variation: Variation, rng: np.random.Generator) -> None:
    with av.open(str(source)) as video:
        rate = video.streams.video[0].average_rate
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    height, width = frames[0].shape[:2]
    speed, share = rng.choice(variation.speeds), rng.choice(variation.shares)
    taken = np.clip((np.arange(int(len(frames) / speed)) * speed).astype(int), 0, len(frames) - 1)
    inner_height, inner_width = int(height * share) // 2 * 2, int(width * share) // 2 * 2
    top, left = rng.integers(0, height - inner_height + 1), rng.integers(0, width - inner_width + 1)
    shaken = rng.random() < 0.25
    path = np.cumsum(rng.normal(0, 1.2 * width / 640, (len(taken), 2)), 0) if shaken else np.zeros((len(taken), 2))
    mirrored = rng.random() < 0.5
    gamma = np.exp(rng.normal(0, 0.3))
    brightness = (255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)
    noisy = rng.random() < 0.2
    pictures = []
    for (down, right), i in zip(path, taken, strict=True):
        y = int(np.clip(top + down, 0, height - inner_height))
        x = int(np.clip(left + right, 0, width - inner_width))
        picture = brightness[frames[i][y : y + inner_height, x : x + inner_width]]
        if mirrored:
            picture = picture[:, ::-1]
        if noisy:
            picture = np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)
        pictures.append(np.ascontiguousarray(picture))
    write(pictures, target, rate, str(rng.choice(QUALITIES)))


def write(pictures: list[np.ndarray], target: Path, rate, quality: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(target), "w") as out:
        stream = out.add_stream("libx264", rate=rate, options={"threads": "1", "crf": quality, "preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[:2], "yuv420p"
        for picture in pictures:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="street-fights, with clips/ and clips.csv")
    parser.add_argument("output", type=Path)
    parser.add_argument("--fast", action="store_true")
    args = parser.parse_args()
    variation = FAST if args.fast else Variation()
    with open(args.data / "clips.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for i, row in enumerate(rows):
        name = f"{row['clip']}.mp4"
        wanted = row["split"] == "train" and (row["label"] == "0" or not args.fast)
        if wanted and not (args.output / name).exists():
            rng = np.random.default_rng((variation.seed, i))
            vary(args.data / "clips" / name, args.output / name, variation, rng)


if __name__ == "__main__":
    main()
