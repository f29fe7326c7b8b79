"""Layers that compute gradients of few segments, against the plain operations, which compute those of all."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu
from torch.utils.flop_counter import FlopCounterMode

from anomalycli.denet import MSTM, DENet, DENetConfig, classifier
from anomalycli.dropout import Dropout
from anomalycli.segment_layers import attend, feed_forward

VIDEOS, SEGMENTS, DIM = 4, 64, 24
FEW = torch.zeros(VIDEOS, SEGMENTS, 1)
FEW[0, 5] = FEW[1, [0, 63]] = FEW[3, [7, 8, 40]] = 1  # none of the third video
MOST = (torch.arange(SEGMENTS) % 4 > 0).float()[:, None].expand(VIDEOS, SEGMENTS, 1)
DROP = Dropout(0.3)


def gradients(function: Callable[..., Tensor], inputs: list[Tensor], grad: Tensor) -> list[Tensor]:
    """What `function` gives, and the gradients of its inputs where that of its result is `grad`."""
    torch.manual_seed(1)
    given = [x.detach().clone().requires_grad_() for x in inputs]
    result = function(*given)
    result.backward(grad)
    return [result, *(x.grad for x in given if x.grad is not None)]


def assert_same(ours: list[Tensor], plain: list[Tensor]) -> None:
    assert len(ours) == len(plain)
    for one, other in zip(ours, plain, strict=True):
        assert one.dtype == other.dtype
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("where", [FEW, MOST, torch.zeros_like(FEW)])
def test_attention_and_its_gradients_are_the_plain_ones(where):
    torch.manual_seed(0)
    heads = 3
    inputs = [torch.randn(VIDEOS, heads, SEGMENTS, DIM // heads) for _ in range(3)]
    grad = (torch.randn(VIDEOS, SEGMENTS, DIM) * where).unflatten(2, (heads, -1)).transpose(1, 2)

    def plain(query, key, value):
        return DROP((query @ key.mT / (DIM // heads) ** 0.5).softmax(3)) @ value

    ours = gradients(lambda *given: attend(*given, DROP), inputs, grad)
    assert_same(ours, gradients(plain, inputs, grad))


@pytest.mark.parametrize("where", [FEW, MOST, torch.zeros_like(FEW)])
def test_the_feed_forward_part_and_its_gradients_are_the_plain_ones(where):
    torch.manual_seed(0)
    first, second = nn.Linear(DIM, 40), nn.Linear(40, DIM)
    weights = [*first.parameters(), *second.parameters()]
    x, grad = torch.randn(VIDEOS, SEGMENTS, DIM), torch.randn(VIDEOS, SEGMENTS, DIM) * where
    results = []
    for function in (feed_forward, lambda x, first, drop, second: second(drop(gelu(first(x))))):
        first.zero_grad()
        second.zero_grad()
        results.append(gradients(lambda given, f=function: f(given, first, DROP, second), [x], grad))
        results[-1] += [weight.grad for weight in weights]
    assert_same(*results)


def test_under_autocast_products_are_in_bf16_and_gradients_of_weights_in_fp32():
    torch.manual_seed(0)
    first, second = nn.Linear(DIM, 40), nn.Linear(40, DIM)
    x = torch.randn(VIDEOS, SEGMENTS, DIM, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        narrow = feed_forward(x, first, DROP, second)
    narrow.backward(FEW.expand_as(narrow).bfloat16())
    assert narrow.dtype == torch.bfloat16
    assert {x.grad.dtype, first.weight.grad.dtype, second.bias.grad.dtype} == {torch.float32}


@pytest.mark.parametrize(
    "make",
    [lambda: MSTM(DENetConfig(DIM, scales=1, heads=3, feedforward=40)), lambda: classifier(DIM, 0.6)],
    ids=["MSTM", "classifier"],
)
def test_segments_without_a_gradient_cost_fewer_operations(make):
    torch.manual_seed(0)
    layer = make()
    operations = []
    for where in (FEW, torch.ones_like(FEW)):
        result = layer(torch.randn(VIDEOS, SEGMENTS, DIM, requires_grad=True))
        with FlopCounterMode(display=False) as counter:
            result.backward((torch.randn_like(result) + 5) * where)
        operations.append(counter.get_total_flops())
    assert operations[0] < 0.8 * operations[1]


def test_a_graph_that_is_kept_gives_the_same_gradients_again():
    torch.manual_seed(0)
    net = DENet(DENetConfig(feature_dim=16, segments=16, scales=2, heads=2, feedforward=32))
    features, scores = net(torch.randn(2, 16, 16))
    of_scores, of_features = scores.amax(1).sum(), features[:, 0].sum()
    weights = [weight for name, weight in net.named_parameters() if name.startswith("mstm.encoders")]
    once = torch.autograd.grad(of_scores, weights, retain_graph=True)
    torch.autograd.grad(of_features, weights, retain_graph=True)
    again = torch.autograd.grad(of_scores, weights)
    assert all(torch.equal(one, other) for one, other in zip(once, again, strict=True))
