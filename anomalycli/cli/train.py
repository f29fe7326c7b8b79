"""The command `train`: feature files and labels to a checkpoint."""

from pathlib import Path

import click
from rich.markup import escape

from ..errors import UsageError
from .options import (
    FILE,
    PATH,
    Command,
    device_option,
    feature_options,
    label_options,
    section,
    talk_options,
    truth_options,
)
from .settings import preset_of, say_warnings
from .terminal import say, train_progress


@click.command(cls=Command, no_args_is_help=True)
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
    labels,
    groups,
    validation_truth,
    watch,
    test,
    ground_truth,
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
    from ..data.ground_truth import GroundTruthFile
    from ..data.sampling import read_groups
    from ..denet import DENetConfig
    from ..device import pick_device
    from ..evaluation.protocol import load_evaluation_set
    from ..features.folder import FeatureFolder
    from ..training.trainer import TrainConfig
    from ..training.trainer import train as run

    settings = preset_of(preset) | {name: value for name, value in flags.items() if value is not None}
    dim = settings.pop("feature_dim", None)
    try:
        train_config = TrainConfig(**{k: v for k, v in settings.items() if k in TrainConfig.__dataclass_fields__})
        network = {k: v for k, v in settings.items() if k in DENetConfig.__dataclass_fields__}
        segments = network.get("segments", DENetConfig.segments)
        bags = load_bags(features, segments, crops=train_config.crops, labels=labels)
        model_config = DENetConfig(bags.dim, **network)
    except (TypeError, ValueError) as error:
        raise UsageError(f"These settings do not fit together: {error}") from error
    if dim not in (None, bags.dim):
        raise UsageError(
            f"{features.path}: features of width {bags.dim}, and the preset {preset} is for those of {dim}."
        )
    say_warnings(bags)
    validation = GroundTruthFile(validation_truth).load() if validation_truth else None
    judge = None
    if test:
        if ground_truth is None:
            raise UsageError(f"{test}: the test features need --ground-truth.")
        judge = load_evaluation_set(FeatureFolder(test, features.vggish), segments, ground_truth)
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
