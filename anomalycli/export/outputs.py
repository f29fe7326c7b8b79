"""What a run of scoring writes: which files there are, where they go, who writes them."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AnomalyError, UsageError
from ..inputs import Input

if TYPE_CHECKING:
    from ..events import EventRule
    from ..extraction.local_engine import OnClips
    from ..score import Result, Scorer
    from .report import Page

PICTURES = ("png", "svg", "pdf")
FORMATS = ("csv", "npy", "json", "events.csv", "events.json", "srt", "vtt", "edl", "otio", "html", *PICTURES)
Spans = Sequence[tuple[int, int]]  # frames, half-open


@dataclass(frozen=True)
class Wanted:
    """What to write of each result, and where: `folder` is one, or a template with {name} in it.

    formats are of FORMATS. margin: seconds before and after an event that is cut out, None for no
    such clips. embed: the video goes into its page. truths: ground truth to draw, by video.
    """

    folder: Path
    formats: Sequence[str] = ()
    margin: float | None = None
    embed: bool = False
    truths: Mapping[str, Spans] = field(default_factory=dict)

    def base(self, name: str) -> Path:
        """Where the files of the input `name` begin."""
        template = os.fspath(self.folder)
        return Path(template.replace("{name}", name)) if "{name}" in template else self.folder / name

    def index(self, inputs: Sequence[Input]) -> Path | None:
        """Where the index of pages belongs, or None where there is none.

        Raises UsageError where the page of one of several inputs would be at that place.
        """
        if "html" not in self.formats or len(inputs) < 2:
            return None
        index = self.base("index").with_name("index.html")
        if any(_file(self.base(item.name), "html") == index for item in inputs):
            raise UsageError("A video named 'index' and the index of all would be one page: rename the video.")
        return index


@dataclass
class Outcome:
    """What became of one input: its result, or the sentence why there is none; and what was written of it.

    written: number of files by what their names end with. page: the one for people, where it was wanted.
    """

    truth: Spans | None = None
    result: "Result | None" = None
    failure: str = ""
    written: Counter[str] = field(default_factory=Counter)
    page: "Page | None" = None


def score_inputs(
    inputs: Iterable[Input],
    scorer: "Scorer",
    wanted: Wanted,
    span: str = "auto",
    rule: "EventRule | None" = None,
    on_clips: "OnClips | None" = None,
) -> Iterator[Outcome]:
    """Score one input after another and write what is wanted of it, yielding each one's outcome.

    Raises UsageError where what is wanted cannot be had of any input.
    """
    for item in inputs:
        outcome = Outcome(wanted.truths.get(item.name, wanted.truths.get(Path(item.name).name)))
        try:
            result = scorer.score(item.path, span, rule, on_clips)
            _write_all(result, item, wanted, outcome)
        except UsageError:
            raise
        except (AnomalyError, OSError) as error:
            outcome.failure = str(error)
        else:
            outcome.result = result
        yield outcome


def _write_all(result: "Result", item: Input, wanted: Wanted, outcome: Outcome) -> None:
    from ..features.files import SUFFIX

    base = wanted.base(item.name)
    video = item.path if item.path.suffix.lower() != SUFFIX else None
    for kind in dict.fromkeys(wanted.formats):
        page = write_output(result, base, kind, video, outcome.truth, wanted.embed)
        outcome.page = page or outcome.page
        outcome.written[kind] += 1
    if wanted.margin is not None and video:
        from .event_clips import cut_events

        outcome.written["event*"] += len(cut_events(result, base, wanted.margin))


def write_output(
    result: "Result",
    base: Path,
    kind: str,
    video: Path | None = None,
    truth: Spans | None = None,
    embed: bool = False,
) -> "Page | None":
    """Write `result` to `base` + "." + `kind`, one of FORMATS; returns the page, where it is one.

    `video`, `truth` and `embed` are for those formats that show them.
    """
    path = _file(base, kind)
    if kind == "html":
        from .report import write_report

        return write_report(result, path, video, truth, embed)
    if kind in PICTURES:
        from .plot import plot_result

        plot_result(result, path, video, truth)
    else:
        from .writers import write

        write(result, base, kind)
    return None


def _file(base: Path, kind: str) -> Path:
    return base.with_name(f"{base.name}.{kind}")
