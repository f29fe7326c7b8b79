import numpy as np
import pytest
from helpers import kind

from anomalycli.errors import FeatureError
from anomalycli.features.files import Features, load_features


@pytest.fixture
def features():
    visual = np.random.default_rng(0).normal(size=(7, 1, 32)).astype(np.float32)
    return Features(visual, kind(), 101, 29.97, "a <clip>.mp4", damage="torn", lost=3)


def test_what_is_saved_is_loaded(features, tmp_path):
    features.save(tmp_path / "deep" / "a.npz")
    loaded = load_features(tmp_path / "deep" / "a.npz")
    assert np.array_equal(loaded.visual, features.visual)
    assert (loaded.kind, loaded.n_frames, loaded.fps, loaded.warning) == (kind(), 101, 29.97, features.warning)
    assert "101 frames were read and 3 frames are lost (torn)" in loaded.warning
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.npz"]


def test_the_same_features_are_the_same_bytes(features, tmp_path):
    features.save(tmp_path / "a.npz")
    features.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_file_cut_in_half_is_refused(features, tmp_path):
    path = tmp_path / "a.npz"
    features.save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(FeatureError, match=r"a\.npz: not a whole feature file"):
        load_features(path)


def test_pickles_are_never_read(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, visual=np.array([{"code": print}], dtype=object), meta=np.zeros(2, np.uint8))
    with pytest.raises(FeatureError, match="not a whole feature file"):
        load_features(path)


def test_features_that_are_no_numbers_or_of_another_shape_are_refused(features, tmp_path):
    path = tmp_path / "a.npz"
    features.visual[3, 0, 5] = np.nan
    features.save(path)
    with pytest.raises(FeatureError, match="not finite"):
        load_features(path)
    Features(np.zeros((7, 1, 31), np.float32), kind(), 101, 25.0, "a.mp4").save(path)
    with pytest.raises(FeatureError, match="where \\(n, crops, 32\\) belong"):
        load_features(path)


def test_a_foreign_archive_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", features=np.zeros((3, 32)))
    with pytest.raises(FeatureError, match="not a whole feature file"):
        load_features(tmp_path / "a.npz")
