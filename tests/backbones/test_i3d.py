import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from anomalycli.backbones.base import BUILT_IN, find_backbone
from anomalycli.backbones.i3d import CROPS, I3D, InceptionI3DRGB, crop
from anomalycli.backbones.inception_i3d import InceptionI3D
from anomalycli.backbones.speed import fold_batch_norm
from anomalycli.errors import UsageError
from anomalycli.media.video import Video

# GoogLeNet's table (Szegedy et al. 2015) as I3D inflates it: 1x1, 3x3 reduce, 3x3, 3x3 reduce, 3x3, pool projection.
TABLE = {
    "3b": (192, 64, 96, 128, 16, 32, 32),
    "3c": (256, 128, 128, 192, 32, 96, 64),
    "4b": (480, 192, 96, 208, 16, 48, 64),
    "4c": (512, 160, 112, 224, 24, 64, 64),
    "4d": (512, 128, 128, 256, 24, 64, 64),
    "4e": (512, 112, 144, 288, 32, 64, 64),
    "4f": (528, 256, 160, 320, 32, 128, 128),
    "5b": (832, 256, 160, 320, 32, 128, 128),
    "5c": (832, 384, 192, 384, 48, 128, 128),
}


def published_shapes() -> dict[str, tuple[int, ...]]:
    convolutions = {"Conv3d_1a_7x7": (64, 3, 7), "Conv3d_2b_1x1": (64, 64, 1), "Conv3d_2c_3x3": (192, 64, 3)}
    for block, (inputs, b0, b1a, b1b, b2a, b2b, b3b) in TABLE.items():
        branches = {"b0": (b0, inputs, 1), "b1a": (b1a, inputs, 1), "b1b": (b1b, b1a, 3)}
        branches |= {"b2a": (b2a, inputs, 1), "b2b": (b2b, b2a, 3), "b3b": (b3b, inputs, 1)}
        convolutions |= {f"Mixed_{block}.{name}": shape for name, shape in branches.items()}
    shapes = {"logits.conv3d.weight": (400, 1024, 1, 1, 1), "logits.conv3d.bias": (400,)}
    for name, (outputs, inputs, k) in convolutions.items():
        shapes[f"{name}.conv3d.weight"] = (outputs, inputs, k, k, k)
        shapes |= {f"{name}.bn.{part}": (outputs,) for part in ("weight", "bias", "running_mean", "running_var")}
    return shapes


def randomised(net: nn.Module) -> nn.Module:
    """Batch normalisation that does something, as after training."""
    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.1, generator=generator)
    return net.eval()


