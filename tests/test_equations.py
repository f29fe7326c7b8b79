"""The network, the erasing and the losses against loops written from the paper, gradients included.

The references know no batch and no tensor operation wider than a vector: one video, one segment, one
head at a time, in float64. What is tested runs in float32.
"""

import copy
import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn

from anomalycli.dropout import Dropout
from anomalycli.erasing import completeness, erase, similarity
from anomalycli.losses import ranking_loss, variation, variation_loss
from anomalycli.methods.de_net import DENetMethod, DENetSettings
from anomalycli.segment_layers import Layers

TOLERANCE = 1e-5
CONFIG = DENetSettings(feature_dim=8, segments=8, scales=3, heads=2, feedforward=12)


def close(ours: Tensor, reference: Tensor) -> None:
    torch.testing.assert_close(ours.double(), reference.double(), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.fixture
def model() -> DENetMethod:
    """A small network whose every parameter matters: fresh norms and biases would hide mistakes."""
    torch.manual_seed(0)
    model = DENetMethod(CONFIG).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(3, 8, 8), torch.randn(3, 8, 8)


# ---- references: one video, x is a list of T vectors ----


def naive_conv(conv, x, width):  # Eq. 1: kernel = stride = width, so each output sees its own `width` segments
    return [
        torch.stack(
            [
                sum(conv.weight[d, :, k] @ x[t * width + k] for k in range(width)) + conv.bias[d]
                for d in range(len(x[0]))
            ]
        )
        for t in range(len(x) // width)
    ]


def naive_norm(norm, v):
    mean = sum(v) / len(v)
    deviation = torch.sqrt(sum((c - mean) ** 2 for c in v) / len(v) + norm.eps)
    return (v - mean) / deviation * norm.weight + norm.bias


def naive_attention(attention, x):
    dim, heads = len(x[0]), attention.num_heads
    width = dim // heads
    weights, biases = attention.in_proj_weight.split(dim), attention.in_proj_bias.split(dim)
    q, k, v = ([w @ token + b for token in x] for w, b in zip(weights, biases, strict=True))
    out = []
    for i in range(len(x)):
        parts = []
        for h in range(heads):
            part = slice(h * width, (h + 1) * width)
            raw = [torch.exp(q[i][part] @ k[j][part] / math.sqrt(width)) for j in range(len(x))]
            parts.append(sum(raw[j] * v[j][part] for j in range(len(x))) / sum(raw))
        out.append(attention.out_proj.weight @ torch.cat(parts) + attention.out_proj.bias)
    return out


def naive_encoder(encoder, x):  # one pre-norm layer
    layer = encoder.layers[0]
    attended = naive_attention(layer.self_attn, [naive_norm(layer.norm1, token) for token in x])
    x = [token + more for token, more in zip(x, attended, strict=True)]
    out = []
    for token in x:
        hidden = layer.linear1.weight @ naive_norm(layer.norm2, token) + layer.linear1.bias
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))  # GELU
        out.append(token + layer.linear2.weight @ hidden + layer.linear2.bias)
    return out


