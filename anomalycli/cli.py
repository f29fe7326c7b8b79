"""The command line: words in, calls out. Results go to stdout or files, all else to stderr."""

import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import click
from rich.markup import escape

from . import __version__
from .errors import AnomalyError, UsageError, cause
from .terminal import clip_progress, print_summary, train_progress, words

# Heavy modules (torch, av, matplotlib) are imported by the commands that need them.

NOTHING_DONE, SOME_FAILED, INTERRUPTED = 1, 3, 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="anomalycli %(version)s")
def cli() -> None:
    """How abnormal is every frame of a video, and where are the events?

    \b
      anomalycli score clip.mp4 --plot      scores, events and a picture, with the bundled model
      anomalycli extract videos/            feature files of your own videos
      anomalycli train features/            a model of what is abnormal in them, from yes/no labels
    """


PATH, FILE = click.Path(path_type=Path), click.Path(path_type=Path, exists=True, dir_okay=False)

device_options = (
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps."),
    click.option("--precision", default="auto", show_default=True, help="auto, fp32, bf16 or fp16."),
)

feature_options = (
    click.option("--vggish", type=PATH, help="Folder of NAME__vggish.npy: sound for published features."),
    click.option("--only", type=FILE, help="List of the videos to take, one a line, as authors publish splits."),
    click.option(
        "--labels", type=FILE, show_default="FEATURES/labels.csv", help="labels.csv or ground truth from elsewhere."
    ),
)

truth_options = (
    click.option("--dataset", default="csv", show_default=True, help="xd-violence, ucf-crime, tad or csv."),
    click.option("--ground-truth", type=FILE, help="The authors' annotation file, or CSV: video,n_frames,start,end."),
    click.option("--frames", type=FILE, help="CSV of video,n_frames.  [default: as long as the features]"),
    click.option("--last-frame", is_flag=True, help="Annotated intervals hold their last frame too."),
)


def with_options(options: tuple[Callable, ...]) -> Callable:
    def decorate(command: Callable) -> Callable:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@cli.command(no_args_is_help=True)
@click.argument("videos", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default="features", show_default=True, help="Folder to write to."
)
@click.option("--backbone", default="mc3", show_default=True, help="Network that makes the features.")
@click.option("--size", type=int, help="Short side of the picture in pixels.  [default: the backbone's, 128 for mc3]")
@with_options(device_options)
@click.option("--overwrite", is_flag=True, help="Make feature files again that are there already.")
def extract(videos, output, backbone, size, device, precision, overwrite) -> None:
    """Turn VIDEOS (files or folders) into feature files, one a video.

    Labels that lie beside them (labels.csv, folders normal/ and abnormal/) are carried along. Files
    that are there already are kept, so the same command goes on where it was stopped.
    """
    from .backbones import Extractor
    from .extract import extract as run

    counts: Counter[str] = Counter()
    with clip_progress() as (on_clips, say):
        for outcome in run(
            videos, output, Extractor(backbone, device, precision, size), overwrite=overwrite, on_clips=on_clips
        ):
            counts[outcome.status] += 1
            if outcome.status == "done":
                say(f"{outcome.path.name}: done")
            elif outcome.reason:
                say(f"[red]{outcome.status}[/]  {escape(outcome.reason)}")
    words.print(
        f"{output}: " + ", ".join(f"{counts[s]} {s}" for s in ("done", "skipped", "partial", "failed") if counts[s])
    )
    finish(failed=counts["failed"] + counts["partial"], done=counts["done"] + counts["skipped"] + counts["partial"])


