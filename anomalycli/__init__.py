"""Weakly supervised video anomaly detection: how abnormal is every frame, and where are the events?

from anomalycli import Scorer
result = Scorer.load().score("clip.mp4")
"""

from typing import TYPE_CHECKING

from . import former_names as former_names
from .version import __version__ as __version__

__all__ = ["Event", "EventRule", "Result", "Scorer", "find_events"]

if TYPE_CHECKING:
    from .events import Event, EventRule, find_events
    from .score import Result, Scorer


def __getattr__(name: str):
    """Import numpy and torch only when something that needs them is wanted."""
    if name not in __all__:
        raise AttributeError(f"module 'anomalycli' has no attribute '{name}'")
    from . import events, score

    return getattr(score if name in ("Result", "Scorer") else events, name)
