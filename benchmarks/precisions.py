"""Speed of the network alone at each precision and with each engine, relative to fp32 one clip at a time.

    python benchmarks/precisions.py videos/*.mp4
    python benchmarks/precisions.py videos/*.mp4 --backbone i3d --random
    python benchmarks/precisions.py videos/*.mp4 --scores      # what precision does to the bundled model's scores

The first row is what public extractors do: the network as loaded, fp32, one clip at a time. Every row processes the
same clips, from uint8 frames in memory to features, and rows take turns. Figures are speeds relative to the first row:
by medians over `--repeats` turns, and by the fastest turns, which other load on the machine affects less. `cosine` is
the lowest cosine similarity of a clip's features to those of the first row. `--random` uses random weights, for times
only. ONNX Runtime is included if it is installed (pip install onnxruntime onnxscript).

With `--scores`, the bundled model scores each video at fp32, bf16 and int8, which is calibrated on these videos.
Printed are, at each precision, the largest difference of a frame's score to fp32, and the lowest cosine similarity of a
clip's features to those of fp32, of all features and of each group.
"""

import argparse
import importlib.util
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from anomalycli import Scorer
from anomalycli.backbones import DEFAULT, int8
from anomalycli.backbones.base import BUILT_IN, find_backbone
from anomalycli.backbones.speed import channels_last
from anomalycli.features import load_features
from anomalycli.media.video import Video

