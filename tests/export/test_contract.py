"""Every export format keeps the contract, and docs/extending.md adds one from a package of its own."""

import re

import pytest
from helpers import ExamplePackage, kind

from anomalycli.checkpoint import ModelInfo, save_model
from anomalycli.denet import DENet, DENetConfig
from anomalycli.errors import UsageError
from anomalycli.events import EventRule
from anomalycli.export.base import BUILT_IN, formats, load_writer
from anomalycli.export.contract import check_writer


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_built_in_formats_keep_the_contract(name):
    check_writer(name)


class Numbers:
    """Breaks the contract: neither text nor bytes."""

    def render(self, result, context):
        return 1


class Counting:
    """Breaks the contract: differs from call to call."""

    n = 0

    def render(self, result, context):
        self.n += 1
        return str(self.n)


class Writing:
    """Breaks the contract: writes the file itself."""

    def render(self, result, context):
        context.path.write_text("x")
        return "x"


@pytest.mark.parametrize(
    ("writer", "told"), [(Numbers, "returned int"), (Counting, "in two ways"), (Writing, "wrote the file itself")]
)
def test_the_check_finds_what_breaks_the_contract(monkeypatch, writer, told):
    monkeypatch.setattr("anomalycli.export.contract.load_writer", lambda name: writer())
    with pytest.raises(AssertionError, match=told):
        check_writer("csv")


def test_what_is_no_format_is_refused():
    with pytest.raises(UsageError, match="no format 'docx': choose from csv, npy"):
        load_writer("docx")
    assert formats()[: len(BUILT_IN)] == tuple(BUILT_IN)


def test_a_format_is_added_as_the_documentation_says(tmp_path, make_features):
    example = ExamplePackage("An export format", tmp_path)
    assert sorted(example.files) == ["labeltrack.py", "pyproject.toml", "test_labeltrack.py"]
    config = DENetConfig(32, heads=2, feedforward=16)
    save_model(tmp_path / "m.safetensors", DENet(config), ModelInfo(config, kind(), EventRule(0.001, 0.001, 0, 0)))
    make_features()
    score = ("-m", "anomalycli", "score", "features/video00.npz", "--model", "m.safetensors", "-f", "labels.txt")
    assert "labels.txt" in example.python(*score, code=2).stderr  # not there yet
    example.install()
    example.python("-m", "pytest", "-q", "-p", "no:cacheprovider", example.folder / "test_labeltrack.py")
    example.python(*score)
    assert re.fullmatch(r"0\.000\t6\.\d{3}\tevent 1, score 0\.\d\d\n", (tmp_path / "video00.labels.txt").read_text())
    (example.site / "labeltrack.py").write_text("import nothing_of_that_name\n")
    told = example.python(*score, code=2).stderr
    assert "The format 'labels.txt' (labeltrack:LabelTrack) cannot be loaded" in told and "Traceback" not in told
