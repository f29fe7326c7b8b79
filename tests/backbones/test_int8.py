import importlib.util
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import cosine

from anomalycli import Scorer
from anomalycli.backbones import Extractor, int8
from anomalycli.checkpoint import ModelInfo, save_model
from anomalycli.denet import DENet, DENetConfig
from anomalycli.device import pick_precision
from anomalycli.errors import UsageError
from anomalycli.extraction.job import calibrate, check_stored, extract
from anomalycli.extraction.local_engine import extract_video
from anomalycli.features.files import load_features

SIZE = 32
needs_fast = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in int8.PACKAGES),
    reason="OpenVINO and NNCF are absent: pip install 'anomalycli[fast]'",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A cache folder of its own, for all tests of this module: quantising takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANOMALYCLI_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def fp32():
    return Extractor("mc3", precision="fp32", size=SIZE)


@pytest.fixture(scope="module")
def scene():
    """Clips (16, H, W, 3) of rectangles that move over a lit wall: smooth, as pictures are, and each another."""

    def clip(seed: int, height: int = SIZE, width: int = 48) -> np.ndarray:
        rng = np.random.default_rng(seed)
        wall = np.linspace(*rng.integers(30, 220, 2), width)[None, :, None] + rng.integers(-20, 20, 3)
        frames = np.broadcast_to(wall, (16, height, width, 3)).copy()
        for _ in range(4):
            y, x, down, right = rng.integers(0, height), rng.integers(0, width), *rng.integers(-2, 3, 2)
            colour = rng.integers(0, 256, 3)
            for t in range(16):
                top, left = (y + t * down) % height, (x + t * right) % width
                frames[t, top : top + 10, left : left + 8] = colour
        return (frames + rng.normal(0, 3, frames.shape)).clip(0, 255).astype(np.uint8)

    return clip


@pytest.fixture(scope="module")
def ready(home, scene):
    extractor = Extractor("mc3", precision="int8", size=SIZE)
    assert extractor.calibration_clips == int8.WANTED
    with pytest.raises(RuntimeError, match="calibrated"):
        extractor([scene(0)])
    told = extractor.calibrate([scene(seed) for seed in range(extractor.calibration_clips)])
    assert extractor.calibration_clips == 0
    assert told.startswith("int8: on 5 held-out clips, features have a cosine similarity of at least 0.99")
    return extractor


def kept_at(extractor):
    return int8.cache_path(extractor.kind, extractor.crops)


@needs_fast
def test_int8_features_are_those_of_fp32(ready, fp32, scene):
    unseen = [scene(seed) for seed in range(100, 108)]
    exact, fast = fp32(unseen), ready(unseen)
    assert exact.shape == fast.shape == (8, 1, 1024)
    assert fast.dtype == np.float32
    assert cosine(exact, fast).min() >= int8.LEAST_COSINE
    assert (exact != fast).any()
    assert cosine(exact[:1], exact[1:]).max() < int8.LEAST_COSINE  # other clips are other features


@needs_fast
def test_a_clip_has_the_same_features_whatever_it_is_computed_with(ready, scene):
    clips = [scene(seed) for seed in range(5)]
    together, backwards = ready(clips), ready(clips[::-1])[::-1]
    alone = np.concatenate([ready([clip]) for clip in clips])
    assert (together == alone).all()
    assert (together == backwards).all()


@needs_fast
def test_pictures_of_another_shape_go_through_the_same_network(ready, fp32, scene):
    tall = [scene(seed, 64, SIZE) for seed in range(2)]
    assert cosine(fp32(tall), ready(tall)).min() >= 0.99  # none of this shape calibrated it


