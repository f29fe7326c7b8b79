"""The command `evaluate`: metrics of a model on labelled features."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..export.results import files_of_evaluation
from ..storage import write_file
from .command import PATH, Command, option, section
from .exits import finish
from .options import (
    device_option,
    feature_options,
    interpolate_option,
    mode_option,
    overwrite_option,
    talk_options,
    truth_options,
)
from .progress import loading
from .settings import say_warnings
from .tables import print_evaluation
from .terminal import fault, say

if TYPE_CHECKING:
    from ..data.ground_truth import GroundTruthFile
    from ..evaluation.metrics import Evaluation
    from ..evaluation.protocol import ScoredSet


@click.command(cls=Command, no_args_is_help=True)
@click.argument("model", type=PATH, required=False)
@click.argument("features", type=PATH, required=False)
@truth_options("Ground truth of the test set")
@feature_options
@section(
    "Evaluation",
    option(
        "--scores",
        "scores_folder",
        type=PATH,
        help="Folder of NAME.npy, one score per clip or frame: evaluate these, without MODEL and FEATURES.",
    ),
    mode_option("video"),
    interpolate_option,
    option(
        "--resamples",
        type=click.IntRange(min=0),
        default=1000,
        show_default=True,
        help="Bootstrap samples of videos for the 95% intervals.",
    ),
)
@section(
    "Results",
    option("-o", "--output", type=PATH, help="Folder for videos.csv, metrics.json, and PR and ROC curves."),
    overwrite_option,
    option(
        "--draw",
        former="--sheet",
        multiple=True,
        help="Video whose scores and ground truth to plot on a sheet.  [repeatable]",
    ),
    option("--json", "as_json", is_flag=True, help="Print one JSON object, not the table."),
)
@device_option
@talk_options
def evaluate(model, features, scores_folder, ground_truth, mode, interpolate, resamples, device, **results) -> None:
    """Evaluate MODEL on FEATURES against ground truth.

    FEATURES is a folder, and the ground truth is one label per frame, or intervals.

    Computes frame-level ROC AUC, AP and auc(recall, precision), over all videos and over the abnormal ones
    alone, and the share of normal frames that score .5 or more. The score of a segment is repeated
    over its frames, as published evaluations do.

    \b
      anomalycli evaluate model.safetensors features/ --ground-truth truth.csv
      anomalycli evaluate --scores scores/ --dataset ucf-crime --ground-truth annotation.txt
    """
    if ground_truth is None:
        raise UsageError("Give --ground-truth: the data set's annotation file, or a CSV of video,n_frames,start,end.")
    if (scores_folder is None) == (features is None):
        raise UsageError("Give MODEL and FEATURES, or --scores and neither of them.")
    if scores_folder and (model or interpolate):
        raise UsageError("With --scores, give no MODEL and no --interpolate.")
    if results["draw"] and results["output"] is None:
        raise UsageError("--draw needs --output, the folder to draw into.")
    files = results["output"] and files_of_evaluation(results["output"], bool(results["draw"]))
    if files:
        files.check(results["overwrite"])
    with loading():
        from ..evaluation.metrics import evaluate as run
        from ..evaluation.protocol import read_scores, score_folder
        from ..score import Scorer

    to_frames = "interpolated" if interpolate else "repeated"
    about = {"model": str(scores_folder or model), "checkpoint": None, "span": None, "scores_to_frames": to_frames}
    if scores_folder:
        scored = read_scores(scores_folder, ground_truth)
    else:
        scorer = Scorer.load(model, device)
        scored = score_folder(scorer, features, ground_truth, mode, to_frames)
        about |= {"checkpoint": scorer.info.training.checkpoint, "span": mode}
    say_warnings(scored.warnings)
    for sentence in scored.left_out:
        fault("failed", sentence)
    drawn = videos_to_draw(results["draw"], scored, scores_folder or features.path)
    evaluation = run(scored.scores, scored.truth, resamples=resamples)
    report = report_of(evaluation, scored, ground_truth, about)
    if results["output"]:
        write_evaluation(results["output"], evaluation, report, scored, drawn)
        files.keep()
    if results["as_json"]:
        click.echo(json.dumps(report))
    else:
        print_evaluation(evaluation, report)
    if results["output"]:
        pictures = "curves and sheet" if drawn else "curves"
        say(f"Written: {results['output']}/videos.csv, metrics.json, {pictures} as .png, .svg, .pdf")
    finish(failed=len(scored.left_out), done=1)


def videos_to_draw(names: tuple[str, ...], scored: "ScoredSet", folder: Path) -> list[str]:
    """The videos that --draw names. Raises UsageError for a name that matches no video."""
    from ..matching import match_names

    found = match_names(names, scored.scores, "--draw")
    if found.unknown:
        raise UsageError(f"{folder}: there is no video '{found.unknown[0]}' to draw.", "draw")
    return list(found.found.values())


def report_of(
    evaluation: "Evaluation", scored: "ScoredSet", ground_truth: "GroundTruthFile", about: dict[str, Any]
) -> dict[str, Any]:
    """What was evaluated, on what, and the metrics, as a JSON object."""
    data = {
        "dataset": ground_truth.dataset,
        "last_frame": ground_truth.last_frame,
        "annotated_interval": ground_truth.interval,
        "total": scored.total,
        "test_videos": scored.n_videos,
    }
    return about | data | evaluation.as_dict()


def write_evaluation(
    output: Path, evaluation: "Evaluation", report: dict[str, Any], scored: "ScoredSet", drawn: list[str]
) -> None:
    """Write videos.csv, metrics.json and pictures: curves and, if videos are to be drawn, a sheet."""
    from ..evaluation.metrics import write_videos
    from ..experiments.figures import plot_curves
    from ..export.base import PICTURES
    from ..export.plot import curve_of_frames, plot_sheet

    write_videos(evaluation.videos, output / "videos.csv")
    write_file(output / "metrics.json", json.dumps(report, indent=1) + "\n")
    plot_curves(evaluation, output / "curves")
    if drawn:
        curves = [curve_of_frames(name, scored.scores[name], scored.truth[name]) for name in drawn]
        for kind in PICTURES:
            plot_sheet(curves, output / f"sheet.{kind}")
