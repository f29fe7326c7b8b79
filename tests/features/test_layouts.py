import numpy as np
import pytest
from helpers import kind

from anomalycli.errors import FeatureError, UsageError
from anomalycli.features.files import Features
from anomalycli.features.layouts import check_format, load_arrays, load_made, save, target


def made(n_frames=40, audio=True) -> Features:
    rng = np.random.default_rng(0)
    n_clips = -(-n_frames // 16)
    visual = rng.normal(size=(n_clips, 10, 32)).astype(np.float32)
    sound = rng.normal(size=(n_clips, 128)).astype(np.float32) if audio else None
    return Features(visual, kind(audio="vggish-raw" if audio else None), n_frames, 25.0, "a.b.mp4", sound)


def names(folder) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_xd_is_a_file_a_crop_and_one_of_sound(tmp_path):
    features = made()
    save(features, target(tmp_path, "x/a.b_label_A", "xd"), "xd")
    files = [f"x/a.b_label_A__{part}.npy" for part in [*range(10), "vggish"]]
    assert names(tmp_path) == ["x/a.b_label_A.json", *files]
    for i in range(10):
        crop = np.load(tmp_path / files[i], allow_pickle=False)
        assert crop.dtype == np.float32
        assert np.array_equal(crop, features.visual[:2, i])  # 40 frames are two whole clips
    assert np.array_equal(np.load(tmp_path / files[10]), features.audio[:2])
    again = load_made(tmp_path / "x/a.b_label_A.json", "xd")
    assert (again.kind, again.n_frames, again.source) == (features.kind, 40, "a.b.mp4")


@pytest.mark.parametrize(("n_frames", "n_clips"), [(48, 2), (49, 3), (8096, 505), (17, 1), (16, 1), (5, 1)])
def test_xd_drops_the_last_frame_and_then_the_clip_that_is_not_full(tmp_path, n_frames, n_clips):
    save(made(n_frames), target(tmp_path, "a", "xd"), "xd")
    for part in (0, 9, "vggish"):
        assert len(np.load(tmp_path / f"a__{part}.npy")) == n_clips


@pytest.mark.parametrize(("n_frames", "n_clips"), [(48, 3), (49, 4), (47, 3), (5, 1)])
def test_rtfm_is_one_file_of_all_crops(tmp_path, n_frames, n_clips):
    features = made(n_frames, audio=False)
    save(features, target(tmp_path, "a", "rtfm"), "rtfm")
    assert names(tmp_path) == ["a.json", "a_i3d.npy"]
    assert np.array_equal(np.load(tmp_path / "a_i3d.npy"), features.visual[:n_clips])


LOSSES = {  # what became of the arrays of a finished video
    "a crop is gone": lambda folder: (folder / "a__7.npy").unlink(),
    "the sound is gone": lambda folder: (folder / "a__vggish.npy").unlink(),
    "cut off": lambda folder: (folder / "a__0.npy").write_bytes((folder / "a__0.npy").read_bytes()[:-5]),
    "of another video": lambda folder: np.save(folder / "a__3.npy", np.zeros((9, 32), np.float32)),
    "no metadata": lambda folder: (folder / "a.json").write_text('{"arrays": [1]}'),
    "deep": lambda folder: (folder / "a.json").write_text("[" * 10**5),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_video_whose_arrays_are_not_whole_is_extracted_again(tmp_path, loss):
    path = target(tmp_path, "a", "xd")
    save(made(), path, "xd")
    LOSSES[loss](tmp_path)
    with pytest.raises(FeatureError, match=r"a\S*\.(npy|json): "):
        load_made(path, "xd")


def test_the_arrays_of_another_format_are_not_those_that_were_asked_for(tmp_path):
    for layout, other in (("xd", "rtfm"), ("rtfm", "xd")):
        path = target(tmp_path / layout, "a", layout)
        save(made(audio=False), path, layout)
        assert load_made(path, layout).n_frames == 40
        with pytest.raises(FeatureError, match=f"made in another format than {other}"):
            load_made(path, other)


def test_metadata_of_version_0_1_which_do_not_list_arrays_are_read(tmp_path):
    path = target(tmp_path, "a", "xd")
    save(made(), path, "xd")
    path.write_text(made().metadata())
    assert load_made(path, "xd").n_frames == 40
    (tmp_path / "a__0.npy").unlink()
    with pytest.raises(FeatureError, match="a__0"):
        load_made(path, "xd")


def test_a_format_without_a_place_for_sound_refuses_it():
    with pytest.raises(UsageError, match="no place for sound"):
        check_format("rtfm", "vggish-raw")
    with pytest.raises(UsageError, match="npz, xd, rtfm"):
        check_format("csv", None)


def test_extraction_into_another_format_goes_on_and_refuses_other_settings(run, make_video, tmp_path):
    make_video("videos/a.mp4", 40)
    options = ("--format", "xd", "-o", "xd", "--size", "32")
    run("extract", "videos", *options)
    assert names(tmp_path / "xd") == ["a.json", "a__0.npy", "report.json"]
    assert np.load(tmp_path / "xd" / "a__0.npy").shape == (2, 2016)
    make_video("videos/b.mp4", 20)
    assert "1 done, 1 skipped" in run("extract", "videos", *options).stderr
    assert "size 32" in run("extract", "videos", *options[:-1], "48", code=2).stderr


@pytest.mark.parametrize("shape", [(), (0,), (0, 16), (10, 0), (10, 0, 16), (2, 3, 4, 5), (16,)])
def test_an_array_that_holds_no_features_is_named(tmp_path, shape):
    np.save(tmp_path / "a.npy", np.zeros(shape, np.float32))
    with pytest.raises(FeatureError, match=r"a\.npy: "):
        load_arrays("a", (tmp_path / "a.npy",))
