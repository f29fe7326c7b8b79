"""Compare a long run that is killed repeatedly with the same run undisturbed.

    python benchmarks/soak.py street-fights/clips robustness --work soak/

500 videos, one in ten damaged in one of the ways of damage.py, with fixed seeds. One run of `anomalycli extract` is not
disturbed; its result is kept for later. Another is killed with SIGKILL at three random moments, its decoders at ten,
and restarted each time. Both must give the same result: identical features of every intact video, the same outcome and
reason in report.json for every damaged one, and no other files or processes. The exit code is 0 only if all of this
holds. (What a decoder returns for missing pieces can depend on what its process read before, so differing features of
damaged videos are only counted.)
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


class Run:
    """`anomalycli extract` over `videos`, in processes that can be identified."""

    def __init__(self, videos: Path, output: Path, size: int, scratch: Path):
        self.output, self.log = output, output.with_suffix(".log")
        self.words = [sys.executable, "-m", "anomalycli", "extract", videos, "-o", output, "--size", str(size)]
        scratch.mkdir(parents=True, exist_ok=True)
        self.scratch, self.mark = scratch, f"{os.getpid()}-{output.name}"
        self.env = os.environ | {MARK: self.mark, "TMPDIR": str(scratch)}
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

    def n_features(self) -> int:
        return sum(1 for _ in self.output.rglob("*.npz"))

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
        while run.n_features() < moment and run.process.poll() is None:
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


def leftovers(run: Run) -> list[str]:
    """Files and processes that a finished run left behind."""
    found = [str(path) for path in run.output.rglob("*") if path.suffix != ".npz" and path.name not in OTHER_FILES] + [
        str(path) for path in run.scratch.rglob("*")
    ]
    time.sleep(1)
    return found + [f"process {pid}: {' '.join(read(pid, 'cmdline'))}" for pid in run.processes()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, help="folder of real clips, .mp4")
    parser.add_argument("robustness", type=Path, help="folder of odd videos")
    parser.add_argument("--work", type=Path, required=True, help="folder to work in; its clean run is used again")
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--worker-kills", type=int, default=10)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    videos, clean = args.work / "videos", args.work / "clean"
    made_of = f"{args.files} files, size {args.size}, seed {args.seed}"
    note = args.work / "clean.txt"
    if not (note.exists() and note.read_text() == made_of):
        made = make_videos(videos, args.clips, args.robustness, args.files, args.seed)
        shutil.rmtree(clean, ignore_errors=True)
        run = Run(videos, clean, args.size, args.work / "scratch")
        code = run.wait()
        if left := leftovers(run):
            sys.exit("The run left alone left behind: " + ", ".join(left))
        print(f"left alone: exit code {code}, {run.n_features()} feature files")
        note.write_text(made_of)
    made = {path.name: None if path.name.split()[1] == "good" else path.name.split()[1] for path in videos.iterdir()}
    expected = sum(1 for _ in clean.rglob("*.npz"))

    battered = args.work / "battered"
    shutil.rmtree(battered, ignore_errors=True)
    begin = time.perf_counter()
    run = Run(videos, battered, args.size, args.work / "scratch")
    killed = batter(run, expected, args.kills, args.worker_kills, args.seed)
    code = run.wait()
    seconds = time.perf_counter() - begin
    found = differences(made, clean, battered)
    found += [f"left behind: {what}" for what in leftovers(run)]
    if killed != Counter(main=args.kills, worker=args.worker_kills):
        found.append(f"only {dict(killed)} were killed: the run was too short.")
    broken = {name for name, way in made.items() if way}
    report = json.loads((clean / "report.json").read_text())
    of_good, of_broken = (
        Counter(entry["status"] for entry in report["files"] if (Path(entry["path"]).name in broken) == side)
        for side in (False, True)
    )
    if code != (3 if of_broken["failed"] + of_broken["partial"] else 0):
        found.append(f"exit code {code}")
    in_part = [Path(name).stem + ".npz" for name in broken if (clean / f"{Path(name).stem}.npz").exists()]
    n_unlike = sum(not equal(clean / name, battered / name) for name in in_part if (battered / name).exists())
    ways = {made[name] for name in broken}
    print(f"{made_of}: {len(made) - len(broken)} good, {len(broken)} broken in {len(ways)} ways")
    print(f"good, left alone: {dict(of_good)}; broken: {dict(of_broken)}")
    print(f"killed: the run {killed['main']} times, its workers {killed['worker']} times")
    print(f"{seconds:.0f} s, exit code {code}; left alone {report['wall_seconds']:.0f} s")
    print(f"of {len(in_part)} broken videos with features, {n_unlike} have other ones than when left alone")
    print(*found or ["all features of good videos equal, every failure named, nothing left behind"], sep="\n")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
