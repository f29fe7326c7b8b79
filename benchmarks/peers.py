"""Extraction of I3D features side by side with the steps of other tools, in one run: benchmarks/peers.md.

    python benchmarks/peers.py VIDEO... --frames 64

Three programs run in turn on the same videos, each in processes of its own, with the same network and the same random
weights, for speed does not depend on their values: the steps of v-iashin/video_features (its RGB stream, stacks of 16
frames; written anew here, no code of it is used), those of the usual script, and `anomalycli extract`. Each writes one
file per video. Printed are clips per second from the first video's opening to the last file, the most memory that the
program held with all of its processes, and the seconds from its start to the first file, with libraries and network.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np
from processes import children, resident

LENGTH, SHORT_SIDE, CROP = 16, 256, 224
TOOLS = ("video_features", "usual script", "anomalycli")


def shorten(path: Path, target: Path, frames: int) -> None:
    """Copy the first packets of a video: no frame is encoded again."""
    with av.open(str(path)) as source, av.open(str(target), "w") as copy:
        stream = source.streams.video[0]
        out = copy.add_stream_from_template(stream)
        for _, packet in zip(range(frames), source.demux(stream)):
            if packet.dts is not None:
                packet.stream = out
                copy.mux(packet)


def per_frame(net, paths: list[Path], out: Path) -> int:
    """The steps of video_features: each frame through Pillow as it is decoded, floats in a list, one stack at a time.

    A last stack that is not full is left out. Returns the number of stacks.
    """
    import torch
    from PIL import Image

    n_stacks = 0
    for path in paths:
        stack, rows = [], []
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                picture = Image.fromarray(frame.to_ndarray(format="rgb24"))
                scale = SHORT_SIDE / min(picture.size)
                size = [round(scale * side) for side in picture.size]
                pixels = np.asarray(picture.resize(size, Image.Resampling.BILINEAR))
                stack.append(torch.from_numpy(pixels.copy()).permute(2, 0, 1).float()[None])
                if len(stack) < LENGTH:
                    continue
                x, stack = torch.cat(stack), []
                down, right = ((side - CROP) // 2 for side in x.shape[2:])
                x = 2 * x[:, :, down : down + CROP, right : right + CROP] / 255 - 1
                with torch.no_grad():
                    rows.append(net.last_stage(x.permute(1, 0, 2, 3)[None]).mean((2, 3, 4))[0].numpy())
        np.save(out / f"{path.stem}.npy", np.array(rows))
        n_stacks += len(rows)
    return n_stacks


def whole_file(net, paths: list[Path], out: Path) -> int:
    """The steps of the usual script: decode a whole file, resize it with torch, then one clip after the other.

    Returns the number of clips.
    """
    import torch
    from torch.nn.functional import interpolate

    n_clips = 0
    for path in paths:
        with av.open(str(path)) as container:
            frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        x = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
        scale = SHORT_SIDE / min(x.shape[2:])
        x = interpolate(x, [round(scale * side) for side in x.shape[2:]], mode="bilinear", antialias=True)
        down, right = ((side - CROP) // 2 for side in x.shape[2:])
        x = (x[:, :, down : down + CROP, right : right + CROP] / 255 - net.mean) / net.std
        clips = x[: len(x) // LENGTH * LENGTH].unflatten(0, (-1, LENGTH)).transpose(1, 2)
        with torch.no_grad():
            rows = [net.last_stage(clip[None]).mean((2, 3, 4))[0].numpy() for clip in clips]
        np.save(out / f"{path.stem}.npy", np.array(rows))
        n_clips += len(rows)
    return n_clips


def ours(extractor, paths: list[Path], out: Path) -> int:
    """`anomalycli extract`. Returns the number of clips."""
    from anomalycli.extraction.job import extract
    from anomalycli.features.files import load_metadata

    outcomes = list(extract(paths, out, extractor))
    assert {outcome.status for outcome in outcomes} == {"done"}, outcomes
    return sum(len(load_metadata(out / f"{path.stem}.npz").visual) for path in paths)


def run(tool: str, paths: list[Path], backbone: str, weights: Path, folder: Path) -> dict:
    """Run one program in a process of its own, and watch it."""
    out = folder / tool
    out.mkdir()
    words = [sys.executable, __file__, "--tool", tool, "--out", out, "--weights", weights, "--backbone", backbone]
    begin, peak, first = time.monotonic(), 0, None
    process = subprocess.Popen([*map(str, words), *map(str, paths)], stdout=subprocess.PIPE, text=True)
    while process.poll() is None:
        peak = max(peak, sum(resident(pid) for pid in [process.pid, *children(process.pid)]))
        if first is None and any(path.suffix in (".npy", ".npz") for path in out.iterdir()):
            first = time.monotonic() - begin
        time.sleep(0.05)
    assert process.returncode == 0 and process.stdout
    told = json.loads(process.stdout.readline())
    return told | {"first": first, "peak": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=64, help="frames that are taken of each video")
    parser.add_argument("--backbone", default="i3d-inception", choices=("i3d-inception", "i3d"))
    parser.add_argument("--tool", choices=TOOLS, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.tool:
        from anomalycli.backbones import Extractor
        from anomalycli.backbones.base import find_backbone

        if args.tool == "anomalycli":
            work, net = ours, Extractor(args.backbone, "cpu", weights=args.weights)
        else:
            work = per_frame if args.tool == "video_features" else whole_file
            net = find_backbone(args.backbone)().load(args.weights).eval()  # as loaded, fp32
        begin = time.monotonic()
        n_clips = work(net, args.videos, args.out)
        print(json.dumps({"clips": n_clips, "seconds": time.monotonic() - begin}))
        return
    import torch

    from anomalycli.backbones.base import find_backbone

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = folder / "random.pth"
        torch.save({"model_state": find_backbone(args.backbone)().net.state_dict()}, weights)
        paths = [folder / f"{path.stem}.mp4" for path in args.videos]
        for path, short in zip(args.videos, paths):
            shorten(path, short, args.frames)
        print(f"{args.backbone}, {len(paths)} videos, {torch.get_num_threads()} threads")
        print(f"{'':16} {'clips':>6} {'clips/s':>8} {'first file':>11} {'memory':>9}")
        for tool in TOOLS:
            told = run(tool, paths, args.backbone, weights, folder)
            rate = told["clips"] / told["seconds"]
            print(
                f"{tool:16} {told['clips']:6} {rate:8.2f} {told['first']:9.1f} s {told['peak'] / 1e6:6.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
