"""Extract features of videos: decide which files to make and which to keep."""

import gc
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path

import numpy as np

from ..backbones import Extractor
from ..backbones.int8 import Judge
from ..checkpoint import bundled_judge
from ..data.labels import LABELS_FILE, label_videos, write_labels
from ..errors import SOME_FAILED, FeatureError, StorageError, UsageError, VideoError
from ..features.files import Features
from ..features.layouts import check_format, load_made, target
from ..inputs import Input, find_inputs
from ..media import VIDEO_SUFFIXES
from ..media.decoder import Decoder
from ..media.messages import DecodedClip
from ..storage import check_writable, path_or_url
from .batching import clip_format
from .local_engine import extract_here, outcome_of
from .run_report import ExtractionOutcome, RunReport
from .settings import Engine, ExtractionSettings, OnProgress
from .spool import beside

SPREAD = 10  # videos that the clips which calibrate int8 come from


def extract(
    paths: Iterable[str | Path],
    output: str | Path,
    extractor: Extractor,
    settings: ExtractionSettings = ExtractionSettings(),
    *,
    engine: Engine = extract_here,
    on_progress: OnProgress | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Generator[ExtractionOutcome, None, None]:
    """Write OUTPUT/name.npz for each video in `paths` (files and folders); returns an iterator over their outcomes.

    OUTPUT is a folder, or a URL (`storage.path_or_url`). Labels that lie beside the videos are copied to
    OUTPUT/labels.csv; OUTPUT/report.json lists the outcome of each input, and is written when the iterator ends or is
    closed. A feature file of the same source and settings is kept. `engine` makes the others: `extract_here` does it
    in this process, `ray_engine.engine` on a cluster. `on_note` is called with sentences: the result of calibrating,
    at int8, and reports of other parts of the run that cannot be read.

    Raises, before any work: VideoError if there is no video; StorageError if OUTPUT cannot be written; UsageError if
    labels contradict each other, or if OUTPUT holds features made with other settings and these do not overwrite them.
    While the iterator runs: StorageError if OUTPUT has no room left.
    """
    folders, output = [Path(path) for path in paths], path_or_url(output)
    with _uncollected():
        every = find_inputs(folders, VIDEO_SUFFIXES)
        if not every:
            raise VideoError(f"{', '.join(map(str, folders))}: there is no video in it.")
        targets = _targets(every, output, extractor, settings)
        labels = _labels(folders, every)
    note = calibrate([item.path for item in targets], extractor)
    with _uncollected():
        kept = {} if settings.overwrite else _kept(targets, extractor, settings.layout)
    note = note or check_stored([item.path for item in targets if item not in kept], extractor)
    if note and on_note:
        on_note(note)

    def run() -> Generator[ExtractionOutcome, None, None]:
        if labels:
            write_labels(output / LABELS_FILE, labels)
        with RunReport(output, settings.shard, on_note) as report:
            for item, outcome in kept.items():
                beside(targets[item]).unlink(missing_ok=True)  # of a run that was killed at the very end
                yield report.add(outcome)
            missing = {item: path for item, path in targets.items() if item not in kept}
            try:
                with closing(engine(missing, extractor, settings, on_progress)) as outcomes:
                    for outcome in outcomes:
                        yield report.add(outcome)
            except StorageError as error:
                if any(outcome.status != "failed" for outcome in report.outcomes):
                    error.exit_code = SOME_FAILED
                raise

    return run()


@contextmanager
def _uncollected() -> Iterator[None]:
    """Python does not search for unreachable objects: over thousands of files it takes a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _targets(
    inputs: list[Input], output: Path, extractor: Extractor, settings: ExtractionSettings
) -> dict[Input, Path]:
    """The file to make for each input of this part of the run.

    Raises UsageError if the settings do not go together, StorageError if nothing can be written.
    """
    check_format(settings.layout, extractor.kind.audio)
    if extractor.precision == "int8" and settings.shard.of > 1:
        raise UsageError(
            "int8 is calibrated on the videos of a run: parts of a run would each have a network of their own. Choose "
            "another precision, or extract all parts at once."
        )
    targets = {item: target(output, item.name, settings.layout) for item in inputs if settings.shard.has(item.name)}
    report = output / settings.shard.report
    if report in targets.values():
        raise UsageError("A video named 'report' and the report of the run would be one file: rename the video.")
    if isinstance(output, Path):
        check_writable(report)
    return targets


def calibrate(paths: Sequence[Path], extractor: Extractor, judge: Judge | None = None) -> str | None:
    """Calibrate an extractor that needs it on the first clips of several of these videos.

    Returns a sentence on the result, or None if nothing was to be done. Skips videos that cannot be read. `judge`
    gives features scores, which int8 must not change: that of the bundled model if it knows these features.
    """
    if not extractor.calibration_clips or not paths:
        return None
    clips = _first_clips(paths, extractor.calibration_clips, extractor)
    return extractor.calibrate(clips, judge or bundled_judge(extractor.kind))


def check_stored(paths: Sequence[Path], extractor: Extractor, judge: Judge | None = None) -> str | None:
    """Compare an int8 network that an earlier run calibrated with fp32 on first clips of these videos.

    Returns a sentence if it is not close enough. Does nothing the second time.
    """
    if not extractor.clips_to_check or not (clips := _first_clips(paths, extractor.clips_to_check, extractor)):
        return None
    return extractor.check(clips, judge or bundled_judge(extractor.kind))


def _first_clips(paths: Sequence[Path], n: int, extractor: Extractor) -> list[np.ndarray]:
    """`n` clips from the beginnings of several of these videos, or as many as there are."""
    each = -(-n // max(1, min(len(paths), SPREAD)))
    clips: list[np.ndarray] = []
    with Decoder() as decoder:
        for path in paths:
            with suppress(VideoError):
                messages = decoder.clips(path, clip_format(extractor))
                clips_there = (one for one in messages if isinstance(one, DecodedClip) and not one.is_still)
                some = (one.frames for one in clips_there)
                clips += islice(some, min(each, n - len(clips)))
            if len(clips) == n:
                break
    return clips


def _kept(targets: dict[Input, Path], extractor: Extractor, layout: str) -> dict[Input, ExtractionOutcome]:
    """The inputs whose features are there, whole, and of this very video. UsageError if made with other settings."""
    found = ((item, _features_of(item, path, extractor, layout)) for item, path in targets.items())
    return {item: outcome_of(item, features, "skipped") for item, features in found if features}


def _features_of(item: Input, target: Path, extractor: Extractor, layout: str) -> Features | None:
    try:
        features = load_made(target, layout)
        stat = item.path.stat()
    except (FeatureError, OSError):
        return None
    difference = features.kind.difference(extractor.kind)
    for setting in ("crops", "precision"):
        before, now = getattr(features, setting), getattr(extractor, setting)
        if before != now:
            difference = difference or (setting, before, now)
    if difference:
        setting, before, now = difference
        raise UsageError(
            f"{target} was made with {setting} {before}, and this run has {now}: "
            "overwrite what is there, or choose another output folder.",
            "overwrite",
            "output",
        )
    same = (features.source_bytes, features.source_mtime) == (stat.st_size, stat.st_mtime)
    return features if same else None


def _labels(paths: list[Path], inputs: list[Input]) -> dict[str, int]:
    """The labels that lie beside the videos. Raises UsageError if they contradict each other."""
    labels: dict[str, int] = {}
    for folder in {path if path.is_dir() else path.parent for path in paths}:
        begin = os.path.join(folder.absolute(), "")  # noqa: PTH118  (with a separator at the end)
        names = [item.name for item in inputs if str(item.path).startswith(begin)]
        labels |= label_videos(names, folder).by_video
    return labels
