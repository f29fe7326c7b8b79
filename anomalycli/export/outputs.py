"""Score several inputs, and write what is asked for of each."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AnomalyError, UsageError
from ..inputs import Input
from ..names import readable
from ..storage import write_whole
from .base import BUILT_IN, PICTURES, Context, Intervals, Writer, load_writer, output_path, write_output

if TYPE_CHECKING:
    from ..events import EventRule
    from ..extraction.local_engine import OnClips
    from ..score import Result, Scorer
    from .report import Page

__all__ = ["FORMATS", "PICTURES", "Outputs", "Scored", "Wanted", "score_inputs", "write_output"]

FORMATS = tuple(BUILT_IN)


@dataclass(frozen=True)
class Outputs:
    """What to write of each result, and where: `folder` is one, or a template with {name} in it.

    formats: names, see `base.formats`. margin: seconds before and after an event that is cut out, None for no event
    clips. embed: put the video into its page. truths: ground truth to draw, by video.
    """

    folder: Path
    formats: Sequence[str] = ()
    margin: float | None = None
    embed: bool = False
    truths: Mapping[str, Intervals] = field(default_factory=dict)

    def base(self, name: str) -> Path:
        """Path of the files of the input `name`, without the format that follows."""
        template = os.fspath(self.folder)
        return Path(template.replace("{name}", name)) if "{name}" in template else self.folder / name

    def index(self, inputs: Sequence[Input]) -> Path | None:
        """Path of the index of pages, or None where there is none.

        Raises UsageError where the page of one of several inputs would be at that place.
        """
        if "html" not in self.formats or len(inputs) < 2:
            return None
        index = self.base("index").with_name("index.html")
        if any(output_path(self.base(item.name), "html") == index for item in inputs):
            raise UsageError("A video named 'index' and the index of all would be one page: rename the video.")
        return index


Wanted = Outputs  # its name up to version 0.1; kept for one release


@dataclass
class Scored:
    """What became of one input.

    result: None where it could not be scored. failure: sentences on what could not be done, empty where all could.
    truth: its ground truth, where that is known. written: number of files by what their names end with. page: the one
    for people, where it was asked for.
    """

    truth: Intervals | None = None
    result: "Result | None" = None
    failure: str = ""
    written: Counter[str] = field(default_factory=Counter)
    page: "Page | None" = None


def score_inputs(
    inputs: Iterable[Input],
    scorer: "Scorer",
    outputs: Outputs,
    mode: str = "auto",
    rule: "EventRule | None" = None,
    on_clips: "OnClips | None" = None,
) -> Iterator[Scored]:
    """Score one input after another and write `outputs` of it; the iterator gives what became of each.

    Raises UsageError, before any work, where there is no such mode or format, something that a format needs is not
    installed, or the model cannot score videos and there are some. What fails later fails that file alone.
    """
    from ..features.files import SUFFIX
    from ..score import check_mode

    inputs = list(inputs)
    check_mode(mode)
    index = outputs.index(inputs)
    writers = {name: load_writer(name) for name in dict.fromkeys(outputs.formats)}
    if any(item.path.suffix.lower() != SUFFIX for item in inputs):
        scorer.extractor  # noqa: B018  (raises where the backbone is not the model's)

    def work() -> Iterator[Scored]:
        for item in inputs:
            scored = Scored(outputs.truths.get(item.name, outputs.truths.get(Path(item.name).name)))
            try:
                scored.result = scorer.score(item.path, mode, rule, on_clips)
            except (AnomalyError, OSError) as error:
                scored.failure = str(error)
            else:
                _write_all(scored, item, outputs, writers, index)
            yield scored

    return work()


def _write_all(
    scored: Scored, item: Input, outputs: Outputs, writers: Mapping[str, Writer], index: Path | None
) -> None:
    """Write every format; one that fails is named in `scored.failure` and costs the others nothing."""
    from ..features.files import SUFFIX

    result = scored.result
    assert result
    base = outputs.base(item.name)
    video = item.path if item.path.suffix.lower() != SUFFIX else None
    context = Context(base, readable(result.path.name), video, scored.truth, outputs.embed, item.name, index)
    failures = []
    for name, writer in writers.items():
        context.path = output_path(base, name)
        try:
            write_whole(context.path, writer.render(result, context))
            scored.written[name] += 1
            if name == "html":
                from .report import page_of

                scored.page = page_of(result, context)
        except (AnomalyError, OSError) as error:
            failures.append(str(error))
    if outputs.margin is not None and video:
        from .event_clips import cut_events

        try:
            scored.written["event*"] += len(cut_events(result, base, outputs.margin))
        except (AnomalyError, OSError) as error:
            failures.append(str(error))
    scored.failure = " ".join(failures)
