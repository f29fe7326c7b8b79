"""The command `extract`: make feature files of videos."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..backbones import DEFAULT
from ..choices import LAYOUTS
from ..errors import UsageError
from .command import Command, note_renamed, option, section
from .exits import finish
from .options import device_options, talk_options, use_reader, videos_argument, weights_option
from .progress import byte_progress, extract_progress, loading
from .tables import print_counts
from .terminal import fault, say

if TYPE_CHECKING:
    from ..extraction.run_report import ExtractionOutcome


@click.command(
    cls=Command,
    after_interrupt="Finished videos are kept, and the same command resumes.",
    no_args_is_help=True,
)
@videos_argument()
@section(
    "Files to write",
    option(
        "-o",
        "--output",
        default="features",
        show_default=True,
        help="Folder to write to, or a URL such as s3://bucket/features (extra [ray]).",
    ),
    option("--overwrite", is_flag=True, help="Replace feature files that exist."),
)
@section(
    "Features",
    option(
        "--backbone",
        default=DEFAULT,
        show_default=True,
        help="Network that makes the features: lite, mc3, i3d, i3d-caffe, i3d-inception, or another as module:Class.",
    ),
    option("--size", type=int, help="Short side of the picture in pixels.  [default: of lite 192, mc3 128, i3d 256]"),
    option(
        "--crops", type=int, default=1, show_default=True, help="i3d: 1 (centre), 5 (and corners) or 10 (and mirrored)."
    ),
    option(
        "--audio",
        type=click.Choice(["vggish", "vggish-pca"]),
        help="Audio features as well, one window per clip: VGGish's output, or with AudioSet's PCA and quantisation.",
    ),
    option(
        "--vggish",
        type=click.Choice(["raw", "pca"]),
        hidden=True,
        help="Up to version 0.1: which of VGGish's outputs --audio takes.",
    ),
    weights_option,
    option(
        "--format",
        "layout",
        type=click.Choice(LAYOUTS),
        default=LAYOUTS[0],
        show_default=True,
        help="npz: files for this tool. xd, rtfm: .npy files as the research code of these names reads them.",
    ),
)
@section(
    "How it runs",
    option(
        "--engine",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="local: this machine. ray: a Ray cluster, with one worker per accelerator, or per two cores.",
    ),
    option("--address", help="Address of the Ray cluster: auto or host:port.  [default: the one that Ray finds]"),
    option(
        "--shard",
        metavar="I/N",
        help="Extract part I of N of the videos, for N machines or jobs with one output folder.",
    ),
    option("--workers", type=click.IntRange(min=1), default=2, show_default=True, help="Decoder processes."),
    option(
        "--stall",
        type=click.FloatRange(min=0, min_open=True),
        default=120,
        show_default=True,
        help="Seconds without progress after which a decoder is stopped.",
    ),
    option(
        "--memory",
        type=click.IntRange(min=256),
        default=4096,
        show_default=True,
        help="Memory limit of a decoder in MB; a video that needs more fails.",
    ),
)
@device_options
@talk_options
def extract(videos, output, layout, overwrite, shard, workers, stall, memory, reader, **options) -> None:
    """Extract features of VIDEOS, one feature file per video.

    \b
      anomalycli extract videos/ -o features/
      find /camera -name '*.mp4' | anomalycli extract - -o features/
      anomalycli extract videos/ --shard $SLURM_ARRAY_TASK_ID/16
      anomalycli extract videos/ --engine ray --address auto

    VIDEOS are files, folders, patterns ('*.mp4'), - (a list on stdin) or @list.txt. Labels beside
    them (labels.csv, or folders normal/ and abnormal/) are copied to the output. Existing feature
    files are kept, so repeating an interrupted command resumes it. report.json in the output folder
    lists the result for each video.
    """
    with loading():
        from ..backbones import Extractor
        from ..extraction.job import extract as run
        from ..extraction.run_report import Shard
        from ..extraction.settings import ExtractionSettings
        from ..media.decoder import DecoderSettings
        from ..storage import path_or_url

    part = Shard.parse(shard) if shard else Shard()
    use_reader(reader)
    settings = ExtractionSettings(layout, overwrite, part, workers, DecoderSettings(stall, memory))
    network = network_of(options)
    engine = engine_of(options["engine"], options["address"], network)
    with byte_progress() as on_bytes:
        extractor = Extractor(**network, on_bytes=on_bytes)
    failed = done = 0
    with extract_progress() as on_progress:
        outcomes = run(videos, output, extractor, settings, engine=engine, on_progress=on_progress, on_note=say_note)
        with closing(outcomes):  # Ctrl-C may come while an outcome is printed: the report is written then, too
            for outcome in outcomes:
                print_outcome(outcome)
                failed += outcome.reason is not None
                done += outcome.status != "failed"
    print_counts(path_or_url(output) / part.report)
    finish(failed, done)


def network_of(options: dict[str, Any]) -> dict[str, Any]:
    """Arguments of the Extractor, from the options of the sections "Features" and "Machine"."""
    names = ("backbone", "device", "precision", "size", "crops")
    weights = options["weights"]
    return {name: options[name] for name in names} | {
        "audio": audio_kind(options["audio"], options["vggish"]),
        "weights": weights and weights.absolute(),
    }


def engine_of(name: str, address: str | None, network: dict[str, Any]) -> Callable:
    """The engine that --engine names. Raises UsageError for an address without a cluster."""
    if name == "ray":
        from ..extraction.ray_engine import engine

        return engine(network, address)
    if address:
        raise UsageError("An address is that of a Ray cluster, and needs the engine ray.", "address", "engine")
    from ..extraction.local_engine import extract_here

    return extract_here


def say_note(note: str) -> None:
    """Print a note of the extraction."""
    say(note)


def print_outcome(outcome: "ExtractionOutcome") -> None:
    """Print what happened to one video. Videos that were skipped are not mentioned."""
    if outcome.reason:
        fault(outcome.status, outcome.reason)
    elif outcome.status == "done":
        say(f"{from_here(outcome.path)}: done" + (f" ({outcome.note})" if outcome.note else ""))


def from_here(path: Path) -> Path:
    """The path, below the current folder where it lies there: names alone do not tell files of two folders apart."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def audio_kind(audio: str | None, former: str | None) -> str | None:
    """The kind of audio features that --audio, or --audio with the former --vggish, asks for."""
    if former:
        note_renamed(f"--vggish {former}", "--audio vggish" + ("-pca" if former == "pca" else ""))
    if audio == "vggish":
        return f"vggish-{former or 'raw'}"
    return audio
