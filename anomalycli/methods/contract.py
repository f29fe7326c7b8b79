"""A check that a method fulfils its contract, for the test of a new one."""

import dataclasses
from typing import Any

import torch

from . import find_method

VIDEOS, SEGMENTS, DIM = 4, 16, 32  # the size of the random bags


def check_method(name: str, **settings: Any) -> None:
    """Run the method of this name on random bags and compare it with `base.Method`; `settings` are its own.

    Raises AssertionError with a sentence about the first violation, UsageError if there is no such method.
    """
    kind = find_method(name)
    fields = {field.name for field in dataclasses.fields(kind.settings)}
    assert {"feature_dim", "segments"} <= fields, "the settings have feature_dim and segments"
    made = kind.configure(DIM, {"segments": SEGMENTS, **settings})
    torch.manual_seed(0)
    method: Any = kind.build(made)
    assert method.settings == made, "the method keeps its settings"
    x_a, x_n = torch.randn(2, VIDEOS, SEGMENTS, DIM)
    _check_scores(method, x_a)
    _check_loss(method, x_a, x_n)
    _check_state(name, method, made, x_a)


def _check_scores(method: Any, x: torch.Tensor) -> None:
    method.eval()
    with torch.inference_mode():
        features, scores = method(x)
        alone = torch.cat([method(video[None])[1] for video in x])
    assert features.shape[:2] == (VIDEOS, SEGMENTS), f"features are (B, T, any width), not {tuple(features.shape)}"
    assert scores.shape == (VIDEOS, SEGMENTS), f"scores are (B, T), not {tuple(scores.shape)}"
    assert scores.min() >= 0 and scores.max() <= 1, "scores are in [0, 1]"
    assert torch.allclose(scores, alone, atol=1e-5), "a video has the same scores whatever videos are beside it"


def _check_loss(method: Any, x_a: torch.Tensor, x_n: torch.Tensor) -> None:
    method.train()
    loss, erased = method.loss(x_a, x_n)
    assert loss.dim() == 0 and loss.isfinite(), "the loss is one finite number"
    assert erased.dtype == torch.bool and erased.shape == (VIDEOS, SEGMENTS), "what is erased is bool (B, T)"
    loss.backward()
    unused = [name for name, parameter in method.named_parameters() if parameter.grad is None]
    assert not unused, f"the loss does not depend on {unused[0]}"
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        assert method.loss(x_a, x_n)[0].isfinite(), "the loss is finite in bf16"


def _check_state(name: str, method: Any, settings: Any, x: torch.Tensor) -> None:
    tensors = {key: tensor.clone() for key, tensor in method.state_dict().items()}
    with torch.device("meta"):  # as a checkpoint is loaded: nothing but tensors is made
        again: Any = find_method(name).build(settings)
    again.load_state_dict(tensors, assign=True)
    with torch.inference_mode():
        assert torch.equal(again.eval()(x)[1], method.eval()(x)[1]), "its state_dict is all that it has learnt"
