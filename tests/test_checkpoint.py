"""Model files: what is written is read, and what cannot be is refused with a sentence."""

import numpy as np
import pytest
import torch
from helpers import kind

from anomalycli.checkpoint import (
    MOST_MEMBERS,
    ModelInfo,
    bundled_for,
    is_checkpoint,
    judge_of,
    load_bundled,
    load_model,
    load_tensors,
    save_model,
    save_tensors,
)
from anomalycli.errors import CheckpointError
from anomalycli.events import EventRule
from anomalycli.features.files import AUDIO_DIM
from anomalycli.methods import build_method, find_method
from anomalycli.settings import make_settings

TOO_MANY = MOST_MEMBERS + 1
DIM = 1 + AUDIO_DIM


@pytest.fixture
def saved(tmp_path):
    """A saved model of features of pictures, of width 1, and of sound, whose logit is their sum."""
    settings = make_settings(find_method("linear").settings, {"feature_dim": DIM, "segments": 8})
    model = build_method("linear", settings)
    with torch.no_grad():
        model.layer.weight.fill_(1.0)
    info = ModelInfo(settings, kind(dim=1, audio="vggish-pca"), EventRule(0.4, 0.2), method="linear")
    save_model(tmp_path / "m.safetensors", model.eval(), info)
    return tmp_path / "m.safetensors", model, info


def test_what_is_written_is_read(saved):
    path, model, info = saved
    loaded, again = load_model(path)
    assert again == info
    assert torch.equal(loaded.layer.weight, model.layer.weight) and not loaded.training
    assert is_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"version": 3}, "written in a format that this version does not read"),
        ({"method": "gone"}, "no method 'gone'"),
        ({"settings": {"feature_dim": DIM, "segments": 8, "share": 2.0}}, "share must be greater than 0"),
        ({"settings": {"feature_dim": DIM, "heads": 8}}, "no setting 'heads'"),
        ({"events": {"start_threshold": 0.2, "end_threshold": 0.4}}, "0 <= end <= start <= 1"),
        ({"kind": {"backbone": 3}}, "backbone must be a word"),
        ({"members": 0}, "0 members"),
        ({"members": TOO_MANY}, f"{TOO_MANY} members"),
        ({"voters": [{"method": "linear", "settings": {"feature_dim": DIM}}] * TOO_MANY}, f"{TOO_MANY} voters"),
        ({"standardised": True}, "its settings and its tensors differ in"),
    ],
)
def test_metadata_that_cannot_be_are_refused(saved, change, sentence):
    path = saved[0]
    tensors, meta = load_tensors(path)
    save_tensors(path, tensors, meta | change)
    with pytest.raises(CheckpointError, match=rf"m\.safetensors: .*{sentence}"):
        load_model(path)


@pytest.mark.parametrize(
    ("name", "tensor", "sentence"),
    [
        ("layer.weight", torch.full((1, DIM), float("nan")), "layer.weight holds numbers that are not finite"),
        ("layer.weight", torch.zeros(1, 3), r"layer.weight has the shape \[1, 3\] where \[1, 129\] belongs"),
        ("layer.more", torch.zeros(1), "its settings and its tensors differ in layer.more"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(saved, name, tensor, sentence):
    path = saved[0]
    tensors, meta = load_tensors(path)
    save_tensors(path, tensors | {name: tensor}, meta)
    with pytest.raises(CheckpointError, match=rf"m\.safetensors: .*{sentence}"):
        load_model(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\0\0\0\0\0\0\0{}      "])
def test_what_is_no_model_is_refused(tmp_path, content):
    (tmp_path / "m").write_bytes(content)
    assert not is_checkpoint(tmp_path / "m")
    with pytest.raises(CheckpointError, match="m: not a model file of this tool"):
        load_model(tmp_path / "m")


def test_a_model_with_sound_judges_pictures_alone_as_those_of_a_silent_video(saved):
    _, model, info = saved
    scores = judge_of(model, info)(np.arange(8, dtype=np.float32).reshape(8, 1, 1))
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-np.arange(8.0))), rtol=1e-5)


def test_features_have_the_bundled_model_that_was_trained_on_their_kind():
    for name in ("fights", "fights-mc3"):
        assert bundled_for(load_bundled(name)[1].kind) == name
    assert bundled_for(kind(dim=3)) is None
