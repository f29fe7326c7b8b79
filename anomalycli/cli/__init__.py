"""The command line: words in, calls out. Results go to stdout or files, all else to stderr.

Heavy modules (torch, av, matplotlib) are imported by the commands that need them.
"""

import os
import sys

import click
from rich.markup import escape

from ..errors import AnomalyError, cause
from . import experiments, extract, score, train, weights
from .exits import INTERRUPTED, NOTHING_DONE
from .options import print_version
from .terminal import complain


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=print_version,
    help="Show the versions that a report of a bug needs, and exit.",
)
def cli() -> None:
    """How abnormal is every frame of a video, and where are the events?

    \b
      anomalycli score clip.mp4 --plot      scores, events and a picture, with the bundled model
      anomalycli extract videos/            feature files of your own videos
      anomalycli train features/            a model of what is abnormal in them, from yes/no labels
    """


for _command in (
    extract.extract,
    train.train,
    score.score,
    experiments.evaluate,
    experiments.compare,
    weights.weights,
):
    cli.add_command(_command)


def main() -> None:
    """The console script. A traceback is shown only with ANOMALYCLI_DEBUG=1."""
    debug = os.environ.get("ANOMALYCLI_DEBUG") == "1"
    try:
        sys.exit(cli.main(prog_name="anomalycli", standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        complain("Interrupted. What is written is whole; the same command goes on (train: with --resume).")
        sys.exit(INTERRUPTED)
    except Exception as error:
        if debug:
            raise
        if isinstance(error, AnomalyError):
            complain(f"[red]Error:[/] {escape(str(error))}")
            sys.exit(error.exit_code)
        complain(f"[red]Error:[/] {escape(cause(error))}. This is a bug: ANOMALYCLI_DEBUG=1 shows where.")
        sys.exit(NOTHING_DONE)
