"""The command `calibrate`: set the thresholds of a scene by its own normal footage."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError, cause
from ..export.outputs import Outputs, ScoreRun, score_inputs
from ..inputs import Input
from ..matching import fits_pattern, pattern_parts
from ..media.timecode import clock, time_in_words
from ..names import readable
from ..storage import check_writable
from ..wording import number_of, some
from .command import OUTPUT_FILE, PATH, Command, option, section
from .event_rule import DURATION_OPTIONS, rule_of
from .exits import finish
from .options import (
    check_there,
    device_options,
    inputs_of,
    mode_option,
    talk_options,
    use_reader,
    videos_argument,
    weights_option,
)
from .progress import clip_progress
from .terminal import fault, note, say

if TYPE_CHECKING:
    from ..calibration import Calibration
    from ..false_alarms import Footage


MARK = re.compile(rb'\s*\{\s*"anomalycli":\s*"calibration"')  # how every calibration begins
NEVER = 0.9999  # start thresholds above which hardly any event begins


@click.command(
    cls=Command,
    after_interrupt="The features of videos are kept, and the same command resumes.",
    no_args_is_help=True,
)
@videos_argument()
@section(
    "What to score, with which model",
    option("--model", type=PATH, show_default="fights", help="Model file, or the name of a bundled model."),
    weights_option,
    mode_option("auto"),
)
@section(
    "Calibration",
    option(
        "--false-alarms-per-hour",
        type=float,
        default=0.1,
        show_default=True,
        help="How many events per hour of normal footage are acceptable.",
    ),
    option("--pattern", show_default="all videos", help="Videos that it is for, such as 'gate/**' or 'gate-*.mp4'."),
    option(
        "-o", "--output", type=OUTPUT_FILE, default="calibration.json", show_default=True, help="Calibration to write."
    ),
    option("--overwrite", is_flag=True, help="Replace the calibration if there is one."),
)
@section(
    "What counts as an event",
    *DURATION_OPTIONS,
)
@device_options
@talk_options
def calibrate(videos, model, weights, mode, output, overwrite, device, precision, reader, **options) -> None:
    """Set the thresholds of a scene from normal VIDEOS.

    \b
      anomalycli calibrate gate/normal/ --false-alarms-per-hour 0.1 -o gate.calibration.json
      anomalycli score gate/today.mp4 --calibration gate.calibration.json

    Events on such footage then come at most that often, if there is enough of it to promise that: about 3 hours
    divided by the rate. VIDEOS are files, folders, feature files (.npz), patterns, - (a list on stdin) or @list.txt.
    """
    use_reader(reader)
    inputs = inputs_of(videos)
    _check_options(output, overwrite, options)
    check_there(inputs)
    inputs = _normal(inputs, videos)
    _say_pattern(options["pattern"], inputs)
    from .. import calibration
    from ..export.sources import is_video
    from ..false_alarms import Footage, stand_out, without_copies
    from ..score import Scorer

    scorer = Scorer.load(model, device, precision, weights)
    rule = rule_of(scorer.info.events, options | {"threshold": None, "end_threshold": None})
    with clip_progress() as on_clips:
        run = score_inputs(inputs, scorer, Outputs(output.parent, features=True), mode, rule, on_clips)
        if calibrated := scorer.calibrate([item.path for item in run.inputs if is_video(item)]):
            say(calibrated)
        footage = [Footage(title, result.scores, result.fps, result.times) for title, result in _results(run)]
    if footage:
        footage, copies = without_copies(footage)
        for copy, original in copies.items():
            note(f"{copy}: the same footage as {original}, which counts once.")
        _say_highest(footage, stand_out(footage))
        target = options["false_alarms_per_hour"]
        made = calibration.calibrate(footage, target, rule, scorer.scored_by(mode), options["pattern"])
        made.save(output)
        _say_promise(made, output)
    finish(failed=len(run.failures), done=len(footage))


def _check_options(output: Path, overwrite: bool, options: dict[str, Any]) -> None:
    """Raise an error where the work would be in vain."""
    from ..calibration import check_target

    check_target(options["false_alarms_per_hour"])
    if options["pattern"] is not None and not pattern_parts(options["pattern"]):
        raise UsageError("The pattern is empty.", "pattern")
    check_writable(output)
    if output.exists() and not overwrite:
        raise UsageError(f"{output} exists. Overwrite it, or name another file.", "overwrite", "output")
    if output.exists() and not is_calibration(output):
        raise UsageError(f"{output}: it is not a calibration, and is not overwritten. Name another file.", "output")


def is_calibration(path: Path) -> bool:
    """Whether a file begins as a calibration does, damaged or not, or is empty."""
    try:
        with path.open("rb") as file:
            begin = file.read(200)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({cause(error)}).", "output") from error
    return not begin or MARK.match(begin) is not None


def _normal(inputs: list[Input], named: list[Path]) -> list[Input]:
    """The inputs without those that are labelled abnormal, which are printed.

    Raises UsageError where all are. named: the files and folders that were named.
    """
    from ..data.labels import label_videos

    folders = [path.absolute() for path in named if path.is_dir()]
    by_folder: dict[Path, dict[str, Input]] = {}
    for item in inputs:
        folder = next((folder for folder in folders if folder in item.path.parents), item.path.parent)
        by_folder.setdefault(folder, {})[item.path.relative_to(folder).with_suffix("").as_posix()] = item
    abnormal: set[Input] = set()
    for folder, items in by_folder.items():
        try:
            labels = label_videos(items, folder)
        except UsageError as error:
            note(f"Labels are not used. {error}")
            continue
        if labels.warning and folder in folders:
            note(labels.warning)
        abnormal |= {items[name] for name, label in labels.by_video.items() if label}
    if abnormal:
        left_out = some(readable(item.name) for item in inputs if item in abnormal)
        if len(abnormal) == len(inputs):
            raise UsageError(f"{left_out}: labelled abnormal. A calibration needs footage of the scene that is normal.")
        note(f"Left out, labelled abnormal: {left_out}.")
    return [item for item in inputs if item not in abnormal]


def _say_pattern(pattern: str | None, inputs: list[Input]) -> None:
    """Print where the calibration will not be for all videos that it is made from."""
    count = len(inputs) if pattern is None else sum(fits_pattern(item.path, pattern) for item in inputs)
    if count < len(inputs):
        say(
            f"The pattern '{pattern}' matches {count or 'none'} of {number_of(len(inputs), 'video')}. All of them "
            "are used to calibrate."
        )


def _results(run: ScoreRun):
    """The title and the result of each video that can be scored; what fails is printed."""
    for scored in run:
        if scored.failure:
            fault("failed", scored.failure)
        if scored.result is not None:
            if scored.result.warning:
                fault("partial", scored.result.warning)
            yield scored.title, scored.result


def _say_highest(footage: "list[Footage]", odd: "list[Footage]") -> None:
    """Print the videos that stand out, or the highest score where none does."""
    for video in odd:
        say(f"{_highest(video)}, far above the others. Is this really normal?")
    if not odd:
        say(f"Highest score: {_highest(max(footage, key=lambda video: video.highest))}.")


def _highest(video: "Footage") -> str:
    return f"{video.name}: {video.highest:.3f} at {clock(video.highest_at)}"


def _say_promise(made: "Calibration", output: Path) -> None:
    """Print the thresholds, and what they may promise."""
    footage = f"{time_in_words(made.hours)} of normal footage"
    say(f"{output}: events begin at {made.rule.start_threshold:.4f} and end below {made.rule.end_threshold:.4f}.")
    bound = f"{made.rate_bound:.2g}" if made.rate_bound < 100 else f"{made.rate_bound:,.0f}"
    say(f"{number_of(made.events, 'event')} in {footage}: at most {bound} per hour, with 95% confidence.")
    say(f"In as much new footage, at most {number_of(made.new_events or 0, 'event')}, with 95% confidence.")
    if made.clustering >= 1.5:
        say(f"Events come together, about {made.clustering:.1f} at a time, which makes the footage count for less.")
    if not made.is_promised:
        has_tail = made.shown < len(made.reached)
        say(
            f"Too little footage: {made.target:g} per hour needs {time_in_words(made.hours_needed)} without an event. "
            + (
                "The thresholds are extrapolated from the highest peaks to that rate and promise nothing."
                if has_tail
                else "Its peaks are too few to extrapolate, so events begin just above its highest score."
            )
        )
    if made.extrapolated and made.rule.start_threshold > NEVER:
        say("Hardly any score is as high as that. Is all of this footage normal? Longer footage gives a lower level.")
    if made.videos == 1:
        say("All footage is one video, so it says nothing about other days.")
