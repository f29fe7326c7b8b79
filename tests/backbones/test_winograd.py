import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from anomalycli.backbones import Extractor
from anomalycli.backbones.winograd import TemporalWinograd, save_multiplications


@pytest.mark.parametrize("shape", [(2, 5, 16, 7, 9), (1, 3, 2, 4, 4), (3, 64, 4, 5, 6)])
@pytest.mark.parametrize("bias", [True, False])
def test_it_does_what_the_convolution_does(shape, bias):
    torch.manual_seed(0)
    conv = nn.Conv3d(shape[1], 6, 3, padding=1, bias=bias)
    x = torch.randn(shape).contiguous(memory_format=torch.channels_last_3d)
    with torch.inference_mode():
        expected, y = conv(x), TemporalWinograd(conv, torch.float32)(x)
    assert y.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(y, expected, atol=1e-5, rtol=1e-5)


def test_it_takes_the_place_of_convolutions_that_it_suits_and_of_no_others():
    net = nn.Sequential(
        nn.Conv3d(2, 2, 3, padding=1),
        nn.Conv3d(2, 2, 3, padding=1, stride=(1, 2, 2)),
        nn.Sequential(nn.Conv3d(2, 2, 3), nn.Conv3d(2, 2, (1, 3, 3), padding=(0, 1, 1))),
        nn.Conv3d(2, 2, 3, padding=1, groups=2),
        nn.Conv3d(2, 2, 3, padding=2, dilation=2),
    )
    save_multiplications(net, torch.float32)
    convolutions = [m for m in net.modules() if isinstance(m, (nn.Conv3d, TemporalWinograd))]
    assert [isinstance(m, TemporalWinograd) for m in convolutions] == [True, False, False, False, False, False]


def test_mc3_multiplies_a_sixth_less_on_a_cpu():
    from torchvision.models.video import mc3_18

    x = torch.zeros(1, 3, 16, 32, 32)
    counts = []
    with torch.inference_mode():
        for net in (mc3_18(num_classes=2).eval(), Extractor("mc3", "cpu", precision="fp32").net.net):
            with FlopCounterMode(display=False) as counter:
                net.layer4(net.layer3(net.layer2(net.layer1(net.stem(x)))))
            counts.append(counter.get_total_flops())
    assert counts[1] / counts[0] == pytest.approx(5 / 6, abs=0.02)
