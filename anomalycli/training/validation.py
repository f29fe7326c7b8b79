"""How a network in training, or a method in a comparison, does on bags it is not trained on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torch import nn

from ..data.bags import Bags, load_bags
from ..data.ground_truth import fitted, load_ground_truth, slack_of
from ..errors import UsageError
from ..segments import spread


@dataclass(frozen=True)
class Judge:
    """Bags that are scored, never trained on, and, where it is known, which of their frames are abnormal."""

    bags: Bags
    truth: Mapping[str, np.ndarray] | None = None
    slack: int = 0  # frames by which features may be longer

    def ap(self, model: nn.Module, device: torch.device) -> float:
        """Of all frames where there is ground truth, else of the videos, each by its highest score."""
        scores = score_bags(model, self.bags.x, device)
        if self.truth is None:
            return float(average_precision_score(self.bags.labels, scores.max(1)))
        frames = self.frames(scores)
        both = [(self.truth[name], frames[name]) for name in frames]
        return float(average_precision_score(*(np.concatenate(part) for part in zip(*both, strict=True))))

    def frames(self, scores: np.ndarray) -> dict[str, np.ndarray]:
        """Scores of the frames that `truth` has, by video, from those of the segments (N, T)."""
        assert self.truth is not None
        videos = zip(self.bags.names, scores, self.bags.n_frames.tolist(), strict=True)
        spread_out = {Path(name).name: spread(video, n) for name, video, n in videos}
        return fitted(spread_out, self.truth, self.slack)


def judge_of(bags: Bags, truth: Mapping[str, np.ndarray] | None, dataset: str = "csv") -> Judge:
    """Of `truth`, what `bags` need. Raises UsageError where it does not fit them."""
    if truth is None:
        return Judge(bags)
    names = [Path(name).name for name in bags.names]
    if missing := sorted(set(names) - truth.keys()):
        raise UsageError(f"There are features of {missing[0]}, and no ground truth.")
    judge = Judge(bags, {name: truth[name] for name in names}, slack_of(bags.kind, dataset))
    judge.frames(np.zeros((len(names), 1)))
    return judge


def load_judge(
    folder: Path,
    n_segments: int,
    dataset: str,
    ground_truth: Path | None,
    frames: Path | None = None,
    last_frame: bool = False,
    vggish: Path | None = None,
) -> Judge:
    """Test features with their ground truth, which tells the labels too; crops are kept.

    Raises UsageError where there is no ground truth or the two do not fit.
    """
    if ground_truth is None:
        raise UsageError(f"{folder}: the test features need --ground-truth.")
    labels = ground_truth if dataset == "csv" else None
    bags = load_bags(folder, n_segments, crops="all", vggish=vggish, labels=labels)
    lengths = {Path(name).name: n for name, n in zip(bags.names, bags.n_frames.tolist(), strict=True)}
    truth = load_ground_truth(dataset, ground_truth, lengths, frames, last_frame)
    fitted({name: np.empty(n) for name, n in lengths.items()}, truth, slack_of(bags.kind, dataset))
    return judge_of(bags, truth, dataset)


@torch.inference_mode()
def score_bags(model: nn.Module, x: np.ndarray, device: torch.device) -> np.ndarray:
    """Scores of segments, crops averaged: (N, C, T, D) -> float32 (N, T)."""
    model.eval()
    parts = [torch.from_numpy(x[i : i + 64]).to(device).float() for i in range(0, len(x), 64)]
    return (
        torch.cat([model(part.flatten(0, 1))[1].unflatten(0, part.shape[:2]).mean(1) for part in parts]).cpu().numpy()
    )
