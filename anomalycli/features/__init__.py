"""Feature files, and the layouts in which other projects keep features."""

from .files import FeatureKind, Features, load_features

__all__ = ["FeatureKind", "Features", "load_features"]
