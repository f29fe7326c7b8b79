"""Validation of a method during training."""

import numpy as np
import torch
from sklearn.metrics import average_precision_score

from ..errors import UsageError
from ..evaluation.protocol import EvaluationSet
from ..inference import score_bags
from ..methods import Method


def average_precision(method: Method, held_out: EvaluationSet, device: torch.device) -> float:
    """AP over all frames if there is ground truth, else over videos by their highest scores.

    Raises UsageError where the scores are not finite.
    """
    scores = score_bags(method, held_out.bags.x, device)
    if not np.isfinite(scores).all():
        raise UsageError("The scores are not finite numbers: training diverges. Choose a lower learning rate.", "lr")
    if held_out.truth is None:
        return float(average_precision_score(held_out.bags.labels, scores.max(1)))
    frames = held_out.frame_scores(scores)
    both = [(held_out.truth[name], frames[name]) for name in frames]
    return float(average_precision_score(*(np.concatenate(part) for part in zip(*both, strict=True))))
