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
from .settings import VALIDATION, preset_of, say_warnings, training_options
from .terminal import say, train_progress


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
    preset_option,
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
    preset,
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
    abnormal/, or from names as in XD-Violence, UCF-Crime and TAD. Default settings are the paper's.
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
    say_warnings(bags.warnings)
    validation, judge, of_groups = None, None, None
    if validation_ground_truth:
        loaded = GroundTruthFile(validation_ground_truth, incomplete=True).load(bags.lengths)
        say_warnings(loaded.warnings)
        validation = loaded.frames
    if groups:
        of_groups, warnings = read_groups(groups, bags.names)
        say_warnings(warnings)
    if test:
        if ground_truth is None:
            raise UsageError(f"{test}: the test features need --ground-truth.")
        judge = load_evaluation_set(FeatureFolder(test, features.vggish, test_only), segments, ground_truth)
        say_warnings(judge.warnings)
    with train_progress(train_config.steps, len(bags.names)) as on_progress:
        run(
            bags,
            output,
            model_config,
            train_config,
            groups=of_groups,
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
