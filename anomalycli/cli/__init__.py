"""The command line: words in, calls out. Results go to stdout or files, all else to stderr."""

import os
import sys
from collections import Counter
from pathlib import Path

import click
from rich.markup import escape

from ..errors import AnomalyError, UsageError, cause
from ..export.outputs import FORMATS, PICTURES, Wanted, score_inputs
from .options import (
    FILE,
    PATH,
    Command,
    device_option,
    device_options,
    feature_options,
    label_options,
    print_version,
    section,
    talk_options,
    truth_options,
    weights_option,
)
from .terminal import (
    byte_progress,
    clip_progress,
    complain,
    extract_progress,
    print_account,
    print_summary,
    say,
    summary_row,
    train_progress,
)

# Heavy modules (torch, av, matplotlib) are imported by the commands that need them.

NOTHING_DONE, SOME_FAILED, INTERRUPTED = 1, 3, 130


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


@cli.command(cls=Command, no_args_is_help=True)
@click.argument("videos", nargs=-1, required=True, type=click.Path(path_type=Path))
@section(
    "Files to write",
    click.option(
        "-o",
        "--output",
        default="features",
        show_default=True,
        help="Folder to write to, or a URL such as s3://bucket/features (extra [ray]).",
    ),
    click.option("--overwrite", is_flag=True, help="Make feature files again that are there already."),
)
@section(
    "Features",
    click.option(
        "--backbone",
        default="mc3",
        show_default=True,
        help="Network that makes the features: mc3, i3d or i3d-inception.",
    ),
    click.option(
        "--size", type=int, help="Short side of the picture in pixels.  [default: the backbone's: mc3 128, i3d 256]"
    ),
    click.option(
        "--crops", type=int, default=1, show_default=True, help="i3d: 1 (centre), 5 (and corners) or 10 (and mirrored)."
    ),
    click.option("--audio", type=click.Choice(["vggish"]), help="Features of the sound track too, one window a clip."),
    click.option(
        "--vggish",
        type=click.Choice(["raw", "pca"]),
        default="raw",
        show_default=True,
        help="The network's output, or PCA and quantisation after it, as AudioSet's features.",
    ),
    weights_option,
    click.option(
        "--format",
        "layout",
        type=click.Choice(["npz", "xd", "rtfm"]),
        default="npz",
        show_default=True,
        help="npz is this tool's; xd and rtfm are .npy files for the research code of those names.",
    ),
)
@section(
    "How it runs",
    click.option(
        "--engine",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="local is this machine; ray is a Ray cluster: a worker an accelerator, or two cores without.",
    ),
    click.option("--address", help="The cluster, for ray: auto or host:port.  [default: where Ray finds one]"),
    click.option("--shard", metavar="I/N", help="Only part I of N of the videos: for N machines or jobs, one output."),
    click.option("--workers", type=click.IntRange(min=1), default=2, show_default=True, help="Processes that decode."),
    click.option(
        "--stall",
        type=click.FloatRange(min=0, min_open=True),
        default=120,
        show_default=True,
        help="Seconds without progress after which a decoder is stopped.",
    ),
    click.option(
        "--memory",
        type=click.IntRange(min=256),
        default=4096,
        show_default=True,
        help="MB that a decoder may take; a video that needs more is left out.",
    ),
)
@device_options
@talk_options
def extract(
    videos,
    output,
    overwrite,
    backbone,
    size,
    crops,
    audio,
    vggish,
    weights,
    layout,
    shard,
    engine,
    address,
    device,
    precision,
    **how,
) -> None:
    """Turn VIDEOS into feature files, one a video.

    \b
      anomalycli extract videos/ -o features/
      find /camera -name '*.mp4' | anomalycli extract - -o features/
      anomalycli extract videos/ --shard $SLURM_ARRAY_TASK_ID/16
      anomalycli extract videos/ --engine ray --address auto

    VIDEOS are files, folders, patterns ('*.mp4'), - (a list on stdin) or @list.txt. Labels that lie
    beside them (labels.csv, folders normal/ and abnormal/) are carried along. Files that are there
    already are kept, so the same command goes on where it was stopped. report.json in the output
    folder says what became of each video.
    """
    from ..backbones.base import Extractor
    from ..extraction.job import extract as run
    from ..extraction.run_report import Shard
    from ..inputs import expand
    from ..storage import place

    part = Shard.parse(shard) if shard else Shard()
    settings = {
        "backbone": backbone,
        "device": device,
        "precision": precision,
        "size": size,
        "crops": crops,
        "audio": audio and f"{audio}-{vggish}",
        "weights": weights and weights.absolute(),
    }
    if engine == "ray":
        from ..extraction.ray_engine import engine as on_cluster

        how["engine"] = on_cluster(settings, address)
    elif address:
        raise UsageError("--address is the cluster's: give --engine ray with it.")
    with byte_progress() as on_bytes:
        extractor = Extractor(**settings, on_bytes=on_bytes)
    outcomes = []
    with extract_progress() as on_progress:
        for outcome in run(
            expand(videos),
            output,
            extractor,
            layout=layout,
            overwrite=overwrite,
            shard=part,
            on_progress=on_progress,
            on_note=lambda note: say(escape(note)),
            **how,
        ):
            outcomes.append(outcome)
            if outcome.reason:
                complain(f"[red]{outcome.status}[/]  {escape(outcome.reason)}")
            elif outcome.status == "done":
                say(f"{escape(outcome.path.name)}: done" + escape(f" ({outcome.note})" if outcome.note else ""))
    print_account(place(output) / part.report)
    finish(
        failed=sum(outcome.reason is not None for outcome in outcomes),
        done=sum(outcome.status != "failed" for outcome in outcomes),
    )


