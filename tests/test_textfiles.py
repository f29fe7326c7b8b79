"""Every text file that is read, as editors, Excel and PowerShell write it."""

import click
import numpy as np
import pytest

from anomalycli.cli import cli
from anomalycli.cli.settings_file import read_settings
from anomalycli.data.ground_truth import GroundTruthFile, read_frames, read_intervals
from anomalycli.data.labels import label_videos
from anomalycli.data.sampling import read_groups
from anomalycli.errors import UsageError
from anomalycli.features.folder import FeatureFolder, find_features
from anomalycli.textfiles import read_table, read_text

NAMES = ["monday", "cam 2/tüesday"]


def labels(path, names):
    return label_videos(names, path.parent, path).by_video


def truth(path, names):
    frames = GroundTruthFile(path).load(dict.fromkeys(names, 50)).frames
    return {name: int(frames[name].sum()) for name in names}


def intervals(path, names):
    return read_intervals(path, names)[0]


def groups(path, names):
    return read_groups(path, names)[0]


def lengths(path, names):
    return read_frames(path)


def only(path, names):
    for name in names:
        file = path.parent / "features" / f"{name}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, np.zeros((3, 4)))
    return {source.name for source in find_features(FeatureFolder(path.parent / "features", only=path)).sources}


HEADER = {
    labels: (["video", "label"], ["1", "0"], {"monday": 1, "cam 2/tüesday": 0}),
    truth: (["video", "n_frames", "start", "end"], ["50,1,3", "50,,"], {"monday": 2, "cam 2/tüesday": 0}),
    intervals: (["video", "n_frames", "start", "end"], ["50,1,3", "50,,"], {"monday": [(1, 3)], "cam 2/tüesday": []}),
    groups: (["video", "group"], ["night", "day"], {"monday": "night", "cam 2/tüesday": "day"}),
    only: ([], ["", ""], {"monday", "cam 2/tüesday"}),
}


def written(reader, names=NAMES, delimiter=",", end="\n", change=str) -> str:
    header, values, _ = HEADER[reader]
    lines = [delimiter.join(header)] if header else []
    lines += [
        delimiter.join([name, *value.split(",")]).rstrip(delimiter * bool(not header))
        for name, value in zip(names, values)
    ]
    return end.join([*map(change, lines), ""])


WAYS = {
    "plain": (lambda r: written(r), "utf-8"),
    "bom": (lambda r: written(r), "utf-8-sig"),
    "utf-16": (lambda r: written(r, end="\r\n"), "utf-16"),
    "utf-16-be": (lambda r: "\ufeff" + written(r), "utf-16-be"),
    "utf-32": (lambda r: written(r), "utf-32"),
    "semicolons": (lambda r: written(r, delimiter=";", end="\r\n"), "utf-8-sig"),
    "tabs": (lambda r: written(r, delimiter="\t"), "utf-16"),
    "old-mac": (lambda r: written(r, end="\r"), "utf-8"),
    "empty-lines": (lambda r: "\n" + written(r, end="\n\n") + "\n \n", "utf-8"),
    "suffixes": (lambda r: written(r, [f"{name}.MP4" for name in NAMES]), "utf-8"),
    "backslashes": (lambda r: written(r, [rf"C:\videos\{name}.avi".replace("/", "\\") for name in NAMES]), "utf-8"),
    "folders": (lambda r: written(r, [f"/data/{name}.npy" for name in NAMES]), "utf-8"),
    "no-folders": (lambda r: written(r, [name.rpartition("/")[2] for name in NAMES]), "utf-8"),
    "decomposed": (lambda r: written(r, [name.replace("ü", "u\u0308") for name in NAMES]), "utf-8"),
}
TABLES = {
    "capitals": lambda r: written(r).replace("video", "Video").replace("label", "LABEL").replace("group", "Group"),
    "quotes": lambda r: written(r, [f'"{name}"' for name in NAMES]),
    "excel-sep": lambda r: "sep=;\r\n" + written(r, delimiter=";", end="\r\n"),
    "excel-sep-old-mac": lambda r: '"sep=;"\r' + written(r, delimiter=";", end="\r"),
    "blanks": lambda r: written(r, [f"  {name} " for name in NAMES], delimiter=" , "),
    "trailing": lambda r: written(r, change=lambda line: line + ",,"),
    "more-columns": lambda r: written(r, change=lambda line: line + ",note"),
}


@pytest.mark.parametrize("reader", HEADER)
@pytest.mark.parametrize("way", WAYS)
def test_each_reader_takes_each_way_of_writing(tmp_path, reader, way):
    text, encoding = WAYS[way]
    (tmp_path / "file.txt").write_bytes(text(reader).encode(encoding))
    assert reader(tmp_path / "file.txt", NAMES) == HEADER[reader][2]


