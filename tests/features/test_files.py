import io
import json
import zipfile
from unittest.mock import Mock

import numpy as np
import pytest
from helpers import kind

from anomalycli.errors import FeatureError
from anomalycli.features import files
from anomalycli.features.files import Features, load_features, load_metadata


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
    with pytest.raises(FeatureError, match=r"not a whole feature file .it holds 'features'.*as .npy, .clips, D."):
        load_features(tmp_path / "a.npz")


def rewritten(path, compression=zipfile.ZIP_STORED, **members: bytes):
    """Replace members of an archive, or add them."""
    with zipfile.ZipFile(path) as file:
        content = {name: file.read(name) for name in file.namelist()} | {f"{k}.npy": v for k, v in members.items()}
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in content.items():
            file.writestr(name, data)
    return path


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def with_metadata(features, path, **changes):
    """A feature file whose metadata are changed: a setting of its kind by kind_NAME, None removes."""
    features.save(path)
    meta = json.loads(features.metadata())
    for name, value in changes.items():
        place = meta["kind"] if name.startswith("kind_") else meta
        place[name.removeprefix("kind_")] = value
    return rewritten(path, meta=npy(np.frombuffer(json.dumps(meta).encode(), np.uint8)))


@pytest.mark.parametrize(
    "changes",
    [
        {"n_frames": -5},
        {"n_frames": 1e300},
        {"n_frames": "101"},
        {"n_frames": True},
        {"fps": float("nan")},
        {"fps": 10**400},
        {"fps": 0},
        {"fps": None},
        {"source": ["a", "b"]},
        {"lost": -1},
        {"damage": 3},
        {"kind": "mc3"},
        {"kind_dim": 0},
        {"kind_dim": 1 << 40},
        {"kind_clip_length": 0},
        {"kind_backbone": None},
        {"kind_groups": [["all", 31]]},
        {"kind_groups": {"all": 32}},
        {"kind_surprise": 1},
        {"version": 2},
        {"surprise": 1},
    ],
    ids=str,
)
def test_metadata_of_wrong_types_or_out_of_range_are_refused(features, tmp_path, changes):
    path = with_metadata(features, tmp_path / "a.npz", **changes)
    for load in (load_features, load_metadata):
        with pytest.raises(FeatureError, match=r"a\.npz: "):
            load(path)


@pytest.mark.parametrize(
    "members",
    [
        {
            "visual": b"\x93NUMPY\x01\x00v\x00"
            b"{'descr': '<f4', 'fortran_order': False, 'shape': (9" + b"9" * 12 + b", 1, 32)}\n"
        },
        {"visual": b"\x93NUMPY\x01\x00\x10\x27" + b"(" * 10000},
        {"visual": b"no array"},
        {"visual": npy(np.zeros((7, 1, 32), "O"))},
        {"visual": npy(np.zeros((7, 1, 32), "U9"))},
        {"visual": npy(np.zeros((7, 32), np.float32))},
        {"visual": npy(np.zeros((8, 1, 32), np.float32))},
        {"visual": npy(np.zeros((7, 0, 32), np.float32))},
        {"visual": npy(np.zeros((7, 1, 32), np.float32))[:-4]},
        {"audio": npy(np.zeros((7, 128), np.float32))},
        {"times": npy(np.arange(100.0))},
        {"times": npy(-np.arange(101.0))},
        {"meta": npy(np.frombuffer(b"[" * 100_000, np.uint8))},
        {"meta": npy(np.frombuffer(b"\xff\xfe", np.uint8))},
        {"other": npy(np.zeros(3))},
    ],
    ids=lambda members: next(iter(members)),
)
def test_arrays_that_are_not_what_the_metadata_say_are_refused(features, tmp_path, members):
    features.save(tmp_path / "a.npz")
    with pytest.raises(FeatureError, match=r"a\.npz: "):
        load_features(rewritten(tmp_path / "a.npz", **members))


def test_a_small_file_that_unpacks_to_a_large_one_is_refused_before(features, tmp_path):
    features.save(tmp_path / "a.npz")
    path = rewritten(tmp_path / "a.npz", zipfile.ZIP_DEFLATED, visual=npy(np.zeros((7, 1, 3_000_000), np.float32)))
    assert path.stat().st_size < 1_000_000
    with pytest.raises(FeatureError, match="compressed"):
        load_metadata(path)


def test_any_damage_is_refused_with_a_sentence_or_harmless(features, tmp_path):
    path = tmp_path / "a.npz"
    features.save(path)
    content, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(1000):
        damaged = bytearray(content)
        if rng.random() < 0.3:
            del damaged[rng.integers(len(content)) :]
        for place in rng.integers(max(1, len(damaged)), size=rng.integers(1, 9)):
            damaged[place : place + 1] = rng.bytes(1)
        path.write_bytes(damaged)
        try:
            assert np.array_equal(load_features(path).visual, features.visual)
        except FeatureError as error:
            refused += 1
            assert str(path) in str(error)
    assert refused > 900


def test_the_metadata_are_read_without_the_arrays(tmp_path):
    path = tmp_path / "a.npz"
    features = Features(np.zeros((700, 1, 32), np.float32), kind(), 700 * 16, 25.0, "a.mp4")
    features.save(path)
    content = bytearray(path.read_bytes())
    content[50_000] ^= 1  # in `visual`
    path.write_bytes(content)
    assert load_metadata(path).kind == features.kind
    assert load_metadata(path).visual.shape == (700, 1, 0)
    with pytest.raises(FeatureError):
        load_features(path)
    path.write_bytes(content[:-100])
    with pytest.raises(FeatureError):
        load_metadata(path)


def test_thousands_of_finished_files_are_checked_by_their_ends_alone(features, tmp_path, monkeypatch):
    """A start of `extract` reads the metadata of all: the archive's reader takes several times as long."""
    path, whole = tmp_path / "a.npz", tmp_path / "whole.npz"
    features.save(whole)
    expected, content = load_metadata(whole), whole.read_bytes()
    monkeypatch.setattr(files, "Archive", Archive := Mock(wraps=files.Archive))
    assert load_metadata(whole).kind == features.kind and load_metadata(whole).visual.shape == expected.visual.shape
    Archive.assert_not_called()
    middle = len(content) // 2
    for damaged in (content[:-1], content[:middle] + content[middle + 4 :], content[100:], b""):
        path.write_bytes(damaged)
        with pytest.raises(FeatureError, match=r"a\.npz"):
            load_metadata(path)
    longer = npy(np.zeros((len(features.visual) + 1, 1, 32), np.float32))
    with pytest.raises(FeatureError, match="clips"):  # by its directory, whole; by its metadata, not
        load_metadata(rewritten(whole, zipfile.ZIP_STORED, visual=longer))


def test_groups_come_back_and_do_not_make_features_incomparable(features, tmp_path):
    grouped = kind(groups=(("mean", 20), ("change", 12)))
    Features(features.visual, grouped, 101, 25.0, "a.mp4").save(tmp_path / "a.npz")
    loaded = load_features(tmp_path / "a.npz").kind
    assert loaded.groups == (("mean", 20), ("change", 12))
    assert loaded.difference(kind()) is None  # the same backbone, in a file of the version before