@cli.command(cls=Command, no_args_is_help=True)
@click.argument("features", type=click.Path(path_type=Path))
@section(
    "Model",
    click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path),
        default="weights/denet.safetensors",
        show_default=True,
        help="Model file to write.",
    ),
    click.option("--preset", help="The paper's settings: xd-violence, xd-violence-audio, ucf-crime or tad."),
    click.option("--half", is_flag=True, help="Write the weights as fp16."),
    click.option("--resume", is_flag=True, help="Go on with a run that was stopped."),
    click.option("--overwrite", is_flag=True, help="Replace a model of the same name."),
)
@feature_options
@label_options
@section(
    "Network",
    click.option("--segments", type=int, show_default="64", help="T: segments a video is divided into."),
    click.option("--scales", type=int, show_default="3", help="S: temporal scales."),
    click.option("--heads", type=int, show_default="8", help="Attention heads of the transformers."),
    click.option("--layers", type=int, show_default="1", help="Layers of each scale's transformer."),
    click.option("--feedforward", type=int, show_default="2048", help="Width of the transformers' feed-forward part."),
    click.option("--encoder-dropout", type=float, show_default="0.1", help="Dropout in the transformers."),
    click.option("--dropout", type=float, show_default="0.6", help="Dropout in the classifier."),
    click.option("--width", type=int, show_default="none: as wide as the features", help="Narrow the features first."),
)
@section(
    "Training",
    click.option("--steps", type=int, show_default="1000", help="Batches to train on."),
    click.option("--batch", type=int, show_default="32", help="Abnormal videos a batch, and as many normal ones."),
    click.option("--lr", type=float, show_default="1e-05", help="Learning rate of Adam."),
    click.option("--weight-decay", type=float, show_default="0.001", help="Weight decay of Adam."),
    click.option("--erasing", show_default="dynamic", help="dynamic, always (every abnormal video) or never."),
    click.option("--threshold", type=float, show_default="0.8", help="Delta: segments scored above it are erased."),
    click.option("--alpha1", type=float, show_default="1.0", help="Weight of the score loss, Eq. 14-15."),
    click.option("--alpha2", type=float, show_default="0.0001", help="Weight of the feature loss, Eq. 14-15."),
    click.option("--lambda1", type=float, show_default="1.0", help="Weight of the un-erased loss, Eq. 16."),
    click.option("--lambda2", type=float, show_default="1.0", help="Weight of the erased loss, Eq. 16."),
    click.option("--precision", show_default="auto", help="fp32, bf16 or auto: bf16 where the device is fast at it."),
    click.option("--crops", show_default="mean", help="mean, draw (any one each time) or all (each is a video)."),
    click.option("--seed", type=int, show_default="0", help="The same seed gives the same model."),
    click.option("--watch", multiple=True, help="Video whose erased segments are recorded, and drawn.  [repeatable]"),
)
@section(
    "Validation, and what state to write",
    click.option("--validation", type=float, show_default="0.2", help="Share of the videos held out to validate on."),
    click.option(
        "--validate-every", type=int, show_default="50", help="Steps between validations; the state is saved as often."
    ),
    click.option("--validation-truth", type=FILE, help="CSV of video,n_frames,start,end: validate on frames."),
    click.option("--keep", show_default="last", help="last, or the best on validation or test: what is written."),
    click.option("--test", type=PATH, help="Folder of test features, for --keep test only."),
)
@truth_options
@device_option
@talk_options
def train(
    features,
    output,
    preset,
    vggish,
    only,
    labels,
    groups,
    validation_truth,
    watch,
    test,
    dataset,
    ground_truth,
    frames,
    last_frame,
    resume,
    overwrite,
    half,
    device,
    **flags,
) -> None:
    """Learn from FEATURES (a folder of feature files) and their video-level labels.

    \b
      anomalycli train features/
      anomalycli train features/ --width 256 --lr 1e-4 --steps 300 -o weights/mine.safetensors

    Labels come from labels.csv (video,label; 1 = abnormal) in that folder, from folders normal/ and
    abnormal/, or from names as XD-Violence, UCF-Crime and TAD give them. Settings default to the
    paper's.
    """
    from ..data.bags import load_bags
    from ..data.ground_truth import load_ground_truth
    from ..data.sampling import read_groups
    from ..denet import DENetConfig
    from ..device import pick_device
    from ..training.trainer import TrainConfig
    from ..training.trainer import train as run
    from ..training.validation import load_judge

    settings = preset_of(preset) | {name: value for name, value in flags.items() if value is not None}
    dim = settings.pop("feature_dim", None)
    try:
        train_config = TrainConfig(**{k: v for k, v in settings.items() if k in TrainConfig.__dataclass_fields__})
        network = {k: v for k, v in settings.items() if k in DENetConfig.__dataclass_fields__}
        segments = network.get("segments", DENetConfig.segments)
        bags = load_bags(features, segments, crops=train_config.crops, vggish=vggish, only=only, labels=labels)
        model_config = DENetConfig(bags.dim, **network)
    except (TypeError, ValueError) as error:
        raise UsageError(f"These settings do not fit together: {error}") from error
    if dim not in (None, bags.dim):
        raise UsageError(f"{features}: features of width {bags.dim}, and the preset {preset} is for those of {dim}.")
    say_warnings(bags)
    validation = load_ground_truth("csv", validation_truth) if validation_truth else None
    judge = None
    if test:
        judge = load_judge(test, segments, dataset, ground_truth, frames, last_frame, vggish)
    with train_progress(train_config.steps, len(bags.names)) as on_progress:
        run(
            bags,
            output,
            model_config,
            train_config,
            groups=read_groups(groups) if groups else None,
            truth=validation,
            test=judge,
            watch=watch,
            device=pick_device(device),
            resume=resume,
            overwrite=overwrite,
            half=half,
            on_progress=on_progress,
        )
    if watch:
        from ..experiments.figures import plot_erasures
        from ..training.erasure_log import read_erasures

        table = output.with_name(output.name + ".erasing.csv")
        plot_erasures(read_erasures(table), table.with_suffix(".png"), validation)
        say(f"{table}, .png: what was erased")
    say(f"{output}: trained. Use it with: anomalycli score VIDEO --model {escape(str(output))}")


