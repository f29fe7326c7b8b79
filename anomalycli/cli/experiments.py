"""The commands `evaluate` and `compare`: metrics of a model, and several methods side by side."""

import json
from pathlib import Path

import click

from ..errors import UsageError
from ..storage import write_whole
from .command import PATH, Command, option, section
from .options import (
    device_option,
    feature_options,
    label_options,
    mode_option,
    preset_option,
    talk_options,
    truth_options,
)
from .settings import field_of, pair_of, say_warnings, settings_of, value_of
from .terminal import compare_progress, print_comparison, print_evaluation, say


@click.command(cls=Command, no_args_is_help=True)
@click.argument("model", type=PATH)
@click.argument("features", type=PATH)
@truth_options("Ground truth of the test set")
@feature_options
@section(
    "Evaluation",
    mode_option("video"),
    option("--resamples", default=1000, show_default=True, help="Bootstrap samples of videos for the 95% intervals."),
)
@section(
    "Results",
    option("-o", "--output", type=PATH, help="Folder for videos.csv, curves.png (PR and ROC) and metrics.json."),
    option(
        "--draw",
        former="--sheet",
        multiple=True,
        help="Video whose scores and ground truth to plot into sheet.png.  [repeatable]",
    ),
    option("--json", "as_json", is_flag=True, help="Print one JSON object, not the table."),
)
@device_option
@talk_options
def evaluate(
    model,
    features,
    ground_truth,
    mode,
    resamples,
    output,
    draw,
    as_json,
    device,
) -> None:
    """Evaluate MODEL on FEATURES, a folder, against frame-level ground truth.

    Frame-level ROC AUC, AP and auc(recall, precision), over all videos and over the abnormal ones
    alone, and the share of normal frames that score .5 or more.
    """
    from ..evaluation.metrics import evaluate as run
    from ..evaluation.metrics import write_videos
    from ..evaluation.protocol import fitted, score_videos, slack_of
    from ..features.folder import find_features
    from ..score import Scorer

    if ground_truth is None:
        raise UsageError("Give --ground-truth: the data set's annotation file, or a CSV of video,n_frames,start,end.")
    if draw and output is None:
        raise UsageError("--draw needs --output, the folder to draw into.")
    scorer = Scorer.load(model, device)
    scores, kind = score_videos(scorer, find_features(features), mode)
    lengths = {name: len(video) for name, video in scores.items()}
    truth = ground_truth.load(lengths)
    scores = fitted(scores, truth, slack_of(kind, ground_truth.dataset))
    if unknown := sorted(set(draw) - scores.keys()):
        raise UsageError(f"{features.path}: there is no video '{unknown[0]}' to draw.")
    evaluation = run(scores, truth, resamples=resamples)
    told = {
        "model": str(model),
        "checkpoint": scorer.info.training.get("checkpoint"),
        "dataset": ground_truth.dataset,
        "last_frame": ground_truth.last_frame,
        "span": mode,
    } | evaluation.as_dict()
    if output:
        from ..experiments.figures import plot_curves
        from ..export.plot import curve_of_frames, plot_sheet

        write_videos(evaluation.videos, output / "videos.csv")
        write_whole(output / "metrics.json", json.dumps(told, indent=1) + "\n")
        plot_curves(evaluation, output / "curves.png")
        if draw:
            curves = [curve_of_frames(name, scores[name], truth[name]) for name in draw]
            plot_sheet(curves, output / "sheet.png")
    if as_json:
        click.echo(json.dumps(told))
    else:
        print_evaluation(evaluation, told["checkpoint"])
    if output:
        say(f"Written: {output}/videos.csv, metrics.json, curves.png" + (", sheet.png" if draw else ""))


