"""The public interface: small, documented, and quick to import."""

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


def test_names_that_the_page_taught_before_still_import():
    from anomalycli.export.outputs import Wanted, score_inputs, write_output
    from anomalycli.export.report import write_report

    assert Wanted and score_inputs and write_output and write_report


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, anomalycli; assert not {'torch', 'numpy', 'av', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
