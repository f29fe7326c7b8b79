"""The command `train`: train a model on feature files and labels."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from .command import FILE, PATH, Command, option, section
from .exits import finish
from .options import (
    device_option,
    feature_options,
    label_options,
    preset_option,
    talk_options,
    test_only_option,
    truth_options,
)
from .progress import loading, recipe_progress, train_progress
from .settings import VALIDATION, settings_for, training_options
from .sources import Sources, check_width
from .tables import print_recipe
from .terminal import complain, say

if TYPE_CHECKING:
    import torch

    from ..checkpoint import ModelInfo
    from ..features.folder import FeatureFolder
    from ..training.trainer import Destination


@click.command(
    cls=Command,
    generated=training_options,
    after_interrupt="The same command with --resume continues from the last saved state.",
    no_args_is_help=True,
)
@click.argument("features", type=PATH)
@section(
    "Model",
    option(
        "-o",
        "--output",
        type=PATH,
        default="models/denet.safetensors",
        show_default=True,
        help="Model file to write.",
    ),
    option("--from", "start", type=PATH, help="Model to fine-tune on these videos: a file, or a bundled model's name."),
    option("--quick", is_flag=True, help="Without a search and an estimate: train DE-Net alone."),
    option("--method", show_default="three methods vote", help="Method to train, one of those of compare."),
    preset_option,
    option("--set", "changes", multiple=True, help="NAME=VALUE: a setting of the method.  [repeatable]"),
    option("--half", is_flag=True, help="Store the weights as fp16."),
    option("--resume", is_flag=True, help="Continue an interrupted run."),
    option("--overwrite", is_flag=True, help="Replace an existing model and discard an interrupted run."),
)
@feature_options
@label_options
@section(
    "Labels",
    option("--video-labels-only", is_flag=True, help="Ignore labels of single events (start and end in labels.csv)."),
)
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
def train(features, output, start, quick, method, preset, changes, watch, device, **options) -> None:
    """Train a model on FEATURES, from one label per video.

    FEATURES is a folder of feature files.

    \b
      anomalycli train features/
      anomalycli train features/ --width 256 --lr 1e-4 --steps 300 -o models/mine.safetensors

    Labels come from labels.csv (video,label; 1 = abnormal) in that folder, from folders normal/ and
    abnormal/, or from names as in XD-Violence, UCF-Crime and TAD. Without settings, three methods vote:
    their settings are chosen by cross-validation on the labels, the model is trained on all videos, and
    an estimate for new videos is printed. With settings of your own, the others default to the paper's.
    """
    with loading():
        from ..device import pick_device
        from ..features.files import PUBLISHED
        from ..training.trainer import Destination

    destination = Destination(output, *(options.pop(name) for name in ("half", "resume", "overwrite")))
    destination.check()
    sources = sources_of(features, options)
    sources.check()
    given = {name: value for name, value in options.items() if value is not None}
    own = method or preset or changes or watch or sources.test or sources.validation or given.keys() - {"seed"}
    if own and (quick or start):
        name = "--quick" if quick else "--from"
        raise UsageError(f"{name} is for training without settings; with settings of your own there is no search.")
    if own:
        settings = settings_for(method or "de-net", preset, changes, given)
        user = UserSettings(method or "de-net", preset, settings, watch)
        info = train_with_settings(user, sources, destination, pick_device(device))
    else:
        info = train_without_settings(sources, destination, pick_device(device), given.get("seed", 0), quick, start)
    use = f"score VIDEO --model {output}"
    if info.kind.backbone == PUBLISHED:  # how to make such features of a video is not known
        use = f"evaluate {output} TEST_FEATURES --ground-truth FILE"
    say(f"{output}: trained. Use it with: anomalycli {use}")
    if n := len(sources.left_out):
        videos = "1 video is" if n == 1 else f"{n} videos are"
        complain(f"{videos} left out, whose features are damaged; after extracting them again, train anew.")
    finish(failed=len(sources.left_out), done=1)


@dataclass(frozen=True)
class UserSettings:
    """A method with settings of the user's own, and the videos whose erasing is recorded."""

    method: str
    preset: str | None
    settings: dict[str, Any]
    watch: tuple[str, ...] = ()


def sources_of(features: "FeatureFolder", options: dict[str, Any]) -> Sources:
    """The files to read, whose options are removed from `options`."""
    from ..data.ground_truth import GroundTruthFile

    names = ("labels", "groups", "validation_ground_truth", "test", "test_only", "ground_truth")
    labels, groups, validation, test, test_only, ground_truth = (options.pop(name) for name in names)
    of_validation = GroundTruthFile(validation, incomplete=True) if validation else None
    events = not options.pop("video_labels_only")
    return Sources(features, labels, groups, of_validation, test, test_only, ground_truth, events, leave_out=True)


def train_with_settings(
    user: UserSettings, sources: Sources, destination: "Destination", device: "torch.device"
) -> "ModelInfo":
    """Train one method with the user's settings."""
    from ..methods import find_method
    from ..training.config import TrainConfig, check_keep
    from ..training.plan import make_plan, split_settings
    from ..training.trainer import train as run

    settings = dict(user.settings)
    dim = settings.pop("feature_dim", None)
    _, training = split_settings(user.method, settings)  # mistakes in the settings, before the features are read
    keep, held_out = (training.get(name, getattr(TrainConfig, name)) for name in ("keep", "validation"))
    check_keep(keep, bool(sources.test if keep == "test" else held_out))
    bags = sources.load(find_method(user.method).segments(settings), settings.get("crops", "mean"))
    check_width(sources.features.path, bags, user.preset, dim)
    plan = make_plan(user.method, bags.dim, settings)
    data = sources.data(bags, user.watch)
    with train_progress(plan.config.steps, bags.content) as on_progress:
        info = run(plan, data, destination, device, on_progress)
    if user.watch:
        from ..experiments.figures import plot_erasures
        from ..training.erasure_log import read_erasures

        table = destination.beside(".erasing.csv")
        plot_erasures(read_erasures(table), table.with_suffix(""), data.truth)
        say(f"Written: {table}, .png, .svg, .pdf: erased segments")
    return info


def train_without_settings(
    sources: Sources, destination: "Destination", device: "torch.device", seed: int, quick: bool, start: Path | None
) -> "ModelInfo":
    """Train the method and settings that the recipe chooses, and print what to expect."""
    from ..checkpoint import load_model
    from ..training.candidates import segments_for
    from ..training.recipe import Recipe, Start, advice, train_by_recipe

    before = Start(*load_model(start)) if start else None
    recipe = Recipe(seed, search=not quick, start=before)
    bags = sources.load(before.info.settings.segments if before else 64)
    if not before and (segments := segments_for(bags)) != bags.x.shape[2]:
        bags = sources.load(segments)
    with recipe_progress(bags.content) as on_progress:
        info = train_by_recipe(sources.data(bags), destination, device, recipe, on_progress)
    print_recipe(info, bags.content, advice(bags, info.training, searched=not quick))
    return info
