"""A scorer that needs no downloads and no time: bright pictures are abnormal."""

import pytest
import torch
from browser import browser  # noqa: F401  (a fixture)
from helpers import kind
from live_brightness import Brightness
from torch import nn

from anomalycli.backbones.base import BUILT_IN
from anomalycli.checkpoint import ModelInfo, save_model
from anomalycli.events import EventRule
from anomalycli.methods.linear import Linear, LinearSettings
from anomalycli.score import Scorer

SEGMENTS = 8
RULE = EventRule(0.6, 0.4, 0.5, 0.1)


class Neighbours(nn.Module):
    """Scores that depend on the whole window, as DE-Net's do: brightness, less the mean of the window."""

    def forward(self, x):
        bright = x.mean(2)
        rising = torch.linspace(0, 0.2, x.shape[1])
        return x, (0.5 + bright - bright.mean(1, keepdim=True) + rising * bright.amax(1, keepdim=True)).clamp(0, 1)


def brightness_kind():
    return kind(backbone="brightness", preprocessing="mean", size=32, dim=3)


@pytest.fixture(autouse=True)
def brightness(monkeypatch):
    monkeypatch.setitem(BUILT_IN, "brightness", f"{Brightness.__module__}:Brightness")


@pytest.fixture
def scorer():
    return Scorer(Neighbours(), ModelInfo(LinearSettings(3, SEGMENTS), brightness_kind(), RULE), device="cpu")


@pytest.fixture
def model(tmp_path):
    """A checkpoint whose score is 0.5 at middle grey, and nearly 0 and 1 at black and white."""
    method = Linear(LinearSettings(3, SEGMENTS))
    with torch.no_grad():
        method.layer.weight.fill_(4.0)
        method.layer.bias.fill_(-6.0)
    path = tmp_path / "brightness.safetensors"
    save_model(path, method, ModelInfo(method.settings, brightness_kind(), RULE, method="linear"))
    return path
