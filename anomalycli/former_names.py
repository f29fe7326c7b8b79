"""Modules by the names they had up to version 0.1, so that code written for it still imports.

The names are aliases: `import anomalycli.train` gives the very module `anomalycli.training.trainer`. They are kept
for one release.
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
    """Finds modules of FORMER, as entries of `sys.meta_path`."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        package, _, module = name.rpartition(".")
        return ModuleSpec(name, self) if package == __package__ and module in FORMER else None

    def create_module(self, spec: ModuleSpec) -> None:
        """Import's own way: the empty module is replaced as soon as it is executed."""

    def exec_module(self, module: ModuleType) -> None:
        name = f"{__package__}.{FORMER[module.__name__.rpartition('.')[2]]}"
        warnings.warn(f"{module.__name__} is now {name}.", DeprecationWarning, stacklevel=2)
        sys.modules[module.__name__] = importlib.import_module(name)


sys.meta_path.append(FormerNames())
