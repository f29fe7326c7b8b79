"""The sample video: a drawn street in which two people fight. benchmarks/draw_sample.py draws it."""

from pathlib import Path


def sample_clip() -> Path:
    """Path of the sample video, which is part of the installation."""
    return Path(__file__).with_name("sample.mp4")
