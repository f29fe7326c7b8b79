"""The command `score`: score videos, find events, and write files about them."""

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..export.base import formats
from ..export.outputs import Outputs, ScoreRun, score_inputs
from ..inputs import Input
from ..wording import some
from .command import FILE, FOLDER, OUTPUT_FILE, PATH, Command, option, section
from .event_rule import RULE_OPTIONS, rule_of
from .exits import finish
from .options import (
    check_there,
    device_options,
    inputs_of,
    mode_option,
    still_option,
    talk_options,
    use_reader,
    videos_argument,
    weights_option,
)
from .progress import loading
from .score_outputs import MARGIN, outputs_of
from .score_progress import ScoreProgress, durations_of, score_progress
from .tables import print_summary
from .terminal import fault, note, say
from .time_of_day import check_one_input, say_sources, start_options

if TYPE_CHECKING:
    from ..calibration import Calibration
    from ..media.decoder import Decoder


@click.command(
    cls=Command,
    after_interrupt="Files that are written are complete. Where files are written, the same command resumes.",
    no_args_is_help=True,
)
@videos_argument(required=False)
@section(
    "What to score, with which model",
    option("--sample", is_flag=True, help="Score the sample video, a drawn fight in a street."),
    option(
        "--model",
        type=PATH,
        show_default="fights",
        help="Model file, or a bundled model: fights, or fights-mc3, that of version 0.1.",
    ),
    weights_option,
    mode_option("auto"),
)
@section(
    "Files to write",
    option(
        "-o",
        "--output",
        type=PATH,
        default=".",
        show_default=True,
        help="Folder, or a template that contains {name}, such as 'out/{name}-scores'.",
    ),
    option("--plot", is_flag=True, help="NAME.png: scores over time, events, and frames at the highest scores."),
    option("--html", is_flag=True, help="NAME.html: a page to review the video; for several videos also index.html."),
    option("--csv", "as_csv", is_flag=True, help="NAME.csv: frame, time, score."),
    option(
        "-f",
        "--format",
        "formats",
        multiple=True,
        type=click.Choice(formats()),
        help="NAME.FORMAT. srt, vtt, edl and otio are events for players and editors.  [repeatable]",
    ),
    option("--clips", is_flag=True, help="NAME.event1.mp4 and so on: the events cut out, without encoding them again."),
    option(
        "--margin",
        type=click.FloatRange(min=0),
        default=MARGIN,
        show_default=True,
        help="Seconds before and after an event in --clips.",
    ),
    option("--exact", is_flag=True, help="Encode event clips again, so that they begin and end at the exact frame."),
    option("--embed", is_flag=True, help="Store the video in its page."),
    option(
        "--proxy",
        type=click.Choice(("events", "all")),
        help="NAME.proxy.mp4: a small H.264 copy that any browser plays, for --html; events: of what is around them.",
    ),
    option("--sheet", type=OUTPUT_FILE, help="Plot all curves into one .png, .svg or .pdf file."),
    option(
        "--shared-axis", is_flag=True, help="Give the curves of --sheet one time axis, as long as the longest video."
    ),
    option(
        "--ground-truth",
        former="--truth",
        type=FILE,
        help="Ground truth to show in plots and pages: a CSV of video,n_frames,start,end (frames, end not included).",
    ),
    option(
        "--video-dir",
        type=FOLDER,
        help="Folder of the videos that feature files were made from: for pages, plots and event clips.",
    ),
    option("--overwrite", is_flag=True, help="Replace files that score did not write for the same video."),
    option("--json", "as_json", is_flag=True, help="Print one line of JSON per video, not the table."),
)
@section(
    "What counts as an event",
    option(
        "--calibration",
        "calibrations",
        type=FILE,
        multiple=True,
        help="Thresholds of a scene, made by calibrate. Of several, each video gets the first that is for it."
        "  [repeatable]",
    ),
    *RULE_OPTIONS,
)
@start_options
@section(
    "What to score, with which model",
    still_option,
    option(
        "--every",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Compute only every Nth clip, and all clips where scores rise; outputs mark the frames between.",
    ),
)
@device_options
@talk_options
def score(
    videos, sample, model, weights, mode, as_json, start_rule, device, precision, reader, still, every, **options
) -> None:
    """Score every frame of VIDEOS and find the events.

    \b
      anomalycli score clip.mp4 --plot
      anomalycli score camera/ --html -o report/
      anomalycli score 'camera/**/*.mp4' -f srt -f edl --threshold 0.7
      find /camera -name '*.mp4' | anomalycli score - --json > scores.jsonl

    VIDEOS are files, folders, feature files (.npz), patterns, - (a list on stdin) or @list.txt.
    """
    use_reader(reader)
    calibrations = calibrations_of(options)
    inputs = inputs_of(videos, sample)
    check_one_input(start_rule, len(inputs))
    outputs = outputs_of(options, inputs)
    check_there(inputs)
    if len(inputs) > 1:
        say(f"{len(inputs)} inputs")
    note_computed_before(inputs, still, every)
    with loading("Loading the model"):
        decoder = started_decoder(inputs)  # it gets ready while torch is imported, which takes longer
        from ..export.sources import is_video
        from ..score import Scorer, Skip

        scorer = Scorer.load(model, device, precision, weights, decoder, Skip(still=still == "auto", every=every))
        durations = durations_of(inputs, decoder)
    rule = calibrations or rule_of(scorer.info.events, options)
    with score_progress(inputs, durations) as progress:
        run = score_inputs(inputs, scorer, outputs, mode, rule, progress.on_clips, start_rule)  # raises before any work
        progress.inputs = run.inputs
        for remark in run.notes:
            note(remark, always=True)
        if calibrated := scorer.calibrate([item.path for item in run.inputs if is_video(item)]):
            say(calibrated)
        print_results(run, progress, as_json)
    tally = progress.tally
    if tally.scored and not as_json:
        print_summary(tally.sorted_rows())
    say_sources(tally.sources, start_rule)
    print_written(run, outputs, tally.written)
    if len(run.inputs) > 1:
        say(progress.sentence())
    finish(failed=len(run.failures), done=tally.scored)


