"""Weakly supervised video anomaly detection: how abnormal is every frame, and where are the events?

from anomalycli import Scorer
result = Scorer.load().score("clip.mp4")
"""

__version__ = "0.1.0"
__all__ = ["Scorer"]


def __getattr__(name: str):
    """Import torch only when a model is wanted."""
    if name == "Scorer":
        from .score import Scorer

        return Scorer
    raise AttributeError(f"module 'anomalycli' has no attribute '{name}'")
