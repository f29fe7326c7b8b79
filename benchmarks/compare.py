"""Throughput of `compare`: small networks at a time with one thread each, and one after another with all threads.

    python benchmarks/compare.py                     # widths 64, 128, 256, 512
    python benchmarks/compare.py --dims 128 --steps 40 --repeats 3

Both ways train the usual methods (those of `anomalycli compare` without --methods) on the same random features, T 64,
batch 32 + 32, and evaluate them, in turns. The start of the processes is included. Printed are medians of steps per
second and their ratio. With --equal, the results of processes are compared with those of one process with one thread.

    python benchmarks/compare.py --steady --methods rtfm mil-rank --dims 128

measures training alone, without the start of processes and evaluation: steps per second of one process with one thread,
of one with all threads, and of as many processes of one thread as there are threads. With `--before OTHER_CHECKOUT`,
also those of one process with all threads there. All processes are there from the beginning and take turns of
--seconds; printed are medians of --rounds turns. With `--cpu`, only one thread here and there, and steps per second of
CPU time, which depends less on what else the machine does.

    python benchmarks/compare.py --command --before OTHER_CHECKOUT --seeds 2 --steps 80

measures the whole command `anomalycli compare`, from its start to its end, here and there in turns, in seconds.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import torch

from anomalycli.data.bags import Bags
from anomalycli.data.sampling import BagBatches
from anomalycli.evaluation.protocol import evaluation_set
from anomalycli.experiments import compare as comparison
from anomalycli.experiments.comparison import USUAL, Comparison
from anomalycli.features.files import FeatureKind
from anomalycli.methods import find_method
from anomalycli.training.loop import make_optimizer, optimise
from anomalycli.training.plan import make_plan, setting_names
from anomalycli.training.trainer import TrainingData

VIDEOS, SEGMENTS = 40, 64  # videos of each label
START = 4  # seconds that each process has to import torch and take its first step


def data_of(dim: int) -> TrainingData:
    """Random features, with a mean that tells abnormal segments."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], VIDEOS)
    x = rng.normal(size=(2 * VIDEOS, 1, SEGMENTS, dim)).astype(np.float32)
    x[VIDEOS:, :, 20:30] += 0.5
    names = tuple(f"{i:03}" for i in range(2 * VIDEOS))
    n_frames = np.full(2 * VIDEOS, 16 * SEGMENTS)
    bags = Bags(x, labels, names, FeatureKind("random", "0", "-", 0, dim), n_frames)
    truth = {name: np.zeros(16 * SEGMENTS, bool) for name in names}
    for name in names[VIDEOS:]:
        truth[name][16 * 20 : 16 * 30] = True
    return TrainingData(bags, test=evaluation_set(bags, truth))


def run(data: TrainingData, args: argparse.Namespace, workers: int, small: int) -> tuple[float, dict[tuple, object]]:
    """Seconds that a comparison takes, and its results; networks of up to `small` parameters have one thread."""
    comparison.SMALL = small
    rows = Comparison(args.methods, {"steps": args.steps, "feedforward": args.feedforward}).rows(data.bags.dim)
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        machine = comparison.Machine(workers=workers)
        results = list(comparison.compare(rows, range(args.seeds), data, Path(folder), machine=machine))
        return time.perf_counter() - begin, {(result.label, result.seed): result for result in results}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", type=int, nargs="+", default=[64, 128, 256, 512])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--methods", nargs="+", default=USUAL)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--feedforward", type=int, default=512)
    parser.add_argument("--equal", action="store_true", help="also compare the results with those of one process")
    parser.add_argument("--steady", action="store_true")
    parser.add_argument("--cpu", action="store_true", help="with --steady and --before: CPU time of one thread")
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--command", action="store_true")
    parser.add_argument("--before", help="another checkout of this repository, for --steady and --command")
    parser.add_argument("--turns", nargs=4, type=float, help=argparse.SUPPRESS)  # see Turns
    args = parser.parse_args()
    if args.turns:
        print(*rates_of(args, Turns(*args.turns)))
        return
    if args.steady or args.command:
        (steady if args.steady else commands)(args)
        return
    threads = torch.get_num_threads()
    n_runs = len(args.methods) * args.seeds
    print(f"{len(args.methods)} methods, {args.seeds} seeds, {args.steps} steps each, {threads} threads")
    print(f"{'D':>5} {'one after another':>20} {f'{threads} at a time':>20} {'ratio':>7}")
    for dim in args.dims:
        data, everything = data_of(dim), 1 << 40
        times: dict[str, list[float]] = {"before": [], "now": []}
        for _ in range(args.repeats):
            times["before"].append(run(data, args, 1, 0)[0])
            seconds, results = run(data, args, threads, everything)
            times["now"].append(seconds)
        before, now = (args.steps * n_runs / statistics.median(each) for each in times.values())
        print(f"{dim:5} {before:12.2f} steps/s {now:12.2f} steps/s {now / before:7.2f}", flush=True)
        if args.equal:
            _, alone = run(data, args, 1, everything)
            print(f"      results of one process with one thread are {'equal' if alone == results else 'DIFFERENT'}")


