"""Which package may import which: the contracts in setup.cfg, [importlinter]."""

from helpers import ROOT
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports


def test_imports_keep_to_the_layers(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert lint_imports("setup.cfg", is_debug_mode=False, no_cache=True) == EXIT_STATUS_SUCCESS, capsys.readouterr().out
