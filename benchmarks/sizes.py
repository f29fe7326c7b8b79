"""What smaller pictures cost and change: scores of a model that was trained at one size, on features of others.

    python benchmarks/sizes.py VIDEO... --model fights-mc3 --sizes 128 112 96 80

The first size is compared with: the one that the model was trained with. CPU time is that of the network and of the
decoder for each clip.
"""

import argparse
from pathlib import Path

import numpy as np
from processes import cpu_seconds

from anomalycli import Scorer
from anomalycli.backbones import Extractor
from anomalycli.extraction.local_engine import extract_video
from anomalycli.media.decoder import Decoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--model", default="fights-mc3")
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 112, 96, 80])
    args = parser.parse_args()
    scorer = Scorer.load(args.model, "cpu")
    before: list[np.ndarray] = []
    print(f"{'size':>5} {'CPU per clip':>14} {'largest difference of a score':>31} {'mean':>7}")
    for size in args.sizes:
        extractor, begin = Extractor(scorer.info.kind.backbone, "cpu", size=size), sum(cpu_seconds())
        with Decoder() as decoder:
            features = [extract_video(path, extractor, decoder=decoder) for path in args.videos]
        spent = (sum(cpu_seconds()) - begin) / sum(len(each.visual) for each in features)
        scores = [scorer.score_features(each)[0] for each in features]
        before = before or scores
        differences = np.concatenate([np.abs(one - other) for one, other in zip(scores, before)])
        print(f"{size:5} {1000 * spent:11.0f} ms {differences.max():31.3f} {differences.mean():7.3f}", flush=True)


if __name__ == "__main__":
    main()
