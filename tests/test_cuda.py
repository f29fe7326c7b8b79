"""On an NVIDIA GPU: the results of the CPU, up to rounding, and the same promises."""

import json
import os
import signal
import time

import numpy as np
import pytest
import torch
from helpers import cosine

from anomalycli.backbones import Extractor
from anomalycli.backbones.base import find_backbone
from anomalycli.checkpoint import load_model
from anomalycli.data.bags import load_bags
from anomalycli.inference import score_bags
from anomalycli.media.video import Video
from anomalycli.sample import sample_clip
from anomalycli.training.plan import make_plan
from anomalycli.training.trainer import Destination, TrainingData, train

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
CPU = torch.device("cpu")


def clips_for(extractor: Extractor, n: int) -> list[np.ndarray]:
    every = Video(sample_clip(), extractor.size, extractor.multiple).clips(16, extractor.frames_taken)
    return [clip for clip, _ in zip(every, range(n))]


@pytest.mark.parametrize("backbone", ["lite", "mc3", "i3d", "i3d-inception"])
@pytest.mark.parametrize(("precision", "least"), [("fp32", 0.9999), ("bf16", 0.999), ("fp16", 0.999)])
def test_features_are_those_of_the_cpu(backbone, precision, least, tmp_path):
    weights = None
    if backbone != "lite":  # random ones: the published ones are not everywhere
        weights = tmp_path / "weights.pth"
        torch.manual_seed(0)
        torch.save({"model_state": find_backbone(backbone)().net.state_dict()}, weights)
    small = {"size": 64, "weights": weights}
    on_cpu, on_gpu = Extractor(backbone, "cpu", "fp32", **small), Extractor(backbone, "cuda", precision, **small)
    clips = clips_for(on_cpu, 3)
    assert cosine(on_cpu(clips), on_gpu(clips)).min() >= least


def test_features_of_a_clip_are_the_same_bits_whatever_is_beside_it():
    extractor = Extractor("lite", "cuda")
    clips = clips_for(extractor, 7)
    together = extractor(clips)
    for i, clip in enumerate(clips):
        assert extractor([clip])[0].tobytes() == together[i].tobytes()


def test_an_extraction_that_is_killed_ends_with_the_bits_of_one_that_is_not(start, call, tmp_path, make_video):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (20, 256, 320, 3), np.uint8)
    video = make_video("long.mp4", 3000, (320, 256), paint=lambda i: noise[i % 20])
    call("extract", video, "-o", "whole", "--device", "cuda")
    process = start("extract", video, "-o", "killed", "--device", "cuda")
    rows, deadline = tmp_path / "killed" / "long.npz.rows", time.monotonic() + 120
    while not rows.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    call("extract", video, "-o", "killed", "--device", "cuda")
    a, b = (np.load(tmp_path / folder / "long.npz")["visual"] for folder in ("whole", "killed"))
    assert a.tobytes() == b.tobytes()


def test_scores_are_those_of_the_cpu(run):
    found = {
        device: json.loads(run("score", sample_clip(), "--device", device, "--json").stdout)
        for device in ("cpu", "cuda")
    }
    a, b = (np.array(found[device]["scores"]) for device in ("cpu", "cuda"))
    assert np.abs(a - b).max() < 0.02


def test_a_model_trained_there_is_the_same_for_one_seed_and_after_an_interruption_and_scores_alike_on_the_cpu(
    make_features, tmp_path
):
    bags = load_bags(make_features(normal=20, abnormal=20), 8)
    network = {"segments": 8, "scales": 2, "heads": 2, "feedforward": 16}
    plan = make_plan("de-net", 32, network | {"steps": 150, "batch": 8, "lr": 1e-3, "validate_every": 5})
    lost = []

    def go(name, on_progress=None, resume=False):
        train(plan, TrainingData(bags), Destination(tmp_path / name, False, resume, False), "cuda", on_progress)
        return (tmp_path / name).read_bytes()

    class Stop(Exception):
        pass

    def stop(now):
        lost.append(now.loss)
        if now.step == 77:
            raise Stop

    whole = go("whole", lambda now: lost.append(now.loss))
    assert lost[-1] < 0.5 * lost[0]
    assert go("again") == whole
    with pytest.raises(Stop):
        go("stopped", stop)
    assert go("stopped", resume=True) == whole
    model, _ = load_model(tmp_path / "whole")
    cpu = score_bags(model.to("cpu"), bags.x, CPU)
    gpu = score_bags(model.to("cuda"), bags.x, torch.device("cuda"))
    assert np.abs(cpu - gpu).max() < 1e-3


def test_the_recipe_trains_and_estimates_there(make_features, call, tmp_path):
    make_features(normal=12, abnormal=12)
    call("train", "features", "-o", "m.safetensors", "--device", "cuda")
    model, _ = load_model(tmp_path / "m.safetensors")
    bags = load_bags(tmp_path / "features", 32)
    peaks = score_bags(model, bags.x, CPU).max(1)
    assert peaks[bags.labels == 1].mean() > peaks[bags.labels == 0].mean()


def test_methods_are_compared_there(make_features, call, tmp_path):
    make_features()
    lines = ["video,n_frames,start,end", *(f"video{i:02},155,,," for i in range(6))]
    lines += [f"video{i:02},155,48,80" for i in range(6, 12)]
    (tmp_path / "truth.csv").write_text("\n".join(lines))
    test = ("--test", "features", "--ground-truth", "truth.csv", "--methods", "mil-rank,de-net", "--seeds", "1")
    small = ("--set", "steps=20", "--set", "segments=8", "--set", "batch=4", "--set", "feedforward=16")
    told = call("compare", "features", "-o", "out", *test, *small, "--device", "cuda")
    assert "de-net" in told.stdout


def test_a_stream_is_scored_there(run):
    told = run("watch", sample_clip(), "--device", "cuda")
    events = [json.loads(line) for line in told.stdout.splitlines()]
    assert [event["kind"] for event in events].count("final") == 1