@cli.command(cls=Command, no_args_is_help=True)
@click.argument("videos", nargs=-1, type=click.Path(path_type=Path))
@section(
    "What to score, with which model",
    click.option("--sample", is_flag=True, help="The sample clip (needs the extra: pip install 'anomalycli[sample]')."),
    click.option("--model", type=click.Path(path_type=Path), show_default="the bundled one", help="Model file."),
    weights_option,
    click.option(
        "--span",
        default="auto",
        show_default=True,
        help="video: segments over the whole; window: windows of 64 clips; auto: windows beyond two minutes.",
    ),
)
@section(
    "Files to write",
    click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path),
        default=".",
        show_default=True,
        help="Folder, or a template with {name} in it: 'out/{name}-scores'.",
    ),
    click.option("--plot", is_flag=True, help="NAME.png: scores over time, events, glimpses of the peaks."),
    click.option("--html", is_flag=True, help="NAME.html: a page to watch and judge; of several videos, index.html."),
    click.option("--csv", "as_csv", is_flag=True, help="NAME.csv: frame, time, score."),
    click.option(
        "-f",
        "--format",
        "formats",
        multiple=True,
        type=click.Choice(FORMATS),
        help="NAME.FORMAT; can be given more than once. srt, vtt, edl, otio: events for players and editors.",
    ),
    click.option("--clips", is_flag=True, help="NAME.event1.mp4 and so on: the events cut out, not encoded again."),
    click.option(
        "--margin",
        type=click.FloatRange(min=0),
        default=1.0,
        show_default=True,
        help="Seconds before and after an event in --clips.",
    ),
    click.option("--embed", is_flag=True, help="Put the video into its page, so that the page can be sent."),
    click.option(
        "--sheet", type=click.Path(path_type=Path, dir_okay=False), help="All curves in one .png, .svg or .pdf."
    ),
    click.option(
        "--truth",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Ground truth to draw: a CSV of video,n_frames,start,end (frames, end not included).",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print a JSON object a video, one a line, not the table."),
)
@section(
    "What counts as an event",
    click.option("--threshold", type=float, show_default="the model's", help="Score at which an event begins."),
    click.option("--end-threshold", type=float, show_default="the model's", help="Score below which it ends."),
    click.option("--gap", type=float, show_default="the model's", help="Seconds; events closer than this become one."),
    click.option("--shortest", type=float, show_default="the model's", help="Seconds; shorter events are dropped."),
)
@device_options
@talk_options
def score(videos, sample, model, weights, span, output, as_json, sheet, truth, device, precision, **flags) -> None:
    """Score every frame of VIDEOS and find the events.

    \b
      anomalycli score clip.mp4 --plot
      anomalycli score camera/ --html -o report/
      anomalycli score 'camera/**/*.mp4' -f srt -f edl --threshold 0.7
      find /camera -name '*.mp4' | anomalycli score - --json > scores.jsonl

    VIDEOS are files, folders, feature files (.npz), patterns, - (a list on stdin) or @list.txt.
    """
    from ..data.ground_truth import read_spans
    from ..export.writers import to_json
    from ..features.files import SUFFIX
    from ..inputs import expand, find_inputs
    from ..media.video import SUFFIXES
    from ..score import Scorer

    if sample:
        from ..sample import sample_clip

        videos = (*videos, sample_clip())
    if not videos:
        raise UsageError("Name a video, a folder or a feature file, or give --sample.")
    if sheet:
        from ..export.plot import curve_of, plot_sheet

        if sheet.suffix[1:].lower() not in PICTURES:
            raise UsageError(f"{sheet}: a sheet is one of {', '.join(PICTURES)}.")
    inputs = find_inputs(expand(videos), SUFFIXES | {SUFFIX})
    if not inputs:
        raise AnomalyError(f"{', '.join(map(str, videos))}: there is no video in it.")
    formats = [*flags["formats"]]
    formats += [
        name for name, asked in (("png", flags["plot"]), ("csv", flags["as_csv"]), ("html", flags["html"])) if asked
    ]
    wanted = Wanted(
        output,
        formats,
        margin=flags["margin"] if flags["clips"] else None,
        embed=flags["embed"],
        truths=read_spans(truth) if truth else {},
    )
    index = wanted.index(inputs)
    scorer = Scorer.load(model, device, precision, weights)
    rule = changed_rule(
        scorer.info.events,
        start=flags["threshold"],
        end=flags["end_threshold"],
        gap=flags["gap"],
        shortest=flags["shortest"],
    )
    if note := scorer.calibrate([item.path for item in inputs if item.path.suffix.lower() != SUFFIX]):
        say(escape(note))
    rows, curves, pages, failures = [], [], [], []  # what is small of each: a night of results would fill the memory
    written: Counter[str] = Counter()
    with clip_progress() as on_clips:
        for outcome in score_inputs(inputs, scorer, wanted, span, rule, on_clips):
            written += outcome.written
            if outcome.page:
                pages.append(outcome.page)
            result = outcome.result
            if result is None:
                failures.append(outcome.failure)
                complain(f"[red]failed[/]  {escape(outcome.failure)}")
                continue
            if result.note:
                say(escape(result.note))
            if result.warning:
                failures.append(result.warning)
                complain(f"[red]partial[/]  {escape(result.warning)}")
            if as_json:
                click.echo(to_json(result))
            rows.append(summary_row(result))
            if sheet:
                curves.append(curve_of(result, outcome.truth))
    if curves:
        plot_sheet(curves, sheet)
        say(escape(f"Written: {sheet}"))
    if index and pages:
        from ..export.report import write_index

        write_index(pages, index, failures)
        say(escape(f"Written: {index}"))
    if rows and not as_json:
        print_summary(rows)
    for kind, count in written.items():
        where = wanted.base(inputs[0].name if len(inputs) == 1 else "*")
        say(escape(f"Written: {where}.{kind}") + (f" ({count})" if count > 1 else ""))
    finish(failed=len(failures), done=len(rows))


def preset_of(name: str | None) -> dict:
    from ..training.recipes import PRESETS

    if name is not None and name not in PRESETS:
        raise UsageError(f"There is no preset '{name}': give {', '.join(PRESETS)}.")
    return dict(PRESETS[name]) if name else {}


def say_warnings(bags) -> None:
    for warning in bags.warnings:
        say(f"[yellow]note[/]  {escape(warning)}")


def changed_rule(rule, **flags):
    """The model's event rule with the flags that were given."""
    from dataclasses import replace

    try:
        return replace(rule, **{name: value for name, value in flags.items() if value is not None})
    except ValueError as error:
        raise UsageError(str(error)) from error


def finish(failed: int, done: int) -> None:
    if failed:
        sys.exit(SOME_FAILED if done else NOTHING_DONE)


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


from . import experiments as cli_experiments  # noqa: E402, F401  (they add their commands to `cli`)
from . import weights as cli_weights  # noqa: E402, F401
