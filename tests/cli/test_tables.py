"""Tables of results: each number whole, on a narrow terminal as well as in a file."""

import pytest

from anomalycli.cli.tables import print_comparison
from anomalycli.experiments.table import COLUMNS

ROW = {"seeds": 5, "checkpoint": "last"} | dict.fromkeys(COLUMNS, 0.5) | {f"{name}_std": 0.1788 for name in COLUMNS}


@pytest.mark.parametrize(("columns", "headers"), [("80", 3), ("200", 1), (None, 1)])
def test_a_comparison_never_cuts_or_breaks_a_number(monkeypatch, capsys, columns, headers):
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    print_comparison([{"method": "ms-tct-full", **ROW}])
    lines = capsys.readouterr().out.splitlines()
    assert "…" not in "".join(lines) and len(lines) == 2 * headers
    assert sum(line.count("0.5000 ± 0.1788") for line in lines) == len(COLUMNS)
    assert max(map(len, lines)) <= int(columns or 1000)
