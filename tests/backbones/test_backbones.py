import numpy as np
import pytest
import torch
from helpers import cosine, real_film

from anomalycli.backbones import Extractor
from anomalycli.backbones.mc3 import WEIGHTS
from anomalycli.backbones.weights import check_sha256
from anomalycli.device import pick_device, pick_precision
from anomalycli.errors import AnomalyError, UsageError
from anomalycli.extraction.local_engine import extract_video
from anomalycli.media.video import Video


@pytest.fixture(scope="module")
def fp32():
    return Extractor("mc3", precision="fp32")


def test_bf16_features_are_those_of_fp32(fp32):
    video = Video(real_film(), fp32.size, fp32.multiple)
    clips = [clip for clip, _ in zip(video.clips(16), range(3))]
    exact, fast = fp32(clips), Extractor("mc3", precision="bf16")(clips)
    assert exact.shape == fast.shape == (3, 1, 1024)
    assert exact.dtype == fast.dtype == np.float32
    assert cosine(exact, fast).min() >= 0.999
    assert cosine(exact[:1], exact[2:]).max() < 0.999  # other clips are other features


def test_preprocessing_is_the_published_one_and_the_network_is_torchvisions(fp32):
    from torchvision.models.video import mc3_18

    clip = np.random.default_rng(0).integers(0, 256, (16, 32, 48, 3), np.uint8)
    mean, std = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
    x = torch.tensor((clip / 255 - mean) / std, dtype=torch.float32).permute(3, 0, 1, 2)[None]
    net = mc3_18(num_classes=2).eval()
    WEIGHTS.load(net)
    with torch.inference_mode():
        layer3 = net.layer3(net.layer2(net.layer1(net.stem(x))))[0]
        layer4 = net.layer4(layer3[None])[0]
    expected = torch.cat([layer3.mean((1, 2, 3)), layer3.mean(1).flatten(1).max(1).values, layer4.mean((1, 2, 3))])
    assert fp32([clip])[0, 0] == pytest.approx(expected.numpy(), abs=1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
def test_an_event_at_the_very_edge_of_the_picture_changes_the_features(fp32, make_video, side):
    def scene(event):
        def paint(i):
            picture = np.full((96, 240, 3), 128, np.uint8)
            if event:
                picture[4 * i % 80 :, slice(0, 12) if side == "left" else slice(228, 240)] = 255
            return picture

        return paint

    calm, edge = (
        extract_video(make_video(f"{event}.mp4", 16, (240, 96), paint=scene(event)), fp32).visual
        for event in (False, True)
    )
    assert cosine(calm, edge).max() < 0.99


@pytest.mark.parametrize(("size", "picture"), [((72, 128), "portrait"), ((128, 96), "4:3"), ((210, 90), "21:9")])
def test_any_shape_of_picture_works(make_video, size, picture):
    small = Extractor("mc3", size=48)
    features = extract_video(make_video(n_frames=20, size=size), small)
    assert features.visual.shape == (2, 1, 1024)
    assert features.kind.size == 48


def test_weights_that_are_not_the_published_ones_are_refused(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"something else")
    with pytest.raises(AnomalyError, match=r"weights\.pth: not the expected weights"):
        check_sha256(path, "8268694ade4c")


def test_devices_and_precisions_that_are_not_there_are_refused():
    with pytest.raises(UsageError, match="no device 'tpu'"):
        pick_device("tpu")
    with pytest.raises(UsageError, match="no precision 'int3'"):
        pick_precision("int3", torch.device("cpu"))
    with pytest.raises(UsageError, match="no backbone 'resnet'"):
        Extractor("resnet")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="The device cpu is always there"):
            pick_device("cuda")
