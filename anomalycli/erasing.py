"""Dynamic erasing: erase prominent segments where detection is incomplete. Sec. 3.2, Eq. 6-10 of the paper.

x are a batch's segment features as they enter the network (B, T, D), s its anomaly scores (B, T);
a stands for abnormal videos, n for normal ones. No gradient passes through erasing.
"""

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity


@torch.no_grad()
def similarity(x: Tensor, scores: Tensor) -> Tensor:
    """Cosine between each video's most abnormal and most normal segment, (B,). Eq. 6-7."""
    videos = torch.arange(len(x), device=x.device)
    most_abnormal = x[videos, scores.argmax(1)]  # (B, D)
    most_normal = x[videos, scores.argmin(1)]  # (B, D)
    return cosine_similarity(most_abnormal, most_normal, dim=1)


@torch.no_grad()
def completeness(x_a: Tensor, s_a: Tensor, x_n: Tensor, s_n: Tensor) -> Tensor:
    """How complete the anomalies found in each abnormal video are, (B,): above 0 means whole. Eq. 8."""
    return similarity(x_a, s_a) - similarity(x_n, s_n).mean()


@torch.no_grad()
def erase(
    x_a: Tensor, s_a: Tensor, x_n: Tensor, s_n: Tensor, threshold: float = 0.8, dynamic: bool = True
) -> tuple[Tensor, Tensor]:
    """Zero the segments that score above `threshold` in the videos that are not complete. Eq. 9-10.

    With `dynamic=False`, in every abnormal video. Returns the erased x_a (B, T, D) and which
    segments were erased (B, T).
    """
    mask = s_a > threshold
    if dynamic:
        mask = mask & (completeness(x_a, s_a, x_n, s_n) <= 0)[:, None]
    return x_a.masked_fill(mask[:, :, None], 0), mask
