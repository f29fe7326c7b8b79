"""Which package may import which: the contracts in setup.cfg, [importlinter]."""

import subprocess
import sys

from helpers import ROOT


def test_imports_keep_to_the_layers():
    """In a process of its own: import-linter turns the loggers of others off."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports('setup.cfg', no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
