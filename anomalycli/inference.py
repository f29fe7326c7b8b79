"""The forward pass of a trained model: scores of bags, crops averaged."""

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

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
