"""Options that commands share, and what Click lacks: grouped help and settings from a file."""

import difflib
import functools
import importlib.metadata
import platform
import re
import sys
from collections.abc import Callable
from pathlib import Path

import click

from ..errors import UsageError, cause
from ..version import __version__
from .terminal import set_up_words

# What a report of a bug needs to say.
PACKAGES = ("torch", "torchvision", "decord", "av", "numpy", "safetensors")


class Command(click.Command):
    """A command whose help groups options by the `section` they stand in."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record and isinstance(parameter, click.Option):
                # Click puts a default that is given in words into parentheses
                record = record[0], re.sub(r"\[default: \((.*)\)\]", r"[default: \1]", record[1])
                sections.setdefault(getattr(parameter, "section", "Options"), []).append(record)
        for name, records in sections.items():
            with formatter.section(name):
                formatter.write_dl(records)


def section(name: str, *options: Callable) -> Callable:
    """Decorate a command with `options` that its help shows under `name`."""

    def decorate(command: Callable) -> Callable:
        before = len(getattr(command, "__click_params__", ()))
        for option in reversed(options):
            command = option(command)
        for parameter in command.__click_params__[before:]:  # type: ignore[attr-defined]
            parameter.section = name
        return command

    return decorate


def read_settings(ctx: click.Context, _parameter: click.Parameter, path: Path | None) -> None:
    """Make the settings of a TOML file the defaults of this command.

    They are named as the flags are, with _ or -, at the top of the file or in a table that is named
    as the command. Raises UsageError where the file cannot be read or names what does not exist.
    """
    if path is None:
        return
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a TOML file that can be read ({cause(error)}).") from error
    settings = settings.get(str(ctx.command.name), {name: v for name, v in settings.items() if not isinstance(v, dict)})
    flags = {
        option.strip("-").replace("-", "_"): parameter.name
        for parameter in ctx.command.params
        for option in parameter.opts
        if isinstance(parameter, click.Option) and parameter.expose_value
    }
    defaults = {}
    for name, value in settings.items():
        key = name.replace("-", "_")
        if key not in flags:
            near = difflib.get_close_matches(key, flags, 1)
            hint = f"Did you mean '{near[0]}'?" if near else f"`anomalycli {ctx.command.name} --help` lists them."
            raise UsageError(f"{path}: there is no setting '{name}'. {hint}")
        defaults[flags[key]] = value
    ctx.default_map = defaults


def print_version(ctx: click.Context, _parameter: click.Parameter, asked: bool) -> None:
    """The version, and those that matter in a report of a bug."""
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


def _talk(ctx: click.Context, parameter: click.Parameter, value) -> None:
    if value:
        set_up_words(**{str(parameter.name): value})


PATH, FILE = click.Path(path_type=Path), click.Path(path_type=Path, exists=True, dir_okay=False)

_feature_options = section(
    "Features",
    click.option("--vggish", type=PATH, help="Folder of NAME__vggish.npy: sound for published features."),
    click.option("--only", type=FILE, help="List of the videos to take, one a line, as authors publish splits."),
)
label_options = section(
    "Labels",
    click.option(
        "--labels", type=FILE, show_default="FEATURES/labels.csv", help="labels.csv or ground truth from elsewhere."
    ),
    click.option("--groups", type=FILE, help="CSV of video,group: groups (sources, cameras) are held out whole."),
)
_truth_options = section(
    "Ground truth of the test set",
    click.option("--dataset", default="csv", show_default=True, help="xd-violence, ucf-crime, tad or csv."),
    click.option("--ground-truth", type=FILE, help="The authors' annotation file, or CSV: video,n_frames,start,end."),
    click.option("--frames", type=FILE, show_default="as long as the features", help="CSV of video,n_frames."),
    click.option("--last-frame", is_flag=True, help="Annotated intervals hold their last frame too."),
)


def feature_options(command: Callable) -> Callable:
    """Options that make the argument `features` of `command` a FeatureFolder."""

    @_feature_options
    @functools.wraps(command)
    def run(features, vggish, only, **others):
        from ..features.folder import FeatureFolder

        return command(features=FeatureFolder(features, vggish, only), **others)

    return run


def truth_options(command: Callable) -> Callable:
    """Options that give `command` the argument `ground_truth`: a GroundTruthFile, or None where no file is named."""

    @_truth_options
    @functools.wraps(command)
    def run(dataset, ground_truth, frames, last_frame, **others):
        from ..data.ground_truth import GroundTruthFile

        file = GroundTruthFile(ground_truth, dataset, frames, last_frame) if ground_truth else None
        return command(ground_truth=file, **others)

    return run


weights_option = click.option(
    "--weights",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Weights of the backbone.  [default: the published ones, fetched once]",
)
_device = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
device_option = section("Machine", _device)
device_options = section(
    "Machine",
    _device,
    click.option(
        "--precision",
        default="auto",
        show_default=True,
        help="auto, fp32, bf16, fp16, or int8 (CPU; needs the extra: pip install 'anomalycli[fast]').",
    ),
)
talk_options = section(
    "Words",
    click.option("-q", "--quiet", is_flag=True, expose_value=False, callback=_talk, help="Say only what went wrong."),
    click.option("-v", "--verbose", is_flag=True, expose_value=False, callback=_talk, help="Say more."),
    click.option(
        "--log-file",
        type=click.Path(path_type=Path, dir_okay=False),
        expose_value=False,
        callback=_talk,
        help="Add all that is said, and what -v says, to this file, with the time.",
    ),
    click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        is_eager=True,
        expose_value=False,
        callback=read_settings,
        help="TOML file with any of these settings; flags win.",
    ),
)
