"""Features of a folder: which files belong to which video, whoever wrote them."""

import struct

import numpy as np
import pytest

from anomalycli.errors import FeatureError, UsageError
from anomalycli.features.folder import FeatureFolder, find_features


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:  # np.save adds .npy where a name ends otherwise
        np.save(file, np.asarray(array))


def sources_of(*words, **more):
    return find_features(FeatureFolder(*words, **more)).sources


def crops_of(n_clips, n_crops=10, dim=4) -> np.ndarray:
    """(n_clips, n_crops, dim), each value telling its clip and crop."""
    return np.arange(n_clips)[:, None, None] * 100.0 + np.arange(n_crops)[:, None] + np.zeros(dim)


@pytest.mark.parametrize("n_crops", [10, 5, 1, 3])
def test_crops_are_found_on_either_axis(tmp_path, n_crops):
    for name, n_clips in (("a", 7), ("b", 9), ("c", n_crops)):
        save(tmp_path / "rtfm" / f"{name}_i3d.npy", crops_of(n_clips, n_crops))
        save(tmp_path / "ur-dmu" / f"{name}.npy", crops_of(n_clips, n_crops).swapaxes(0, 1))
    for theirs, ours in zip(sources_of(tmp_path / "rtfm"), sources_of(tmp_path / "ur-dmu"), strict=True):
        assert np.array_equal(theirs.load().visual, ours.load().visual)
        assert theirs.load().visual.shape[1:] == (n_crops, 4)


@pytest.mark.parametrize(
    ("shape", "visual"), [((1, 7, 4), (7, 1, 4)), ((10, 7, 4), (7, 10, 4)), ((7, 10, 4), (7, 10, 4))]
)
def test_a_single_file_is_read_by_the_number_of_crops_that_is_usual(tmp_path, shape, visual):
    save(tmp_path / "a.npy", np.zeros(shape))
    assert sources_of(tmp_path)[0].load().visual.shape == visual


@pytest.mark.parametrize("shapes", [[(10, 10, 4)], [(5, 10, 4), (5, 10, 4)], [(7, 12, 4)], [(7, 10, 4), (8, 5, 4)]])
def test_where_both_readings_fit_they_are_named(tmp_path, shapes):
    for i, shape in enumerate(shapes):
        save(tmp_path / f"{i}.npy", np.zeros(shape))
    a, b, _ = shapes[0]
    with pytest.raises(UsageError, match=rf"0\.npy: \({a}, {b}, D\) can be {a} clips of {b} crops or {a} crops of {b}"):
        find_features(tmp_path)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.float16, np.float64, ">f4"])
def test_arrays_of_any_numbers_are_read(tmp_path, dtype):
    save(tmp_path / "a__0.npy", np.full((5, 3), 200 if dtype != np.int16 else -7, dtype))
    save(tmp_path / "a__vggish.npy", np.full((5, 128), 9, dtype))
    (source,) = sources_of(tmp_path)
    features = source.load()
    assert features.visual.dtype == features.audio.dtype == np.float32
    assert features.visual[0, 0, 0] == (200 if dtype != np.int16 else -7)


def header(shape: str) -> bytes:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        b"PK\x03\x04 a zip",
        b"\x80\x04\x95 a pickle",
        header("(5, 3)"),
        header("(1000000000000, 1000000)"),
        header("(-1, 3)"),
        header("(5, [3])"),
        header("((((((5"),
        header("'five'"),
        header("(1e400, 3)"),
        b"\x93NUMPY\x01\x00\xff\xff" + b"{" * 300,
    ],
)
def test_damaged_and_crafted_arrays_are_named(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(FeatureError, match=r"a\.npy: not a whole array"):
        sources_of(tmp_path)[0].load()


@pytest.mark.parametrize(
    "array",
    [np.zeros((3, 4), complex), np.zeros((3, 4), bool), np.full((3, 4), np.nan), np.full((3, 4), 1e300), np.zeros(3)],
)
def test_arrays_that_are_no_features_are_named(tmp_path, array):
    save(tmp_path / "a.npy", array)
    with pytest.raises(FeatureError, match=r"a\.npy: "):
        sources_of(tmp_path)[0].load()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", ["(5L, 3L)", "(5, 3)", "(5L, 3)"])
def test_arrays_that_python_2_wrote_are_read_in_silence(tmp_path, shape):
    (tmp_path / "a.npy").write_bytes(header(shape) + np.ones((5, 3), "<f4").tobytes())
    assert sources_of(tmp_path)[0].load().visual.shape == (5, 1, 3)


def test_objects_are_never_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(FeatureError, match="it holds Python objects, which can run code and are not read"):
        sources_of(tmp_path)[0].load()


def test_suffixes_are_in_any_case(tmp_path):
    for crop in range(2):
        save(tmp_path / "rgb" / f"a_label_A__{crop}.NPY", np.zeros((5, 3)))
    save(tmp_path / "sound" / "a_label_A__VGGISH.Npy", np.zeros((5, 128)))
    (source,) = sources_of(tmp_path / "rgb", tmp_path / "sound")
    assert (source.name, len(source.paths)) == ("a_label_A", 2)
    assert source.load().audio is not None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("RGB/v__0.npy", "Flow/v__0.npy"),
        ("a/v_i3d.npy", "b/v.npy"),
        ("v.npz", "x/v_i3d.npy"),
        ("c3d/v.npy", "v__0.npy"),
    ],
)
def test_one_stem_is_one_video(tmp_path, first, second):
    for name in (first, second):
        save(tmp_path / name, np.zeros((5, 3)))
    with pytest.raises(UsageError, match="are both features of v: name the folder of one of them"):
        find_features(tmp_path)


