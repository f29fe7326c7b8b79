"""The command `extract`: videos to feature files."""

import click
from rich.markup import escape

from ..backbones import DEFAULT
from ..errors import UsageError
from .command import Command, note_renamed, option, section
from .exits import finish
from .options import device_options, talk_options, videos_argument, weights_option
from .terminal import byte_progress, complain, extract_progress, print_account, say


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
        help="Network that makes the features: lite, mc3, i3d, i3d-inception, or another as module:Class.",
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
        type=click.Choice(["npz", "xd", "rtfm"]),
        default="npz",
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
    option(
        "--reader",
        type=click.Choice(["auto", "decord", "pyav"]),
        default="auto",
        show_default=True,
        help="Library that decodes. auto: decord for small MP4, Matroska and AVI files, PyAV for all others.",
    ),
)
@device_options
@talk_options
def extract(
    videos,
    output,
    overwrite,
    backbone,
    size,
    crops,
    audio,
    vggish,
    weights,
    layout,
    shard,
    engine,
    address,
    workers,
    stall,
    memory,
    reader,
    device,
    precision,
) -> None:
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
    from ..backbones import Extractor
    from ..extraction.job import extract as run
    from ..extraction.local_engine import extract_here
    from ..extraction.run_report import Shard
    from ..extraction.settings import ExtractionSettings
    from ..media.decoder import DecoderSettings
    from ..storage import place

    part = Shard.parse(shard) if shard else Shard()
    settings = {
        "backbone": backbone,
        "device": device,
        "precision": precision,
        "size": size,
        "crops": crops,
        "audio": audio_kind(audio, vggish),
        "weights": weights and weights.absolute(),
    }
    if engine == "ray":
        from ..extraction.ray_engine import engine as on_cluster

        make = on_cluster(settings, address)
    elif address:
        raise UsageError("--address is the cluster's: give --engine ray with it.")
    else:
        make = extract_here
    with byte_progress() as on_bytes:
        extractor = Extractor(**settings, on_bytes=on_bytes)
    outcomes = []
    with extract_progress() as on_progress:
        for outcome in run(
            videos,
            output,
            extractor,
            ExtractionSettings(layout, overwrite, part, workers, DecoderSettings(stall, memory, reader)),
            engine=make,
            on_progress=on_progress,
            on_note=lambda note: say(escape(note)),
        ):
            outcomes.append(outcome)
            if outcome.reason:
                complain(f"[red]{outcome.status}[/]  {escape(outcome.reason)}")
            elif outcome.status == "done":
                say(f"{escape(outcome.path.name)}: done" + escape(f" ({outcome.note})" if outcome.note else ""))
    print_account(place(output) / part.report)
    finish(
        failed=sum(outcome.reason is not None for outcome in outcomes),
        done=sum(outcome.status != "failed" for outcome in outcomes),
    )


def audio_kind(audio: str | None, former: str | None) -> str | None:
    """The kind of audio features that --audio, or --audio with the former --vggish, asks for."""
    if former:
        note_renamed(f"--vggish {former}", "--audio vggish" + ("-pca" if former == "pca" else ""))
    if audio == "vggish":
        return f"vggish-{former or 'raw'}"
    return audio
