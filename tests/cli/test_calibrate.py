"""`calibrate`, and `score --calibration`, on feature files of a model whose scores are known."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from helpers import kind

from anomalycli.checkpoint import ModelInfo, save_model
from anomalycli.events import EventRule
from anomalycli.features.files import Features
from anomalycli.methods import build_method, find_method
from anomalycli.settings import make_settings

KIND = kind(dim=2)
FPS, CLIPS_PER_HOUR = 1.0, 225  # clips of 16 frames


@pytest.fixture
def make_model(tmp_path):
    """A model whose score is the sigmoid of the first feature plus `bias`."""

    def make(name="model.safetensors", bias=0.0):
        settings = make_settings(find_method("linear").settings, {"feature_dim": 2, "segments": 8})
        model = build_method("linear", settings)
        with torch.no_grad():
            model.layer.weight.copy_(torch.tensor([[1.0, 0.0]]))
            model.layer.bias.fill_(bias)
        save_model(tmp_path / name, model, ModelInfo(settings, KIND, EventRule(0.5, 0.3), method="linear"))
        return tmp_path / name

    return make


def write(path, logits, kind=KIND):
    visual = np.zeros((len(logits), 1, kind.dim), np.float32)
    visual[:, 0, 0] = logits
    Features(visual, kind, 16 * len(logits), FPS, f"{path.stem}.mp4").save(path)
    return path


@pytest.fixture
def gate(tmp_path):
    """Six hours of normal footage in six videos: quiet, with eight short peaks of rising height per video."""
    rng = np.random.default_rng(0)
    for number in range(6):
        logits = rng.normal(-4, 0.1, CLIPS_PER_HOUR)
        for peak in range(8):
            at = 10 + 25 * peak
            logits[at : at + 3] = -3 + rng.exponential(0.4)
        write(tmp_path / "gate" / f"normal{number}.npz", logits)
    return tmp_path / "gate"


def test_a_calibration_sets_the_thresholds_of_score(call, make_model, gate, tmp_path):
    done = call("calibrate", gate, "--model", make_model(), "--false-alarms-per-hour", 2, "-o", "gate.calibration.json")
    made = json.loads((tmp_path / "gate.calibration.json").read_text())
    start = re.search(r"events begin at ([\d.]+) and end below", done.stderr)[1]
    assert made["rule"]["start_threshold"] == pytest.approx(float(start), abs=1e-4)
    assert made["rule"]["end_threshold"] == pytest.approx(0.6 * float(start), abs=1e-4)
    assert f"{made['events']} events in 6 hours of normal footage: at most" in done.stderr
    assert made["rate_bound"] <= 2
    assert f"In as much new footage, at most {made['new_events']} events, with 95% confidence." in done.stderr
    assert made["new_events"] > made["events"]
    scored = call("score", gate, "--model", "model.safetensors", "--calibration", "gate.calibration.json", "--json")
    lines = [json.loads(line) for line in scored.stdout.splitlines()]
    assert sum(len(line["events"]) for line in lines) == made["events"] > 0
    highest = max(lines, key=lambda line: max(line["scores"]))
    assert highest["in_normal_footage"]["hours"] == pytest.approx(6, rel=0.01)  # it is the highest of six hours
    assert highest["in_normal_footage"]["words"] == "once in 6 hours"
    assert highest["events"][0]["in_normal_footage"]["hours"] >= 6 / made["events"] - 1e-9
    assert highest["calibration"]["rate_bound"] == made["rate_bound"]


def test_the_table_the_page_and_the_plot_say_how_often_a_score_occurs(call, make_model, gate, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    call("calibrate", gate, "--model", make_model(), "--false-alarms-per-hour", 2, "-o", "c.json")
    video = write(tmp_path / "today.npz", [-4.0] * 20 + [16.0] * 6 + [-4.0] * 20)
    words = ("score", video, "--model", "model.safetensors", "--calibration", "c.json", "-o", "out")
    table = call(*words, "-f", "html", "-f", "svg").stdout
    assert re.search(r"less than once in 2.\d days", table)
    page = (tmp_path / "out" / "today.html").read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])
    levels, frequencies = zip(*data["often"], strict=True)
    assert list(levels) == sorted(levels) and frequencies[0] == "usual"
    assert "once in 6 hours" in frequencies and frequencies[-1].startswith("less than once in")
    plot = (tmp_path / "out" / "today.svg").read_text()
    assert "once in" in plot and "Normal footage reaches" in plot


def test_without_a_calibration_nothing_is_said_about_normal_footage(call, make_model, gate):
    scored = call("score", gate / "normal0.npz", "--model", make_model(), "--json")
    assert not {"calibration", "in_normal_footage"} & json.loads(scored.stdout).keys()


def test_too_little_footage_is_said(call, make_model, gate):
    done = call("calibrate", gate, "--model", make_model(), "-o", "c.json")  # 0.1 per hour
    assert "0 events in 6 hours of normal footage: at most 0.5 per hour, with 95% confidence." in done.stderr
    assert "Too little footage: 0.1 per hour needs 30 hours without an event" in done.stderr
    assert "extrapolated from the highest peaks" in done.stderr
    words = ("calibrate", write(gate / "short" / "a.npz", np.linspace(-4, -3, 30)), "--model", "model.safetensors")
    told = call(*words, "-o", "d.json").stderr
    assert "Its peaks are too few to extrapolate" in told and "Hardly any score" not in told
    shortest = call("calibrate", write(gate / "short" / "b.npz", np.linspace(-4, -3, 5)), *words[2:], "-o", "e.json")
    assert "0 events in 80 seconds of normal footage: at most 135 per hour" in shortest.stderr


def test_a_level_that_hardly_any_score_reaches_is_told(call, make_model, gate):
    words = ("--model", make_model(), "--false-alarms-per-hour", "1e-6", "-o", "c.json")
    told = call("calibrate", gate, *words).stderr
    assert "Hardly any score is as high as that" in told and "needs 342 years without an event" in told


def test_a_rate_that_nobody_can_mean_is_refused_before_any_work(call):
    for rate in ("0", "1e-300", "5e-324"):
        told = call("calibrate", "nowhere", "--false-alarms-per-hour", rate, code=2).stderr
        assert "at least 0.000001 per hour" in told and "(--false-alarms-per-hour)" in told


def test_videos_that_are_labelled_abnormal_are_no_normal_footage(call, make_model, gate, tmp_path):
    write(gate / "abnormal" / "theft.npz", [-4.0] * 20 + [7.0] * 5)
    write(gate / "Fighting003_x264.npz", [-4.0] * 20 + [7.0] * 5)
    write(gate / "judged.npz", [-4.0] * 20 + [7.0] * 5)
    (gate / "labels.csv").write_text("video,label,start,end\nnormal1,0,,\njudged,1,320,400\nnormal2,0,1,9\n")
    words = ("--model", make_model(), "--false-alarms-per-hour", 2, "-o", "c.json")
    told = call("calibrate", gate, *words).stderr
    assert "Left out, labelled abnormal: Fighting003_x264, abnormal/theft, judged." in told
    assert json.loads((tmp_path / "c.json").read_text())["videos"] == 6
    told = call("calibrate", gate / "judged.npz", *words, "--overwrite", code=2).stderr
    assert "judged: labelled abnormal. A calibration needs footage of the scene that is normal." in told
    (gate / "labels.csv").write_text("something else")
    told = call("calibrate", gate, *words, "--overwrite").stderr
    assert "Labels are not used." in told and "labels.csv: the first line must be 'video,label'" in told


def test_labels_that_match_no_video_are_told(call, make_model, gate):
    (gate / "labels.csv").write_text("video,label\nnormal0,0\nnorml5,1\n")
    words = ("--model", make_model(), "--false-alarms-per-hour", 2, "-o")
    assert "labels.csv: 1 of 2 names match no video here: norml5." in call("calibrate", gate, *words, "a.json").stderr
    assert "norml5" not in call("calibrate", *gate.glob("normal*.npz"), *words, "b.json").stderr  # a part of the folder


def test_a_pattern_that_the_footage_does_not_match_is_told(call, make_model, gate):
    words = ("--model", make_model(), "--false-alarms-per-hour", 2, "-o", "c.json", "--overwrite", "--pattern")
    assert "The pattern" not in call("calibrate", gate, *words, "gate/").stderr
    assert (
        "The pattern '*1.npz' matches 1 of 6 videos. All of them are used"
        in call("calibrate", gate, *words, "*1.npz").stderr
    )
    assert "The pattern 'yard/*' matches none of 6 videos." in call("calibrate", gate, *words, "yard/*").stderr
    assert "The pattern is empty (--pattern)" in call("calibrate", gate, *words, ".", code=2).stderr


def test_an_abnormal_video_is_named_first(call, make_model, gate):
    write(gate / "theft.npz", [-4.0] * 20 + [7.0] * 5)
    done = call("calibrate", gate, "--model", make_model(), "--false-alarms-per-hour", 2, "-o", "c.json")
    assert "theft.npz: 0.999 at 5:28, far above the others. Is this really normal?" in done.stderr.splitlines()[0]


def test_copies_of_a_video_count_once(call, make_model, gate, tmp_path):
    for name in ("backup/normal1.npz", "normal1 (copy).npz"):
        (gate / name).parent.mkdir(exist_ok=True)
        shutil.copy(gate / "normal1.npz", gate / name)
    done = call("calibrate", gate, "--model", make_model(), "--false-alarms-per-hour", 2, "-o", "c.json")
    assert done.stderr.count("the same footage as") == 2
    made = json.loads((tmp_path / "c.json").read_text())
    assert (made["videos"], made["hours"]) == (6, 6.0)


def test_one_video_says_nothing_about_other_days(call, make_model, gate):
    done = call(
        "calibrate", gate / "normal0.npz", "--model", make_model(), "--false-alarms-per-hour", 9, "-o", "c.json"
    )
    assert "All footage is one video, so it says nothing about other days." in done.stderr


def test_equal_scores_and_seconds_of_footage_are_refused(call, make_model, tmp_path):
    write(tmp_path / "flat" / "a.npz", [-4.0] * 100)
    assert "All scores of this footage are 0.018" in call("calibrate", "flat", "--model", make_model(), code=2).stderr
    write(tmp_path / "short" / "a.npz", np.linspace(-4, 0, 3))
    assert (
        "48 seconds of normal footage is too little"
        in call("calibrate", "short", "--model", "model.safetensors", code=2).stderr
    )
    assert not (tmp_path / "calibration.json").exists()


def test_footage_of_another_backbone_costs_itself_alone(call, make_model, gate, tmp_path):
    write(gate / "other.npz", [0.0] * 100, kind(dim=2, backbone="i3d"))
    words = ("calibrate", gate, "--model", make_model(), "--false-alarms-per-hour", 2)
    done = call(*words, "-o", "c.json", code=3)
    assert "other.npz: it has backbone i3d, and the model was trained with backbone mc3" in done.stderr
    assert json.loads((tmp_path / "c.json").read_text())["videos"] == 6
    done = call("calibrate", gate / "other.npz", "--model", "model.safetensors", "-o", "d.json", code=1)
    assert not (tmp_path / "d.json").exists()


def test_a_folder_that_is_not_there_is_told_before_a_model_that_is_not(call):
    for command in ("calibrate", "score"):
        told = call(command, "nowhere", "--model", "gone.safetensors", code=1).stderr
        assert "nowhere: there is no such file or folder" in told and "gone.safetensors" not in told


def test_a_calibration_of_another_model_or_mode_is_refused_before_any_work(call, make_model, gate):
    call("calibrate", gate, "--model", make_model(), "--false-alarms-per-hour", 2, "-o", "c.json")
    make_model("other.safetensors", bias=0.5)
    words = ("score", gate, "--calibration", "c.json", "-f", "csv", "-o", "out")
    done = call(*words, "--model", "other.safetensors", code=2)
    assert "c.json: made with another model, and scores of two models cannot be compared" in done.stderr
    done = call(*words, "--model", "model.safetensors", "--mode", "video", code=2)
    assert "scoring mode auto, and this one is video" in done.stderr and "(--mode)" in done.stderr
    done = call(*words, "--model", "model.safetensors", "--threshold", 0.5, code=2)
    assert "nothing of it can be set beside it (--threshold)" in done.stderr


def test_each_scene_is_scored_by_its_own_calibration(call, make_model, gate, tmp_path):
    model = make_model()
    shutil.copytree(gate, tmp_path / "door")
    for scene, rate in (("gate", 2), ("door", 6)):
        rest = ("--false-alarms-per-hour", rate, "--pattern", f"{scene}/*", "-o", f"{scene}.json")
        call("calibrate", scene, "--model", model, *rest)
    write(tmp_path / "yard" / "a.npz", [-4.0] * 100)
    words = (
        "score",
        "gate",
        "door",
        "yard",
        "--model",
        model,
        "--calibration",
        "gate.json",
        "--calibration",
        "door.json",
    )
    done = call(*words, "--json")
    starts = {}
    for line in map(json.loads, done.stdout.splitlines()):
        starts.setdefault(line["video"].split("/")[-2], set()).add(line["rule"]["start"])
    rules = {scene: json.loads((tmp_path / f"{scene}.json").read_text())["rule"] for scene in ("gate", "door")}
    assert starts == {scene: {rule["start_threshold"]} for scene, rule in rules.items()} | {"yard": {0.5}}
    assert rules["door"]["start_threshold"] < rules["gate"]["start_threshold"]
    assert "No calibration is for a: the model's own thresholds apply there." in done.stderr


def test_an_existing_calibration_stays_unless_it_is_to_be_replaced(call, make_model, gate, tmp_path):
    (tmp_path / "c.json").write_text(damaged := '{"anomalycli": "calibration"')
    words = ("calibrate", gate, "--model", make_model(), "--false-alarms-per-hour", 2, "-o", "c.json")
    assert "c.json exists. Overwrite it, or name another file (--overwrite, --output)" in call(*words, code=2).stderr
    assert (tmp_path / "c.json").read_text() == damaged
    call(*words, "--overwrite")
    assert json.loads((tmp_path / "c.json").read_text())["anomalycli"] == "calibration"


def test_nothing_but_a_calibration_is_replaced(call, make_model, gate, tmp_path):
    model = make_model()
    words = ("calibrate", gate, "--model", model, "--false-alarms-per-hour", 2, "--overwrite", "-o")
    call(*words, "c.json")
    call("score", gate, "--model", model, "--calibration", "c.json", "-f", "events.json", "-o", "out")
    for file in (model, gate / "normal1.npz", tmp_path / "out" / "normal1.events.json"):
        before = file.read_bytes()
        assert "it is not a calibration, and is not overwritten" in call(*words, file, code=2).stderr
        assert file.read_bytes() == before
    assert "its name is too long" in call(*words, "n" * 300, code=1).stderr
