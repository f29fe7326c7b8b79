"""Score a folder, say which events are false alarms, train from the model on that, and score again."""

import json

import numpy as np
import pytest
import torch
from helpers import kind

from anomalycli.checkpoint import ModelInfo, save_model
from anomalycli.export.verdicts import VerdictStore
from anomalycli.features.files import Features
from anomalycli.methods.linear import Linear, LinearSettings

N_CLIPS, SECONDS = 96, 16 / 25  # of each video; of each clip
SIGNAL = 64.0  # large, so that the few and careful steps of fine-tuning are seen
FIGHT, CLEANER = 0, 8  # the first of the features that each raises
FIGHTS_AT, CLEANER_AT = slice(20, 30), slice(60, 70)  # clips


def make(folder, n, seed, *shown):
    """`n` feature files of noise; each of `shown` is (feature, clips, numbers of the videos that show it)."""
    rng = np.random.default_rng(seed)
    for number in range(n):
        visual = rng.normal(size=(N_CLIPS, 1, 32)).astype(np.float32)
        for feature, clips, numbers in shown:
            if number in numbers:
                visual[clips, :, feature : feature + 8] += SIGNAL
        Features(visual, kind(), N_CLIPS * 16, 25.0, f"video{number}.mp4").save(folder / f"video{number}.npz")
    return folder


def learnt() -> tuple[Linear, ModelInfo]:
    """A model that knows fights, and takes the cleaner for one: logits of 2.0 and 0.5, and of -3.0 for the rest."""
    settings = LinearSettings(feature_dim=32, segments=64, share=0.125)
    model = Linear(settings)
    with torch.no_grad():
        model.layer.weight[0, FIGHT : FIGHT + 8] = 5.0 / (8 * SIGNAL)
        model.layer.weight[0, CLEANER : CLEANER + 8] = 3.5 / (8 * SIGNAL)
        model.layer.bias[:] = -3.0
    return model.eval(), ModelInfo(settings, kind(), method="linear")


def highest(result: dict, clips: slice) -> float:
    return max(result["scores"][(clips.start + 2) * 16 : (clips.stop - 2) * 16])


def test_rejected_events_fall_below_the_threshold_and_the_others_stay(tmp_path, call):
    save_model(tmp_path / "model", *learnt())
    make(tmp_path / "camera", 6, 1, (FIGHT, FIGHTS_AT, range(4)), (CLEANER, CLEANER_AT, (1, 4)))
    words = (
        "score",
        "camera",
        "--json",
        "--threshold",
        "0.5",
        "--gap",
        "3",
        "-f",
        "events.csv",
        "-o",
        "out",
        "--model",
    )
    first = [json.loads(line) for line in call(*words, "model").stdout.splitlines()]
    assert [len(result["events"]) for result in first] == [1, 2, 1, 1, 1, 0]

    review = VerdictStore(tmp_path / "out")
    rejected = []
    for number, result in enumerate(first):
        events = []
        for event in result["events"]:
            false = event["start_time"] > 45 * SECONDS
            rejected += [number] if false else []
            verdict = "false" if false else "real"
            events.append({"start": event["start_time"], "end": event["end_time"], "verdict": verdict, "note": ""})
        review.put(f"{number:016x}", {"video": f"video{number}", "label": None, "note": "", "events": events})
    assert rejected == [1, 4]

    words_of_training = ("--from", "model", "--labels", "out/labels.csv", "--quick", "--device", "cpu", "-o", "taught")
    told = call("train", "camera", *words_of_training).stderr
    assert "left out, without a label or a verdict: video5." in told
    again = [json.loads(line) for line in call(*words, "taught").stdout.splitlines()]
    for number in rejected:
        assert highest(first[number], CLEANER_AT) >= 0.5 > highest(again[number], CLEANER_AT)
    for number in range(4):
        (event,) = again[number]["events"]
        assert event["start_time"] < 30 * SECONDS and event["end_time"] > 20 * SECONDS
        assert highest(again[number], FIGHTS_AT) == pytest.approx(highest(first[number], FIGHTS_AT), abs=0.3)
    assert not again[4]["events"] and not again[5]["events"]
