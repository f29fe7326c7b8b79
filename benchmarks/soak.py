"""Compare a long run that is killed repeatedly with the same run undisturbed.

    python benchmarks/soak.py street-fights/clips robustness --work soak/
    python benchmarks/soak.py street-fights/clips robustness --work soak-score/ --command score --files 60

500 videos, one in ten of them broken in one of the ways of damage.py, with fixed seeds. One run goes over them in
peace; it is kept and used again. Another one is killed, by SIGKILL, at three random moments, its decoding processes at
ten, and is started again each time. Both must end the same.

extract: the features of every good video byte for byte, every broken one with the same fate and its reason in
report.json. score (with --html --plot --clips): every page, plot and event clip of a good video byte for byte, and a
page of every broken one in both runs or in none. Nothing else on disk or among the processes. Exit code 0 only if all
held. (What a decoder makes of pieces that are missing can depend on what its process read before, so broken videos are
only counted where their features differ.)
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from damage import WAYS, damaged

from anomalycli.errors import FeatureError
from anomalycli.features.files import load_features

BROKEN_ALREADY = {"corrupted.mp4", "result.webm"}  # of robustness/
WORKER = "anomalycli.media.decoder_worker"  # in the command line of a process that decodes
OTHER_FILES = {"report.json", "labels.csv"}  # what a run leaves beside the features
MARK = "ANOMALYCLI_SOAK"  # an environment variable: processes that have it are of this soak


def make_videos(folder: Path, clips: Path, robustness: Path, files: int, seed: int) -> dict[str, str | None]:
    """Write the videos. Returns the kind of damage by name, None for intact ones."""
    rng = random.Random(seed)
    good = sorted(clips.rglob("*.mp4"))
    rng.shuffle(good)
    good[:0] = [path for path in sorted(robustness.iterdir()) if path.name not in BROKEN_ALREADY]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    made = {}
    for number in range(files):
        source = good[number % len(good)]
        way = list(WAYS)[7 * (number // 10) % len(WAYS)] if number % 10 == 5 else None
        name = f"{number:04} {way or 'good'} {source.name}"
        content = source.read_bytes()
        (folder / name).write_bytes(damaged(content, way, seed, number) if way else content)
        made[name] = way
    return made


COMMANDS = {  # what comes after the videos and the output; what each video's last output ends with
    "extract": ([], ".npz"),
    "score": (["--html", "--plot", "--clips"], ".html"),
}


class Run:
    """A command over `videos`, in processes that can be told from all others."""

    def __init__(self, command: str, videos: Path, output: Path, size: int, scratch: Path):
        self.output, self.log = output, output.with_suffix(".log")
        more, self.suffix = COMMANDS[command]
        if command == "extract":
            more = ["--size", str(size)]
        self.words = [sys.executable, "-m", "anomalycli", command, videos, "-o", output, *more]
        scratch.mkdir(parents=True, exist_ok=True)
        self.scratch, self.mark = scratch, f"{os.getpid()}-{output.name}"
        self.env = os.environ | {MARK: self.mark, "TMPDIR": str(scratch), "MPLCONFIGDIR": str(scratch.with_name("mpl"))}
        self.env["TORCHINDUCTOR_CACHE_DIR"] = str(scratch.with_name("torch"))  # torch's own, made by its import
        self.start()

    def start(self) -> None:
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(self.words, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def processes(self) -> list[int]:
        """All processes of this run, also those whose parent has ended."""
        return [pid for pid in pids() if f"{MARK}={self.mark}" in read(pid, "environ")]

    def workers(self) -> list[int]:
        return [pid for pid in self.processes() if WORKER in " ".join(read(pid, "cmdline"))]

    def n_done(self) -> int:
        return sum(1 for _ in self.output.glob(f"*{self.suffix}"))

    def wait(self) -> int:
        return self.process.wait()


def pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def read(pid: int, what: str) -> list[str]:
    """The words of /proc/PID/cmdline or environ; none if the process has ended."""
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def batter(run: Run, expected: int, kills: int, worker_kills: int, seed: int) -> Counter:
    """Kill the run and its workers at random moments, and restart it. Returns how often each was killed.

    A moment is a number of finished videos, below four fifths of all, and up to .2 s more.
    """
    rng = random.Random(seed)
    moments = sorted((rng.uniform(0, 0.8) * expected, what) for what in ["main"] * kills + ["worker"] * worker_kills)
    killed = Counter()
    for moment, what in moments:
        while run.n_done() < moment and run.process.poll() is None:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.2))
        if what == "main" and run.process.poll() is None:
            run.process.kill()
            run.wait()
            run.start()
            killed[what] += 1
        while what == "worker" and run.process.poll() is None:
            workers = run.workers()
            if workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rng.choice(workers), signal.SIGKILL)
                    killed[what] += 1
                    break
            time.sleep(0.01)
    return killed


def fates(report: dict) -> dict[str, tuple[str, str]]:
    """Outcome and reason of each video, by name."""
    return {Path(entry["path"]).name: (entry["status"], entry["reason"] or "") for entry in report["files"]}


def equal(first: Path, second: Path) -> bool:
    return first.read_bytes() == second.read_bytes()


def differences(made: dict, clean: Path, battered: Path) -> list[str]:
    """Differences of the two runs, and gaps of a report, as sentences."""
    found = [
        f"{folder}: there is no report.json." for folder in (clean, battered) if not (folder / "report.json").exists()
    ]
    if found:
        return found
    reports = [json.loads((folder / "report.json").read_text()) for folder in (clean, battered)]
    for folder, report in zip((clean, battered), reports):
        if sorted(Path(entry["path"]).name for entry in report["files"]) != sorted(made):
            found.append(f"{folder}: its report does not name every video once.")
        statuses = Counter(entry["status"] for entry in report["files"])
        if {status: count for status, count in report["counts"].items() if count} != statuses:
            found.append(f"{folder}: its report counts {report['counts']} and names {dict(statuses)}.")
    alone, killed = map(fates, reports)
    for name, way in made.items():
        before, after = alone.get(name, ("missing", "")), killed.get(name, ("missing", ""))
        if way is None and (before[0] != "done" or after[0] not in ("done", "skipped")):
            found.append(f"{name}: good, and yet {before} alone and {after} killed.")
        if after[0] == "failed" and not (before[0] == "failed" and after[1].strip()):
            found.append(f"{name}: failed with {after[1]!r}; left alone: {before}.")
        if before[0] == "failed" != after[0]:
            found.append(f"{name}: failed when left alone, and is {after}.")
        features = [folder / f"{Path(name).stem}.npz" for folder in (clean, battered)]
        if features[0].exists() != features[1].exists() or features[0].exists() != (before[0] != "failed"):
            found.append(f"{name}: features in one run only, or without one that read it.")
        elif way is None and not equal(*features):
            found.append(f"{name}: its features differ from those of the run left alone.")
        if features[1].exists():
            try:
                load_features(features[1])
            except FeatureError as error:
                found.append(str(error))
    return found


def outputs(folder: Path) -> dict[str, bytes]:
    """What `score` wrote for people, by name; its records are its own."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def differing_outputs(made: dict, clean: Path, battered: Path) -> list[str]:
    """What two runs of `score` do not agree in, as sentences."""
    alone, killed = outputs(clean), outputs(battered)
    found = []
    for name, way in made.items():
        stem = Path(name).stem
        pages = [f"{stem}.html" in files for files in (alone, killed)]
        if pages[0] != pages[1] or (way is None and not pages[0]):
            found.append(f"{name}: a page when left alone: {pages[0]}; when killed: {pages[1]}.")
        if way is None:
            of_video = {other for files in (alone, killed) for other in files if other.startswith(f"{stem}.")}
            found += [f"{other}: differs." for other in sorted(of_video) if alone.get(other) != killed.get(other)]
    return found


