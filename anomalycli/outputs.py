"""The files of one result: which there are, where they go, who writes them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .report import Page
    from .score import Result

PICTURES = ("png", "svg", "pdf")
FORMATS = ("csv", "npy", "json", "events.csv", "events.json", "srt", "vtt", "edl", "otio", "html", *PICTURES)


def output_base(output: Path, name: str) -> Path:
    """Where the files of the input `name` begin: below the folder `output`, or as its `{name}` says."""
    template = os.fspath(output)
    return Path(template.replace("{name}", name)) if "{name}" in template else output / name


def write_output(
    result: "Result",
    base: Path,
    kind: str,
    video: Path | None = None,
    truth: Sequence[tuple[int, int]] | None = None,
    embed: bool = False,
) -> "Page | None":
    """Write `result` to `base` + "." + `kind`, one of FORMATS; returns the page, where it is one.

    `video`, `truth` and `embed` are for those formats that show them.
    """
    path = base.with_name(f"{base.name}.{kind}")
    if kind == "html":
        from .report import write_report

        return write_report(result, path, video, truth, embed)
    if kind in PICTURES:
        from .plot import plot_result

        plot_result(result, path, video, truth)
    else:
        from .writers import write

        write(result, base, kind)
    return None
