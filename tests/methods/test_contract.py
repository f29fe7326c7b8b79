"""Every method keeps the contract, and docs/extending.md adds one from a package of its own."""

import pytest
import torch
from helpers import ExamplePackage

from anomalycli.errors import UsageError
from anomalycli.methods import METHODS, find_method, method_names, ms_tct
from anomalycli.methods.base import MethodType
from anomalycli.methods.contract import check_method
from anomalycli.methods.mil_rank import MILRank, MILRankSettings


@pytest.mark.parametrize("name", METHODS)
def test_the_built_in_methods_keep_the_contract(name, monkeypatch):
    monkeypatch.setattr(ms_tct, "STAGES", (16, 24, 32, 40))  # as published it has 87 million parameters
    check_method(name)


class Neighbourly(MILRank):
    """Breaks the contract: a video's scores depend on the videos beside it."""

    def forward(self, x):
        x, scores = super().forward(x)
        return x, scores / scores.max()


class Idle(MILRank):
    """Breaks the contract: a layer that the loss does not depend on."""

    def __init__(self, settings):
        super().__init__(settings)
        self.idle = torch.nn.Linear(2, 2)


@pytest.mark.parametrize(("build", "told"), [(Neighbourly, "whatever videos are beside it"), (Idle, "idle.weight")])
def test_the_check_finds_what_breaks_the_contract(build, told, monkeypatch):
    monkeypatch.setitem(METHODS, "broken", MethodType("broken", build, MILRankSettings))
    with pytest.raises(AssertionError, match=told):
        check_method("broken")


def test_what_is_no_method_is_refused():
    with pytest.raises(UsageError, match="no method 'denet'; there are linear, mil-rank, rtfm"):
        find_method("denet")


def test_a_method_is_added_as_the_documentation_says(tmp_path, make_features):
    example = ExamplePackage("A method", tmp_path)
    assert sorted(example.files) == ["pyproject.toml", "test_topmean.py", "topmean.py"]
    example.install()
    example.python("-m", "pytest", "-q", "-p", "no:cacheprovider", example.folder / "test_topmean.py")
    make_features()
    rows = [f"video{i:02},155," + ("48,80" if i >= 6 else ",") for i in range(12)]
    (tmp_path / "truth.csv").write_text("\n".join(["video,n_frames,start,end", *rows]) + "\n")
    short = "--set steps=3 --set batch=2 --set segments=8"
    small = f"{short} --set heads=2 --set feedforward=8 --set scales=2 --set validation=0.4"
    truth = "--ground-truth truth.csv"
    commands = [
        f"train features --method top-mean --set k=2 {short} -o m",
        "score features/video06.npz --model m",
        f"compare features --methods de-net,top-mean --sweep top-mean.k=1,4 --seeds 1 {small} {truth} -o out",
        f"train features --method top-mean --set k=9 {short} -o n",
    ]
    script = "import sys; from click.testing import CliRunner; from anomalycli.cli import cli\n"
    script += (
        "for words in sys.argv[1:]: done = CliRunner().invoke(cli, words.split()); print(done.output, done.exception)"
    )
    done = example.python("-c", script, *commands)
    told = done.stdout + done.stderr
    assert "video06" in told
    assert "| top-mean.k=4 |" in (tmp_path / "out" / "table.md").read_text()
    assert "k must be from 1 to the 8 segments, not 9" in told
    assert "top-mean" not in method_names()  # here it is not installed