def leftovers(run: Run) -> list[str]:
    """Files and processes that a finished run should not have left."""
    kept = {".npz"} if run.suffix == ".npz" else {".html", ".png", ".mp4", ".mkv", ".json", ".npz"}
    found = [path for path in run.output.rglob("*") if path.is_file() and path.suffix not in kept]
    found = [str(path) for path in found if path.name not in OTHER_FILES] + [
        str(path) for path in run.scratch.rglob("*")
    ]
    time.sleep(1)
    return found + [f"process {pid}: {' '.join(read(pid, 'cmdline'))}" for pid in run.processes()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, help="folder of real clips, .mp4")
    parser.add_argument("robustness", type=Path, help="folder of odd videos")
    parser.add_argument("--work", type=Path, required=True, help="folder to work in; its clean run is used again")
    parser.add_argument("--command", choices=COMMANDS, default="extract")
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--worker-kills", type=int, default=10)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    videos, clean = args.work / "videos", args.work / "clean"
    made_of = f"{args.command}, {args.files} files, size {args.size}, seed {args.seed}"
    note = args.work / "clean.txt"
    if not (note.exists() and note.read_text() == made_of):
        made = make_videos(videos, args.clips, args.robustness, args.files, args.seed)
        shutil.rmtree(clean, ignore_errors=True)
        run = Run(args.command, videos, clean, args.size, args.work / "scratch")
        code = run.wait()
        if left := leftovers(run):
            sys.exit("The run left alone left behind: " + ", ".join(left))
        print(f"left alone: exit code {code}, {run.n_done()} videos done")
        note.write_text(made_of)
    made = {path.name: None if path.name.split()[1] == "good" else path.name.split()[1] for path in videos.iterdir()}
    expected = sum(1 for _ in clean.glob(f"*{COMMANDS[args.command][1]}"))

    battered = args.work / "battered"
    shutil.rmtree(battered, ignore_errors=True)
    begin = time.perf_counter()
    run = Run(args.command, videos, battered, args.size, args.work / "scratch")
    killed = batter(run, expected, args.kills, args.worker_kills, args.seed)
    code = run.wait()
    seconds = time.perf_counter() - begin
    found = (differences if args.command == "extract" else differing_outputs)(made, clean, battered)
    found += [f"left behind: {what}" for what in leftovers(run)]
    if killed != Counter(main=args.kills, worker=args.worker_kills):
        found.append(f"only {dict(killed)} were killed: the run was too short.")
    broken = {name for name, way in made.items() if way}
    ways = {made[name] for name in broken}
    print(f"{made_of}: {len(made) - len(broken)} good, {len(broken)} broken in {len(ways)} ways")
    if args.command == "extract":
        found += of_extraction(broken, code, clean, battered)
    elif code not in (0, 3):
        found.append(f"exit code {code}")
    else:
        print(f"{run.n_done()} pages, {len(outputs(battered))} files in all")
    print(f"killed: the run {killed['main']} times, its workers {killed['worker']} times")
    print(f"{seconds:.0f} s, exit code {code}")
    print(*found or ["everything of good videos equal, nothing left behind"], sep="\n")
    sys.exit(1 if found else 0)


def of_extraction(broken: set[str], code: int, clean: Path, battered: Path) -> list[str]:
    """Print what became of the videos; returns what is wrong with the exit code."""
    report = json.loads((clean / "report.json").read_text())
    of_good, of_broken = (
        Counter(entry["status"] for entry in report["files"] if (Path(entry["path"]).name in broken) == side)
        for side in (False, True)
    )
    in_part = [Path(name).stem + ".npz" for name in broken if (clean / f"{Path(name).stem}.npz").exists()]
    n_unlike = sum(not equal(clean / name, battered / name) for name in in_part if (battered / name).exists())
    print(f"good, left alone: {dict(of_good)}; broken: {dict(of_broken)}; left alone {report['wall_seconds']:.0f} s")
    print(f"of {len(in_part)} broken videos with features, {n_unlike} have other ones than when left alone")
    return [] if code == (3 if of_broken["failed"] + of_broken["partial"] else 0) else [f"exit code {code}"]


if __name__ == "__main__":
    main()
