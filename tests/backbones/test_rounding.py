"""Weights in 8-bit steps: on the grid, and closer in what comes out than the nearest ones."""

import pytest
import torch
from torch import nn

from anomalycli.backbones import rounding
from anomalycli.backbones.rounding import round_weights, rounded, second_moments


def smooth(channels: int, size: int = 24) -> torch.Tensor:
    """Maps whose neighbouring places and channels go together, as those of pictures do: (2, channels, size, size)."""
    noise = torch.randn(2, channels + 2, size + 4, size + 4, generator=torch.Generator().manual_seed(0))
    return nn.functional.avg_pool3d(noise[:, None], (3, 5, 5), 1)[:, 0].relu()


def convolution(**settings) -> nn.Conv2d:
    torch.manual_seed(1)
    return nn.Conv2d(**{"in_channels": 8, "out_channels": 16, "kernel_size": 3} | settings)


@pytest.mark.parametrize(
    "settings", [{"kernel_size": 1}, {"padding": 1, "stride": 2}, {"groups": 8}, {"groups": 2, "dilation": 2}]
)
def test_outputs_change_less_than_with_the_nearest_weights(settings):
    conv, x = convolution(**settings), smooth(8)
    before, exact = conv.weight.detach().clone(), conv(x).detach()
    step = before.abs().amax((1, 2, 3), keepdim=True) / 127
    conv.weight.data = (before / step).round() * step
    nearest = (conv(x) - exact).square().mean()
    conv.weight.data = before.clone()
    round_weights(nn.Sequential(conv), lambda: conv(x), lambda _: False)
    steps = conv.weight.detach() / step
    torch.testing.assert_close(steps, steps.round(), atol=1e-3, rtol=0)
    torch.testing.assert_close(steps.abs().amax((1, 2, 3)), torch.full((16,), 127.0))
    assert (conv(x) - exact).square().mean() < 0.85 * nearest


def test_second_moments_are_those_of_the_inputs_of_each_output():
    conv, x = convolution(groups=2, padding=1, stride=2), smooth(8, 6)
    padded = nn.functional.pad(x, (1, 1, 1, 1))
    for group, found in enumerate(second_moments(conv, x, 9)):
        inputs = [
            padded[b, 4 * group : 4 * group + 4, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].flatten()
            for b in range(2)
            for i in range(3)
            for j in range(3)
        ]
        torch.testing.assert_close(found, sum(torch.outer(one, one) for one in inputs) / len(inputs))


def test_weights_whose_inputs_do_not_go_together_are_the_nearest():
    weights = 127 * torch.rand(2, 5, 7, dtype=torch.double)
    weights[:, :, 3] = -127
    assert torch.equal(rounded(weights, torch.eye(7, dtype=torch.double).expand(2, 7, 7)), weights.round())


def test_what_stays_exact_or_is_too_long_keeps_its_weights(monkeypatch):
    net, x = nn.Sequential(convolution(), convolution(in_channels=16), convolution(in_channels=16)), smooth(8)
    before = [conv.weight.detach().clone() for conv in net]
    monkeypatch.setattr(rounding, "LONGEST", 100)  # only the first has fewer
    round_weights(net, lambda: net(x), lambda name: name == "0")
    assert all(torch.equal(conv.weight, weight) for conv, weight in zip(net, before, strict=True))
    round_weights(net, lambda: net(x), lambda _: False)
    assert [torch.equal(conv.weight, weight) for conv, weight in zip(net, before, strict=True)] == [False, True, True]
