import dataclasses
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors import safe_open

from anomalycli.checkpoint import load_model
from anomalycli.data.bags import load_bags
from anomalycli.data.sampling import BagBatches, draw, split
from anomalycli.errors import CheckpointError, StorageError, UsageError
from anomalycli.evaluation.protocol import evaluation_set
from anomalycli.training.erasure_log import read_erasures
from anomalycli.training.plan import make_plan
from anomalycli.training.presets import PRESETS
from anomalycli.training.recipe import Recipe, train_by_recipe
from anomalycli.training.trainer import Destination, TrainingData, train
from anomalycli.training.validation import average_precision

NETWORK = ("--width", "16", "--heads", "2", "--feedforward", "16", "--segments", "8", "--scales", "2")
SMALL = (*NETWORK, "--batch", "4", "--lr", "1e-3", "--device", "cpu", "--validate-every", "5")


def plan(**changes):
    values = {"batch": 4, "lr": 1e-3, "steps": 12, "validate_every": 5}
    values |= {"segments": 8, "scales": 2, "heads": 2, "feedforward": 16}
    changes = {**values, **changes}
    return make_plan("de-net", changes.pop("feature_dim", 32), changes)


def go(bags, path, plan, on_progress=None, resume=False, overwrite=False, half=False, **data):
    destination = Destination(path, half, resume, overwrite)
    return train(plan, TrainingData(bags, **data), destination, on_progress=on_progress)


def test_two_runs_with_one_seed_are_the_same_file_and_another_seed_is_another(make_features, tmp_path):
    bags = load_bags(make_features(), 8)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        go(bags, tmp_path / name, plan(seed=seed))
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_it_learns_what_abnormal_means(make_features, tmp_path):
    bags = load_bags(make_features(normal=20, abnormal=20), 8)
    told = []
    go(bags, tmp_path / "m", plan(steps=150), on_progress=told.append)
    assert told[-1].step == 150
    assert told[-1].loss < 0.5 * told[0].loss
    assert told[-1].validation_ap == 1
    assert max(now.erased for now in told) > 0
    assert all(np.isfinite(now.loss) for now in told)


@pytest.mark.parametrize("erasing", ["dynamic", "always", "never"])
def test_erasing_can_be_chosen(make_features, tmp_path, erasing):
    bags = load_bags(make_features(), 8)
    told = []
    go(bags, tmp_path / "m", plan(erasing=erasing, threshold=0.0), on_progress=told.append)
    erased = [now.erased for now in told]
    if erasing == "always":
        assert erased == [1] * 12  # every score is above 0: whole videos are zeroed, and the loss stays finite
    elif erasing == "never":
        assert erased == [None] * 12
    else:  # some videos are complete and some are not: whole videos are erased, but not all
        assert 0 < sum(erased) < 12
        assert all(4 * share == int(4 * share) for share in erased)
    assert all(np.isfinite(now.loss) for now in told)