def test_sound_is_found_in_the_folder_or_beside_it(tmp_path):
    for split in ("train", "test"):
        save(tmp_path / "rgb" / split / f"{split}_label_A__0.npy", np.zeros((5, 3)))
        save(tmp_path / "vggish" / split / f"{split}_label_A__vggish.npy", np.zeros((5, 128)))
    for folder in ("vggish", "vggish/train", "vggish/test"):
        (source,) = sources_of(tmp_path / "rgb" / "test", tmp_path / folder)
        assert source.sound.name == "test_label_A__vggish.npy"
    (tmp_path / "vggish" / "test" / "test_label_A__vggish.npy").unlink()
    with pytest.raises(UsageError, match=r"no NAME__vggish\.npy for test_label_A in .*vggish or the folders beside it"):
        sources_of(tmp_path / "rgb" / "test", tmp_path / "vggish")
    with pytest.raises(UsageError, match="no such folder of sound"):
        sources_of(tmp_path / "rgb" / "test", tmp_path / "gone")


@pytest.mark.parametrize(
    "line",
    [
        "/data/rgb/v=x__#1_label_B1-0-0__0.npy\n/data/rgb/v=x__#1_label_B1-0-0__1.npy\n\n",
        "Crime/v=x__#1_label_B1-0-0.mp4  Fighting\n",
        "\ufeffH:\\XD\\v=x__#1_label_B1-0-0__0.npy\r\n",
        "  v=x__#1_label_B1-0-0_i3d.npy 1  \r\n",
        "v=x__#1_label_B1-0-0,1\n",
        "v=x__#1_label_B1-0-0\t165 240 -1 -1\n",
    ],
)
def test_published_lists_give_the_split(tmp_path, line):
    for name in ("A.Film__#00-25_label_A", "v=x__#1_label_B1-0-0"):
        save(tmp_path / "rgb" / f"{name}__0.npy", np.zeros((5, 3)))
    (tmp_path / "list").write_text(line, encoding="utf-8", newline="")
    found = find_features(FeatureFolder(tmp_path / "rgb", only=tmp_path / "list"))
    assert [source.name for source in found.sources] == ["v=x__#1_label_B1-0-0"]
    assert not found.warnings


def test_names_with_blanks_are_listed_whole(tmp_path):
    for name in ("gate 1", "gate"):
        save(tmp_path / "f" / f"{name}.npy", np.zeros((5, 3)))
    for line in ("gate 1", "cams/gate 1.mp4", "gate 1.npy\t1"):
        (tmp_path / "list").write_text(line)
        assert [source.name for source in sources_of(tmp_path / "f", only=tmp_path / "list")] == ["gate 1"]


def test_lines_of_a_list_without_features_are_counted(tmp_path):
    save(tmp_path / "f" / "a.npy", np.zeros((5, 3)))
    (tmp_path / "list").write_text("a.mp4\ngone.mp4\nlost\n")
    found = find_features(FeatureFolder(tmp_path / "f", only=tmp_path / "list"))
    assert "2 of 3 names match no video here: gone.mp4, lost" in found.warnings[0]
    (tmp_path / "list").write_text("gone.mp4\n")
    with pytest.raises(FeatureError, match=r"no feature file that .*list lists"):
        find_features(FeatureFolder(tmp_path / "f", only=tmp_path / "list"))
