"""Score several inputs and write the requested files for each."""

import dataclasses
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ..errors import AnomalyError, UsageError, cause
from ..inputs import Input
from ..media.start_time import StartRule
from ..names import readable
from ..storage import atomic_write
from ..wording import some
from .base import PICTURES, Context, Intervals, load_writer, output_path
from .base import write_output as write_output
from .plan import OutputPlan, plan_outputs
from .plan import Outputs as Outputs
from .records import Record

if TYPE_CHECKING:
    from ..calibration import Calibration
    from ..events import EventRule
    from ..extraction.local_engine import OnClips
    from ..result import Result
    from ..score import Scorer
    from .plot import Curve
    from .report import Page

log = logging.getLogger(__name__)
Wanted = Outputs  # its name up to version 0.1, whose page on Python imported write_output from here too


@dataclass
class Scored:
    """Outcome of one input.

    title: its displayed name. result: None if it could not be scored. failure: sentences on what failed, empty if
    nothing did. truth: its ground truth, if known. written: number of files by the ending of their names. page: its
    page, if one was requested.
    """

    title: str = ""
    truth: Intervals | None = None
    result: "Result | None" = None
    failure: str = ""
    written: Counter[str] = field(default_factory=Counter)
    page: "Page | None" = None


class ScoreRun:
    """An iterator over inputs that are scored and written one after another: see `score_inputs`.

    inputs: those that are scored. notes: sentences to print before any work. After the last input the index of pages
    and the sheet are written: `shared` has their paths, `shared_failures` what failed there, and `failures` everything
    that failed.
    """

    def __init__(self, inputs: Iterable[Input], scorer: "Scorer", outputs: Outputs, how: "Scoring"):
        from ..media.decoder import Decoder
        from ..score import check_mode
        from .sources import is_video

        check_mode(how.mode)
        given = list(inputs)
        inputs = outputs.beside_index(given)
        names = {old.name: new.name for old, new in zip(given, inputs, strict=True)}
        truths = {names.get(name, name): truth for name, truth in outputs.truths.items()}
        outputs = dataclasses.replace(outputs, truths=truths)
        self.scorer, self.outputs, self.how = scorer, outputs, how
        self.writers = {name: load_writer(name) for name in dict.fromkeys(outputs.formats)}
        if outputs.sheet and outputs.sheet.suffix[1:].lower() not in PICTURES:
            raise UsageError(f"{outputs.sheet}: a sheet is one of {', '.join(PICTURES)}.")
        self.plan: OutputPlan = plan_outputs(inputs, outputs)
        self.inputs = self.plan.inputs
        self.index = outputs.index(self.inputs)
        if any(map(is_video, self.inputs)):
            scorer.extractor  # noqa: B018  (raises where the backbone is not the model's)
        self.notes = [
            f"{readable(str(item.path))}: left out, cut out of another input by an earlier run, or a copy of one."
            for item in self.plan.left_out
        ]
        for calibration in how.calibrations:
            calibration.check(scorer.scored_by(how.mode))
        others = [readable(item.name) for item in self.inputs if how.calibrations and not how.rule_for(item.path)]
        if others:
            self.notes += [f"No calibration is for {some(others)}: the model's own thresholds apply there."]
        self.notes += [str(problem) for problem in self.plan.problems.values()]
        self.failures: list[str] = []
        self.shared: list[Path] = []
        self.shared_failures: list[str] = []
        self._pages: list[Page] = []
        self._curves: list[Curve] = []
        self._decoder = Decoder()
        self._work = self._score_all()

    def __iter__(self) -> Iterator[Scored]:
        return self

    def __next__(self) -> Scored:
        return next(self._work)

    def _score_all(self) -> Iterator[Scored]:
        with self._decoder:
            yield from self._score_each()
        self._write_shared()

    def _score_each(self) -> Iterator[Scored]:
        for item in self.inputs:
            scored = Scored(_title(item), self.outputs.truths.get(item.name))
            try:
                how, cache = self.how, self._cache(item)
                scored.result = self.scorer.score(
                    item.path, how.mode, how.rule_for(item.path), how.on_clips, cache, start_rule=how.start_rule
                )
            except (AnomalyError, OSError) as error:
                scored.failure = str(error)
            else:
                self._write(scored, item)
            self.failures += [text for text in (scored.failure, scored.result and scored.result.warning) if text]
            yield scored

    def _cache(self, item: Input) -> Path | None:
        """Path of the stored features of an input, beside its output files; None if it has no output files."""
        outputs = self.outputs
        if not (outputs.formats or outputs.sheet or outputs.margin is not None or outputs.features):
            return None
        cache = self.plan.records[outputs.base(item.name)].cache
        if outputs.overwrite:
            from ..features.score_cache import scores_beside

            for path in (cache, scores_beside(cache)):
                with suppress(OSError):
                    path.unlink(missing_ok=True)
        return cache

    def _write(self, scored: Scored, item: Input) -> None:
        """Write every format and the event clips. A failure does not affect the other files."""
        from .sources import video_of

        result, base = scored.result, self.outputs.base(item.name)
        assert result
        failures: list[str] = []
        video = None
        with _noting(failures):
            video = video_of(item, self.outputs.video_dir)
        context = Context(
            base,
            scored.title,
            video,
            scored.truth,
            embed=self.outputs.embed,
            label=item.name,
            index=self.index,
            decoder=self._decoder,
        )
        if self.outputs.proxy and video:
            from .proxies import write_proxy

            with _noting(failures):
                record = self.plan.records[base]
                context.player = write_proxy(result, video, base, self.outputs.proxy, record, self._decoder)
                scored.written["proxy.mp4"] += 1
        for name in self.writers:
            context.path = output_path(base, name)
            with _noting(failures):
                self._write_format(name, scored, context, base)
        failures += [context.failure] if context.failure else []
        if self.outputs.margin is not None and video:
            with _noting(failures):
                scored.written["event*"] += self._cut(dataclasses.replace(result, path=video), base)
        if self.outputs.sheet:
            from .plot import curve_of

            self._curves.append(curve_of(result, scored.truth, scored.title))
        scored.failure = " ".join(failures)

    def _write_format(self, name: str, scored: Scored, context: Context, base: Path) -> None:
        """Write one format. Raises AnomalyError or OSError where that fails, in a writer of another package too."""
        result = scored.result
        assert result
        try:
            self._store(context.path, base, lambda: self.writers[name].render(result, context))
            scored.written[name] += 1
            if name == "html":
                from .report import page_of

                scored.page = page_of(result, context)
                self._pages.append(scored.page)
        except (AnomalyError, OSError):
            raise
        except Exception as error:
            log.debug(f"{context.path}: the writer failed", exc_info=True)
            raise AnomalyError(f"{context.path}: the format '{name}' failed ({cause(error)}).") from error

    def _store(self, path: Path, base: Path, render) -> None:
        if problem := self.plan.problems.get(path):
            raise problem
        content = render()
        with atomic_write(path) as partial:
            partial.write_bytes(content.encode(errors="replace") if isinstance(content, str) else content)
            self.plan.records[base].expect(path, partial)

    def _cut(self, result: "Result", base: Path) -> int:
        """Write the event clips, and remove those of an earlier run that are not among them."""
        from .event_clips import cut_events
        from .plan import event_clips_there

        record: Record = self.plan.records[base]
        before = [path for path in event_clips_there([base])[base] if record.owns(path)]
        made = cut_events(result, base, self.outputs.margin or 0.0, record, self.outputs.exact, self._decoder)
        for path in before:
            if path not in made:
                record.remove(path)
        return len(made)

    def _write_shared(self) -> None:
        def write_sheet(path: Path) -> bytes:
            from .plot import sheet_of

            return sheet_of(self._curves, path.suffix[1:].lower(), self.outputs.shared_axis)

        def write_index(path: Path) -> str:
            from .report import index_of

            return index_of(self._pages, path, self.failures)

        sheet, index = self.outputs.sheet, self.index
        for path, is_needed, render in ((sheet, self._curves, write_sheet), (index, self._pages, write_index)):
            if path and is_needed:
                with _noting(self.shared_failures):
                    self._store(path, path, lambda path=path, render=render: render(path))
                    self.shared.append(path)
        self.failures += self.shared_failures


