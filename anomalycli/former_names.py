"""Aliases for modules that were renamed after version 0.1, kept for one release.

`import anomalycli.train` returns the module `anomalycli.training.trainer` and warns.
"""

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

FORMER = {
    "datasets": "data.bags",
    "extract": "extraction.job",
    "outputs": "export.outputs",
    "report": "export.report",
    "train": "training.trainer",
}


class FormerNames(MetaPathFinder, Loader):
    """Import hook, an entry of `sys.meta_path`, that finds the modules of FORMER."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """A spec for a former name of this package, else None."""
        package, _, module = name.rpartition(".")
        return ModuleSpec(name, self) if package == __package__ and module in FORMER else None

    def create_module(self, spec: ModuleSpec) -> None:
        """Return None, for the default: an empty module, which exec_module replaces."""

    def exec_module(self, module: ModuleType) -> None:
        """Replace the module by the one of the present name, and warn."""
        name = f"{__package__}.{FORMER[module.__name__.rpartition('.')[2]]}"
        warnings.warn(f"{module.__name__} is now {name}.", DeprecationWarning, stacklevel=2)
        sys.modules[module.__name__] = importlib.import_module(name)


sys.meta_path.append(FormerNames())
