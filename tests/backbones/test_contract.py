"""Every backbone keeps the contract, and docs/extending.md adds one from a package of its own."""

import numpy as np
import pytest
import torch
from helpers import ExamplePackage, kind

from anomalycli import Scorer
from anomalycli.backbones import ClipNetwork
from anomalycli.backbones.base import BUILT_IN, backbone_names, find_backbone
from anomalycli.backbones.contract import check_backbone
from anomalycli.checkpoint import ModelInfo
from anomalycli.denet import DENet, DENetConfig
from anomalycli.errors import UsageError
from anomalycli.features import load_features

IN_WHEELS = ("lite", "mc3")


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_built_in_backbones_keep_the_contract(name, tmp_path):
    weights = None
    if name not in IN_WHEELS:
        torch.manual_seed(0)
        weights = tmp_path / "weights.pth"
        torch.save(find_backbone(name)().net.state_dict(), weights)  # names that need no renaming
    check_backbone(name, weights)


class Forgetful(ClipNetwork):
    """Breaks the contract: a clip's features depend on the clips beside it."""

    dim = 3
    clip_length = 4
    short_side = 16
    preprocessing = "-"

    def __init__(self, crops=1):
        super().__init__(crops)
        self.net = torch.nn.Identity()
        self.batch = {"cpu": 8}

    def load(self, path=None, on_bytes=None):
        self.sha256 = "-"
        return self

    def maps(self, view):
        return (view.float(),)

    def pool(self, maps):
        means = maps[0].mean((1, 2, 3))
        return means - means.mean(0)


def test_the_check_finds_what_breaks_the_contract():
    with pytest.raises(AssertionError, match="whatever clips are beside it"):
        check_backbone(f"{__name__}:Forgetful")


def test_what_is_no_backbone_is_refused():
    with pytest.raises(UsageError, match=r"no backbone 'resnet'; there are: lite, mc3, i3d"):
        find_backbone("resnet")
    with pytest.raises(UsageError, match="cannot be imported from there_is_no_such_module"):
        find_backbone("there_is_no_such_module:Net")
    with pytest.raises(UsageError, match="'json:JSONDecoder' is not a backbone: it has no dim"):
        find_backbone("json:JSONDecoder")


def test_a_backbone_is_added_as_the_documentation_says(tmp_path, make_video):
    example = ExamplePackage("A backbone", tmp_path)
    assert sorted(example.files) == ["colours.py", "pyproject.toml", "test_colours.py"]
    example.install()
    example.python("-m", "pytest", "-q", "-p", "no:cacheprovider", example.folder / "test_colours.py")
    make_video("videos/a.mp4", 70)
    example.python("-m", "anomalycli", "extract", "videos", "--backbone", "colours")
    example.python("-m", "anomalycli", "extract", "videos", "--backbone", "colours:Colours", "-o", "again")
    features, again = (load_features(tmp_path / folder / "a.npz") for folder in ("features", "again"))
    assert features.visual.shape == (3, 1, 16)  # 70 frames are three clips of 32
    assert (features.kind.backbone, features.kind.clip_length) == ("colours", 32)
    assert features.kind.groups == (("mean", 8), ("deviation", 8))
    assert features.kind == again.kind  # one name, however it was asked for
    assert np.array_equal(features.visual, again.visual)
    assert "colours" not in backbone_names()  # here it is not installed


def test_a_model_file_does_not_decide_what_is_imported(tmp_path, make_video, monkeypatch):
    (tmp_path / "surprise.py").write_text("from pathlib import Path\nPath('imported').touch()\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    config = DENetConfig(32, segments=8, scales=2, heads=2, width=16, feedforward=16)
    scorer = Scorer(DENet(config), ModelInfo(config, kind(backbone="surprise:Net")), device="cpu")
    with pytest.raises(UsageError, match="'surprise:Net', which is not registered here"):
        scorer.score(make_video("a.mp4", 16))
    assert not (tmp_path / "imported").exists()
