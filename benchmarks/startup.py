"""Time from the start of a command to its first progress, its first result, and its end.

    python benchmarks/startup.py VIDEO                          # this checkout
    python benchmarks/startup.py VIDEO --before ../old-checkout  # in pairs with another one
    python benchmarks/startup.py VIDEO --only json              # of `score` alone

Each command runs in a process of its own with a terminal as its stderr, `--repeats` times, after one run that fills
the caches of the system. Printed are medians in seconds: to the first characters on the terminal, to the first ones on
stdout, to the end, and of CPU time, that of its decoders included, which depends less on what else runs. With
`--before`, both checkouts take turns.
"""

import argparse
import os
import pty
import resource
import select
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = ("first progress", "first result", "end", "CPU")


def run(words: list[str], checkout: Path) -> tuple[float, ...]:
    """The times of one run of `words`, as COLUMNS; nan for what never came."""
    terminal, stderr = pty.openpty()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.monotonic()
    process = subprocess.Popen([sys.executable, *words], cwd=checkout, stdout=subprocess.PIPE, stderr=stderr)
    os.close(stderr)
    assert process.stdout
    first: dict[int, float] = {}
    open_ends = {terminal, process.stdout.fileno()}
    while open_ends:
        for end in select.select(list(open_ends), [], [])[0]:
            try:
                content = os.read(end, 1 << 16)
            except OSError:  # the terminal's other end is closed
                content = b""
            if content:
                first.setdefault(end, time.monotonic() - begin)
            else:
                open_ends.remove(end)
    if process.wait():
        raise SystemExit(f"{' '.join(words)} failed in {checkout}.")
    total = time.monotonic() - begin
    os.close(terminal)
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    missing = float("nan")
    return first.get(terminal, missing), first.get(process.stdout.fileno(), missing), total, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path, help="a video of one clip or a few")
    parser.add_argument("--before", type=Path, help="another checkout to compare with")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--model", action="append", default=[], help="also score with this model  [repeatable]")
    parser.add_argument("--only", nargs="+", default=[""], help="commands to time: those that hold one of these words")
    args = parser.parse_args()
    video = str(args.video.resolve())
    tool = ["-m", "anomalycli"]
    commands = [
        ["-c", "import anomalycli"],
        [*tool, "--help"],
        *([*tool, name, "--help"] for name in ("score", "extract", "train", "evaluate", "compare", "weights")),
        *([*tool, "score", video, "--json", *words] for words in ([], *(["--model", m] for m in args.model))),
    ]
    commands = [words for words in commands if any(one in " ".join(words) for one in args.only)]
    checkouts = [ROOT, *([args.before.resolve()] if args.before else [])]
    print(f"{'':44} {'checkout':10}", *(f"{name:>15}" for name in COLUMNS))
    for words in commands:
        times: dict[Path, list[tuple[float, ...]]] = {checkout: [] for checkout in checkouts}
        for i in range(args.repeats + 1):
            for checkout in checkouts[:: 1 if i % 2 else -1]:
                measured = run(words, checkout)
                if i:
                    times[checkout].append(measured)
        for checkout, each in times.items():
            name = " ".join("VIDEO" if word == video else word for word in words)
            medians = [statistics.median(values) for values in zip(*each, strict=True)]
            print(f"{name:44} {checkout.name:10}", *(f"{value:15.2f}" for value in medians), flush=True)


if __name__ == "__main__":
    main()