def naive_network(model, x):  # Eq. 1-5
    mstm, scales = model.mstm, []
    for s in range(1, model.config.scales + 1):  # as the paper counts them
        width = 2 ** (s - 1)
        local = naive_conv(mstm.convs[s - 1], x, width)
        whole = naive_encoder(mstm.encoders[s - 1], [v + p for v, p in zip(local, mstm.positions[s - 1], strict=True)])
        scales.append([whole[t // width] for t in range(len(x))])
    features = [mstm.fc.weight @ torch.cat([scale[t] for scale in scales]) + mstm.fc.bias for t in range(len(x))]
    first, second, last = (model.classifier[i] for i in (0, 3, 5))
    scores = []
    for v in features:
        hidden = first.weight @ v + first.bias
        hidden = torch.stack([c if c > 0 else c * 0 for c in hidden])
        hidden = second.weight @ hidden + second.bias
        scores.append(1 / (1 + torch.exp(-(last.weight[0] @ hidden + last.bias[0]))))
    return features, scores


def naive_cosine(a, b):
    norms = torch.sqrt(sum(c * c for c in a)) * torch.sqrt(sum(c * c for c in b))
    return sum(c * d for c, d in zip(a, b, strict=True)) / torch.clamp(norms, min=1e-8)


def naive_similarity(x, scores):  # Eq. 6-7
    highest = lowest = 0
    for t in range(len(x)):
        highest = t if scores[t] > scores[highest] else highest
        lowest = t if scores[t] < scores[lowest] else lowest
    return naive_cosine(x[highest], x[lowest])


def naive_erase(x_a, s_a, x_n, s_n, threshold, dynamic):  # Eq. 8-10
    normal = sum(naive_similarity(x, s) for x, s in zip(x_n, s_n, strict=True)) / len(x_n)
    out = []
    for x, s in zip(x_a, s_a, strict=True):
        memory = 0 if dynamic and naive_similarity(x, s) - normal > 0 else 1
        out.append([v * 0 if s[t] > threshold and memory == 1 else v for t, v in enumerate(x)])
    return out


def naive_loss(features_a, s_a, features_n, s_n, config):  # Eq. 11-15
    total = 0
    for f_a, a, f_n, n in zip(features_a, s_a, features_n, s_n, strict=True):
        k = len(f_a) // 2
        var_a, var_n = ([1 - naive_cosine(f[t - k], f[t]) for t in range(k, len(f))] for f in (f_a, f_n))
        score = max(torch.zeros(()).double(), 1 - max(a) + max(n))
        feature = max(torch.zeros(()).double(), 1 - max(var_a) + max(var_n))
        total = total + config.alpha1 * score + config.alpha2 * feature
    return total / len(s_a)


def naive_total_loss(model, x_a, x_n, config):  # Eq. 16, Algorithm 1
    (f_a, s_a), (f_n, s_n) = (zip(*(naive_network(model, list(x)) for x in part), strict=True) for part in (x_a, x_n))
    loss = config.lambda1 * naive_loss(f_a, s_a, f_n, s_n, config)
    if config.erasing == "never":
        return loss
    x_e = naive_erase(x_a, s_a, x_n, s_n, config.threshold, config.erasing == "dynamic")
    f_e, s_e = zip(*(naive_network(model, x) for x in x_e), strict=True)
    return loss + config.lambda2 * naive_loss(f_e, s_e, f_n, s_n, config)


# ---- the network and the losses ----


def test_network_is_equations_1_to_5(model, batch):
    features, scores = model(batch[0])
    with torch.inference_mode():  # the path that scoring takes
        _, quick = model(batch[0])
    reference = [naive_network(copy.deepcopy(model).double(), list(x.double())) for x in batch[0]]
    close(features, torch.stack([torch.stack(f) for f, _ in reference]))
    close(scores, torch.stack([torch.stack(s) for _, s in reference]))
    close(quick, scores)


@pytest.mark.parametrize("erasing", ["never", "always", "dynamic"])
def test_total_loss_and_its_gradients_are_equations_6_to_16(model, batch, erasing):
    threshold = model(batch[0])[1].quantile(0.5).item()  # so that there is something to erase and to keep
    weights = {"alpha1": 0.9, "alpha2": 0.7, "lambda1": 1.1, "lambda2": 0.8}
    config = dataclasses.replace(CONFIG, erasing=erasing, threshold=threshold, **weights)
    model.settings = config
    loss, erased = model.loss(*batch)
    loss.backward()

    reference = copy.deepcopy(model).double()
    reference.zero_grad()
    expected = naive_total_loss(reference, *(x.double() for x in batch), config)
    expected.backward()

    assert erased.any() == (erasing != "never")
    if erasing == "dynamic":
        assert 0 < erased.any(1).sum() < 3, "the batch must hold a video that is erased and one that is not"
    close(loss, expected)
    for (name, ours), theirs in zip(model.named_parameters(), reference.parameters(), strict=True):
        assert ours.grad is not None, name
        close(ours.grad, theirs.grad)


def test_variation_compares_each_segment_with_the_one_half_a_video_before():
    features = torch.randn(2, 6, 5)
    expected = [[1 - naive_cosine(f[t - 3], f[t]) for t in (3, 4, 5)] for f in features.double()]
    close(variation(features), torch.tensor(expected))


def test_hinges_close_when_the_gap_is_one():
    s_a, s_n = torch.tensor([[0.1, 1.0]]), torch.tensor([[0.0, 0.0]])
    assert ranking_loss(s_a, s_n) == 0
    assert ranking_loss(s_n, s_a) == 2
    opposite, same = torch.tensor([[[1.0], [-1.0]]]), torch.tensor([[[1.0], [1.0]]])
    assert variation_loss(opposite, same) == 0
    assert variation_loss(same, opposite) == 3


def test_losses_pair_video_i_with_video_i():
    s_a, s_n = torch.tensor([[1.0], [0.0]]), torch.tensor([[0.0], [1.0]])
    assert ranking_loss(s_a, s_n) == (0 + 2) / 2


# ---- the erasing ----

NORMAL = torch.tensor([[[1.0, 0.0], [0.6, 0.8]]])  # highest and lowest segment: similarity .6
NORMAL_SCORES = torch.tensor([[0.3, 0.1]])
ABNORMAL = {  # by completeness; the first segment scores highest, the second lowest
    "above": torch.tensor([[1.0, 0.0], [0.8, 0.6], [5.0, 5.0]]),
    "at": torch.tensor([[1.0, 0.0], [0.6, 0.8], [5.0, 5.0]]),
    "below": torch.tensor([[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]]),
}
SCORES = {  # by how many are above the threshold .8; a score at the threshold is not above it
    "none": torch.tensor([0.8, 0.1, 0.5]),
    "some": torch.tensor([0.95, 0.1, 0.81]),
    "all": torch.tensor([0.95, 0.81, 0.9]),
}
ABOVE = {"none": [False, False, False], "some": [True, False, True], "all": [True, True, True]}


@pytest.mark.parametrize("dynamic", [True, False])
@pytest.mark.parametrize("scores", SCORES)
@pytest.mark.parametrize("complete", ABNORMAL)
def test_truth_table_of_erasing(complete, scores, dynamic):
    x, s = ABNORMAL[complete][None], SCORES[scores][None]
    sign = completeness(x, s, NORMAL, NORMAL_SCORES).sign().item()
    assert sign == {"above": 1, "at": 0, "below": -1}[complete]

    erased, mask = erase(x, s, NORMAL, NORMAL_SCORES, 0.8, dynamic)

    expected = [False] * 3 if dynamic and complete == "above" else ABOVE[scores]
    assert mask.tolist() == [expected]
    for t in range(3):
        assert erased[0, t].tolist() == ([0, 0] if expected[t] else x[0, t].tolist())


def test_completeness_is_measured_against_the_mean_of_the_batch_s_normal_videos(batch):
    x_a, x_n = batch
    s_a, s_n = torch.rand(3, 8), torch.rand(3, 8)
    normal = sum(naive_similarity(x, s) for x, s in zip(x_n.double(), s_n, strict=True)) / 3
    expected = [naive_similarity(x, s) - normal for x, s in zip(x_a.double(), s_a, strict=True)]
    close(completeness(x_a, s_a, x_n, s_n), torch.stack(expected))
    close(similarity(x_a, s_a), torch.stack(expected) + normal)


def test_erasing_leaves_the_video_itself_and_the_gradients_alone():
    x = ABNORMAL["below"][None].clone().requires_grad_()
    before = x.detach().clone()
    s = SCORES["some"][None].clone().requires_grad_()
    erased, mask = erase(x, s, NORMAL, NORMAL_SCORES)
    assert not erased.requires_grad and not mask.requires_grad
    assert torch.equal(x, before)


@pytest.mark.parametrize("erasing", ["always", "dynamic"])
def test_a_video_erased_whole_gives_finite_losses_and_gradients(model, batch, erasing):
    model.settings = dataclasses.replace(CONFIG, erasing=erasing, threshold=-1.0, alpha2=1.0)
    loss, erased = model.loss(*batch)
    loss.backward()
    assert erased.all(1).any()
    assert loss.isfinite()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_zero_features_give_finite_losses_and_gradients():
    f_a, f_n = (torch.zeros(2, 8, 4, requires_grad=True) for _ in range(2))
    loss = variation_loss(f_a, f_n)
    loss.backward()
    assert loss.isfinite() and f_a.grad.isfinite().all() and f_n.grad.isfinite().all()
    assert similarity(torch.zeros(1, 4, 3), torch.rand(1, 4)).isfinite().all()


def test_dropout_drops_its_share_scales_the_rest_and_passes_no_gradient_where_it_drops():
    torch.manual_seed(0)
    dropout = Dropout(0.6)
    x = torch.full((1999, 101), 2.0, requires_grad=True)  # not a multiple of four, and more than one piece
    y = dropout(x)
    y.sum().backward()
    kept = y != 0
    assert abs(kept.float().mean().item() - 0.4) < 0.01
    assert torch.allclose(y[kept], torch.tensor(2 / 0.4), rtol=1e-4)
    assert torch.equal(x.grad != 0, kept)
    assert abs(kept[:, ::2].float().mean() - kept[:, 1::2].float().mean()) < 0.01
    assert not torch.equal(dropout(x) != 0, kept)
    assert torch.equal(dropout.eval()(x), x)


@pytest.mark.parametrize("contiguous", [True, False])
def test_layers_computed_together_are_those_computed_one_after_another(contiguous):
    torch.manual_seed(0)
    parts = nn.Linear(24, 512), nn.ReLU(), Dropout(0.6), nn.Linear(512, 8), Dropout(0.3), nn.Linear(8, 1), nn.Sigmoid()
    x, results = torch.randn(3, 200, 24), []  # 600 rows of 512: more than one piece
    if not contiguous:
        x = x.mT.contiguous().mT
    for layers in (nn.Sequential(*parts), Layers(*parts)):
        torch.manual_seed(1)
        given = x.clone().requires_grad_()  # with the strides of x
        scores = layers(given)
        scores.square().sum().backward()
        results.append([scores, given.grad, *(weight.grad for weight in layers.parameters())])
        layers.zero_grad()
        assert torch.equal(layers.eval()(x), nn.Sequential(*parts)(x))
        layers.train()
    assert results[0][0].shape == (3, 200, 1)
    assert all(torch.allclose(one, other, rtol=1e-5, atol=1e-7) for one, other in zip(*results, strict=True))


def test_bf16_rounds_the_products_and_not_the_scores():
    torch.manual_seed(0)
    x_a, x_n = torch.randn(2, 8, 64, 32).unbind()
    model = DENetMethod(DENetSettings(32, feedforward=64)).eval()
    exact = model.loss(x_a, x_n)[0]
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model.loss(x_a, x_n)[0]
        features, scores = model(x_a)
    assert exact != rounded
    assert torch.allclose(exact, rounded, rtol=0.02)
    assert features.dtype == scores.dtype == torch.float32
    assert len(scores.unique()) == scores.numel()
