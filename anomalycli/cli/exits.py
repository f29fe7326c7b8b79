"""How a command over many inputs ends."""

import click

from ..errors import NOTHING_DONE, SOME_FAILED


def finish(failed: int, done: int) -> None:
    """Exit with the code of a run in which `failed` inputs failed and `done` did not; return where none failed."""
    if failed:
        click.get_current_context().exit(SOME_FAILED if done else NOTHING_DONE)
