"""Every export format keeps the contract."""

import pytest

from anomalycli.errors import UsageError
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
