"""Exit codes, and how a command over many inputs ends."""

import click

NOTHING_DONE, SOME_FAILED, INTERRUPTED = 1, 3, 130


def finish(failed: int, done: int) -> None:
    """Exit with the code of a run in which `failed` inputs failed and `done` did not; return where none failed."""
    if failed:
        click.get_current_context().exit(SOME_FAILED if done else NOTHING_DONE)
