import csv
import dataclasses
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import kind, real_film
from PIL import Image

from anomalycli import Scorer
from anomalycli.checkpoint import ModelInfo, load_bundled, save_model
from anomalycli.denet import DENet, DENetConfig
from anomalycli.errors import UsageError
from anomalycli.events import EventRule
from anomalycli.features.files import Features
from anomalycli.sample import sample_clip
from anomalycli.segments import pool, spread


@pytest.fixture(scope="module")
def scorer():
    """A model that has learnt nothing, for features of width 32."""
    torch.manual_seed(0)
    config = DENetConfig(32, heads=2, feedforward=16, dropout=0.0)
    return Scorer(DENet(config), ModelInfo(config, kind(), EventRule(0.2, 0.1)), device="cpu")


@pytest.fixture(scope="module")
def bundled():
    return Scorer.load(device="cpu")


def test_threads_can_share_a_scorer(bundled, make_video):
    path = make_video("a.mp4", 40)
    alone = bundled.score(path)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(bundled.score, [path] * 4))
    for result in together:
        np.testing.assert_array_equal(result.scores, alone.scores)


def test_a_scorer_that_has_scored_can_be_sent_to_another_process(bundled, make_video):
    path = make_video("a.mp4", 20)
    expected = bundled.score(path).scores
    copy = pickle.loads(pickle.dumps(bundled))
    np.testing.assert_array_equal(copy.score(path).scores, expected)


