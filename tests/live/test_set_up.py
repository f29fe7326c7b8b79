"""The files that docs/live.md gives for a camera file, systemd and Docker Compose."""

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from anomalycli.cli.watch import watch
from anomalycli.live.cameras import read_cameras
from anomalycli.live.sources import Waits
from anomalycli.textfiles import read_toml

PAGE = Path(__file__).parents[2] / "docs" / "live.md"
OPTIONS = {name for parameter in watch.params for name in parameter.opts}


def block(language: str) -> str:
    """The one block of this language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return found


def check_words(words: list[str]) -> str:
    """Check that these are words of the command, and return the path of its camera file."""
    assert words[0] == "watch"
    names = [word for word in words[1:] if word.startswith("-")]
    assert "--config" in names and OPTIONS.issuperset(names)
    return words[words.index("--config") + 1]


def test_the_camera_file(tmp_path, monkeypatch):
    path = tmp_path / "cameras.toml"
    path.write_text(block("toml"))
    monkeypatch.setenv("GATE_PASSWORD", "secret")
    cameras = read_cameras(path)
    assert [camera.open(name, Waits()).shown for name, camera in cameras.items()] == [
        "rtsp://10.0.0.8/stream2",
        "http://10.0.0.9/video",
    ]
    others = read_toml(path).keys() - {"cameras"}
    assert others and OPTIONS.issuperset(f"--{name}" for name in others)


def test_the_unit_of_systemd(tmp_path):
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str
    unit.read_string(block("ini"))
    assert unit.sections() == ["Unit", "Service", "Install"]
    program, *words = shlex.split(unit["Service"]["ExecStart"])
    check_words(words)
    if verify := shutil.which("systemd-analyze"):
        file = tmp_path / "anomalycli.service"
        file.write_text(block("ini").replace(program, sys.executable))
        done = subprocess.run([verify, "verify", "--man=no", file], capture_output=True, text=True, timeout=100)
        assert "anomalycli.service" not in done.stderr


def test_the_compose_file():
    yaml = pytest.importorskip("yaml")
    (service,) = yaml.safe_load(block("yaml"))["services"].values()
    volumes = [volume.split(":") for volume in service["volumes"]]
    mounted = {to: mode for _, to, *mode in volumes}
    assert str(Path(check_words(shlex.split(service["command"]))).parent) in mounted
    assert mounted[service["working_dir"]] == [], "events are written there"
    assert service["stop_grace_period"] == "30s" and service["restart"] == "always"
