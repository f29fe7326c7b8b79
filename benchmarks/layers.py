"""Where the int8 network of a backbone spends its time, layer by layer, by OpenVINO's counters.

    python benchmarks/layers.py VIDEO...                             # mc3
    python benchmarks/layers.py VIDEO... --backbone i3d --random     # random weights, for times only

One clip at a time on one thread, medians over `--repeats`. For each convolution: its operations (two per multiplication
and addition), its time, the rate, and the kernel that OpenVINO chose, whose name says int8 (`_i8`) and would say
Winograd. Times of all other nodes are summed by their kind. The last line compares with torch in fp32, one thread.
"""

import argparse
import statistics
import time
from collections import defaultdict
from pathlib import Path

import torch
from precisions import read_clips

from anomalycli.backbones import int8
from anomalycli.backbones.base import BUILT_IN, find_backbone

CALIBRATING = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--backbone", default="mc3", choices=BUILT_IN)
    parser.add_argument("--random", action="store_true")
    parser.add_argument("--size", type=int)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.manual_seed(0)
    net = find_backbone(args.backbone)().eval()
    if not args.random:
        net.load()
    clips = read_clips(args.videos, net, args.size or net.short_side, CALIBRATING)
    view = net.views(torch.from_numpy(clips[0][None]))[0].contiguous().numpy()
    core, model = quantised(net, clips, view.shape)
    operations = {op.get_friendly_name(): count(op) for op in model.get_ops() if op.get_type_name() == "Convolution"}
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32", "PERF_COUNT": True}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    times, kernels, kinds = defaultdict(list), {}, {}
    for turn in range(args.repeats + 1):
        request.infer(view)
        for node in request.get_profiling_info() if turn else ():
            times[node.node_name].append(node.real_time.total_seconds())
            kernels[node.node_name], kinds[node.node_name] = node.exec_type, node.node_type
    show({name: statistics.median(each) for name, each in times.items()}, kernels, kinds, operations)
    compare(request, net, view, args.repeats)


def compare(request, net, view, repeats: int) -> None:
    """Print the time of a clip at int8 and in torch's fp32, in turns."""
    torch.set_num_threads(1)
    seconds: dict[str, list[float]] = {"int8": [], "fp32": []}
    for _ in range(repeats):
        begin = time.perf_counter()
        request.infer(view)
        between = time.perf_counter()
        with torch.inference_mode():
            net.maps(torch.from_numpy(view))
        seconds["int8"].append(between - begin)
        seconds["fp32"].append(time.perf_counter() - between)
    fast, exact = (1000 * statistics.median(each) for each in seconds.values())
    print(f"a clip takes {fast:.0f} ms, and {exact:.0f} ms in torch's fp32: {exact / fast:.2f} times as long")


def quantised(net, clips, shape):
    files = int8.quantised_files(net, clips)
    network = int8.Int8(net, **files)
    model = network.model.clone()
    model.reshape(list(shape))
    return network.core, model


def count(convolution) -> float:
    """Operations of a convolution, two for each product."""
    out, kernel = list(convolution.output(0).shape), list(convolution.input(1).get_shape())
    products = 1
    for side in (*out, *kernel[1:]):
        products *= side
    return 2.0 * products


def show(times, kernels, kinds, operations) -> None:
    whole = sum(times.values())
    rest: dict[str, float] = defaultdict(float)
    print(f"{'convolution':58} {'GOP':>7} {'ms':>8} {'GOP/s':>8} {'share':>6}  kernel")
    for name, seconds in times.items():
        work = operations.get(name)
        if work is None:
            rest[kinds[name]] += seconds
            continue
        print(row(name, work, seconds, whole), kernels[name])
    done = sum(work for name, work in operations.items() if name in times)
    inside = sum(seconds for name, seconds in times.items() if name in operations)
    print(row("all convolutions", done, inside, whole))
    for kind, seconds in sorted(rest.items(), key=lambda item: -item[1]):
        if seconds > 0.001 * whole:
            print(f"{kind:58} {'':7} {1000 * seconds:8.2f} {'':8} {seconds / whole:6.1%}")


def row(name: str, operations: float, seconds: float, whole: float) -> str:
    rate = operations / seconds / 1e9
    return f"{name[-58:]:58} {operations / 1e9:7.2f} {1000 * seconds:8.2f} {rate:8.0f} {seconds / whole:6.1%}"


if __name__ == "__main__":
    main()