@click.command(
    cls=Command, after_interrupt="Finished runs are kept, and the same command resumes.", no_args_is_help=True
)
@click.argument("features", type=PATH)
@section(
    "Comparison",
    option("--methods", show_default="all", help="Methods from the list above, separated by commas."),
    option("--seeds", default=5, show_default=True, help="Number of seeds: 0, 1, 2 and so on."),
    preset_option,
    option(
        "--set",
        "changes",
        multiple=True,
        help="Setting of all methods (NAME=VALUE) or of one (METHOD.NAME=VALUE).  [repeatable]",
    ),
    option("--sweep", multiple=True, help="NAME=V1,V2,...: train DE-Net with each value, as in Fig. 3.  [repeatable]"),
    option("--test", type=PATH, show_default="videos held out of FEATURES", help="Folder of test features."),
)
@truth_options("Ground truth of the test set")
@feature_options
@label_options
@section(
    "Results",
    option("-o", "--output", type=PATH, default="comparison", show_default=True, help="Folder to write to."),
    option("--json", "as_json", is_flag=True, help="Print one JSON object, not the table."),
)
@device_option
@talk_options
def compare(
    features,
    test,
    ground_truth,
    labels,
    groups,
    methods,
    seeds,
    preset,
    changes,
    sweep,
    output,
    as_json,
    device,
) -> None:
    """Train several methods with several seeds on FEATURES, a folder, and evaluate them alike.

    \b
    mil-rank, rtfm                      the peers
    baseline, mstm, mstm+eo, de-net     Table 4 of the paper
    rtfm-mtn, ms-tct                    Table 5: other temporal modules in DE-Net

    Finished runs are kept in OUTPUT/runs, so repeating an interrupted command resumes it. Without --test,
    methods are evaluated on videos held out of FEATURES; use that to tune settings. The table names its
    checkpoint: the last, or, with --set keep=validation, the best on held-out videos.
    """
    from ..data.bags import load_bags
    from ..data.sampling import read_groups
    from ..device import pick_device
    from ..evaluation.protocol import load_evaluation_set
    from ..experiments.compare import compare as run
    from ..experiments.compare import entries, summary, write_table
    from ..features.folder import FeatureFolder
    from ..methods import METHODS

    everyone, of_method = settings_of(preset, changes)
    dim = everyone.pop("feature_dim", None)
    names = methods.split(",") if methods else [] if sweep else list(METHODS)
    sweeps = {field_of(name): [value_of(word) for word in values.split(",")] for name, values in map(pair_of, sweep)}
    segments, crops = everyone.get("segments", 64), everyone.get("crops", "mean")
    entries(names, 8, everyone, of_method, sweeps)  # mistakes in the settings, before the features are read
    bags = load_bags(features, segments, crops=crops, labels=labels)
    if dim not in (None, bags.dim):
        raise UsageError(
            f"{features.path}: features of width {bags.dim}, and the preset {preset} is for those of {dim}."
        )
    say_warnings(bags)
    rows = entries(names, bags.dim, everyone, of_method, sweeps)
    if test and ground_truth is None:
        raise UsageError(f"{test}: the test features need --ground-truth.")
    judge = load_evaluation_set(FeatureFolder(test, features.vggish), segments, ground_truth) if test else None
    truth = ground_truth.load() if ground_truth and not test else None
    outcomes = []
    with compare_progress(rows, seeds) as (on_step, on_outcome):
        for outcome in run(
            rows,
            range(seeds),
            bags,
            output,
            test=judge,
            truth=truth,
            groups=read_groups(groups) if groups else None,
            device=pick_device(device),
            on_step=on_step,
        ):
            outcomes.append(outcome)
            on_outcome(outcome)
    table = summary(rows, outcomes)
    words_of_table = (
        f"Trained on {features.path}; evaluated on {test or 'videos held out of it'}, "
        f"{ground_truth.dataset} ground truth; "
        f"mean ± standard deviation over {seeds} seeds."
    )
    write_table(table, output, words_of_table)
    plot_comparison(rows, table, output)
    if as_json:
        click.echo(json.dumps({"on": words_of_table, "rows": table}))
    else:
        print_comparison(table)
    say(f"Written: {output}/table.md, .csv, .json and pictures")


def plot_comparison(rows, table: list[dict], output: Path) -> None:
    from ..experiments.figures import plot_sweep, plot_table

    for metric, title in (("auc", "AUC"), ("ap", "AP")):
        known = [(line, entry) for line, entry in zip(table, rows, strict=True) if line[metric] is not None]
        spread = f"{metric}_std"
        if methods := [(e.label, line[metric], line[spread] or 0.0) for line, e in known if e.setting is None]:
            plot_table(methods, title, output / f"{metric}.png")
        for setting in {entry.setting for entry in rows} - {None}:
            curve = [(e.value, line[metric], line[spread] or 0.0) for line, e in known if e.setting == setting]
            plot_sweep(setting, curve, title, output / f"{setting}-{metric}.png")
