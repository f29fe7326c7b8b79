"""Training steps per second, relative to what the machine could do and to a plain loop over files.

    python benchmarks/train.py                       # D = 1024, T = 64, 32 + 32 videos, with erasing
    python benchmarks/train.py --dim 256 --erasing never

Three figures: the steps per second of `anomalycli.training.loop.optimise`; those of a plain loop, in fp32 with torch's
own transformer layers and dropout, fed by a DataLoader that reads each video's features with `np.load`; and the bound,
the floating-point operations of a step divided by the rate at which this machine multiplies matrices of the same shapes
in the same precision. torch counts the operations while a step runs, forward and backward, including those with zeros,
of which training leaves out some. Each figure is the median over `--repeats` of `--steps` steps, and the three take
turns. Features are random: speed does not depend on them.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from anomalycli.data.sampling import BagBatches
from anomalycli.dropout import Dropout
from anomalycli.methods.de_net import DENetMethod, DENetSettings
from anomalycli.segments import pool
from anomalycli.training.config import TrainConfig
from anomalycli.training.loop import make_optimizer, optimise

VIDEOS = 64  # of each label


class Files(Dataset):
    """The videos of one label, read from disk each time."""

    def __init__(self, paths, segments):
        self.paths, self.segments = paths, segments

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, i):
        return torch.from_numpy(pool(np.load(self.paths[i]), self.segments))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--segments", type=int, default=64)
    parser.add_argument("--feedforward", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--clips", type=int, default=300, help="clips per video on disk")
    parser.add_argument("--erasing", default="dynamic", choices=("dynamic", "always", "never"))
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"))
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def main():
    args = arguments()
    config = TrainConfig(steps=args.steps, batch=args.batch, precision=args.precision).on(torch.device(args.device))
    settings = DENetSettings(args.dim, segments=args.segments, feedforward=args.feedforward, erasing=args.erasing)
    model = DENetMethod(settings).to(args.device)
    optimizer = make_optimizer(model, config)
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    print(f"D {args.dim}, T {args.segments}, {args.batch} + {args.batch} videos, erasing {args.erasing}")
    print(f"{config.precision}, {millions:.1f} M parameters, {torch.get_num_threads()} threads")

    x = torch.randn(2 * VIDEOS, args.segments, args.dim, device=args.device)
    batches = BagBatches(np.repeat([1, 0], VIDEOS), np.arange(2 * VIDEOS), 1, "mean", args.batch, 0)

    def ours():
        for _ in optimise(model, optimizer, x, batches, config):
            pass

    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}.npy" for i in range(2 * VIDEOS)]
        for path in paths:
            np.save(path, np.random.default_rng(0).normal(size=(args.clips, args.dim)).astype(np.float32))
        halves = [Files(part, args.segments) for part in (paths[:VIDEOS], paths[VIDEOS:])]

        stock = with_stock_layers(DENetMethod(settings)).to(args.device)
        stock_optimizer = torch.optim.Adam(stock.parameters(), config.lr, weight_decay=config.weight_decay)

        def plain():
            loaders = [DataLoader(half, args.batch, shuffle=True, drop_last=True) for half in halves]
            done = 0
            while done < args.steps:
                for x_a, x_n in zip(*loaders):
                    loss, _ = stock.loss(x_a.to(args.device), x_n.to(args.device))
                    stock_optimizer.zero_grad()
                    loss.backward()
                    stock_optimizer.step()
                    done += 1
                    if done == args.steps:
                        break

        model.eval()  # in training, gradients that are zero are not computed
        with FlopCounterMode(display=False) as counter:
            model.loss(x[: args.batch], x[-args.batch :])[0].backward()
        flops = counter.get_total_flops()
        products = matrix_products(args, torch.bfloat16 if config.precision == "bf16" else torch.float32, flops)
        ours_seconds, plain_seconds, bound = medians((ours, plain, products), args)

    print(f"a step        {ours_seconds:8.3f} s   {1 / ours_seconds:8.2f} steps/s")
    print(f"plain loop    {plain_seconds:8.3f} s   {1 / plain_seconds:8.2f} steps/s")
    print(f"bound         {bound:8.3f} s   {1 / bound:8.2f} steps/s   "
          f"({flops / 1e9:.1f} GFLOP per step at {flops / bound / 1e9:.0f} GFLOP/s)")  # fmt: skip
    print(f"a step runs at {bound / ours_seconds:.0%} of the bound; the plain loop takes "
          f"{plain_seconds / ours_seconds:.2f} times as long")  # fmt: skip


def with_stock_layers(model):
    config = model.config
    for encoder in model.mstm.encoders:
        encoder.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                config.dim,
                config.heads,
                config.feedforward,
                config.encoder_dropout,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in encoder.layers
        )
    for i, layer in enumerate(model.classifier):
        if isinstance(layer, Dropout):
            model.classifier[i] = nn.Dropout(layer.p)
    return model


def matrix_products(args, dtype, flops):
    """The step's largest product, (2 * batch * T, D) by (D, feedforward), as often as gives `flops` per step."""
    a = torch.randn(2 * args.batch * args.segments, args.dim, device=args.device, dtype=dtype)
    b = torch.randn(args.dim, args.feedforward, device=args.device, dtype=dtype)
    n = round(args.steps * flops / (2 * a.shape[0] * a.shape[1] * b.shape[1]))

    def run():
        for _ in range(n):
            a @ b

    return run


def medians(runs, args):
    """Seconds per step of each of `runs`. They take turns, so that other load slows all of them."""
    times = [[] for _ in runs]
    for turn in range(args.repeats + 1):
        for run, mine in zip(runs, times):
            synchronize(args.device)
            start = time.perf_counter()
            run()
            synchronize(args.device)
            if turn:  # the first one warms up
                mine.append((time.perf_counter() - start) / args.steps)
    return [statistics.median(mine) for mine in times]


def synchronize(device):
    if device != "cpu":
        torch.accelerator.synchronize()


if __name__ == "__main__":
    main()
