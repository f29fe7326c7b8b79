"""The paper's claim of completeness, on a set whose every segment is known: erasing finds the mild segments too.

Each abnormal video has one brief prominent anomaly and one or two mild ones elsewhere, which look
different. Video-level labels alone never ask for the mild ones: a network that finds the prominent
one has won. Measured is the recall of mild segments where 5% of normal segments are false alarms.
"""

import numpy as np
import torch
from helpers import kind as features_kind

from anomalycli.data.bags import Bags
from anomalycli.training.plan import make_plan
from anomalycli.training.trainer import Material, fit

T, D, VIDEOS = 32, 16, 60
NORMAL, PROMINENT, MILD = 0, 1, 2


def make_videos(rng):
    """Abnormal videos, then normal ones: x (2 * VIDEOS, T, D), and what each segment is (2 * VIDEOS, T)."""
    x = rng.normal(size=(2 * VIDEOS, T, D)).astype(np.float32)
    kind = np.full((2 * VIDEOS, T), NORMAL)
    for video in kind[:VIDEOS]:
        slots = 4 * rng.permutation(T // 4) + rng.integers(0, 2)
        video[slots[0] : slots[0] + rng.integers(1, 3)] = PROMINENT
        for slot in slots[1 : 1 + rng.integers(1, 3)]:  # one piece, or two apart
            video[slot : slot + rng.integers(1, 4)] = MILD
    x[..., 2] += 2
    x[..., 0] += 6 * (kind == PROMINENT)
    x[..., 1] += 3 * (kind == MILD)
    return x, kind


def recall(name, seed):
    """Of mild, and of prominent segments of videos that were not trained on."""
    rng = np.random.default_rng(seed)
    x, _ = make_videos(rng)
    test, kind = make_videos(rng)
    values = {"steps": 150, "batch": 16, "lr": 1e-3, "seed": seed, "precision": "fp32"}
    values |= {"segments": T, "scales": 2, "heads": 2, "feedforward": 32}
    labels = np.repeat([1, 0], VIDEOS)
    names = tuple(map(str, range(2 * VIDEOS)))
    bags = Bags(x[:, None], labels, names, features_kind(dim=D), np.full(2 * VIDEOS, 16 * T))
    material = Material(bags, np.arange(2 * VIDEOS))
    method = fit(make_plan(name, D, values), material, torch.device("cpu")).method
    with torch.inference_mode():
        scores = method.eval()(torch.from_numpy(test))[1].numpy()
    alarm = np.quantile(scores[kind == NORMAL], 0.95)
    return [(scores[kind == which] > alarm).mean() for which in (MILD, PROMINENT)]


def test_erasing_finds_the_mild_segments_that_mstm_alone_leaves_and_keeps_the_prominent_ones():
    alone, whole = (np.mean([recall(name, seed) for seed in range(4)], axis=0) for name in ("mstm", "de-net"))
    assert whole[0] > alone[0] + 0.15
    assert min(alone[1], whole[1]) > 0.85