@pytest.mark.parametrize("reader", [labels, truth, intervals, groups])
@pytest.mark.parametrize("way", TABLES)
def test_each_table_takes_each_way_of_writing(tmp_path, reader, way):
    (tmp_path / "file.csv").write_text(TABLES[way](reader), encoding="utf-8", newline="")
    assert reader(tmp_path / "file.csv", NAMES) == HEADER[reader][2]


@pytest.mark.parametrize("reader", [*HEADER, lengths])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("video,label\ntüesday,1\n".encode("cp1252"), "line 2: not UTF-8"),
        ("video,label\nmonday,1\n".encode("utf-16-le"), "not text, or UTF-16 without a byte order mark"),
        (b"\xff\xfev\0i\0d", "damaged UTF-16"),
        (b"PK\x03\x04\0\0\xf0", "not UTF-8|not text"),
    ],
)
def test_what_is_no_text_is_a_sentence(tmp_path, reader, content, told):
    (tmp_path / "file.csv").write_bytes(content)
    with pytest.raises(UsageError, match=rf"file\.csv.*({told})"):
        reader(tmp_path / "file.csv", NAMES)


@pytest.mark.parametrize("reader", [labels, truth, groups, lengths])
@pytest.mark.parametrize("content", ["", "\n\n", "a,b\n1,2\n", '"video', "x" * 200_000, "video\nmonday\n"])
def test_what_is_no_table_is_a_sentence(tmp_path, reader, content):
    (tmp_path / "file.csv").write_text(content)
    with pytest.raises(UsageError, match=r"file\.csv.*(the first line must be|not a table)"):
        reader(tmp_path / "file.csv", NAMES)


def test_what_cannot_be_read_or_is_too_large_is_a_sentence(tmp_path, monkeypatch):
    for path in (tmp_path, tmp_path / "gone.csv", tmp_path / ("x" * 300)):
        with pytest.raises(UsageError, match="cannot be read"):
            read_text(path)
    monkeypatch.setattr("anomalycli.textfiles.LARGEST", 10)
    (tmp_path / "large.csv").write_text("video,label\n")
    with pytest.raises(UsageError, match="larger than"):
        read_text(tmp_path / "large.csv")


def test_a_column_that_is_there_twice_is_named(tmp_path):
    (tmp_path / "file.csv").write_text("video,label,Label\na,1,0\n")
    with pytest.raises(UsageError, match="two columns are named 'label'"):
        read_table(tmp_path / "file.csv", ["video", "label"])


@pytest.mark.parametrize("reader", [labels, truth, groups])
def test_what_matches_nothing_is_said(tmp_path, reader):
    names = ["a", "b", "gone"]
    rows = {labels: "{},1", truth: "{},50,1,2", groups: "{},night"}[reader]
    text = [",".join(HEADER[reader][0]), *(rows.format(name) for name in names)]
    (tmp_path / "file.csv").write_text("\n".join(text))
    path = tmp_path / "file.csv"
    if reader is labels:
        assert "1 of 3 names match no video here: gone" in label_videos(["a", "b"], tmp_path, path).warning
    elif reader is groups:
        _, (unknown, alone) = read_groups(path, ["a", "b", "c"])
        assert "1 of 3 names match no video here: gone" in unknown
        assert "no group for c" in alone
    else:
        assert "1 of 3 names match no video here: gone" in read_intervals(path, ["a", "b"])[1]
        assert "gone" in GroundTruthFile(path, incomplete=True).load({"a": 50, "b": 50}).warnings[0]
        with pytest.raises(UsageError, match="1 of 3 videos have ground truth and no features: gone"):
            GroundTruthFile(path).load({"a": 50, "b": 50})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_settings_are_read_in_each_encoding(tmp_path, encoding):
    (tmp_path / "settings.toml").write_bytes('[evaluate]\r\nframes = "tüesday.csv"\r\n'.encode(encoding))
    context = click.Context(cli.commands["evaluate"])
    read_settings(context, None, tmp_path / "settings.toml")
    assert context.default_map == {"frames": "tüesday.csv"}


@pytest.mark.parametrize("content", ["frames = 'tüesday'".encode("cp1252"), b"frames = ", b"a = " + b"[" * 10_000])
def test_settings_that_cannot_be_read_are_a_sentence(tmp_path, content):
    (tmp_path / "settings.toml").write_bytes(content)
    with pytest.raises(UsageError, match=r"settings\.toml"):
        read_settings(click.Context(cli.commands["evaluate"]), None, tmp_path / "settings.toml")
