"""What fewer channels in layer 1 of `mc3` change: features, scores, and the time at int8.

    python benchmarks/channels.py VIDEO... --fit VIDEO... --widths 56 48 40

Both blocks of layer 1 keep some of their 64 channels between the two convolutions. Which ones, and the weights of the
second convolution, minimise the error of its output on clips of `--fit`: channels are removed one after the other,
the one that costs least first, and the weights of the others make up for it (Frantar & Alistarh, "Optimal Brain
Compression", NeurIPS 2022, for blocks of weights). Cosine similarities and scores are those of all clips of VIDEO.
"""

import argparse
import copy
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from precisions import lowest_cosine, read_clips
from torch import Tensor, nn
from torch.nn.functional import pad

from anomalycli import Scorer
from anomalycli.backbones import int8
from anomalycli.backbones.base import find_backbone
from anomalycli.backbones.speed import fold_batch_norm
from anomalycli.checkpoint import judge_of
from anomalycli.media.video import Video

BLOCKS = (0, 1)  # of layer 1
PLACES = 1024  # of each map that are looked at
DAMPING = 0.01  # of the mean strength of the inputs


def second_moments(conv: nn.Conv3d, x: Tensor) -> Tensor:
    """Mean products of the inputs of one output: maps (1, C, T, H, W) -> (C * k, C * k), kernels of k places."""
    every = max(1, round((x[0, 0].numel() / PLACES) ** (1 / 3)))
    x = pad(x, [side for length in reversed(conv.padding) for side in (length, length)])[0]
    for i, length in enumerate(conv.kernel_size):
        x = x.unfold(1 + i, length, every)
    inputs = x.permute(0, 4, 5, 6, 1, 2, 3).flatten(4).flatten(0, 3).double()  # (C * k, places)
    return inputs @ inputs.mT / inputs.shape[1]


def narrowed(weight: Tensor, moments: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The channels to keep, and the weights for them: (outputs, C, ...) -> (width,), (outputs, width, ...)."""
    outputs, channels, k = len(weight), weight.shape[1], weight[0, 0].numel()
    w, left = weight.flatten(1).double(), torch.arange(channels)
    inverse = torch.linalg.inv(moments + DAMPING * moments.diagonal().mean() * torch.eye(len(moments)).double())
    while len(left) > width:
        n = len(left)
        blocks = torch.linalg.inv(inverse.view(n, k, n, k).diagonal(dim1=0, dim2=2).permute(2, 0, 1))  # (n, k, k)
        each = w.view(outputs, n, k).transpose(0, 1)  # (n, outputs, k)
        gone = int(((each @ blocks) * each).sum((1, 2)).argmin())
        rows = slice(gone * k, gone * k + k)
        w = w - w[:, rows] @ blocks[gone] @ inverse[rows]
        inverse = inverse - inverse[:, rows] @ blocks[gone] @ inverse[rows]
        stay = torch.arange(n).repeat_interleave(k) != gone
        w, inverse, left = w[:, stay], inverse[stay][:, stay], left[torch.arange(n) != gone]
    return left, w.view(outputs, width, *weight.shape[2:]).float()


def narrow(net, views: list[Tensor], width: int):
    """A copy of `net`, an `mc3` with folded norms, whose layer 1 has `width` channels within its blocks."""
    new, moments = copy.deepcopy(net), dict.fromkeys(BLOCKS, torch.zeros(()))
    blocks = [net.net.layer1[i] for i in BLOCKS]

    def watch(i):
        def add(conv, inputs, output):
            moments[i] = moments[i] + second_moments(conv, inputs[0])

        return add

    handles = [block.conv2[0].register_forward_hook(watch(i)) for i, block in enumerate(blocks)]
    for view in views:
        net.maps(view)
    for handle in handles:
        handle.remove()
    for i in BLOCKS:
        first, second = new.net.layer1[i].conv1[0], new.net.layer1[i].conv2[0]
        kept, weight = narrowed(second.weight, moments[i] / len(views), width)
        first.weight, first.bias = nn.Parameter(first.weight[kept]), nn.Parameter(first.bias[kept])
        second.weight = nn.Parameter(weight)
        first.out_channels = second.in_channels = width
    return new


def cpu_seconds(network, clips, repeats: int = 7) -> float:
    """Median CPU time per clip at int8."""
    spent = []
    for clip in islice(clips, repeats):
        begin = time.process_time()
        network(torch.from_numpy(clip[None]))
        spent.append(time.process_time() - begin)
    return float(np.median(spent))


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--fit", nargs="+", type=Path, required=True)
    parser.add_argument("--widths", type=int, nargs="+", default=[56, 48, 40])
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    scorer = Scorer.load("fights-mc3", "cpu")
    judge = judge_of(scorer.model, scorer.info)
    net = find_backbone("mc3")().eval().load()
    fold_batch_norm(net.net)
    fitting = read_clips(args.fit, net, net.short_side, 15)
    views = [net.views(torch.from_numpy(clip[None]))[0] for clip in fitting]
    videos = [list(Video(path, net.short_side, net.multiple).clips(net.clip_length)) for path in args.videos]

    def features(network) -> list[np.ndarray]:
        return [torch.cat([network(torch.from_numpy(clip[None])) for clip in clips]).numpy() for clips in videos]

    exact = features(net)
    print(f"{'channels':>8} {'lowest cosine':>14} {'largest difference of a score':>30} {'CPU time, int8':>15}")
    for width in (64, *args.widths):
        new = narrow(net, views, width)
        found = features(new)
        cosine = min(lowest_cosine(one, other) for one, other in zip(exact, found))
        change = max(float(np.abs(judge(one) - judge(other)).max()) for one, other in zip(exact, found))
        fast = int8.Int8(new, **int8.quantised_files(new, fitting))
        print(f"{width:8} {cosine:14.4f} {change:30.3f} {1000 * cpu_seconds(fast, fitting):12.0f} ms", flush=True)


if __name__ == "__main__":
    main()