@pytest.mark.parametrize("backbone", BUILT_IN)
def test_folding_the_normalisation_into_the_convolutions_leaves_the_features(backbone):
    net = find_backbone(backbone)()
    randomised(net)
    frames = torch.randint(0, 256, (1, 16, 64, 80, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        before = net(frames)
        fold_batch_norm(net.net)
        after = net(frames)
    assert not any(isinstance(module, nn.BatchNorm3d) for module in net.modules())
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5 * before.abs().max().item())


def test_every_parameter_of_inception_has_the_published_shape():
    net = InceptionI3D()
    ours = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    counters = {name for name in ours if name.endswith("num_batches_tracked")}
    assert {name: shape for name, shape in ours.items() if name not in counters} == published_shapes()
    assert sum(parameter.numel() for parameter in net.parameters()) == 12_697_264


def same(size: int, k: int, s: int) -> tuple[int, int]:
    """TensorFlow's SAME padding, from its definition."""
    total = max((-(-size // s) - 1) * s + k - size, 0)
    return total // 2, total - total // 2


def padded(x, k, s, value):
    pads = [pad for size, kk, ss in reversed(list(zip(x.shape[2:], k, s))) for pad in same(size, kk, ss)]
    return F.pad(x, pads, value=value)


def test_inception_is_the_published_network_layer_by_layer():
    net = randomised(InceptionI3D())
    state = net.state_dict()

    def unit(x, name, stride=1):
        weight = state[f"{name}.conv3d.weight"]
        x = F.conv3d(padded(x, weight.shape[2:], (stride,) * 3, 0.0), weight, stride=stride)
        mean, var, gain, bias = (
            state[f"{name}.bn.{part}"].view(1, -1, 1, 1, 1)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return torch.relu((x - mean) / torch.sqrt(var + 0.001) * gain + bias)

    def pool(x, k, s):
        return F.max_pool3d(padded(x, k, s, -torch.inf), k, s)

    x = torch.rand((1, 3, 16, 70, 90), generator=torch.Generator().manual_seed(1)) * 2 - 1  # odd sizes on the way
    seen = {}
    for name, layer in net.named_children():
        layer.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out}))
    with torch.inference_mode():
        out = net(x)
        expected = {"Conv3d_1a_7x7": unit(x, "Conv3d_1a_7x7", 2)}
        y = pool(expected["Conv3d_1a_7x7"], (1, 3, 3), (1, 2, 2))
        y = expected["Conv3d_2b_1x1"] = unit(y, "Conv3d_2b_1x1")
        y = expected["Conv3d_2c_3x3"] = unit(y, "Conv3d_2c_3x3")
        y = pool(y, (1, 3, 3), (1, 2, 2))
        for block in TABLE:
            if block == "4b":
                y = pool(y, (3, 3, 3), (2, 2, 2))
            if block == "5b":
                y = pool(y, (2, 2, 2), (2, 2, 2))
            m = f"Mixed_{block}"
            branches = (
                unit(y, f"{m}.b0"),
                unit(unit(y, f"{m}.b1a"), f"{m}.b1b"),
                unit(unit(y, f"{m}.b2a"), f"{m}.b2b"),
                unit(pool(y, (3, 3, 3), (1, 1, 1)), f"{m}.b3b"),
            )
            y = expected[m] = torch.cat(branches, 1)
    for name, value in expected.items():
        assert seen[name].shape == value.shape, name
        assert torch.allclose(seen[name], value, atol=1e-4), name
    assert torch.equal(out, seen["Mixed_5c"])
    assert out.std() > 0.01


def test_i3d_is_pytorchvideos_own_layer_by_layer():
    backbone = I3D(crops=1)
    randomised(backbone.net)
    frames = np.random.default_rng(0).integers(0, 256, (1, 16, 256, 300, 3), np.uint8)
    seen = []
    for block in backbone.net.blocks:
        block.register_forward_hook(lambda _, __, out: seen.append(out))
    x = (frames[:, :, 16:240, 38:262] / 255 - 0.45) / 0.225
    with torch.inference_mode():
        backbone.net(torch.from_numpy(x).float().permute(0, 4, 1, 2, 3).contiguous())  # the whole, head included
        theirs, seen[:] = seen[:], []
        features = backbone(torch.from_numpy(frames))
    assert len(theirs) == 7
    for a, b in zip(seen, theirs[:-1], strict=True):
        assert torch.allclose(a, b, atol=1e-3 * float(b.abs().max()))
    assert features.shape == (1, 1, 2048)
    assert torch.allclose(features[0, 0], theirs[5].mean((2, 3, 4))[0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("backbone", "low", "high"), [(I3D, -0.45 / 0.225, 0.55 / 0.225), (InceptionI3DRGB, -1, 1)])
def test_pixels_are_normalised_as_each_network_was_trained(backbone, low, high):
    inputs = []
    net = backbone(crops=1)
    net.last_stage = lambda x: inputs.append(x) or x
    frames = torch.zeros((1, 16, 32, 40, 3), dtype=torch.uint8)
    frames[..., 1] = 255
    net(frames)
    assert inputs[0].shape == (1, 3, 16, 28, 28)
    assert torch.allclose(inputs[0][:, 1], torch.tensor(float(high)))
    assert torch.allclose(inputs[0][:, [0, 2]], torch.tensor(float(low)))


def test_crops_come_in_the_order_they_are_named_in():
    y, x = np.mgrid[0:256, 0:320]
    frames = torch.from_numpy(np.stack((y, x // 2, 0 * x), -1).astype(np.uint8))[None, None]
    tops_lefts = [(int(c[0, 0, 0, 0, 0]), 2 * int(c[0, 0, 0, 0, 1])) for c in crop(frames, 5)]
    assert tops_lefts == [(16, 48), (0, 0), (0, 96), (32, 0), (32, 96)]
    assert CROPS[5] == "centre, top left, top right, bottom left, bottom right"
    ten = crop(frames, 10)
    assert all(c.shape == (1, 1, 224, 224, 3) for c in ten)
    assert all(torch.equal(ten[i + 5].flip(3), ten[i]) for i in range(5))
    assert torch.equal(crop(frames, 1)[0], ten[0])


def test_frames_are_resized_as_an_independent_library_does(make_video):
    y, x = np.mgrid[0:192, 0:256]

    def paint(i):
        grey = 127 + 50 * np.sin(x / 9 + i / 4) + 50 * np.sin(y / 7)  # grey: a video halves its colours anyway
        return np.repeat(grey[..., None], 3, 2).astype(np.uint8)

    path = make_video("waves.mkv", 16, (256, 192), paint=paint)
    (whole,) = Video(path).clips(16)
    (small,) = Video(path, 96).clips(16)
    assert small.shape == (16, 96, 128, 3)
    theirs = np.stack([np.asarray(Image.fromarray(frame).resize((128, 96), Image.BILINEAR)) for frame in whole])
    assert np.abs(small.astype(int) - theirs.astype(int)).mean() < 2  # half a pixel aside it would be 5


def test_crops_that_make_no_sense_are_refused(run, make_video):
    make_video("a.mp4", 16)
    assert "whole frame" in run("extract", "a.mp4", "--crops", "5", code=2).stderr
    assert "1, 5, 10" in run("extract", "a.mp4", "--backbone", "i3d", "--crops", "3", code=2).stderr
    with pytest.raises(UsageError, match="1, 5, 10"):
        I3D(crops=2)
