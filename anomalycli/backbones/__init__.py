"""Networks that turn clips of frames into features.

base has the contract and the registry; extractor runs a backbone on a device; each backbone is a module of its own.
"""

from typing import TYPE_CHECKING

__all__ = ["DEFAULT", "Backbone", "ClipNetwork", "Extractor"]

DEFAULT = "lite"

if TYPE_CHECKING:
    from .base import Backbone, ClipNetwork
    from .extractor import Extractor


def __getattr__(name: str):
    """Import torch only when a name that needs it is used."""
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from . import base, extractor

    return getattr(extractor if name == "Extractor" else base, name)