def commands(args: argparse.Namespace) -> None:
    """Print the seconds that the whole command takes, here and in the other checkout."""
    print(f"{'D':>5} {'here':>10} {'before':>10} {'ratio':>7}")
    for dim in args.dims:
        seconds: dict[str, list[float]] = {"here": [], "before": []}
        with tempfile.TemporaryDirectory() as folder:
            words = [*words_of(args, dim, Path(folder)), "--output"]
            for turn in range(args.repeats):
                for name, code in (("here", str(Path(__file__).parents[1])), ("before", args.before)):
                    environment = os.environ | {"PYTHONPATH": code}
                    begin = time.perf_counter()
                    all_words = [*words, f"{folder}/{name}{turn}"]
                    subprocess.run(all_words, env=environment, cwd=folder, check=True, stdout=subprocess.DEVNULL)
                    seconds[name].append(time.perf_counter() - begin)
        here, before = (statistics.median(each) for each in seconds.values())
        print(f"{dim:5} {here:8.1f} s {before:8.1f} s {before / here:7.2f}", flush=True)


def words_of(args: argparse.Namespace, dim: int, folder: Path) -> list[str]:
    """The command on random features, which are written to `folder`."""
    data = data_of(dim)
    labels, truth = ["video,label"], ["video,n_frames,start,end"]
    for name in ("train", "test"):
        (folder / name).mkdir()
    for name, label, x in zip(data.bags.names, data.bags.labels, data.bags.x, strict=True):
        np.save(folder / "train" / f"v{name}.npy", x[0])
        np.save(folder / "test" / f"v{name}.npy", x[0])
        labels.append(f"v{name},{label}")
        truth.append(f"v{name},{16 * SEGMENTS}," + (f"{16 * 20},{16 * 30}" if label else ","))
    (folder / "labels.csv").write_text("\n".join(labels))
    (folder / "truth.csv").write_text("\n".join(truth))
    words = f"compare train --test test --ground-truth truth.csv --labels labels.csv --seeds {args.seeds} --methods"
    settings = ["--set", f"steps={args.steps}", "--set", f"feedforward={args.feedforward}"]
    return [sys.executable, "-m", "anomalycli", *words.split(), ",".join(args.methods), *settings, "--json"]


@dataclass(frozen=True)
class Turns:
    """When a process trains: turn `number` of `n` in each round, from the time `begin` on; and its threads."""

    threads: float
    number: float
    n: float
    begin: float


def steady(args: argparse.Namespace) -> None:
    threads = torch.get_num_threads()
    cases = {"1 thread": (1, 1, ""), f"{threads} threads": (1, threads, ""), f"{threads} processes": (threads, 1, "")}
    if args.before:
        cases[f"{threads} threads before"] = (1, threads, args.before)
    if args.cpu:
        cases = {"1 thread": (1, 1, ""), "1 thread before": (1, 1, args.before)}
    print(f"{'':16} {'D':>5} " + " ".join(f"{name:>16}" for name in cases))
    for method in args.methods:
        for dim in args.dims:
            begin = time.time() + START * len(cases)
            started = []
            for number, (n_processes, n_threads, code) in enumerate(cases.values()):
                turns = Turns(n_threads, number, len(cases), begin)
                started.append([start(args, method, dim, turns, code) for _ in range(n_processes)])
            rates = [[map(float, one.communicate()[0].split()) for one in processes] for processes in started]
            medians = [statistics.median(map(sum, zip(*of_case, strict=True))) for of_case in rates]
            print(f"{method:16} {dim:5} " + " ".join(f"{each:16.2f}" for each in medians), flush=True)


def start(args: argparse.Namespace, method: str, dim: int, turns: Turns, code: str) -> subprocess.Popen[str]:
    """A process that trains in its turns, with the code in this checkout or another."""
    words = ["--methods", method, "--dims", dim, "--feedforward", args.feedforward, "--seconds", args.seconds]
    words += ["--rounds", args.rounds, *["--cpu"] * args.cpu, "--turns", *astuple(turns)]
    environment = os.environ | {"PYTHONPATH": code or str(Path(__file__).parents[1])}
    return subprocess.Popen(
        [sys.executable, __file__, *map(str, words)], stdout=subprocess.PIPE, text=True, env=environment
    )


def rates_of(args: argparse.Namespace, turns: Turns) -> list[float]:
    """Steps per second of the first method in each of this process's turns."""
    torch.set_num_threads(int(turns.threads))
    (method,), (dim,) = args.methods, args.dims
    values = {"steps": 1 << 20, "feedforward": args.feedforward}
    plan = make_plan(method, dim, {name: value for name, value in values.items() if name in setting_names(method)})
    config, network = plan.config.on(torch.device("cpu")), find_method(method).build(plan.settings)
    x = torch.randn(2 * VIDEOS, SEGMENTS, dim)
    batches = BagBatches(np.repeat([1, 0], VIDEOS), np.arange(2 * VIDEOS), 1, "mean", 32, 0)
    steps = optimise(network, make_optimizer(network, config), x, batches, config)
    next(steps)
    rates, clock = [], time.process_time if args.cpu else time.perf_counter
    for turn in range(args.rounds):
        time.sleep(max(0.0, turns.begin + (turn * turns.n + turns.number) * args.seconds - time.time()))
        begin, n, before = time.perf_counter(), 0, clock()
        while time.perf_counter() < begin + 0.8 * args.seconds:  # the last step may take longer
            next(steps)
            n += 1
        rates.append(n / (clock() - before))
    return rates


if __name__ == "__main__":
    main()
