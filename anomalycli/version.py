"""The version of anomalycli."""

__version__ = "0.1.0"
