"""Plan and check the output files before any work, so that no file of the user is replaced unasked."""

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from ..errors import AnomalyError, StorageError, UsageError, VideoError
from ..inputs import Input
from ..media import CONTAINERS
from ..names import readable
from ..storage import check_writable
from ..wording import some
from .base import Intervals, check_embeddable, output_path
from .records import Record

EVENT_CLIP = re.compile(rf"(.*)\.event\d+\.({'|'.join(CONTAINERS)})", re.DOTALL)
MANY_EVENTS = 99_999  # more than any video has, for a check of the length of names
PLACEHOLDER = re.compile(r"\{[^{}/]*\}")
SOME = 3  # names of files in one error


@dataclass(frozen=True)
class Outputs:
    """What to write of each result, and where.

    folder: one, or a template with {name} in it. formats: names, see `base.formats`. margin: seconds before and after
    an event that is cut out, None for no event clips. exact: event clips are encoded again, so that they begin and end
    at the exact frame. embed: store the video in its page. truths: ground truth to draw, by video. sheet: file with all
    curves on one sheet. overwrite: replace files that this tool did not write for the same input. stem: where the files
    of the one input begin, instead of `folder`. video_dir: folder of the videos that feature files were made from.
    proxy: `events` or `all`: pages play small copies of the videos, see `proxies`.
    shared_axis: the curves of the sheet have one axis.
    features: keep the features of videos even if no file is written, so that an interrupted run resumes.
    """

    folder: Path
    formats: Sequence[str] = ()
    margin: float | None = None
    exact: bool = False
    embed: bool = False
    truths: Mapping[str, Intervals] = field(default_factory=dict)
    sheet: Path | None = None
    overwrite: bool = False
    stem: Path | None = None
    video_dir: Path | None = None
    proxy: str | None = None
    shared_axis: bool = False
    features: bool = False

    def __post_init__(self) -> None:
        """Raises UsageError for a template with another placeholder than {name}."""
        wrong = [word for word in PLACEHOLDER.findall(os.fspath(self.folder)) if word != "{name}"]
        if wrong and not self.folder.is_dir():
            raise UsageError(
                f"{readable(os.fspath(self.folder))}: {readable(wrong[0])} is not a placeholder. There is one: "
                "{name}, the name of the video.",
                "output",
            )

    def base(self, name: str) -> Path:
        """Path of the files of the input `name`, without the format that follows."""
        if self.stem:
            return self.stem
        template = os.fspath(self.folder)
        if "{name}" not in template:
            return self.folder / name
        suffix = next((f".{form}" for form in self.formats if template.endswith(f"{{name}}.{form}")), "")
        return Path(template.removesuffix(suffix).replace("{name}", name))

    def index(self, inputs: Sequence[Input]) -> Path | None:
        """Path of the index of pages, or None where there is none."""
        return self.base("index").with_name("index.html") if "html" in self.formats and len(inputs) > 1 else None

    def beside_index(self, inputs: Sequence[Input]) -> list[Input]:
        """The inputs. One whose page would be the index of all keeps its suffix in its name: index.mp4.html.

        Raises UsageError where it has no suffix.
        """
        index = self.index(inputs)
        named = [
            replace(item, name=item.name + item.path.suffix) if self._page(item) == index else item for item in inputs
        ]
        if any(self._page(item) == index for item in named):
            raise UsageError("A file named 'index' and the index of all pages would be one page: rename the file.")
        return named

    def _page(self, item: Input) -> Path:
        return output_path(self.base(item.name), "html")


@dataclass
class OutputPlan:
    """The files of a run.

    inputs: those to score. records: what earlier runs wrote, by the base of an input's files. left_out: event clips
    that an earlier run cut out of other inputs. problems: files that cannot be written, and why.
    """

    inputs: list[Input]
    records: dict[Path, Record]
    left_out: list[Input] = field(default_factory=list)
    problems: dict[Path, AnomalyError] = field(default_factory=dict)


