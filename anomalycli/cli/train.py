"""The command `train`: feature files and labels to a checkpoint."""

from pathlib import Path

import click
from rich.markup import escape

from ..errors import UsageError
from .command import FILE, PATH, Command, option, section
from .options import (
    device_option,
    feature_options,
    label_options,
    preset_option,
    talk_options,
    test_only_option,
    truth_options,
)
from .settings import VALIDATION, settings_for, training_options
from .sources import Sources
from .terminal import print_recipe, recipe_progress, say, train_progress


@click.command(
    cls=Command,
    generated=training_options,
    after_interrupt="The same command with --resume continues from the last saved state.",
    no_args_is_help=True,
)
@click.argument("features", type=click.Path(path_type=Path))
@section(
    "Model",
    option(
        "-o",
        "--output",
        type=click.Path(path_type=Path),
        default="models/denet.safetensors",
        show_default=True,
        help="Model file to write.",
    ),
    option("--from", "start", type=FILE, help="Model to go on from: fine-tune it on these videos."),
    option("--quick", is_flag=True, help="Without settings: train the first guess, with no search and no estimate."),
    option("--method", show_default="chosen by cross-validation", help="What to train: a name as compare has them."),
    preset_option,
    option("--set", "changes", multiple=True, help="NAME=VALUE: any setting of the method.  [repeatable]"),
    option("--half", is_flag=True, help="Store the weights as fp16."),
    option("--resume", is_flag=True, help="Continue an interrupted run."),
    option("--overwrite", is_flag=True, help="Replace an existing model and discard an interrupted run."),
)
@feature_options
@label_options
@section(
    "Training",
    option("--watch", multiple=True, help="Video whose erased segments are recorded and drawn.  [repeatable]"),
)
@section(
    VALIDATION,
    option(
        "--validation-ground-truth",
        former="--validation-truth",
        type=FILE,
        help="CSV of video,n_frames,start,end: validate on frames, not on videos.",
    ),
    option("--test", type=PATH, help="Folder of test features, for --keep test only."),
    test_only_option,
)
@truth_options(VALIDATION)
@device_option
@talk_options
def train(
    features,
    output,
    start,
    quick,
    method,
    preset,
    changes,
    labels,
    groups,
    validation_ground_truth,
    watch,
    test,
    test_only,
    ground_truth,
    resume,
    overwrite,
    half,
    device,
    **flags,
) -> None:
    """Train a model on FEATURES, a folder of feature files, from one label per video.

    \b
      anomalycli train features/
      anomalycli train features/ --width 256 --lr 1e-4 --steps 300 -o models/mine.safetensors

    Labels come from labels.csv (video,label; 1 = abnormal) in that folder, from folders normal/ and
    abnormal/, or from names as in XD-Violence, UCF-Crime and TAD. Without settings, a method and its
    settings are chosen by cross-validation on the labels, all videos are trained on, and what to expect
    of new videos is printed. With settings of your own, the others default to the paper's.
    """
    from ..data.ground_truth import GroundTruthFile
    from ..device import pick_device
    from ..training.trainer import Destination

    destination = Destination(output, half, resume, overwrite)
    destination.check()
    validation = GroundTruthFile(validation_ground_truth, incomplete=True) if validation_ground_truth else None
    sources = Sources(features, labels, groups, validation, test, test_only, ground_truth)
    sources.check()
    given = {name: value for name, value in flags.items() if value is not None}
    own = method or preset or changes or watch or test or validation_ground_truth or given.keys() - {"seed"}
    if own and (quick or start):
        name = "--quick" if quick else "--from"
        raise UsageError(f"{name} is for training without settings: with settings of your own nothing is searched.")
    if own:
        method = method or "de-net"
        settings = settings_for(method, preset, changes, given)
        train_with_settings(method, preset, settings, sources, watch, destination, pick_device(device))
    else:
        train_without_settings(sources, destination, pick_device(device), given.get("seed", 0), quick, start)
    say(f"{output}: trained. Use it with: anomalycli score VIDEO --model {escape(str(output))}")


def train_with_settings(method: str, preset: str | None, settings: dict, sources: Sources, watch, destination, device):
    """Train one plan."""
    from ..methods import find_method
    from ..training.plan import make_plan, split_settings
    from ..training.trainer import train as run

    dim = settings.pop("feature_dim", None)
    split_settings(method, settings)  # mistakes in the settings, before the features are read
    bags = sources.load(find_method(method).segments(settings), settings.get("crops", "mean"))
    if dim not in (None, bags.dim):
        raise UsageError(
            f"{sources.features.path}: features of width {bags.dim}, and the preset {preset} is for those of {dim}."
        )
    plan = make_plan(method, bags.dim, settings)
    data = sources.data(bags, watch)
    with train_progress(plan.config.steps, len(bags.names)) as on_progress:
        run(plan, data, destination, device, on_progress)
    if watch:
        from ..experiments.figures import plot_erasures
        from ..training.erasure_log import read_erasures

        table = destination.beside(".erasing.csv")
        plot_erasures(read_erasures(table), table.with_suffix(""), data.truth)
        say(f"{table}, .png, .svg, .pdf: what was erased")


def train_without_settings(sources: Sources, destination, device, seed: int, quick: bool, start: Path | None) -> None:
    """Let the recipe choose."""
    from ..checkpoint import load_model
    from ..training.candidates import segments_for
    from ..training.recipe import Recipe, Start, advice, train_by_recipe

    before = Start(*load_model(start)) if start else None
    bags = sources.load(before.info.settings.segments if before else 64)
    if not before and (segments := segments_for(bags)) != bags.x.shape[2]:
        bags = sources.load(segments)
    with recipe_progress(len(bags.names)) as on_progress:
        recipe = Recipe(seed, not quick, before)
        info = train_by_recipe(sources.data(bags), destination, device, recipe, on_progress)
    print_recipe(info, advice(bags, info.training))
