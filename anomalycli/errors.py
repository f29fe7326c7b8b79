"""Errors that a user can act on: each message is a sentence that names the file and says what to do."""


class AnomalyError(Exception):
    """An error that the user can correct.

    `settings` names the parameters that the message is about, as Python names them ("size", "overwrite"); the command
    line adds its options for them. `exit_code` is what the command line exits with.
    """

    exit_code = 1

    def __init__(self, message: str = "", *settings: str):
        super().__init__(message)
        self.settings = settings


class UsageError(AnomalyError):
    """What was asked for does not fit together: wrong options, mixed features, contradictory labels."""

    exit_code = 2


class VideoError(AnomalyError):
    """A video that gives no frame at all."""


class StorageError(AnomalyError):
    """No room is left where results go."""

    exit_code = 3


class FeatureError(AnomalyError):
    """A feature file that is not one, or not whole."""


class CheckpointError(AnomalyError):
    """A model file that is not one, or not whole."""


def cause(error: BaseException) -> str:
    """The first line of what an exception says, for use inside a sentence."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__
