"""Weakly supervised video anomaly detection: anomaly scores for every frame, and events.

from anomalycli import Scorer
result = Scorer.load().score("clip.mp4")  # result.scores, result.events
"""

from typing import TYPE_CHECKING

from . import former_names as former_names
from .version import __version__

# The public API, documented in docs/python.md.
__all__ = ["AnomalyError", "Event", "EventRule", "Result", "Scorer", "__version__", "find_events", "write_output"]

if TYPE_CHECKING:
    from .errors import AnomalyError
    from .events import Event, EventRule, find_events
    from .export.base import write_output
    from .result import Result
    from .score import Scorer

_HOMES = {
    "AnomalyError": "errors",
    "Event": "events",
    "EventRule": "events",
    "Result": "result",
    "Scorer": "score",
    "find_events": "events",
    "write_output": "export.base",
}


def __getattr__(name: str):
    """Import numpy and torch only when something that needs them is used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'anomalycli' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