@contextmanager
def _noting(failures: list[str]) -> Iterator[None]:
    """Add the sentence of an error to `failures`: what fails here costs nothing else."""
    try:
        yield
    except (AnomalyError, OSError) as error:
        failures.append(str(error))


@dataclass(frozen=True)
class Scoring:
    """Arguments of `Scorer.score` for all inputs."""

    mode: str = "auto"
    rule: "EventRule | Sequence[Calibration] | None" = None
    on_clips: "OnClips | None" = None
    start_rule: StartRule = StartRule()

    @property
    def calibrations(self) -> "Sequence[Calibration]":
        """The calibrations, if `rule` is some."""
        return self.rule if isinstance(self.rule, Sequence) else ()

    def rule_for(self, path: Path) -> "EventRule | Calibration | None":
        """The rule or calibration for one input; None: the model's rule."""
        if not isinstance(self.rule, Sequence):
            return self.rule
        from ..calibration import choose

        return choose(self.rule, path)


def score_inputs(
    inputs: Iterable[Input],
    scorer: "Scorer",
    outputs: Outputs,
    mode: str = "auto",
    rule: "EventRule | Sequence[Calibration] | None" = None,
    on_clips: "OnClips | None" = None,
    start_rule: StartRule = StartRule(),
) -> ScoreRun:
    """Score one input after another and write `outputs` of it; the iterator yields the outcome of each.

    rule: one for all inputs, or calibrations, of which each input gets the first that is for it. None: the model's.

    Raises UsageError, before any work, where there is no such mode or format, something that a format needs is not
    installed, a calibration is of another model, the model cannot score videos and there are some, or a file would be
    lost (see `plan_outputs`), and StorageError where nothing can be written. What fails later fails that file alone.
    """
    return ScoreRun(inputs, scorer, outputs, Scoring(mode, rule, on_clips, start_rule))


def _title(item: Input) -> str:
    """The displayed name of an input: its path below the folder that was given."""
    has_suffix = PurePosixPath(item.name).name == item.path.name
    return readable(item.name if has_suffix else item.name + item.path.suffix)
