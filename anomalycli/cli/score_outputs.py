"""What `score` writes, from its options."""

from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..export.base import formats
from ..export.outputs import Outputs
from ..inputs import Input
from .terminal import note, say

MARGIN = 1.0  # seconds


def outputs_of(options: dict[str, Any], inputs: list[Input]) -> Outputs:
    """What to write, from the options of the section "Files to write"."""
    from ..data.ground_truth import read_intervals

    flags = {"png": options["plot"], "csv": options["as_csv"], "html": options["html"]}
    truth, names = options["ground_truth"], [item.name for item in inputs]
    truths, unmatched = read_intervals(truth, names) if truth else ({}, None)
    if unmatched:
        say(unmatched)
    chosen = [*options["formats"], *(name for name, given in flags.items() if given)]
    stem, ending = one_file(options["output"], len(inputs))
    chosen += [ending] if ending and ending not in chosen else []
    for name, needed, is_given in (
        ("--margin", "--clips", not options["clips"] and options["margin"] != MARGIN),
        ("--exact", "--clips", not options["clips"] and options["exact"]),
        ("--embed", "--html", "html" not in chosen and options["embed"]),
        ("--proxy", "--html", "html" not in chosen and options["proxy"]),
        ("--shared-axis", "--sheet", not options["sheet"] and options["shared_axis"]),
    ):
        if is_given:
            note(f"{name} does nothing without {needed}.")
    return Outputs(
        options["output"],
        chosen,
        margin=options["margin"] if options["clips"] else None,
        exact=options["exact"],
        embed=options["embed"],
        truths=truths,
        sheet=options["sheet"],
        shared_axis=options["shared_axis"],
        overwrite=options["overwrite"],
        video_dir=options["video_dir"],
        proxy=options["proxy"] if "html" in chosen else None,
        stem=stem,
    )


def one_file(output: Path, n_inputs: int) -> tuple[Path | None, str | None]:
    """Where the files of the one input begin, and the format, if `output` is named as a file of a format is.

    Raises UsageError if there are several inputs.
    """
    endings = [name for name in formats() if output.name.endswith(f".{name}") and output.name != f".{name}"]
    if not endings or output.is_dir() or "{name}" in str(output):
        return None, None
    if n_inputs > 1:
        raise UsageError(f"{output}: one file, and there are {n_inputs} inputs. Name a folder.")
    ending = max(endings, key=len)
    return output.with_name(output.name.removesuffix(f".{ending}")), ending