def features(n_frames, crops=1):
    n_clips = -(-n_frames // 16)
    visual = np.random.default_rng(n_frames).normal(size=(n_clips, crops, 32)).astype(np.float32)
    return Features(visual, kind(), n_frames, 25.0, "x.mp4")


@pytest.mark.parametrize("n_frames", [1, 16, 17, 1000, 1024, 1025, 3072, 3073, 40_000])
def test_there_is_a_score_for_every_frame(scorer, n_frames):
    scores, mode = scorer.score_features(features(n_frames))
    assert scores.shape == (n_frames,)
    assert scores.dtype == np.float32
    assert ((scores >= 0) & (scores <= 1)).all()
    assert mode == ("window" if n_frames > 3072 else "video")


def test_the_papers_span_makes_64_segments_of_any_length(scorer):
    long = features(40_000)
    scores, mode = scorer.score_features(long, "video")
    with torch.inference_mode():
        expected = scorer.model(torch.from_numpy(pool(long.visual[:, 0], 64))[None])[1][0]
    assert mode == "video"
    assert scores == pytest.approx(spread(expected.numpy(), 40_000), abs=1e-6)


def test_windows_see_what_is_brief_where_segments_average_it_away(scorer):
    long = features(64 * 16 * 40)  # 40 clips a segment
    long.visual[:] = 0
    calm, _ = scorer.score_features(long, "window")
    calm_segments, _ = scorer.score_features(long, "video")
    long.visual[1234] = 10
    brief, _ = scorer.score_features(long, "window")
    brief_segments, _ = scorer.score_features(long, "video")
    difference = np.abs(brief - calm)
    assert abs(difference.argmax() // 16 - 1234) <= 32
    assert difference.max() > 5 * np.abs(brief_segments - calm_segments).max()
    assert difference[: 1100 * 16].max() == 0  # windows far away do not feel it


def test_a_blend_of_windows_leaves_no_seam(scorer):
    """Of equal clips each window scores as 64 of them do alone, so the blend stays between their extremes."""
    long, short = features(300 * 16), features(64 * 16)
    long.visual[:] = short.visual[:] = long.visual[0]
    blended, mode = scorer.score_features(long, "window")
    window, _ = scorer.score_features(short, "video")
    assert mode == "window"
    assert blended.min() >= window.min() - 1e-6
    assert blended.max() <= window.max() + 1e-6
    assert np.abs(np.diff(blended)).max() <= np.abs(np.diff(window)).max() + np.ptp(window) / 256


def test_scores_of_crops_are_averaged(scorer):
    many = features(500, crops=5)
    each = [scorer.score_features(dataclasses.replace(many, visual=many.visual[:, [i]]))[0] for i in range(5)]
    assert scorer.score_features(many)[0] == pytest.approx(np.mean(each, 0), abs=1e-6)


def test_features_of_another_kind_are_refused_with_both_sides(scorer, tmp_path):
    path = tmp_path / "x.npz"
    dataclasses.replace(features(100), kind=kind(backbone="i3d")).save(path)
    with pytest.raises(UsageError, match=r"x\.npz: it has backbone i3d, and the model was trained with backbone mc3"):
        scorer.score(path)
    of_mc3 = load_bundled("fights-mc3")[1].kind
    dataclasses.replace(features(100), visual=np.zeros((7, 1, of_mc3.dim), np.float32), kind=of_mc3).save(path)
    with pytest.raises(UsageError, match="or use the bundled model fights-mc3, which was trained on such features"):
        Scorer.load().score(path)
    assert Scorer.load(Path("fights-mc3")).score(path).scores.shape == (100,)
    wide = dataclasses.replace(features(100), visual=np.zeros((7, 1, 48), np.float32), kind=kind(dim=48))
    wide.save(path)
    with pytest.raises(UsageError, match="it has dim 48, and the model was trained with dim 32"):
        scorer.score(path)


def test_a_model_of_published_features_scores_no_video(scorer, make_video):
    info = dataclasses.replace(scorer.info, kind=kind(backbone="published"))
    with pytest.raises(UsageError, match="which do not say how they were made"):
        Scorer(scorer.model, info, device="cpu").score(make_video("a.mp4", 16))


def test_the_bundled_model_scores_a_video_and_its_features_alike(bundled, run, tmp_path):
    result = bundled.score(real_film())
    assert result.scores.shape == (250,)
    assert result.fps == 25
    run("extract", real_film(), "--device", "cpu")
    again = bundled.score(tmp_path / "features" / "bikes.npz")
    assert np.array_equal(result.scores, again.scores)
    assert result.events == again.events


def test_the_sample_shows_an_event_as_the_readme_says(bundled):
    (event,) = bundled.score(sample_clip()).events
    assert event.start / 25 >= 7 and event.end / 25 <= 16 and event.end - event.start > 100
    assert sample_clip().stat().st_size < 2 << 20


def test_passing_bicycles_score_low(bundled):
    assert bundled.score(real_film()).scores.max() < 0.27


def test_score_writes_a_table_a_picture_and_a_csv(run, tmp_path):
    done = run("score", real_film(), "--plot", "--csv", "-o", "out")
    assert "bikes.mp4" in done.stdout
    assert "0:10" in done.stdout
    with Image.open(tmp_path / "out" / "bikes.png") as picture:
        assert picture.width > 1000
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 1000  # a glimpse of the video is in it
    with open(tmp_path / "out" / "bikes.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 250
    assert (rows[50]["frame"], rows[50]["time"]) == ("50", "2.000")
    assert all(0 <= float(row["score"]) <= 1 for row in rows)


def test_json_is_one_object_a_video_and_flags_change_the_events(run, make_video):
    first, second = make_video("a.mp4", 20), make_video("b.mp4", 33)
    flags = ("--threshold", "0", "--end-threshold", "0", "--shortest", "0")
    lines = run("score", first, second, "--json", *flags).stdout.splitlines()
    told = [json.loads(line) for line in lines]
    assert [len(video["scores"]) for video in told] == [20, 33]
    assert [(event["start"], event["end"]) for video in told for event in video["events"]] == [(0, 20), (0, 33)]
    assert told[1]["events"][0]["end_time"] == pytest.approx(33 / 25)
    assert told[0]["rule"] == {"start": 0, "end": 0, "gap": 1.0, "shortest": 0}


def test_what_fails_is_named_and_the_rest_is_done(run, make_video, tmp_path, shared):
    make_video("videos/good.mp4", 20)
    (tmp_path / "videos" / "empty.mp4").touch()
    done = run("score", "videos", "--json", code=3)
    assert json.loads(done.stdout)["video"].endswith("good.mp4")
    assert "empty.mp4: the file is empty" in done.stderr
    done = run("score", shared / "robustness" / "corrupted.mp4", code=3)
    assert "49 frames were read and 1 frame is lost" in done.stderr
    assert "corrupted.mp4" in done.stdout


def test_nothing_to_score_is_a_sentence(run, make_video, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "model.safetensors").write_text("no model")
    clip = make_video()
    for words, code, told in (
        (("gone.mp4",), 1, "gone.mp4: there is no such file"),
        (("empty",), 1, "empty: there is no video in it"),
        ((), 2, "Usage"),
        ((clip, "--model", "model.safetensors"), 1, "model.safetensors: not a model file"),
        ((clip, "--model", "gone.safetensors"), 1, "gone.safetensors: there is no such file"),
        ((clip, "--mode", "hour"), 2, "'hour' is not one of"),
        ((clip, "--threshold", "0.1", "--end-threshold", "0.5"), 2, "end 0.5 and start 0.1"),
        ((clip, "--device", "tpu"), 2, "no device 'tpu'"),
    ):
        done = run("score", *words, code=code)
        assert told in done.stderr + done.stdout
        assert "Traceback" not in done.stderr


def test_a_model_of_another_width_is_refused(run, make_video, tmp_path):
    config = DENetConfig(32, heads=2, feedforward=16)
    save_model(tmp_path / "narrow.safetensors", DENet(config), ModelInfo(config, kind()))
    told = run("score", make_video(), "--model", "narrow.safetensors", code=2).stderr
    assert "The model was trained with weights sha256 0" in told
