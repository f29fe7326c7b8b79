"""Errors that a user can act on: each message names the file and says what is wrong and what to do."""

import pickle
from collections.abc import Sequence

NOTHING_DONE, WRONG_USAGE, SOME_FAILED, INTERRUPTED = 1, 2, 3, 130  # what the command line exits with


class AnomalyError(Exception):
    """An error that the user can correct.

    `settings` names the parameters that the message is about, as Python names them ("size", "overwrite"); the command
    line adds its options for them. `exit_code` is what the command line exits with.
    """

    exit_code = NOTHING_DONE

    def __init__(self, message: str = "", *settings: str):
        super().__init__(message)
        self.settings = settings


class UsageError(AnomalyError):
    """A request that cannot be met as it is: wrong settings, mixed features, contradictory labels."""

    exit_code = WRONG_USAGE


class VideoError(AnomalyError):
    """A video of which not one frame can be read, or which cannot be shown or cut."""


class StorageError(AnomalyError, OSError):
    """A file that cannot be written. `errno` and `strerror` are the system's, where it said no."""

    def __str__(self) -> str:
        return str(self.args[0])


class FeatureError(AnomalyError):
    """A file that is not a feature file of this tool, or is damaged."""


class DamagedError(FeatureError):
    """Feature files of a folder that are damaged. `each` has a sentence for each where there are several."""

    def __init__(self, message: str, each: Sequence[str], *settings: str):
        super().__init__(message, *settings)
        self.each = tuple(each)


class CheckpointError(AnomalyError):
    """A file that is not a model of this tool, or is damaged."""


def cause(error: BaseException) -> str:
    """The reason that the system or FFmpeg gives, or the type and first line of another exception, for a sentence."""
    if isinstance(error, pickle.UnpicklingError):  # torch's own words advise to load the file without care
        return "it does not hold tensors alone"
    if reason := getattr(error, "strerror", None):
        return reason[:1].lower() + reason[1:] if reason[1:2].islower() else reason
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__
