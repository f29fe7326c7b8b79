import os
import shutil
import subprocess
import sys
import zipfile
from importlib.resources import files

import pytest
from helpers import ROOT

from anomalycli.checkpoint import BUNDLED


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_models_are_small_and_have_their_cards(name):
    bundled = files("anomalycli.bundled")
    assert len((bundled / f"{name}.safetensors").read_bytes()) < 30e6
    card = (bundled / f"{name}.md").read_text()
    assert card.startswith(f"# Model card: {name}\n")
    assert "fights in fixed-camera footage" in card


@pytest.mark.parametrize("arguments", [["ruff", "check"], ["ruff", "format", "--check"]])
def test_the_code_is_linted_and_formatted(arguments):
    subprocess.run([sys.executable, "-m", *arguments, "."], cwd=ROOT, check=True)


def test_the_types_are_right():
    pytest.importorskip("mypy")
    subprocess.run([sys.executable, "-m", "mypy"], cwd=ROOT, check=True)


def copy_as_the_image_does(tree):
    """Copy what the Dockerfile copies, if .dockerignore leaves it in."""
    tree.mkdir()
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [line.split()[1:] for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("COPY ")]
    for *names, place in copied:
        for name in sent.intersection(names):
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, tree / place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, tree / place)


def test_the_wheel_that_the_image_installs_holds_every_module_and_scores_from_elsewhere(tmp_path):
    tree = tmp_path / "tree"  # a copy: what an earlier build left in the checkout does not count
    copy_as_the_image_does(tree)
    wheel = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, tree]
    subprocess.run(wheel, check=True)
    (built,) = tmp_path.glob("*.whl")
    held = zipfile.ZipFile(built).namelist()
    source = {path.relative_to(ROOT).as_posix() for path in (ROOT / "anomalycli").rglob("*") if path.is_file()}
    weights = {f"anomalycli/bundled/{path.name}" for path in (ROOT / "weights").iterdir() if path.is_file()}
    expected = {name for name in source if "__pycache__" not in name} | weights
    assert {name for name in held if ".dist-info/" not in name} == expected
    place = tmp_path / "place"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", place, built], check=True)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import anomalycli, runpy; print(anomalycli.__file__); runpy.run_module('anomalycli', run_name='__main__')",
        ]
        + ["score", "--sample", "--json"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(place))
    assert '"n_frames": 600' in done.stdout
