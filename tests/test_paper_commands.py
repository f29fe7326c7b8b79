"""The commands of docs/paper.md run as they are written there.

Folders are as the projects that publish features lay them out, with the true names and lengths of the test videos, at
small width. Presets keep their settings but for the size of the network, the width of features and the steps.
"""

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT

from anomalycli.data.datasets import published_lengths

WIDTH = 8
ANOMALYCLI = f"""#!{sys.executable}
import sys
from anomalycli.training.presets import PRESETS
for name, preset in PRESETS.items():
    preset |= dict(steps=1, batch=2, width=8, heads=2, feedforward=8, layers=1)
    preset["feature_dim"] = {WIDTH} + (128 if name.endswith("audio") else 0)
from anomalycli.cli import cli, main
for option in cli.commands["compare"].params:
    if option.name == "seeds":
        option.default = 1
sys.exit(main())
"""


def commands_of(first: str) -> list[str]:
    """The shell lines of the code block of docs/paper.md that follows `first`, up to the next table."""
    text = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
    block = text[text.index(first) :]
    block = block[: block.find("\nTable", 1) if "\nTable" in block[1:] else block.index("\nFig. 4")]
    lines = re.findall(r"^    (\S.*)", re.sub(r"\\\n\s*", "", block), re.M)
    return [line for line in lines if "..." not in line]


@pytest.fixture
def shell(tmp_path):
    """Run shell lines in `tmp_path`, with a command `anomalycli` whose presets are small."""
    script = tmp_path / "bin" / "anomalycli"
    script.parent.mkdir()
    script.write_text(ANOMALYCLI)
    script.chmod(script.stat().st_mode | stat.S_IXUSR)

    def shell(lines: list[str]) -> str:
        done = subprocess.run(
            ["bash", "-e", "-c", "\n".join(lines)],
            cwd=tmp_path,
            env=os.environ | {"PATH": f"{script.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    return shell


def save(path: Path, shape: tuple[int, ...], dtype=np.float16):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, (np.random.default_rng(len(path.name)).random(shape) * 200).astype(dtype))


@pytest.fixture
def xd(tmp_path, shared):
    """XD-Violence as its authors publish it: features of five crops, and sound in folders of its own."""
    train = {f"v=train__#{i}_label_{'A' if i % 2 else 'B1-0-0'}": 20 + i for i in range(6)}
    test = {name: length.n_frames // 16 for name, length in published_lengths("xd-violence").items()}
    for rgb, sound, clips in (("RGB", "train", train), ("RGBTest", "test", test)):
        for name, n in clips.items():
            for crop in range(5):
                save(tmp_path / "i3d-features" / rgb / f"{name}__{crop}.npy", (n, WIDTH))
            save(tmp_path / "vggish-features" / sound / f"{name}__vggish.npy", (n, 128), np.uint8)
    (tmp_path / "annotations.txt").symlink_to(shared / "annotations" / "xd_violence_test.txt")


def test_table_1(xd, shell, tmp_path):
    lines = commands_of("Table 1,")
    assert len(lines) == 4
    said = shell(lines)
    assert said.count("800 of 800 videos, 2,330,384 frames (whole clips") == 2
    for folder in ("xd", "xd-audio"):
        assert json.loads((tmp_path / folder / "metrics.json").read_text())["scores_to_frames"] == "repeated"


def test_tables_4_and_5_and_fig_3(xd, shell, tmp_path):
    lines = commands_of("Table 4 (")
    assert len(lines) == 4
    shell(lines)
    for folder, rows in (("table4", 4), ("table5", 3), ("fig3", 10)):
        table = json.loads((tmp_path / folder / "table.json").read_text())
        assert len(table["rows"]) == rows
        assert "800 videos, 2,330,384 frames" in table["on"] and "repeated over frames" in table["on"]


@pytest.mark.parametrize("layout", ["rtfm", "ur-dmu"])
def test_tables_2_and_3(shell, tmp_path, shared, layout):
    names = {"train": {f"Abuse{i:03}_x264": 20 + i for i in (1, 2, 3)}, "test": {}}
    names["train"] |= {f"Normal_Videos{i:03}_x264": 30 + i for i in (1, 2, 4)}
    names["test"] |= {name: length.padded // 16 for name, length in published_lengths("ucf-crime").items()}
    for split, clips in names.items():
        for name, n in clips.items():
            folder = tmp_path / "ucf" / f"UCF_{split.title()}_ten_crop_i3d"
            if layout == "rtfm":
                save(folder / f"{name}_i3d.npy", (n, 10, WIDTH))
            else:
                save(folder / f"{name}.npy", (10, n, WIDTH))
        listed = (
            f"{re.sub(r'[0-9]{3}_.*', '', name)}/{name}.mp4 \r\n"
            for name in [*clips, "Arson001_x264"][: len(clips) + (split == "train")]
        )
        (tmp_path / f"Anomaly_{split.title()}.txt").write_text("".join(listed), encoding="utf-8-sig")
    six = (line.split()[:6] for line in (shared / "annotations" / "ucf_crime_test.txt").read_text().splitlines())
    (tmp_path / "Temporal_Anomaly_Annotation.txt").write_text("\n".join("  ".join(line) for line in six) + "\n")

    rows = json.loads((shared / "annotations" / "tad_test.json").read_text())
    (tmp_path / "tad_test_anno.json").symlink_to(shared / "annotations" / "tad_test.json")
    for i, row in enumerate(rows):
        save(tmp_path / "tad" / "test" / Path(row["path"]).name, (20 + i, WIDTH))
    for name in ("Normal_501", "Normal_502", "01_Accident_501", "06_PedestrianOnRoad_502"):
        save(tmp_path / "tad" / "train" / f"{name}.npy", (40, WIDTH))

    lines = commands_of("Tables 2 and 3,")
    assert len(lines) == 4
    if layout == "ur-dmu":  # only UCF-Crime's features differ
        lines = [line for line in lines if "ucf" in line]
    said = " ".join(shell(lines).split())
    assert "1 of 7 names match no video here: Arson/Arson001_x264.mp4" in said
    assert "290 of 290 videos, 1,114,144 frames (69,634 clips, as RTFM" in said
    assert ("100 of 100 videos" in said) == (layout == "rtfm")
