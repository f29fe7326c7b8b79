"""The losses of DE-Net, Sec. 3.3, Eq. 11-16 of the paper; means over the pairs of a batch."""

from torch import Tensor
from torch.nn.functional import cosine_similarity, relu


def ranking_loss(s_a: Tensor, s_n: Tensor) -> Tensor:
    """Hinge between the highest scores of an abnormal and a normal video, both (B, T). Eq. 11."""
    return relu(1 - s_a.amax(1) + s_n.amax(1)).mean()


def variation(features: Tensor) -> Tensor:
    """1 - cosine between each segment and the one T/2 before it: (B, T, D) -> (B, T/2). Eq. 12."""
    k = features.shape[1] // 2
    return 1 - cosine_similarity(features[:, :-k], features[:, k:], dim=2)


def variation_loss(f_a: Tensor, f_n: Tensor) -> Tensor:
    """Hinge between the greatest variations of MSTM's features, both (B, T, D). Eq. 13."""
    return relu(1 - variation(f_a).amax(1) + variation(f_n).amax(1)).mean()


def step_loss(f_a: Tensor, s_a: Tensor, f_n: Tensor, s_n: Tensor, alpha1: float, alpha2: float) -> Tensor:
    """The loss of one step: L_u of the videos as they are (Eq. 14), L_e of the erased ones (Eq. 15)."""
    return alpha1 * ranking_loss(s_a, s_n) + alpha2 * variation_loss(f_a, f_n)


def total_loss(unerased: Tensor, erased: Tensor, lambda1: float, lambda2: float) -> Tensor:
    """Both steps' losses, weighted. Eq. 16."""
    return lambda1 * unerased + lambda2 * erased
