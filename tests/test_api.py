"""The public interface: small, documented, and quick to import."""

import importlib
import re
import subprocess
import sys

import pytest
from helpers import ROOT

import anomalycli


@pytest.mark.parametrize("name", sorted(set(anomalycli.__all__) - {"__version__"}))
def test_every_public_name_is_there_and_says_what_it_is(name):
    assert getattr(anomalycli, name).__doc__


def test_the_page_on_python_lists_the_public_names_and_no_others():
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    table = page[page.index("| name | what it is |") : page.index("## Score")]
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.M)) == sorted(anomalycli.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'scorer'"):
        anomalycli.scorer  # noqa: B018


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("datasets", ["load_bags"]),
        ("extract", ["extract"]),
        ("outputs", ["Wanted", "score_inputs", "write_output"]),
        ("report", ["write_report"]),
        ("train", ["TrainConfig", "train"]),
    ],
)
def test_modules_that_the_page_described_before_import_by_their_former_names(module, names):
    sys.modules.pop(f"anomalycli.{module}", None)
    with pytest.warns(DeprecationWarning, match=rf"anomalycli\.{module} is now anomalycli\."):
        found = importlib.import_module(f"anomalycli.{module}")
    assert all(hasattr(found, name) for name in names)
    assert found is sys.modules[found.__spec__.name] and found.__spec__.name != f"anomalycli.{module}"


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, anomalycli; assert not {'torch', 'numpy', 'av', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
