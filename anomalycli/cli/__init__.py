"""The command line: parse options, call the packages, print. Results go to stdout or files, messages to stderr.

Heavy modules (torch, av, matplotlib) are imported by the commands that need them.
"""

import gc
import io
import os
import sys

import click

from ..errors import INTERRUPTED, NOTHING_DONE, AnomalyError, cause
from ..names import readable
from . import calibrate, compare, evaluate, extract, review, score, train, watch, weights
from .options import print_version
from .terminal import complain, complain_of_end, replace_what_cannot_be_encoded

# how PyTorch, CUDA and the loader of libraries say that there is none
NO_MEMORY = ("can't allocate memory", "out of memory", "failed to map segment")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=print_version,
    help="Print the versions that a bug report needs, and exit.",
)
def cli() -> None:
    """Find unusual moments in video: an anomaly score for every frame, and events.

    \b
      anomalycli score clip.mp4 --plot      score a video with the bundled model, and plot the scores
      anomalycli extract videos/            make feature files of your own videos
      anomalycli train features/            train a model on them, from one label per video
    """


for _command in (
    extract.extract,
    train.train,
    score.score,
    calibrate.calibrate,
    watch.watch,
    review.review,
    evaluate.evaluate,
    compare.compare,
    weights.weights,
):
    cli.add_command(_command)


def main() -> None:
    """Run the command line and exit. A traceback is printed only with ANOMALYCLI_DEBUG=1."""
    replace_what_cannot_be_encoded()
    try:
        code = cli.main(prog_name="anomalycli", standalone_mode=False)
        if sys.stdout:
            sys.stdout.flush()
    except click.ClickException as error:
        text = io.StringIO()
        error.show(text)
        click.echo("\n".join(map(readable, text.getvalue().splitlines())), err=True)
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        complain(f"Interrupted. {error.__cause__ or ''}".strip())
        code = INTERRUPTED
    except BrokenPipeError:
        code = NOTHING_DONE
    except Exception as error:
        if os.environ.get("ANOMALYCLI_DEBUG") == "1":
            raise
        complain_of_end(sentence(error))
        code = error.exit_code if isinstance(error, AnomalyError) else NOTHING_DONE
    drop_what_cannot_be_written()
    gc.freeze()  # at the end all memory is returned anyway: looking for what is unreachable only takes time
    sys.exit(code)


def drop_what_cannot_be_written() -> None:
    """Leave nothing that Python would try to write at exit, and complain of, where stdout is closed or full."""
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def sentence(error: Exception) -> str:
    """The error as a sentence for the user."""
    if isinstance(error, AnomalyError):
        return str(error)
    if isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY):
        return "There is not enough memory for this. Choose smaller settings, or fewer inputs at once."
    if isinstance(error, ImportError):
        return f"A library cannot be loaded ({cause(error)}). Install anomalycli again, in an environment of its own."
    if isinstance(error, FileNotFoundError) and str(error.strerror).startswith("No usable temporary directory"):
        return "No folder for temporary files can be written. Name one in the variable TMPDIR."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'The output'}: {error.strerror}."
    return f"{cause(error)}. This is a bug: ANOMALYCLI_DEBUG=1 shows where."