def plan_outputs(inputs: Sequence[Input], outputs: Outputs) -> OutputPlan:
    """Check every file that `outputs` requests for these inputs.

    Raises UsageError where one would replace an input, or two would be one file, or, unless they are to be
    overwritten, where one is there that this tool did not write for the same input; StorageError where none can be
    written.
    """
    records = {outputs.base(item.name): Record.of(outputs.base(item.name), item.path) for item in inputs}
    clips = event_clips_there(records)
    left_out = _former_event_clips(inputs, outputs, records, clips)
    made = OutputPlan([item for item in inputs if item not in set(left_out)], records, left_out)
    kept = {outputs.base(item.name) for item in made.inputs}
    at_stake = {base: clips[base] for base in kept} if outputs.margin is not None else {}
    targets = _targets(made.inputs, outputs)
    shared = [path for path in (outputs.index(made.inputs), outputs.sheet) if path]
    records |= {path: Record.of(path, None) for path in shared}
    targets += [(path, path, "all inputs") for path in shared]
    _check_inputs_stay(made.inputs, [path for path, _, _ in targets] + list(chain(*at_stake.values())))
    if not outputs.overwrite:
        _check_nothing_is_lost([*targets, *_with_base(at_stake)], records)
    checked = [path for path, _, _ in targets] + [
        event_clip_path(outputs.base(item.name), MANY_EVENTS, next(iter(CONTAINERS)))
        for item in made.inputs
        if outputs.margin is not None
    ]
    for path in checked:
        try:
            check_writable(path)
        except StorageError as error:
            made.problems[path] = error
    if checked and len(made.problems) == len(checked):
        raise next(iter(made.problems.values()))
    for item in made.inputs if outputs.embed and "html" in outputs.formats else ():
        try:
            check_embeddable(item.path)
        except VideoError as error:
            made.problems[output_path(outputs.base(item.name), "html")] = error
    return made


def event_clip_path(base: Path, number: int, container: str) -> Path:
    """Path of an event clip; events are counted from 1."""
    return base.with_name(f"{base.name}.event{number}.{container}")


def proxy_path(base: Path) -> Path:
    """Path of the small copy of a video that its page plays."""
    return base.with_name(f"{base.name}.proxy.mp4")


def event_clips_there(bases: Collection[Path]) -> dict[Path, list[Path]]:
    """Files with the names of event clips, by this tool or not, for each of `bases`; every folder is read once."""
    found: dict[Path, list[Path]] = {base: [] for base in bases}
    for folder in {base.parent for base in bases}:
        with suppress(OSError):
            for path in sorted(folder.iterdir()):
                name = EVENT_CLIP.fullmatch(path.name)
                if name and (base := folder / name[1]) in found:
                    found[base].append(path)
    return found


def _targets(inputs: Iterable[Input], outputs: Outputs) -> list[tuple[Path, Path, str]]:
    """Path, base and input of every file but event clips. Raises UsageError where two are one."""
    targets = [
        (output_path(base, name), base, str(item.path))
        for item in inputs
        for base in (outputs.base(item.name),)
        for name in dict.fromkeys(outputs.formats)
    ]
    if outputs.proxy:
        targets += [(proxy_path(outputs.base(item.name)), outputs.base(item.name), str(item.path)) for item in inputs]
    first: dict[str, str] = {}
    for path, _, source in [*targets, *((path, path, "the sheet") for path in (outputs.sheet,) if path)]:
        place = os.path.realpath(path)
        if place in first:
            raise UsageError(
                f"{readable(str(path))}: the results of {readable(first[place])} and of {readable(source)} would be "
                "one file. Use {name} in the template of the output, or score them into two folders."
            )
        first[place] = source
    return targets


def _former_event_clips(
    inputs: Sequence[Input], outputs: Outputs, records: Mapping[Path, Record], clips: Mapping[Path, list[Path]]
) -> list[Input]:
    by_place = {os.path.realpath(item.path): item for item in inputs}
    found = []
    for item in inputs:
        base = outputs.base(item.name)
        for path in (*clips[base], proxy_path(base)):
            clip = by_place.get(os.path.realpath(path))
            if clip and clip is not item and records[base].owns(path):
                found.append(clip)
    return found


def _check_inputs_stay(inputs: Sequence[Input], paths: Iterable[Path]) -> None:
    places = {os.path.realpath(item.path) for item in inputs}
    for path in paths:
        if os.path.realpath(path) in places:
            raise UsageError(
                f"{readable(str(path))}: it is an input, and a result would replace it. Choose another output folder."
            )


def _check_nothing_is_lost(targets: Iterable[tuple[Path, Path, str]], records: Mapping[Path, Record]) -> None:
    lost = [path for path, base, _ in targets if os.path.isfile(path) and not records[base].owns(path)]  # noqa: PTH113
    if lost:
        named = some((readable(str(path)) for path in lost), SOME)
        is_one = len(lost) == 1
        raise UsageError(
            f"{named}: {'this file was' if is_one else 'these files were'} not written for the same input by "
            f"this tool, or changed since. Choose another output folder, or overwrite {'it' if is_one else 'them'}.",
            "overwrite",
        )


def _with_base(clips: Mapping[Path, list[Path]]) -> list[tuple[Path, Path, str]]:
    return [(path, base, "") for base, paths in clips.items() for path in paths]
