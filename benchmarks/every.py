"""What `score --every N` costs and what it loses.

    python benchmarks/every.py events FEATURES/          # feature files of every clip, made by `extract`
    python benchmarks/every.py cost VIDEO... --model fights-mc3

`events` scores the features with all clips, and as `--every` leaves them: events that no event overlaps any more are
lost, and those that overlap none of before are new. Of each file alone, and of long recordings: a file whose name
begins with --abnormal among five of the others, drawn with seed 0. `cost` gives the CPU time of scoring the videos,
of this process and its decoders.
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from processes import cpu_seconds

from anomalycli import Scorer, find_events
from anomalycli.extraction.skip import rising
from anomalycli.features.files import Features, load_features
from anomalycli.features.interpolation import with_only
from anomalycli.score import Skip

CALM = 5  # files beside one that is abnormal, in a long recording


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("events", "cost"))
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--every", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--abnormal", default="fight")
    parser.add_argument("--recordings", type=int, default=20)
    args = parser.parse_args()
    if args.what == "cost":
        cost(args)
    else:
        events(args)


def cost(args: argparse.Namespace) -> None:
    print("every    CPU seconds    of every clip    CPU hours per day of footage    clips computed")
    first = None
    for every in args.every:
        scorer = Scorer.load(args.model, "cpu", skip=Skip(every=every))
        scorer.extractor  # noqa: B018  (loads the network before the clock starts)
        begin, seconds, frames, skipped = sum(cpu_seconds()), 0.0, 0, 0
        for path in args.paths:
            result = scorer.score(path)
            seconds, frames = seconds + result.duration, frames + len(result.scores)
            skipped += sum(end - start for start, end in result.interpolated)
        scorer._decoder.close()
        spent = sum(cpu_seconds()) - begin
        first = first or spent
        print(
            f"{every:5} {spent:14.1f} {spent / first:16.2f} {24 * spent / seconds:31.2f} {1 - skipped / frames:17.1%}",
            flush=True,
        )


def events(args: argparse.Namespace) -> None:
    paths = sorted(args.paths[0].glob("*.npz"))
    files = [load_features(path) for path in paths]
    abnormal = [file for path, file in zip(paths, files) if path.name.startswith(args.abnormal)]
    calm = [file for path, file in zip(paths, files) if not path.name.startswith(args.abnormal)]
    rng, recordings = np.random.default_rng(0), []
    for one in abnormal[:: -(-len(abnormal) // args.recordings)]:
        some = [calm[i] for i in rng.integers(0, len(calm), CALM)]
        some.insert(int(rng.integers(0, CALM + 1)), one)
        recordings.append(joined(some))
    for name, videos in (("videos", files), ("calm videos", calm), ("long recordings", recordings)):
        hours = sum(video.duration for video in videos) / 3600
        print(f"{len(videos)} {name}, {hours:.2f} h")
        compare(Scorer.load(args.model, "cpu"), videos, args.every)


def joined(parts: list[Features]) -> Features:
    """Features as of one video after another."""
    visual = np.concatenate([part.visual for part in parts])
    return dataclasses.replace(parts[0], visual=visual, n_frames=len(visual) * parts[0].kind.clip_length, times=None)


def compare(scorer: Scorer, videos: list[Features], strides: list[int]) -> None:
    rule = scorer.info.events
    whole = [scorer.score_features(video)[0] for video in videos]
    known = [find_events(scores, video.fps, rule) for scores, video in zip(whole, videos)]
    print(f"{sum(map(len, known))} events\nevery   lost   new   clips computed   largest difference of a score, median")
    for every in strides:
        lost = new = computed = 0
        differences = []
        for video, scores, before in zip(videos, whole, known):
            some = sparse(scorer, video, every)
            computed += len(some.visual) - len(some.interpolated)
            got, _ = scorer.score_features(some)
            now = find_events(got, video.fps, rule)
            lost += sum(not any(overlap(one, other) for other in now) for one in before)
            new += sum(not any(overlap(one, other) for other in before) for one in now)
            differences.append(np.abs(got - scores).max())
        share = computed / sum(len(video.visual) for video in videos)
        print(f"{every:5} {lost:6} {new:5} {share:16.1%} {np.median(differences):15.3f}", flush=True)


def sparse(scorer: Scorer, video: Features, every: int) -> Features:
    """The features that `score --every` scores in the end."""
    n_clips, length = len(video.visual), video.kind.clip_length
    coarse = range(0, n_clips, every)
    scores, _ = scorer.score_features(with_only(video, coarse))
    middles = np.minimum(np.arange(n_clips) * length + length // 2, video.n_frames - 1)
    return with_only(video, sorted({*coarse, *rising(scores[middles], every, scorer.info.events.start_threshold)}))


def overlap(one, other) -> bool:
    return one.start < other.end and other.start < one.end


if __name__ == "__main__":
    main()
