"""Messages on stderr and in the log. Tables are in tables.py, progress bars in progress.py."""

import io
import logging
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from ..errors import UsageError, cause
from ..names import readable

messages = Console(stderr=True, highlight=False, soft_wrap=True)
log = logging.getLogger("anomalycli")
NO_LOGS = frozenset((".csv", ".tsv", ".json", ".jsonl", ".toml"))  # other text files: no log is appended to them
LOG_LINE = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ ")  # as those written here begin
logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns where it cannot cache fonts in the home folder
log.addHandler(logging.NullHandler())  # without any, Python writes errors to stderr a second time


def say(sentence: str) -> None:
    """Print one line to stderr, unless -q was given, and log it."""
    _say(_line(sentence))


def note(sentence: str, always: bool = False) -> None:
    """Print a remark and log it; with -q only if `always`."""
    (_complain if always else _say)(_line(sentence, ("note  ", "yellow")))


def complain(sentence: str) -> None:
    """Print one line about an error to stderr, with -q too, and log it."""
    _complain(_line(sentence))


def fault(status: str, sentence: str) -> None:
    """Print one line about an input that failed or is partial, with -q too, and log it."""
    _complain(_line(sentence, (f"{status}  ", "red")))


def complain_of_end(sentence: str) -> None:
    """Print the error that ends the command, with -q too, and log it."""
    _complain(_line(sentence, ("Error:", "red"), " "))


def _line(sentence: str, *marks: tuple[str, str] | str) -> Text:
    """One line, in which names of files cannot break it or send escape sequences. marks: coloured words before it."""
    return Text.assemble(*marks, readable(sentence))


def _say(text: Text) -> None:
    messages.print(text)
    log.info(text.plain)


def _complain(text: Text) -> None:
    (Console(stderr=True, highlight=False, soft_wrap=True) if messages.quiet else messages).print(text)
    log.error(text.plain)


def shown(name: object) -> str:
    """The name of a file as markup for tables and progress bars."""
    return escape(readable(str(name)))


def replace_what_cannot_be_encoded() -> None:
    """Let stdout and stderr print a question mark for characters that their encoding does not have."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def set_up_messages(quiet: bool = False, verbose: bool = False, log_file: Path | None = None) -> None:
    """Silence `say`, print the debug messages of modules, or log all messages to a file.

    Raises UsageError for a log file that cannot be written.
    """
    if quiet:
        messages.quiet = True
    if verbose:
        handler = _ToTerminal()
        handler.addFilter(lambda record: record.levelno == logging.DEBUG)  # other levels are printed by say
        _listen(handler, "%(message)s")
    if log_file:
        try:
            with log_file.open("a+b") as file:
                file.seek(0)
                if log_file.is_file() and _is_something_else(log_file.suffix.lower(), file.read(1 << 12)):
                    raise UsageError(f"{log_file}: it is not a log, and nothing is appended to it. Name another file.")
            _listen(
                _ToFile(log_file, encoding="utf-8", errors="backslashreplace"), "%(asctime)s %(levelname)s %(message)s"
            )
        except OSError as error:
            raise UsageError(f"{log_file}: the log cannot be written there ({error.strerror}).") from error


def _is_something_else(suffix: str, begin: bytes) -> bool:
    """Whether what begins so is not a log to append to: not text, or a table or settings by its name."""
    return b"\0" in begin or (suffix in NO_LOGS and begin.strip() != b"" and not LOG_LINE.match(begin))


class _ToTerminal(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        messages.print(Text(self.format(record)), style="dim")


class _ToFile(logging.FileHandler):
    """A log that ends where it can no longer be written, as on a full disk."""

    def handleError(self, record: logging.LogRecord) -> None:
        log.removeHandler(self)
        note(f"{self.baseFilename}: the log cannot be written any more ({_reason()}).", always=True)


def _reason() -> str:
    error = sys.exc_info()[1]
    return cause(error) if error else "unknown"


class _OneLine(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = readable(record.message)
        return super().formatMessage(record)


def _listen(handler: logging.Handler, form: str) -> None:
    handler.setFormatter(_OneLine(form))
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