@cli.command(no_args_is_help=True)
@click.argument("features", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default="weights/denet.safetensors",
    show_default=True,
    help="Model file to write.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="TOML file with any of the settings below; flags win.",
)
@click.option("--preset", help="The paper's settings: xd-violence, xd-violence-audio, ucf-crime or tad.")
@with_options(feature_options)
@click.option("--groups", type=FILE, help="CSV of video,group: groups (sources, cameras) are held out whole.")
@click.option("--validation-truth", type=FILE, help="CSV as below of training videos: validate on frames.")
@click.option("--watch", multiple=True, help="Video whose erased segments are recorded, and drawn.  [repeatable]")
@click.option("--test", type=PATH, help="Folder of test features, for --keep test only.")
@with_options(truth_options)
@click.option("--resume", is_flag=True, help="Go on with a run that was stopped.")
@click.option("--overwrite", is_flag=True, help="Replace a model of the same name.")
@click.option("--half", is_flag=True, help="Write the weights as fp16.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--segments", type=int, show_default="64", help="T: segments a video is divided into.")
@click.option("--scales", type=int, show_default="3", help="S: temporal scales.")
@click.option("--heads", type=int, show_default="8", help="Attention heads of the transformers.")
@click.option("--layers", type=int, show_default="1", help="Layers of each scale's transformer.")
@click.option("--feedforward", type=int, show_default="2048", help="Width of the transformers' feed-forward part.")
@click.option("--encoder-dropout", type=float, show_default="0.1", help="Dropout in the transformers.")
@click.option("--dropout", type=float, show_default="0.6", help="Dropout in the classifier.")
@click.option("--width", type=int, show_default="none: as wide as the features", help="Narrow the features first.")
@click.option("--steps", type=int, show_default="1000", help="Batches to train on.")
@click.option("--batch", type=int, show_default="32", help="Abnormal videos a batch, and as many normal ones.")
@click.option("--lr", type=float, show_default="1e-05", help="Learning rate of Adam.")
@click.option("--weight-decay", type=float, show_default="0.001", help="Weight decay of Adam.")
@click.option("--erasing", show_default="dynamic", help="dynamic, always (every abnormal video) or never.")
@click.option("--threshold", type=float, show_default="0.8", help="Delta: segments scored above it are erased.")
@click.option("--alpha1", type=float, show_default="1.0", help="Weight of the score loss, Eq. 14-15.")
@click.option("--alpha2", type=float, show_default="0.0001", help="Weight of the feature loss, Eq. 14-15.")
@click.option("--lambda1", type=float, show_default="1.0", help="Weight of the un-erased loss, Eq. 16.")
@click.option("--lambda2", type=float, show_default="1.0", help="Weight of the erased loss, Eq. 16.")
@click.option("--crops", show_default="mean", help="mean, draw (any one each time) or all (each is a video).")
@click.option("--keep", show_default="last", help="last, or the best on validation or test: what is written.")
@click.option("--validation", type=float, show_default="0.2", help="Share of the videos held out to validate on.")
@click.option(
    "--validate-every", type=int, show_default="50", help="Steps between validations; the state is saved as often."
)
@click.option("--seed", type=int, show_default="0", help="The same seed gives the same model.")
def train(
    features,
    output,
    config,
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

    Labels come from labels.csv (video,label; 1 = abnormal) in that folder, from folders normal/ and
    abnormal/, or from names as XD-Violence, UCF-Crime and TAD give them. Settings default to the
    paper's.
    """
    from .backbones import pick_device
    from .datasets import load_bags
    from .denet import DENetConfig
    from .ground_truth import load_ground_truth
    from .judging import load_judge
    from .sampling import read_groups
    from .train import TrainConfig
    from .train import train as run

    settings = preset_of(preset) | (read_settings(config) if config else {})
    settings |= {name: value for name, value in flags.items() if value is not None}
    dim = settings.pop("feature_dim", None) if preset else None
    known = {*TrainConfig.__dataclass_fields__, *DENetConfig.__dataclass_fields__} - {"feature_dim"}
    if unknown := settings.keys() - known:
        raise UsageError(f"{config}: there is no setting '{min(unknown)}'; `anomalycli train --help` lists them.")
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
        from .erasures import read_erasures
        from .figures import plot_erasures

        table = output.with_name(output.name + ".erasing.csv")
        plot_erasures(read_erasures(table), table.with_suffix(".png"), validation)
        words.print(f"{table}, .png: what was erased")
    words.print(f"{output}: trained. Use it with: anomalycli score VIDEO --model {escape(str(output))}")


@cli.command(no_args_is_help=True)
@click.argument("videos", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--sample", is_flag=True, help="Score the sample clip (needs the extra: pip install 'anomalycli[sample]')."
)
@click.option("--model", type=click.Path(path_type=Path), show_default="the bundled one", help="Model file.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=".",
    show_default=True,
    help="Folder for the files below.",
)
@click.option("--plot", is_flag=True, help="Write NAME.png: the scores over time, events, glimpses of the peaks.")
@click.option("--csv", "as_csv", is_flag=True, help="Write NAME.csv: frame, time, score.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object a video, in one line, instead of the table."
)
@click.option(
    "--span",
    default="auto",
    show_default=True,
    help="video: segments over the whole; window: windows of 64 clips; auto: windows beyond two minutes.",
)
@click.option("--threshold", type=float, show_default="the model's", help="Score at which an event begins.")
@click.option("--end-threshold", type=float, show_default="the model's", help="Score below which it ends.")
@click.option("--gap", type=float, show_default="the model's", help="Seconds; events closer than this become one.")
@click.option("--shortest", type=float, show_default="the model's", help="Seconds; shorter events are dropped.")
@with_options(device_options)
def score(
    videos,
    sample,
    model,
    output,
    plot,
    as_csv,
    as_json,
    span,
    threshold,
    end_threshold,
    gap,
    shortest,
    device,
    precision,
) -> None:
    """Score every frame of VIDEOS (files, folders or feature files) and find the events."""
    from .features import SUFFIX
    from .inputs import find_inputs
    from .score import Scorer
    from .video import SUFFIXES
    from .writers import to_json, write_csv

    if sample:
        from .sample import sample_clip

        videos = (*videos, sample_clip())
    if not videos:
        raise UsageError("Name a video, a folder or a feature file, or give --sample.")
    inputs = find_inputs(videos, SUFFIXES | {SUFFIX})
    if not inputs:
        raise AnomalyError(f"{', '.join(map(str, videos))}: there is no video in it.")
    scorer = Scorer.load(model, device, precision)
    rule = changed_rule(scorer.info.events, start=threshold, end=end_threshold, gap=gap, shortest=shortest)
    results, failed = [], 0
    with clip_progress() as (on_clips, say):
        for item in inputs:
            try:
                result = scorer.score(item.path, span, rule, on_clips)
                if as_csv:
                    write_csv(result, output / f"{item.name}.csv")
                if plot:
                    from .plot import plot_result

                    is_video = item.path.suffix.lower() != SUFFIX
                    plot_result(result, output / f"{item.name}.png", item.path if is_video else None)
            except UsageError:
                raise
            except (AnomalyError, OSError) as error:
                failed += 1
                say(f"[red]failed[/]  {escape(str(error))}")
                continue
            if result.warning:
                failed += 1
                say(f"[red]partial[/]  {escape(result.warning)}")
            if as_json:
                click.echo(to_json(result))
            results.append(result)
    if results and not as_json:
        print_summary(results)
        for kind, asked in (("png", plot), ("csv", as_csv)):
            if asked:
                words.print(f"Written: {output}/" + (f"{inputs[0].name}.{kind}" if len(inputs) == 1 else f"*.{kind}"))
    finish(failed=failed, done=len(results))


def read_settings(path: Path) -> dict:
    """A flat TOML file of settings, named as the flags are, with _ or -."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a TOML file that can be read ({cause(error)}).") from error
    return {name.replace("-", "_"): value for name, value in settings.items()}


def preset_of(name: str | None) -> dict:
    from .presets import PRESETS

    if name is not None and name not in PRESETS:
        raise UsageError(f"There is no preset '{name}': give {', '.join(PRESETS)}.")
    return dict(PRESETS[name]) if name else {}


def say_warnings(bags) -> None:
    for warning in bags.warnings:
        words.print(f"[yellow]note[/]  {escape(warning)}")


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
        words.print("Interrupted. What is written is whole; the same command goes on (train: with --resume).")
        sys.exit(INTERRUPTED)
    except Exception as error:
        if debug:
            raise
        if isinstance(error, AnomalyError):
            words.print(f"[red]Error:[/] {escape(str(error))}")
            sys.exit(error.exit_code)
        words.print(f"[red]Error:[/] {escape(cause(error))}. This is a bug: ANOMALYCLI_DEBUG=1 shows where.")
        sys.exit(NOTHING_DONE)


from . import cli_experiments  # noqa: E402, F401  (it adds its commands to `cli`)
