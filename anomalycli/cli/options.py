"""Options that commands share."""

import functools
import importlib.metadata
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..choices import SCORING_MODES
from ..data.datasets import DATASETS
from ..errors import AnomalyError, UsageError
from ..inputs import Input, expand, find_inputs
from ..media import READERS, VIDEO_SUFFIXES
from ..training.presets import PRESETS
from ..version import __version__
from .command import FILE, OUTPUT_FILE, PATH, option, section
from .exits import finish
from .settings_file import read_settings
from .terminal import fault, set_up_messages

# Packages whose versions a bug report needs.
PACKAGES = ("torch", "torchvision", "decord", "av", "numpy", "safetensors")


def print_version(ctx: click.Context, _parameter: click.Parameter, asked: bool) -> None:
    """Print the version, and the versions of packages that a bug report needs."""
    if not asked or ctx.resilient_parsing:
        return
    click.echo(f"anomalycli {__version__}")
    click.echo(f"Python {platform.python_version()}, {platform.platform()}")
    for package in PACKAGES:
        try:
            click.echo(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            click.echo(f"{package} is not installed")
    ctx.exit()


def use_reader(reader: str | None) -> None:
    """Have all decoders of this command read with `reader`. Raises UsageError if it is not installed."""
    from ..media.decoder import READER, DecoderSettings

    if reader:
        os.environ[READER] = reader
    DecoderSettings()


def _set_up(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value:
        set_up_messages(**{str(parameter.name): value})


def _expand(ctx: click.Context, _parameter: click.Parameter, words: tuple[str, ...]) -> list[Path]:
    return [] if ctx.resilient_parsing else expand(words)


def videos_argument(required: bool = True) -> Callable:
    """The argument `videos`: paths of files and folders, after patterns and lists are read."""
    return click.argument("videos", nargs=-1, required=required, callback=_expand)


def inputs_of(videos: list[Path], sample: bool = False) -> list[Input]:
    """The files to score. Raises UsageError where none is named, AnomalyError where folders contain none."""
    from ..features.files import SUFFIX

    if sample:
        from ..sample import sample_clip

        videos = [*videos, sample_clip()]
    if not videos:
        raise UsageError("Name a video, a folder or a feature file, or give --sample.")
    inputs = find_inputs(videos, VIDEO_SUFFIXES | {SUFFIX})
    if not inputs:
        raise AnomalyError(f"{', '.join(map(str, videos))}: there is no video in it.")
    return inputs


def check_there(inputs: list[Input]) -> None:
    """End the command if no input exists, before slow libraries are imported."""
    if not any(os.path.lexists(item.path) for item in inputs):
        for item in inputs:
            fault("failed", f"{item.path}: there is no such file or folder.")
        finish(failed=len(inputs), done=0)


_feature_options = section(
    "Features",
    option(
        "--audio-features",
        former="--vggish",
        type=PATH,
        help="Folder of NAME__vggish.npy: audio features that were published apart from the visual ones.",
    ),
    option("--only", type=FILE, help="List of the videos to use, one per line, as published splits have it."),
)
label_options = section(
    "Labels",
    option(
        "--labels",
        type=FILE,
        show_default="FEATURES/labels.csv",
        help="CSV of video,label (1 = abnormal), or of ground truth.",
    ),
    option(
        "--groups",
        type=FILE,
        help="CSV of video,group: all videos of a group (a source, a camera) are held out together.",
    ),
)


def feature_options(command: Callable) -> Callable:
    """Options that make the argument `features` of `command` a FeatureFolder."""

    @_feature_options
    @functools.wraps(command)
    def run(features, audio_features, only, **others):
        from ..features.folder import FeatureFolder

        return command(features=features and FeatureFolder(features, audio_features, only), **others)

    return run


def truth_options(title: str) -> Callable:
    """Options, below `title` in help, that make the argument `ground_truth` of a command a GroundTruthFile or None."""

    def decorate(command: Callable) -> Callable:
        @section(title, *_truth_options)
        @functools.wraps(command)
        def run(dataset, ground_truth, frames, last_frame, incomplete, **others):
            from ..data.ground_truth import GroundTruthFile

            if not ground_truth and (frames or last_frame or incomplete or dataset != "csv"):
                raise UsageError("Options of the ground truth were given, but no file of it.", "ground_truth")
            if frames and dataset == "csv":
                raise UsageError(
                    "A CSV of ground truth has the lengths of its videos. A table of lengths goes with the annotation "
                    "file of a published data set.",
                    "frames",
                    "dataset",
                )
            file = GroundTruthFile(ground_truth, dataset, frames, last_frame, incomplete) if ground_truth else None
            return command(ground_truth=file, **others)

        return run

    return decorate


preset_option = option(
    "--preset", type=click.Choice(list(PRESETS)), help="The paper's settings for one of its data sets."
)
_truth_options = (
    option(
        "--dataset",
        type=click.Choice(list(DATASETS)),
        default="csv",
        show_default=True,
        help="Format of the ground truth.",
    ),
    option("--ground-truth", type=FILE, help="The data set's annotation file, or a CSV of video,n_frames,start,end."),
    option("--frames", type=FILE, show_default="published lengths, or the features'", help="CSV of video,n_frames."),
    option("--last-frame", is_flag=True, help="Annotated intervals include their last frame: [s, e + 1)."),
    option("--incomplete", is_flag=True, help="Leave out test videos that have no features, and count them."),
)
test_only_option = option("--test-only", type=FILE, help="List of the test videos to use, like --only for FEATURES.")
overwrite_option = option("--overwrite", is_flag=True, help="Replace files that this command did not write.")
interpolate_option = option(
    "--interpolate", is_flag=True, help="Interpolate scores between segments, not repeat them over their frames."
)
weights_option = option(
    "--weights", type=OUTPUT_FILE, help="Weights of the backbone.  [default: the published ones, downloaded once]"
)


still_option = option(
    "--still",
    type=click.Choice(("auto", "off")),
    default="off",
    show_default=True,
    help="auto: clips in which nothing moves take the features of the clip before, and outputs mark their frames.",
)


def mode_option(default: str) -> Callable:
    """The option of the scoring mode."""
    return option(
        "--mode",
        former="--span",
        type=click.Choice(SCORING_MODES),
        default=default,
        show_default=True,
        help="video: the model's segments over the whole video, as in the paper; window: windows of as many clips; "
        "auto: windows for videos of more than three clips per segment.",
    )


_device = option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
device_option = section("Machine", _device)
device_options = section(
    "Machine",
    _device,
    option(
        "--precision",
        type=click.Choice(("auto", "fp32", "bf16", "fp16", "int8")),
        default="auto",
        show_default=True,
        help="Precision of the backbone; int8 is for CPUs and needs the extra: pip install 'anomalycli[fast]'.",
    ),
    option(
        "--reader",
        type=click.Choice(READERS),
        show_default="auto",
        help="Library that decodes. auto: PyAV. decord: MP4, Matroska and AVI files, as far as it can.",
    ),
)
talk_options = section(
    "Messages and configuration",
    option("-q", "--quiet", is_flag=True, expose_value=False, callback=_set_up, help="Print errors only."),
    option("-v", "--verbose", is_flag=True, expose_value=False, callback=_set_up, help="Print more detail."),
    option(
        "--log-file",
        type=OUTPUT_FILE,
        expose_value=False,
        callback=_set_up,
        help="Append all messages, those of -v included, to this file, with the time.",
    ),
    option(
        "--config",
        type=OUTPUT_FILE,
        is_eager=True,
        expose_value=False,
        callback=read_settings,
        help="TOML file with any of these settings; options on the command line win.",
    ),
)