def test_a_run_killed_at_any_step_and_resumed_ends_in_the_same_file(make_features, call, tmp_path):
    make_features()
    command = ["train", "features", *SMALL, "--steps", "200"]
    call(*command, "-o", "whole.safetensors")
    state = tmp_path / "killed.safetensors.state"
    rng = np.random.default_rng()
    for extra in ((), ("--resume",)):
        process = subprocess.Popen(
            [sys.executable, "-m", "anomalycli", *command, "-o", "killed.safetensors", *extra],
            cwd=tmp_path,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 120
        while not state.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
    if state.exists():
        told = call(*command, "-o", "killed.safetensors", code=2).stderr
        assert "interrupted run" in told
    call(*command, "-o", "killed.safetensors", "--resume")
    assert (tmp_path / "killed.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert not state.exists()


def test_a_run_is_not_resumed_with_other_settings_or_data(make_features, tmp_path):
    class Stop(Exception):
        pass

    def stop(now):
        if now.step == 7:
            raise Stop

    bags = load_bags(make_features(), 8)
    with pytest.raises(Stop):
        go(bags, tmp_path / "m", plan(), on_progress=stop)
    with pytest.raises(UsageError, match="other settings"):
        go(bags, tmp_path / "m", plan(lr=1.0), resume=True)
    with pytest.raises(UsageError, match="another network"):
        go(bags, tmp_path / "m", plan(scales=1), resume=True)
    with pytest.raises(UsageError, match="other features or labels"):
        go(load_bags(make_features("more", normal=7), 8), tmp_path / "m", plan(), resume=True)
    with pytest.raises(UsageError, match="another method"):
        go(bags, tmp_path / "m", dataclasses.replace(plan(), method="mstm"), resume=True)
    with pytest.raises(UsageError, match="other videos held out"):  # two groups, too large for that
        go(bags, tmp_path / "m", plan(), resume=True, groups={name: name[:-1] for name in bags.names})
    with pytest.raises(UsageError, match="other videos watched"):
        go(bags, tmp_path / "m", plan(), resume=True, watch=["video11"])
    with pytest.raises(UsageError, match="other ground truth or test videos"):
        go(bags, tmp_path / "m", plan(), resume=True, truth=truth_of(bags))
    with pytest.raises(UsageError, match="interrupted run left this state"):
        go(bags, tmp_path / "m", plan())


def test_a_model_is_not_replaced_unasked(make_features, tmp_path):
    bags = load_bags(make_features(), 8)
    go(bags, tmp_path / "m", plan())
    with pytest.raises(UsageError, match="m exists"):
        go(bags, tmp_path / "m", plan())
    go(bags, tmp_path / "m", plan(), overwrite=True)


def test_a_finished_model_of_another_run_is_not_replaced_by_resuming(make_features, tmp_path):
    bags = load_bags(make_features(), 8)
    go(bags, tmp_path / "m", plan())
    before = (tmp_path / "m").read_bytes()
    go(bags, tmp_path / "m", plan(), resume=True)
    for other, changed in (
        (bags, plan(lr=1.0)),
        (bags, plan(scales=1)),
        (load_bags(make_features(n_clips=9), 8), plan()),
    ):
        with pytest.raises(UsageError, match="m: it is of a run with other settings or data"):
            go(other, tmp_path / "m", changed, resume=True)
    groups = {name: f"camera{i % 6 // 3}" for i, name in enumerate(bags.names)}  # so that others are held out
    with pytest.raises(UsageError, match="m: it is of a run with other settings or data"):
        go(bags, tmp_path / "m", plan(), resume=True, groups=groups)
    with pytest.raises(UsageError, match="m: it is of a run with other settings or data"):
        train_by_recipe(
            TrainingData(bags), Destination(tmp_path / "m", resume=True), torch.device("cpu"), Recipe(search=False)
        )
    assert (tmp_path / "m").read_bytes() == before


def test_the_checkpoint_says_what_it_is(make_features, tmp_path):
    bags = load_bags(make_features(), 8)
    go(bags, tmp_path / "m", plan(width=16), half=True)
    model, info = load_model(tmp_path / "m")
    assert (info.method, info.settings, info.kind) == ("de-net", plan(width=16).settings, bags.kind)
    assert info.training.settings["steps"] == 12
    assert info.training.abnormal_videos == 5  # one of six is held out
    assert info.training.validation_videos == 2
    assert info.training.checkpoint == "last"
    assert model.narrow.weight.shape == (16, 32)
    with safe_open(tmp_path / "m", "pt") as file:
        assert {str(file.get_tensor(name).dtype) for name in file.keys()} == {"torch.float16"}  # noqa: SIM118


def test_checkpoints_that_are_none_are_refused(make_features, tmp_path):
    go(load_bags(make_features(), 8), tmp_path / "m", plan())
    whole = (tmp_path / "m").read_bytes()
    for name, content in (("cut", whole[: len(whole) // 2]), ("text", b"hello"), ("empty", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=f"{name}: not a model file"):
            load_model(tmp_path / name)
    with pytest.raises(CheckpointError, match="no such file"):
        load_model(tmp_path / "gone")


def test_every_video_is_drawn_once_before_any_comes_again():
    videos = np.array([3, 5, 7, 11, 13])
    drawn = np.concatenate([draw(videos, step, 4, (0, 1)) for step in range(10)])
    for i in range(0, 40, 5):
        assert sorted(drawn[i : i + 5]) == sorted(videos)
    assert not np.array_equal(drawn[:5], drawn[5:10])


def test_bad_training_data_is_named_before_any_work(make_features, call, tmp_path):
    folder = make_features()
    labels = folder / "labels.csv"
    both = labels.read_text()

    def told(code, *extra):
        text = call("train", folder, *SMALL, "--steps", "5", *extra, code=code).stderr
        assert "Traceback" not in text
        assert not (tmp_path / "models").exists()
        return text

    labels.write_text(both.replace(",0", ",1"))
    assert "Every training video is abnormal" in told(2)
    labels.write_text(both.replace("video03,0\n", ""))
    assert "no label for video03" in told(2)
    labels.write_text(both + "video03,1\n")
    assert "video03 is labelled both" in told(2)
    labels.write_text(both)
    assert "not divisible by 5 heads" in told(2, "--heads", "5")
    assert "'sometimes' is not one of" in told(2, "--erasing", "sometimes")
    assert "lr must be greater than 0" in told(2, "--lr", "-1")
    (tmp_path / "bad.toml").write_text("stepz = 3\n")
    assert "no setting 'stepz'" in told(2, "--config", "bad.toml")
    half = folder / "video04.npz"
    half.unlink()
    make_features("other", backbone="i3d")
    (tmp_path / "other" / "video04.npz").rename(half)
    text = told(2)
    assert "mc3" in text
    assert "i3d" in text
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no feature file" in call("train", empty, code=1).stderr
    assert "gone: there is no such folder" in call("train", "gone", code=1).stderr
    assert "video03.npz: it is a file, not a folder" in call("train", "features/video03.npz", code=1).stderr
    (tmp_path / "truth.csv").write_text("video,n_frames,start,end\nvideo00,155,,\n")
    scores = ("evaluate", "--scores", "gone", "--ground-truth", "truth.csv")
    assert "gone: there is no such folder" in call(*scores, code=1).stderr


@pytest.mark.parametrize("words", ["--segments 0", "--lr -1", "--batch 0", "--validation 1", "--set steps=0"])
def test_settings_out_of_range_are_told_before_features_are_read(call, words):
    assert " must be " in call("train", "gone", *words.split(), code=2).stderr


def test_a_name_without_room_for_the_state_beside_it_is_refused(call):
    told = call("train", "gone", "-o", "m" * 250, code=1).stderr
    assert "it cannot be written: its name is too long" in told


def test_a_name_without_room_for_the_record_of_erasing_is_refused_before_training(make_features, tmp_path):
    told = []
    with pytest.raises(StorageError, match="its name is too long"):
        go(load_bags(make_features(), 8), tmp_path / ("m" * 245), plan(), told.append, watch=["video11"])
    assert told == []


def test_a_list_of_test_videos_needs_their_features(call, tmp_path):
    (tmp_path / "test.txt").write_text("video00\n")
    words = call("train", "gone", "--test-only", "test.txt", code=2).stderr
    assert "it lists test videos, and no folder of their features is given (--test)." in words


def test_settings_come_from_a_file_and_flags_win(make_features, call, tmp_path):
    make_features()
    (tmp_path / "settings.toml").write_text(
        "width = 16\nheads = 2\nfeedforward = 16\nsegments = 8\nscales = 2\nbatch = 4\nsteps = 3\nweight-decay = 0.5\n"
    )
    told = call("train", "features", "--config", "settings.toml", "--steps", "2", "--device", "cpu").stderr
    assert "validation AP" in told
    _, info = load_model(tmp_path / "models" / "denet.safetensors")
    assert [info.training.settings[name] for name in ("steps", "weight_decay", "lr")] == [2, 0.5, 1e-5]
    assert info.settings == plan(width=16).settings


@pytest.mark.parametrize(
    ("words", "erased", "validated"),
    [
        (("--method", "mil-rank"), False, True),
        (("--method", "baseline"), False, True),
        (("--validation", "0"), True, False),
        (("--validate-every", "2"), True, True),
    ],
)
def test_progress_says_what_applies(make_features, call, words, erased, validated):
    network = NETWORK if "mil-rank" not in words else ("--segments", "8")
    told = call("train", make_features(), *network, "--steps", 2, "--batch", 4, "--device", "cpu", *words).stderr
    first, last = re.findall(r"step .*", told)
    assert ("erased" in last) is erased
    assert ("validation AP 1" in last or "validation AP 0" in last) is validated
    assert "validation" not in first  # nothing is measured yet


def truth_of(bags):
    truth = {name: np.zeros(n, bool) for name, n in zip(bags.names, bags.n_frames)}
    for name, label in zip(bags.names, bags.labels):
        truth[name][48:80] = label
    return truth


def test_the_best_state_is_kept_only_where_asked_for_and_says_so(make_features, tmp_path):
    bags = load_bags(make_features(normal=10, abnormal=10), 8)
    told = []
    settings = {"steps": 20, "validate_every": 1, "lr": 3e-2, "validation": 0.4}
    info = go(
        bags, tmp_path / "m", plan(**settings, keep="validation"), truth=truth_of(bags),
        on_progress=told.append,
    )  # fmt: skip
    aps = [now.validation_ap for now in told]
    assert info.training.checkpoint == "best on validation"
    assert info.training.validated_on == "frames"
    assert info.training.checkpoint_ap == max(aps)
    assert info.training.checkpoint_step == aps.index(max(aps)) + 1

    held_out, _ = split(bags.names, bags.labels, 0.4, 0)
    model, _ = load_model(tmp_path / "m")
    assert average_precision(model, evaluation_set(bags[held_out], truth_of(bags)), "cpu") == pytest.approx(max(aps))

    test = evaluation_set(
        load_bags(make_features("test"), 8), truth_of(bags) | truth_of(load_bags(make_features("test"), 8))
    )
    info = go(bags, tmp_path / "t", plan(keep="test"), test=test)
    assert info.training.checkpoint == "best on test"
    assert average_precision(load_model(tmp_path / "t")[0], test, "cpu") == pytest.approx(info.training.checkpoint_ap)
    for keep, told in (("test", "name the folder"), ("validation", "hold some out")):
        with pytest.raises(UsageError, match=told):
            go(bags, tmp_path / "n", plan(keep=keep, validation=0))
    few = {name: frames for name, frames in truth_of(bags).items() if name not in bags.names[::2]}
    with pytest.raises(UsageError, match="no ground truth"):
        go(bags, tmp_path / "n", plan(), truth=few)


def test_a_resumed_run_has_the_same_best_state_and_the_same_record_of_erasing(make_features, tmp_path):
    class Stop(Exception):
        pass

    def stop(now):
        if now.step == 18:
            raise Stop

    bags = load_bags(make_features(), 8)
    config = plan(steps=30, keep="validation", lr=1e-2, threshold=0.0, erasing="always", validate_every=4)
    for name in ("whole", "stopped"):
        try:
            go(
                bags,
                tmp_path / name,
                config,
                watch=["video11"],
                on_progress=stop if name != "whole" else None,
            )
        except Stop:
            go(bags, tmp_path / name, config, watch=["video11"], resume=True)
    for ending in ("", ".erasing.csv"):
        assert (tmp_path / f"whole{ending}").read_bytes() == (tmp_path / f"stopped{ending}").read_bytes()
    record = read_erasures(tmp_path / "whole.erasing.csv")
    assert [row.epoch for row in record] == list(range(1, len(record) + 1))
    assert len(record) == 30 * 4 / 5  # once per epoch of the five abnormal videos that are not held out
    assert all(row.segments == tuple(range(8)) for row in record)  # above 0 is everything


@pytest.mark.parametrize("crops", ["draw", "all"])
def test_crops_are_drawn_or_all_trained_on(tmp_path, crops):
    for name, value in (("v_label_A", 0.0), ("w_label_B1-0-0", 1.0)):
        for crop in range(3):
            np.save(tmp_path / f"{name}__{crop}.npy", np.full((9, 8), value + crop, np.float32))
    bags = load_bags(tmp_path, 8, crops=crops)
    batches = BagBatches(bags.labels, np.arange(2), 3, crops, 6, seed=0)
    abnormal = np.concatenate([batches(step)[0] for step in range(20)])
    assert set(abnormal) == {3, 4, 5}
    if crops == "all":
        assert np.bincount(abnormal)[3:].tolist() == [40, 40, 40]
    info = go(bags, tmp_path / "m", plan(feature_dim=8, crops=crops))
    assert info.training.settings["crops"] == crops


def test_presets_are_the_paper_s_and_refuse_other_features(make_features, call, tmp_path):
    make_features()
    told = call("train", "features", "--preset", "tad", code=2).stderr
    assert "features of width 32; the preset tad is for width 2048" in told
    assert "the defaults and steps=3000, crop-policy=draw, validation=0.0: give these" in " ".join(told.split())
    assert "'xd' is not one of" in call("train", "features", "--preset", "xd", code=2).stderr
    assert {name: preset["feature_dim"] for name, preset in PRESETS.items()} == {
        "xd-violence": 1024,
        "xd-violence-audio": 1152,
        "ucf-crime": 2048,
        "tad": 2048,
    }
    for preset in PRESETS.values():
        dim = preset["feature_dim"]
        made = make_plan("de-net", dim, {name: value for name, value in preset.items() if name != "feature_dim"})
        net, config = made.settings, made.config
        assert (net.segments, net.scales, net.heads, net.layers, net.dropout) == (64, 3, 8, 1, 0.6)
        assert config.validation == 0  # the paper's tables are of models that are trained on all videos
        assert (config.lr, config.weight_decay, config.batch, net.threshold) == (1e-5, 1e-3, 32, 0.8)
        assert (net.alpha1, net.alpha2, net.lambda1, net.lambda2) == (1, 1e-4, 1, 1)


def test_the_command_records_and_draws_erasing(make_features, call, tmp_path):
    make_features()
    small = (*SMALL, "--steps", "6", "--delta", "0", "--erasing", "always", "--validation", "0")
    call("train", "features", *small, "--watch", "video11.mp4", "--watch", "cam\\video07", "-o", "m")
    record = read_erasures(tmp_path / "m.erasing.csv")
    assert {row.video for row in record} == {"video07", "video11"}
    assert (tmp_path / "m.erasing.png").read_bytes()[:4] == b"\x89PNG"
    assert "no video 'video99'" in call("train", "features", *small, "--watch", "video99", "-o", "n", code=2).stderr
    assert (
        "'video00' is a normal video"
        in call("train", "features", *small, "--watch", "video00", "-o", "n", code=2).stderr
    )
    quiet = (*SMALL, "--steps", "1", "--batch", "1", "--erasing", "never", "--validation", "0")
    for name in ("video06", "video07"):  # of a batch of one, one of them never comes up
        call("train", "features", *quiet, "--watch", name, "-o", name)
        assert (tmp_path / f"{name}.erasing.png").read_bytes()[:4] == b"\x89PNG"
        assert not any(row.segments for row in read_erasures(tmp_path / f"{name}.erasing.csv"))


@pytest.mark.parametrize(
    "text",
    [
        "epoch,step,video,n_segments,segments\r\n1,1,a,64,0 63\r\n2,5,a,64,\r\n",
        "Epoch;Step;Video;N_segments;Segments\n1;1;a;64;0 63\n2;5;a;64;\n",
        "epoch\tstep\tvideo\tn_segments\tsegments\n1\t1\ta\t64\t0 63\n2.0\t5.0\ta\t64.0\t\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_record_of_erasing_is_read_as_spreadsheets_save_it(tmp_path, text, encoding):
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    assert [(row.epoch, row.segments) for row in read_erasures(tmp_path / "a.csv")] == [(1, (0, 63)), (2, ())]


@pytest.mark.parametrize(
    "row", ["0,1,a,64,1", "1,1,a,64,64", "1,1,a,64,-1", "1,1,a,64,1;2", "x,1,a,64,1", "1,1,a,99999999999999999999,1"]
)
def test_a_record_of_erasing_that_cannot_be_is_refused_with_its_line(tmp_path, row):
    (tmp_path / "a.csv").write_text(f"epoch,step,video,n_segments,segments\n1,1,a,64,1\n{row}\n")
    with pytest.raises(UsageError, match=r"a\.csv, line 3"):
        read_erasures(tmp_path / "a.csv")


@pytest.mark.parametrize(
    "changes", [{"lr": 1e30, "validate_every": 2}, {"lr": 1e30, "validate_every": 1}, {"lr": 1e38, "erasing": "never"}]
)
def test_training_that_diverges_writes_no_model(make_features, tmp_path, changes):
    bags = load_bags(make_features(), 8)
    with pytest.raises(UsageError, match="training diverges"):
        train(plan(batch=2, **changes), TrainingData(bags), Destination(tmp_path / "m"))
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    "changes", [{"feedforward": 2 * 10**9}, {"segments": 10**8}, {"width": 10**6}, {"seed": 2**63}, {"heads": 10**9}]
)
def test_settings_that_no_machine_has_room_for_are_refused(changes):
    with pytest.raises(UsageError, match=f"{next(iter(changes))} must be"):
        plan(**changes)