def note_computed_before(inputs: list[Input], still: str, every: int) -> None:
    """Say where options that leave clips uncomputed do nothing: the clips of feature files are computed already."""
    from ..export.sources import is_video

    given = [name for name, is_given in (("--still", still == "auto"), ("--every", every > 1)) if is_given]
    if given and (files := [str(item.path) for item in inputs if not is_video(item)]):
        do = "does" if len(given) == 1 else "do"
        reason = f"{' and '.join(given)} {do} nothing for feature files, whose clips are computed already"
        note(f"{reason}: {some(files)}", always=True)


def started_decoder(inputs: list[Input]) -> "Decoder | None":
    """A decoder whose process is started, if there is a video among the inputs."""
    from ..export.sources import is_video
    from ..media.decoder import Decoder

    if not any(map(is_video, inputs)):
        return None
    decoder = Decoder()
    decoder.start()
    return decoder


def calibrations_of(options: dict[str, Any]) -> "list[Calibration]":
    """The calibrations that were named. Raises UsageError where an option of the event rule is given beside them."""
    from ..calibration import load

    given = [name for name in ("threshold", "end_threshold", "gap", "shortest") if options[name] is not None]
    if options["calibrations"] and given:
        raise UsageError("A calibration holds the whole event rule, so nothing of it can be set beside it.", *given)
    return [load(path) for path in options["calibrations"]]


def print_results(run: ScoreRun, progress: ScoreProgress, as_json: bool) -> None:
    """Score the inputs of `run` and print what happens to each: failures, notes, and JSON if it was asked for."""
    from ..export.writers import to_json

    for scored in run:
        progress.finished(scored)
        if scored.failure:
            fault("failed", scored.failure)
        result = scored.result
        if result is None:
            continue
        if result.note:
            say(result.note)
        if result.warning:
            fault("partial", result.warning)
        if as_json:
            click.echo(to_json(result))


def print_written(run: ScoreRun, outputs: Outputs, written: Counter[str]) -> None:
    """Print the paths of the files that were written, and what failed of those shared by all videos."""
    for path in run.shared:
        say(f"Written: {path}")
    for failure in run.shared_failures:
        fault("failed", failure)
    base = outputs.base(run.inputs[0].name if len(run.inputs) == 1 else "*")
    for kind, count in written.items():
        say(f"Written: {base}.{kind}" + (f" ({count})" if count > 1 else ""))
