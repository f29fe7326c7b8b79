"""How a network in training, or a method in a comparison, does on bags it is not trained on."""

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torch import nn

from ..evaluation.protocol import EvaluationSet


def average_precision(model: nn.Module, held_out: EvaluationSet, device: torch.device) -> float:
    """AP of all frames where there is ground truth, else of the videos, each by its highest score."""
    scores = score_bags(model, held_out.bags.x, device)
    if held_out.truth is None:
        return float(average_precision_score(held_out.bags.labels, scores.max(1)))
    frames = held_out.frame_scores(scores)
    both = [(held_out.truth[name], frames[name]) for name in frames]
    return float(average_precision_score(*(np.concatenate(part) for part in zip(*both, strict=True))))


@torch.inference_mode()
def score_bags(model: nn.Module, x: np.ndarray, device: torch.device) -> np.ndarray:
    """Scores of segments, crops averaged: (N, C, T, D) -> float32 (N, T)."""
    model.eval()
    parts = [torch.from_numpy(x[i : i + 64]).to(device).float() for i in range(0, len(x), 64)]
    return (
        torch.cat([model(part.flatten(0, 1))[1].unflatten(0, part.shape[:2]).mean(1) for part in parts]).cpu().numpy()
    )
