"""Feature files, and the feature layouts of other projects."""

from .files import FeatureKind, Features, load_features

__all__ = ["FeatureKind", "Features", "load_features"]
