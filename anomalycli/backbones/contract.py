"""A check that a backbone fulfils its contract, for the test of a new one."""

from pathlib import Path

import numpy as np
import torch

from .base import find_backbone
from .extractor import Extractor

SHORT, LONG = 64, 96  # pixels; sides of the pictures, where the backbone takes so small ones


def check_backbone(name: str, weights: Path | None = None, size: int = SHORT) -> None:
    """Run the backbone of this name, or `module:Class`, on random clips and compare with `base.Backbone`.

    `weights` is the file to load instead of the published one, `size` the short side of the pictures. Raises
    AssertionError with a sentence about the first violation, UsageError if there is no such backbone or it lacks a
    required member.
    """
    plain = find_backbone(name)().load(weights).eval()
    extractor = Extractor(name, "cpu", "fp32", size, weights=weights)
    kind = extractor.kind
    taken = plain.frames_taken or tuple(range(plain.clip_length))
    assert list(taken) == sorted({*taken}) and taken[0] >= 0 and taken[-1] < plain.clip_length, "frames_taken"
    assert kind.clip_length == plain.clip_length > 0, "clip_length is a number of frames"
    assert kind.weights_sha256, "load sets sha256, so that features of other weights are refused"
    assert not kind.groups or sum(width for _, width in kind.groups) == kind.dim, "the widths of groups add up to dim"
    long = -(-LONG // plain.multiple) * plain.multiple
    for height, width in ((size, long), (long, size)):
        clips = list(np.random.default_rng(0).integers(0, 256, (3, len(taken), height, width, 3), np.uint8))
        features = extractor(clips)
        n_crops = len(plain.views(torch.from_numpy(clips[0][None])))
        assert features.shape == (3, n_crops, kind.dim), f"features are (clips, crops, dim), not {features.shape}"
        assert features.dtype == np.float32, "features are float32"
        assert np.isfinite(features).all(), "features are finite"
        alone = np.concatenate([extractor([clip]) for clip in clips])
        assert np.array_equal(features, alone), "a clip has the same features whatever clips are beside it"
        with torch.inference_mode():
            untuned = plain(torch.from_numpy(clips[0][None])).numpy()
        error = np.abs(untuned - features[:1]).max() / max(np.abs(untuned).max(), 1e-6)
        assert error < 1e-3, "tune does not change the features"
