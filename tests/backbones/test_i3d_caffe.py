"""The backbone `i3d-caffe` against a network that is written from the description of the published one."""

import pytest
import torch
import torch.nn.functional as F

from anomalycli.backbones.i3d_caffe import I3DCaffe, renamed, squashed
from anomalycli.errors import AnomalyError

# Of each stage: width, stride of its first block, and for each block whether its first convolution reaches over time
STAGES = {
    "layer1": (64, 1, (1, 1, 1)),
    "layer2": (128, 2, (1, 0, 1, 0)),
    "layer3": (256, 2, (1, 0, 1, 0, 1, 0)),
    "layer4": (512, 2, (0, 1, 0)),
}


def published() -> dict[str, torch.Tensor]:
    """Random tensors of the names and shapes of the converted checkpoint."""
    shapes = {"conv1": (64, 3, 5, 7, 7)}
    norms = {"bn1": 64}
    inputs = 64
    for stage, (width, _, temporal) in STAGES.items():
        for i, reaches in enumerate(temporal):
            block = f"{stage}.{i}"
            shapes[f"{block}.conv1"] = (width, inputs, 3 if reaches else 1, 1, 1)
            shapes[f"{block}.conv2"] = (width, width, 1, 3, 3)
            shapes[f"{block}.conv3"] = (4 * width, width, 1, 1, 1)
            norms |= {f"{block}.bn1": width, f"{block}.bn2": width, f"{block}.bn3": 4 * width}
            if i == 0:
                shapes[f"{block}.downsample.0"] = (4 * width, inputs, 1, 1, 1)
                norms[f"{block}.downsample.1"] = 4 * width
            inputs = 4 * width
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes.items():
        fan_in = shape[1] * shape[2] * shape[3] * shape[4]
        state[f"{name}.weight"] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
    for name, width in norms.items():
        state[f"{name}.weight"] = torch.rand(width, generator=generator) * 0.5 + 0.5
        state[f"{name}.bias"] = torch.randn(width, generator=generator) * 0.1
        state[f"{name}.running_mean"] = torch.randn(width, generator=generator) * 0.1
        state[f"{name}.running_var"] = torch.rand(width, generator=generator) + 0.5
    return state


def reference(state: dict[str, torch.Tensor], x: torch.Tensor) -> dict[str, torch.Tensor]:
    """What each stage makes of (B, 3, T, H, W)."""

    def norm(x, name):
        mean, var, gain, bias = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, mean, var, gain, bias)

    def conv(x, name, stride, padding):
        return F.conv3d(x, state[f"{name}.weight"], None, stride, padding)

    seen = {}
    x = torch.relu(norm(conv(x, "conv1", (2, 2, 2), (2, 3, 3)), "bn1"))
    x = F.max_pool3d(x, (2, 3, 3), (2, 2, 2))
    for stage, (_, stride, temporal) in STAGES.items():
        for i, reaches in enumerate(temporal):
            block, s = f"{stage}.{i}", (1, stride, stride) if i == 0 else (1, 1, 1)
            y = torch.relu(norm(conv(x, f"{block}.conv1", 1, (reaches, 0, 0)), f"{block}.bn1"))
            y = torch.relu(norm(conv(y, f"{block}.conv2", s, (0, 1, 1)), f"{block}.bn2"))
            y = norm(conv(y, f"{block}.conv3", 1, 0), f"{block}.bn3")
            if i == 0:
                x = norm(conv(x, f"{block}.downsample.0", s, 0), f"{block}.downsample.1")
            x = torch.relu(x + y)
        if stage == "layer1":
            x = F.max_pool3d(x, (2, 1, 1), (2, 1, 1))
        seen[stage] = x
    return seen


def test_it_is_the_published_network_stage_by_stage(tmp_path):
    state = published()
    assert len(state) == 265
    head = {"fc.weight": torch.zeros(400, 2048), "fc.bias": torch.zeros(400)}
    torch.save(state | head, tmp_path / "weights.pth")
    backbone = I3DCaffe().load(tmp_path / "weights.pth").eval()
    seen = []
    for i in (2, 3, 4, 5):  # behind the pool that follows the first stage, and behind the others
        backbone.net.blocks[i].register_forward_hook(lambda _, __, out: seen.append(out))
    frames = torch.randint(0, 256, (1, 16, 72, 72, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        features = backbone.pool(backbone.maps(frames))
        expected = reference(state, (frames / 255 * 2 - 1).permute(0, 4, 1, 2, 3))
    for ours, (stage, theirs) in zip(seen, expected.items(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()), msg=stage)
    assert features[0].tolist() == pytest.approx(expected["layer4"].mean((2, 3, 4))[0].tolist(), rel=1e-3, abs=1e-4)


def test_every_frame_is_squashed_to_the_published_size():
    wide = torch.zeros((1, 2, 256, 456, 3), dtype=torch.uint8)
    wide[:, :, :, 228:] = 200
    narrow = squashed(wide)
    assert narrow.shape == (1, 2, 256, 340, 3)
    assert narrow.dtype == torch.uint8
    assert (narrow[:, :, :, :168] == 0).all()
    assert (narrow[:, :, :, 172:] == 200).all()
    assert all(view.shape == (1, 2, 224, 224, 3) for view in I3DCaffe(10).views(wide))


def test_without_a_file_it_says_that_one_is_needed():
    with pytest.raises(AnomalyError, match="give the file"):
        I3DCaffe().load()
    assert renamed("something.else") == "something.else"
