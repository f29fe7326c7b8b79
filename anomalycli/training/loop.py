"""The training loop, the same for all methods."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..data.sampling import BagBatches
from ..methods import Method
from .config import TrainConfig

CHUNK = 64  # steps whose batches are prepared together, so that the device does not wait for each


@dataclass(frozen=True)
class Step:
    """`number` steps are done; the loss of the last, a scalar, and which segments it erased, bool (batch, T)."""

    number: int
    loss: Tensor
    erased: Tensor


def make_optimizer(method: Method, config: TrainConfig) -> torch.optim.Optimizer:
    """Adam with the learning rate and weight decay of `config`."""
    return torch.optim.Adam(method.parameters(), config.lr, weight_decay=config.weight_decay, fused=True)


def optimise(
    method: Method,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    batches: BagBatches,
    config: TrainConfig,
    start: int = 0,
) -> Iterator[Step]:
    """Train from step `start` to config.steps, yielding after each.

    x: all bags, `arranged`, on the device of the method. Each step draws its videos and its dropout from
    (seed, step) alone.
    """
    bf16 = config.precision == "bf16"
    for first in range(start, config.steps, CHUNK):
        chunk = range(first, min(first + CHUNK, config.steps))
        rows = torch.from_numpy(np.stack([batches(step) for step in chunk])).to(x.device)
        for step, (abnormal, normal) in zip(chunk, rows, strict=True):
            torch.manual_seed(_seed(config.seed, step))
            method.train()
            # without the cache of weights in bf16: gradients of the un-erase and the erase step are summed in fp32
            with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16, cache_enabled=False):
                loss, erased = method.loss(x[abnormal].float(), x[normal].float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield Step(step + 1, loss.detach(), erased)


def _seed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence((seed, step)).generate_state(1)[0])
