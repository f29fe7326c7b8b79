"""The command `compare`: several methods side by side."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..export.results import files_of_comparison
from .command import PATH, Command, option, section
from .exits import finish
from .options import (
    device_option,
    feature_options,
    interpolate_option,
    label_options,
    overwrite_option,
    preset_option,
    talk_options,
    test_only_option,
    truth_options,
)
from .progress import compare_progress, loading
from .settings import names_as_written, preset_of, settings_of, sweeps_of
from .sources import Sources, check_width
from .tables import print_comparison
from .terminal import note, say

if TYPE_CHECKING:
    from ..data.ground_truth import GroundTruthFile
    from ..experiments.comparison import Comparison
    from ..features.folder import FeatureFolder
    from ..training.trainer import TrainingData


@click.command(
    cls=Command, after_interrupt="Finished runs are kept, and the same command resumes.", no_args_is_help=True
)
@click.argument("features", type=PATH)
@section(
    "Comparison",
    option(
        "--methods",
        show_default="all but linear and ms-tct-full",
        help="Methods from the list above, separated by commas.",
    ),
    option(
        "--seeds", type=click.IntRange(min=1), default=5, show_default=True, help="Number of seeds: 0, 1, 2 and so on."
    ),
    preset_option,
    option(
        "--set",
        "changes",
        multiple=True,
        help="Setting of all methods (NAME=VALUE) or of one (METHOD.NAME=VALUE).  [repeatable]",
    ),
    option(
        "--sweep",
        multiple=True,
        help="NAME=V1,V2,...: train DE-Net with each value, as in Fig. 3, or METHOD.NAME.  [repeatable]",
    ),
    option("--test", type=PATH, show_default="videos held out of FEATURES", help="Folder of test features."),
    test_only_option,
    interpolate_option,
)
@truth_options("Ground truth of the test set")
@feature_options
@label_options
@section(
    "Results",
    option("-o", "--output", type=PATH, default="comparison", show_default=True, help="Folder to write to."),
    overwrite_option,
    option("--json", "as_json", is_flag=True, help="Print one JSON object, not the table."),
)
@device_option
@section(
    "Machine",
    option(
        "--workers",
        type=click.IntRange(min=1),
        help="Networks of up to 4 million parameters to train at a time on a CPU, with one thread each. Without it, as "
        "many as there are threads.",
    ),
)
@talk_options
def compare(features, test, test_only, interpolate, ground_truth, labels, groups, seeds, device, **options) -> None:
    """Train several methods on FEATURES, and compare them.

    Each is trained with several seeds and evaluated alike. FEATURES is a folder.

    \b
    linear, mil-rank, rtfm              the peers (linear only where named)
    baseline, mstm, mstm+eo, de-net     Table 4 of the paper
    rtfm-mtn, ms-tct                    Table 5: other temporal modules in DE-Net
    ms-tct-full                         MS-TCT as large as published (only where named)

    Finished runs are kept in OUTPUT/runs, with the scores of their segments, so repeating an
    interrupted command resumes it. Without --test, methods are evaluated on videos held out of FEATURES,
    whose --ground-truth is needed; use that to tune settings. The table names its checkpoint: the last,
    or, with --set keep=validation, the best on held-out videos.
    """
    with loading():
        import torch

        from ..device import pick_device
        from ..experiments.compare import Machine
        from ..experiments.compare import compare as run

    comparison, dim = comparison_of(options)
    with names_as_written((*options["changes"], *options["sweep"])):
        comparison.check()  # mistakes in the settings, before the features are read
    for method in comparison.not_compared:
        note(f"settings of {method} do nothing: it is not among the methods compared.")
    check_apart(options["output"], features.path, test)
    files = files_of_comparison(options["output"], comparison.sweeps)
    files.check(options["overwrite"])
    sources = sources_of(features, labels, groups, test, test_only, ground_truth)
    comparison.check_held_out(has_test=test is not None)
    bags = sources.load(comparison.segments, comparison.crops)
    check_width(features.path, bags, options["preset"], dim)
    with names_as_written((*options["changes"], *options["sweep"])):
        rows = comparison.rows(bags.dim)
    to_frames = "interpolated" if interpolate else "repeated"
    data = sources.data(bags, to_frames=to_frames)
    results = []
    machine = Machine(pick_device(device), options["workers"] or torch.get_num_threads())
    with compare_progress(rows, seeds) as (on_step, on_result):
        for result in run(rows, range(seeds), data, options["output"], to_frames, machine, on_step):
            results.append(result)
            on_result(result)
    caption = (
        f"Trained on {features.path}; evaluated on {test or 'videos held out of it'}, "
        f"{test_set_of(data, ground_truth)}, scores of segments {to_frames} over frames; "
        f"mean ± standard deviation over {seeds} seeds."
    )
    table = write_comparison(rows, results, options["output"], caption)
    files.keep()
    if options["as_json"]:
        click.echo(json.dumps({"on": caption, "rows": table}))
    else:
        print_comparison(table)
    say(f"Written: {options['output']}/table.md, .csv, .json and plots")
    finish(failed=len(sources.left_out), done=1)


def comparison_of(options: dict[str, Any]) -> tuple["Comparison", int | None]:
    """The methods and settings to compare, and the width of features that the preset is for."""
    from ..experiments.comparison import USUAL, Comparison

    defaults, (everyone, of_method) = preset_of(options["preset"]), settings_of(options["changes"])
    dim = defaults.pop("feature_dim", None)
    names = [] if options["sweep"] else list(USUAL)
    if options["methods"] is not None:
        names = [name.strip() for name in options["methods"].split(",") if name.strip()]
    return Comparison(names, everyone, of_method, sweeps_of(options["sweep"]), defaults), dim


def check_apart(output: Path, *folders: Path | None) -> None:
    """Raise UsageError where the output would lie in a folder of features: it holds arrays, the scores of the runs."""
    for folder in folders:
        if folder and output.resolve().is_relative_to(folder.resolve()):
            raise UsageError(
                f"{output}: it is in the folder of features {folder}, where its files would be taken for features. "
                "Name another folder.",
                "output",
            )


def sources_of(
    features: "FeatureFolder",
    labels: Path | None,
    groups: Path | None,
    test: Path | None,
    test_only: Path | None,
    ground_truth: "GroundTruthFile | None",
) -> Sources:
    """The files to read. Raises UsageError where there is no ground truth to evaluate on."""
    held_out = replace(ground_truth, incomplete=True) if ground_truth and not test else None
    sources = Sources(features, labels, groups, held_out, test, test_only, ground_truth)
    sources.check()
    if ground_truth is None:
        raise UsageError(
            "There is nothing to evaluate on: give ground truth of the test features, or of videos in FEATURES.",
            "ground_truth",
        )
    return sources


def test_set_of(data: "TrainingData", ground_truth: "GroundTruthFile") -> str:
    """The ground truth of a comparison, for the caption of its table."""
    if data.test is None:
        return f"{ground_truth.dataset} ground truth"
    truth = data.test.truth or {}
    n_frames = sum(len(frames) for frames in truth.values())
    frames = f"{n_frames:,} frames" + (f": {data.test.total}" if data.test.total else "")
    return f"{ground_truth.dataset} ground truth {ground_truth.interval}, {len(truth)} videos, {frames}"


def write_comparison(rows: list[Any], results: list[Any], output: Path, caption: str) -> list[dict[str, Any]]:
    """Write the table and the plots into `output`, and return the rows of the table."""
    from ..experiments.table import summary, write_table

    labels = [row.label for row in rows]
    results = sorted(results, key=lambda result: (result.seed, labels.index(result.label)))
    table = summary(rows, results)
    write_table(table, output, caption)
    plot_comparison(rows, results, output)
    return table


def plot_comparison(rows: list[Any], results: list[Any], output: Path) -> None:
    """Plot AUC and AP of the methods, and along each swept setting."""
    from ..experiments.figures import plot_sweep, plot_table

    for metric, title in (("auc", "AUC"), ("ap", "AP")):
        seeds: dict[str, list[float]] = {entry.label: [] for entry in rows}
        for result in results:
            if result.metrics[metric] is not None:
                seeds[result.label].append(result.metrics[metric])
        known = [entry for entry in rows if seeds[entry.label]]
        if methods := [(entry.label, seeds[entry.label]) for entry in known if entry.setting is None]:
            plot_table(methods, title, output / metric)
        for setting in {entry.setting for entry in rows} - {None}:
            curve = [(entry.value, seeds[entry.label]) for entry in known if entry.setting == setting]
            if curve:
                plot_sweep(setting, curve, title, output / f"{setting}-{metric}")