@needs_fast
def test_the_kept_network_is_used_again_and_a_damaged_one_is_not(ready, scene, fp32):
    clips = [scene(seed) for seed in range(8)]
    again = Extractor("mc3", precision="int8", size=SIZE)
    assert again.calibration_clips == 0
    assert (again(clips) == ready(clips)).all()
    whole = kept_at(ready).read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    for damaged in (whole[:1000], whole[:-1000], bytes(flipped), b""):
        kept_at(ready).write_bytes(damaged)
        again = Extractor("mc3", precision="int8", size=SIZE)
        assert again.calibration_clips == int8.WANTED
    again.calibrate(clips)
    assert Extractor("mc3", precision="int8", size=SIZE).calibration_clips == 0
    assert [path.name for path in kept_at(ready).parent.iterdir()] == [kept_at(ready).name]  # nothing half-written
    kept_at(ready).write_bytes(whole)


@needs_fast
def test_where_the_cache_cannot_be_written_the_network_is_used_and_that_is_said(ready, scene, monkeypatch, tmp_path):
    with np.load(kept_at(ready)) as file:
        files = {"xml": file["xml"].tobytes(), "weights": file["weights"]}
    monkeypatch.setattr(int8, "quantised_files", lambda net, clips: files)
    (tmp_path / "file").touch()
    monkeypatch.setenv("ANOMALYCLI_HOME", str(tmp_path / "file"))
    extractor, clips = Extractor("mc3", precision="int8", size=SIZE), [scene(seed) for seed in range(8)]
    told = extractor.calibrate(clips)
    assert "not stored, so the next run calibrates again" in told and str(kept_at(extractor)) in told
    assert extractor.precision == "int8"
    assert (extractor(clips) == ready(clips)).all()


@needs_fast
def test_other_settings_are_other_files(ready):
    kind = ready.kind
    changes = ({"size": 48}, {"backbone": "i3d"}, {"weights_sha256": "0"}, {"preprocessing": "-"})
    others = {int8.cache_path(replace(kind, **changed), ready.crops) for changed in changes}
    assert len(others | {int8.cache_path(kind, "another"), kept_at(ready)}) == 6


@needs_fast
def test_what_is_not_true_to_fp32_is_not_used_and_said(home, make_video, tmp_path, monkeypatch):
    def noise(i):
        return np.random.default_rng(i).integers(0, 256, (48, 64, 3), np.uint8)

    monkeypatch.setattr(int8, "LEAST_COSINE", 1.1)
    make_video("videos/a.mp4", 70, (64, 48), paint=noise)
    make_video("videos/b.mp4", 70, (64, 48), paint=noise)
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"no video")
    extractor = Extractor("mc3", precision="int8", size=48)
    notes = []
    outcomes = extract([tmp_path / "videos"], tmp_path / "features", extractor, on_note=notes.append)
    assert sorted(outcome.status for outcome in outcomes) == ["done", "done", "failed"]
    default = pick_precision("auto", torch.device("cpu"))
    assert len(notes) == 1
    assert notes[0].startswith(
        f"{default} is used, not int8: on 3 held-out clips, features have a cosine similarity of at least 0."
    )
    assert not kept_at(extractor).exists()
    features = load_features(tmp_path / "features" / "a.npz")
    assert features.precision == default
    assert (features.visual == extract_video(tmp_path / "videos" / "a.mp4", Extractor("mc3", size=48)).visual).all()


@needs_fast
def test_a_stored_network_is_compared_with_fp32_on_new_videos(ready, make_video, scene, tmp_path, monkeypatch):
    def run() -> list[str]:
        notes = []
        list(
            extract([video], tmp_path / "features", Extractor("mc3", precision="int8", size=SIZE), on_note=notes.append)
        )
        return notes

    frames = np.concatenate([scene(seed) for seed in range(4)])
    video = make_video(n_frames=64, size=(48, SIZE), paint=frames.__getitem__)
    assert check_stored([video], Extractor("mc3", precision="int8", size=SIZE)) is None
    monkeypatch.setattr(int8, "LEAST_COSINE", 1.1)
    (told,) = run()
    assert "on 3 clips of these videos" in told and str(kept_at(ready)) in told
    assert load_features(tmp_path / "features" / f"{video.stem}.npz").precision == "int8"
    assert run() == []  # its features are there: there is nothing to check


