"""The commands of researchers: evaluate and compare."""

import json

import click

from .cli import FILE, PATH, cli, device_options, truth_options, with_options, words
from .errors import UsageError
from .terminal import print_evaluation


@cli.command(no_args_is_help=True)
@click.argument("model", type=PATH)
@click.argument("features", type=PATH)
@with_options(truth_options)
@click.option("--vggish", type=PATH, help="Folder of NAME__vggish.npy: sound for published features.")
@click.option("--only", type=FILE, help="List of the videos to take, one a line, as authors publish splits.")
@click.option("--span", default="video", show_default=True, help="video, as the paper; window or auto: see score.")
@click.option("--resamples", default=1000, show_default=True, help="Draws of videos for the 95% intervals.")
@click.option("-o", "--output", type=PATH, help="Folder for videos.csv, curves.png (PR and ROC) and metrics.json.")
@click.option("--sheet", multiple=True, help="Video to draw in sheet.png: scores and ground truth.  [repeatable]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the table.")
@with_options(device_options[:1])
def evaluate(
    model,
    features,
    dataset,
    ground_truth,
    frames,
    last_frame,
    vggish,
    only,
    span,
    resamples,
    output,
    sheet,
    as_json,
    device,
) -> None:
    """How well MODEL finds the abnormal frames of FEATURES (a folder), by their ground truth.

    Frame-level ROC AUC, AP and auc(recall, precision), over all videos and over the abnormal ones
    alone, and the share of normal frames that score .5 or more.
    """
    from .datasets import find_features
    from .evaluate import evaluate as run
    from .evaluate import score_videos, write_videos
    from .ground_truth import fitted, load_ground_truth, slack_of
    from .score import Scorer

    if ground_truth is None:
        raise UsageError("Give --ground-truth: the data set's annotation file, or a CSV of video,n_frames,start,end.")
    if sheet and output is None:
        raise UsageError("--sheet draws into a folder: give --output.")
    scorer = Scorer.load(model, device)
    scores, kind = score_videos(scorer, find_features(features, vggish, only), span)
    lengths = {name: len(video) for name, video in scores.items()}
    truth = load_ground_truth(dataset, ground_truth, lengths, frames, last_frame)
    scores = fitted(scores, truth, slack_of(kind, dataset))
    if unknown := sorted(set(sheet) - scores.keys()):
        raise UsageError(f"{features}: there is no video '{unknown[0]}' to draw.")
    evaluation = run(scores, truth, resamples=resamples)
    told = {
        "model": str(model),
        "checkpoint": scorer.info.training.get("checkpoint"),
        "dataset": dataset,
        "last_frame": last_frame,
        "span": span,
    } | evaluation.as_dict()
    if output:
        from .figures import plot_curves, plot_sheet

        write_videos(evaluation.videos, output / "videos.csv")
        (output / "metrics.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        plot_curves(evaluation, output / "curves.png")
        if sheet:
            plot_sheet({name: scores[name] for name in sheet}, truth, output / "sheet.png")
    if as_json:
        click.echo(json.dumps(told))
    else:
        print_evaluation(evaluation, told["checkpoint"])
    if output:
        words.print(f"Written: {output}/videos.csv, metrics.json, curves.png" + (", sheet.png" if sheet else ""))
