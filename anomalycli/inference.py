"""The forward pass of a trained model: scores of bags, crops averaged."""

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from .segments import window_weights

BATCH = 64  # bags per pass


class Network(Protocol):
    """Maps (B, T, D) to features and scores (B, T); any nn.Module that does."""

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]: ...
    def eval(self) -> Any: ...


@torch.inference_mode()
def score_bags(model: Network, x: np.ndarray, device: torch.device) -> np.ndarray:
    """Scores of segments, the mean over crops: (N, n_crops, T, D) -> float32 (N, T).

    `model` is put into eval mode.
    """
    model.eval()
    parts = []
    for i in range(0, len(x), BATCH):
        bags = torch.from_numpy(x[i : i + BATCH]).to(device).float()  # (B, n_crops, T, D)
        scores = model(bags.flatten(0, 1))[1]  # (B * n_crops, T)
        parts.append(scores.unflatten(0, bags.shape[:2]).mean(1))
    return torch.cat(parts).cpu().numpy()


def score_clips(model: Any, x: np.ndarray, device: torch.device) -> np.ndarray:
    """Scores of the clips or segments of one video: (T, n_crops, D) -> float32 (T,); crops are averaged."""
    return score_bags(model, x[None].transpose(0, 2, 1, 3), device)[0]


def score_windows(model: Any, x: np.ndarray, length: int, device: torch.device) -> np.ndarray:
    """As `score_clips`, in windows of `length` clips that overlap by half, weighted to fade at their ends: (T,)."""
    starts = sorted({*range(0, len(x) - length, length // 2), len(x) - length})
    weight = window_weights(length)
    total, weights = np.zeros(len(x)), np.zeros(len(x))
    for start in starts:
        window = slice(start, start + length)
        total[window] += weight * score_clips(model, x[window], device)
        weights[window] += weight
    return total / weights