CALIBRATING = 15


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--backbone", default=DEFAULT, choices=BUILT_IN)
    parser.add_argument("--size", type=int)
    parser.add_argument("--random", action="store_true")
    parser.add_argument("--batch", type=int, default=4, help="clips that the rows go through, and the larger batch")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", nargs="+", default=[""], help="rows to try: those that hold one of these words")
    parser.add_argument("--scores", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.scores:
        compare_scores(args.videos)
        return

    def net(dtype=torch.float32, last=False):
        torch.manual_seed(0)
        backbone = find_backbone(args.backbone)().eval()
        if not args.random:
            backbone.load()
        backbone.net.to(dtype)
        if last:
            channels_last(backbone.net)
        return backbone

    plain = net()
    clips = read_clips(args.videos, plain, args.size or plain.short_side, args.batch + CALIBRATING)
    timed, calibrating = np.stack(clips[: args.batch]), clips[args.batch :]
    rows = {"torch fp32, 1 clip": in_torch(plain, 1)}
    for name, make in engines(args, net, plain, torch.from_numpy(timed), calibrating):
        if any(word in name for word in args.only):
            rows[name] = make()

    features = {name: run(timed) for name, run in rows.items()}
    times: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(args.repeats):
        for name, run in rows.items():
            start = time.perf_counter()
            run(timed)
            times[name].append((time.perf_counter() - start) / len(timed))
    shape = "x".join(map(str, timed.shape[2:4]))
    print(f"{args.backbone}, clips of {timed.shape[1]} x {shape}, {args.threads} threads, median of {args.repeats}")
    reference = "torch fp32, 1 clip"
    for name, seconds in times.items():
        median, fastest = (of(times[reference]) / of(seconds) for of in (statistics.median, min))
        cosine = lowest_cosine(features[name], features[reference])
        print(f"{name:36} x {median:5.2f}   fastest x {fastest:5.2f} ({min(seconds):.3f} s/clip)   cosine {cosine:.4f}")


def compare_scores(videos: list[Path]) -> None:
    """Print how far scores and features of the bundled model are from those at fp32."""
    scorers = {precision: Scorer.load("fights", precision=precision) for precision in ("fp32", "bf16", "int8")}
    print(scorers["int8"].calibrate(videos) or "int8: the network that an earlier run has stored")
    with tempfile.TemporaryDirectory() as folder:
        scores, features = {}, {}
        for precision, scorer in scorers.items():
            caches = [Path(folder) / f"{precision}-{number}.npz" for number in range(len(videos))]
            found = [scorer.score(path, cache=cache).scores for path, cache in zip(videos, caches, strict=True)]
            scores[precision] = np.concatenate(found)
            features[precision] = np.concatenate([load_features(cache).visual[:, 0] for cache in caches])
    groups = scorers["fp32"].info.kind.groups
    ends = np.cumsum([width for _, width in groups])[:-1]
    exact = features["fp32"]
    for precision in ("bf16", "int8"):
        far = np.abs(scores[precision] - scores["fp32"])
        print(f"{precision}: {len(videos)} videos, {len(exact)} clips")
        print(f"    scores               differ by at most {far.max():.4f}, on average {far.mean():.4f}")
        print(f"    all features         lowest cosine {lowest_cosine(features[precision], exact):.4f}")
        parts = zip(groups, np.split(features[precision], ends, 1), np.split(exact, ends, 1), strict=True)
        for (name, _), ours, theirs in parts:
            print(f"    {name:20} lowest cosine {lowest_cosine(ours, theirs):.4f}")


def engines(args, net, plain, timed: torch.Tensor, calibrating):
    """Pairs of a name and a function that returns a function from clips (B, T, H, W, 3) to features."""
    batches = (1, args.batch)
    for b in batches:
        clips = "1 clip" if b == 1 else f"{b} clips"
        yield f"torch fp32 channels last, {clips}", lambda b=b: in_torch(net(last=True), b)
        yield f"torch bf16 channels last, {clips}", lambda b=b: in_torch(net(torch.bfloat16, last=True), b)
        yield f"torch.compile bf16, {clips}", lambda b=b: in_torch(torch.compile(net(torch.bfloat16, last=True)), b)
        if importlib.util.find_spec("onnxruntime"):
            yield f"ONNX Runtime fp32, {clips}", lambda b=b: in_onnx(plain, timed[:b], args.threads)
        for kind, precision in (("fp32", "f32"), ("bf16", "bf16")):
            yield f"OpenVINO {kind}, {clips}", lambda b=b, p=precision: in_openvino(plain, timed[:b], p, args.threads)
    yield "OpenVINO int8 (--precision int8)", lambda: in_int8(plain, calibrating)


def in_torch(net, b: int) -> Callable:
    @torch.inference_mode()
    def run(clips):
        return np.concatenate(
            [net(torch.from_numpy(some)).float().numpy() for some in np.split(clips, len(clips) // b)]
        )

    return run


def in_onnx(net, frames: torch.Tensor, threads: int) -> Callable:
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "net.onnx"
        torch.onnx.export(net, (frames,), path, input_names=["frames"], dynamo=True, verbose=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda clips: np.concatenate(
        [session.run(None, {"frames": some})[0] for some in np.split(clips, len(clips) // len(frames))]
    )


def in_openvino(net, frames: torch.Tensor, precision: str, threads: int) -> Callable:
    view = net.views(frames)[0]
    model = int8.convert(net, view)
    model.reshape(list(view.shape))
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(model, "CPU", settings)

    def pooled(maps) -> np.ndarray:
        return net.pool([torch.from_numpy(maps[i].copy()) for i in range(len(maps))]).numpy()

    def run(clips):
        parts = np.split(clips, len(clips) // len(frames))
        views = [net.views(torch.from_numpy(some))[0].contiguous().numpy() for some in parts]
        return np.concatenate([pooled(compiled(view)) for view in views])[:, None]

    return run


def in_int8(net, calibrating) -> Callable:
    network = int8.Int8(net, **int8.quantised_files(net, calibrating))
    return lambda clips: network(torch.from_numpy(clips)).numpy()


def read_clips(paths, net, size: int, n: int) -> list[np.ndarray]:
    """The first clips of each video, as far as they have the shape of the very first."""
    clips: list[np.ndarray] = []
    for path in paths:
        clips += islice(Video(path, size, net.multiple).clips(net.clip_length, net.frames_taken), -(-n // len(paths)))
    same = [clip for clip in clips if clip.shape == clips[0].shape][:n]
    if len(same) < n:
        raise SystemExit(f"These videos give {len(same)} clips of one size; {n} are needed.")
    return same


def lowest_cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


if __name__ == "__main__":
    main()