@needs_fast
def test_too_few_clips_are_not_enough_to_calibrate_on(home, make_video):
    extractor = Extractor("mc3", precision="int8", size=48)
    told = calibrate([make_video(n_frames=40)], extractor)
    assert "at least 8 clips, and there are 3" in told
    assert extractor.precision == pick_precision("auto", torch.device("cpu"))
    assert calibrate([make_video(n_frames=40)], extractor) is None


@needs_fast
def test_the_command_line_says_what_came_of_it_and_features_say_int8(run, make_video, scene, tmp_path):
    for name, seeds in (("a", range(10)), ("b", range(10, 20))):
        frames = np.concatenate([scene(seed, 48, 64) for seed in seeds])
        make_video(f"videos/{name}.mp4", 160, (64, 48), paint=frames.__getitem__)
    home = {"ANOMALYCLI_HOME": str(tmp_path / "home")}
    done = run("extract", "videos", "--backbone", "mc3", "--size", "32", "--precision", "int8", **home)
    assert done.stdout == ""
    assert "int8: on 5 held-out clips" in done.stderr
    assert "2 done" in done.stderr
    first = load_features(tmp_path / "features" / "a.npz")
    assert first.precision == "int8"
    done = run("extract", "videos", "--backbone", "mc3", "--size", "32", "--precision", "int8", "--overwrite", **home)
    assert "held-out" not in done.stderr
    assert (load_features(tmp_path / "features" / "a.npz").visual == first.visual).all()


@needs_fast
def test_a_scorer_calibrates_on_what_it_scores(ready, make_video, scene, tmp_path):
    torch.manual_seed(0)
    config = DENetConfig(1024, segments=8, scales=2, heads=2, width=16, feedforward=16)
    save_model(tmp_path / "model.safetensors", DENet(config), ModelInfo(config, ready.kind))
    frames = np.concatenate([scene(seed) for seed in range(5)])
    video = make_video(n_frames=80, size=(48, SIZE), paint=frames.__getitem__)
    exact = Scorer.load(tmp_path / "model.safetensors", precision="fp32").score(video)
    kept = Scorer.load(tmp_path / "model.safetensors", precision="int8")
    assert kept.calibrate([video]) is None
    assert kept.score(video).scores == pytest.approx(exact.scores, abs=0.02)
    assert kept.extractor.precision == "int8"
    aside = kept_at(ready).rename(tmp_path / "aside")
    try:
        first = Scorer.load(tmp_path / "model.safetensors", precision="int8")
        assert "there are 5" in first.calibrate([video])
        second = Scorer.load(tmp_path / "model.safetensors", precision="int8")
        assert (second.score(video).scores == first.score(video).scores).all()
    finally:
        aside.rename(kept_at(ready))


@needs_fast
def test_openvino_reports_to_nobody(ready):
    assert sys.modules["openvino_telemetry"] is None


def test_where_there_is_no_int8_a_sentence_says_what_to_do(monkeypatch):
    with pytest.raises(UsageError, match="int8 runs on the CPU only, and this run is on 'mps'"):
        int8.check(torch.device("mps"))
    monkeypatch.setattr(int8, "PACKAGES", ("openvino_that_is_absent",))
    with pytest.raises(UsageError, match=r"pip install 'anomalycli\[fast\]'"):
        Extractor("mc3", precision="int8", size=SIZE)


@needs_fast
def test_int8_that_changes_the_scores_is_not_used(home, scene):
    seen = []

    def judge(features):
        seen.append(features)
        return features[:, 0, 0] * 0 + len(seen)  # scores of the two networks: 1 and 2

    extractor = Extractor("mc3", precision="int8", size=40)
    told = extractor.calibrate([scene(seed, 40) for seed in range(8)], judge)
    assert [features.shape for features in seen] == [(2, 1, 1024)] * 2
    assert "not int8" in told
    assert "scores differ by at most 1.000" in told
    assert extractor.precision == pick_precision("auto", torch.device("cpu"))
    assert not kept_at(extractor).exists()
