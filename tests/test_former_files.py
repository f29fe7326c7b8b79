"""Checkpoints, states of training and results of comparisons that version 0.1 wrote."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from anomalycli.checkpoint import load_model
from anomalycli.data.bags import load_bags
from anomalycli.errors import UsageError
from anomalycli.evaluation.protocol import evaluation_set
from anomalycli.experiments.compare import compare
from anomalycli.experiments.comparison import Comparison
from anomalycli.inference import score_bags
from anomalycli.training.plan import make_plan
from anomalycli.training.trainer import Destination, TrainingData, train

FORMER = Path(__file__).parent / "data" / "v0.1"
SETTINGS = {"segments": 8, "scales": 2, "heads": 2, "feedforward": 16, "width": 8, "batch": 4, "lr": 1e-3, "steps": 12}
SETTINGS |= {"validate_every": 5, "keep": "validation", "threshold": 0.0, "precision": "bf16"}
COMPARED = {"segments": 8, "scales": 2, "heads": 2, "feedforward": 8, "steps": 4, "batch": 2, "lr": 1e-3}


def test_a_checkpoint_scores_as_it_did(make_features):
    model, info = load_model(FORMER / "denet.safetensors")
    assert (info.method, info.settings.width, info.settings.threshold) == ("de-net", 8, 0.0)
    assert (info.training.checkpoint, info.training.settings["lr"]) == ("best on validation", 1e-3)
    scores = score_bags(model, load_bags(make_features(), 8).x, torch.device("cpu"))
    np.testing.assert_allclose(scores, np.load(FORMER / "scores.npy"), rtol=1e-5)


def test_the_bundled_model_of_the_version_before_loads_by_its_name():
    _, info = load_model(Path("fights-mc3"))
    assert (info.method, info.kind.backbone, info.training.checkpoint_step) == ("de-net", "mc3", 80)


def test_an_interrupted_run_resumes_and_other_settings_are_refused(make_features, tmp_path):
    data = TrainingData(load_bags(make_features(), 8), watch=("video11",))
    shutil.copy(FORMER / "stopped.safetensors.state", tmp_path / "m.state")
    destination = Destination(tmp_path / "m", resume=True)
    with pytest.raises(UsageError, match="another network"):
        train(make_plan("de-net", 32, SETTINGS | {"threshold": 0.5}), data, destination)
    info = train(make_plan("de-net", 32, SETTINGS), data, destination)
    before = load_model(FORMER / "denet.safetensors")[1]
    assert (info.training.checkpoint_step, info.training.data) == (
        before.training.checkpoint_step,
        before.training.data,
    )
    tensors = load_file(tmp_path / "m"), load_file(FORMER / "denet.safetensors")
    for name, ours in tensors[0].items():
        torch.testing.assert_close(ours, tensors[1][name], rtol=0.02, atol=1e-3)  # products in bf16 differ by machine
    first, before = ((path / "m.erasing.csv").read_text().splitlines()[:6] for path in (tmp_path, FORMER))
    assert first == before


def test_results_of_a_comparison_are_not_computed_again(make_features, tmp_path):
    shutil.copytree(FORMER / "runs", tmp_path / "runs")
    bags = load_bags(make_features(), 8)
    truth = {name: np.zeros(155, bool) for name in bags.names}
    for name, label in zip(bags.names, bags.labels):
        truth[name][48:80] = label
    test = evaluation_set(bags, truth)
    data = TrainingData(bags, test=dataclasses.replace(test, to_frames="interpolated"))
    methods = ("mil-rank", "rtfm", "de-net", "baseline")
    former = COMPARED | {"precision": "bf16"}
    steps = []
    rtfm = {"k": 3, "weight_decay": 1e-3, "crops": "mean"}  # what its authors use is the default now
    rows = Comparison(methods, former, {"rtfm": rtfm}).rows(32)
    results = list(compare(rows, [0], data, tmp_path, on_step=lambda *now: steps.append(now)))
    assert steps == []
    assert results[2].metrics["auc"] == 0.8324871352917664
    with pytest.raises(UsageError, match="another evaluation"):
        compare(Comparison(methods, former, {"rtfm": rtfm}).rows(32), [0], TrainingData(bags, test=test), tmp_path)
    for changed, told in (
        ({"rtfm": rtfm | {"k": 2}}, "k was 3 and is 2"),
        ({"de-net": {"erasing": "never"}}, "erasing was"),
    ):
        with pytest.raises(UsageError, match=told):
            compare(Comparison(methods, former, {"rtfm": rtfm} | changed).rows(32), [0], data, tmp_path)
