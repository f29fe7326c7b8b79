"""Thousands of damaged files through every parser of files that are not videos.

    python benchmarks/fuzz_parsers.py                          # 1,000 mutations per parser
    python benchmarks/fuzz_parsers.py --mutations 100 --only model features

Of each kind of file that is read (features, models, weights, labels, ground truth, lists, reports, rows of an
interrupted run) a good one is written and damaged in turn: bytes are flipped, cut, doubled, zeroed or replaced by
others that mean something (huge numbers, NaN, quotes, NUL, brackets). A parser must return, or raise an AnomalyError
whose sentence names the file. Anything else is a broken promise, and so is a call that takes more than `--seconds`, or
more memory than `--memory` MB. Exit code 0 only if there was none.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator

from anomalycli.checkpoint import ModelInfo, load_model, save_model
from anomalycli.data.datasets import dataset_of
from anomalycli.data.ground_truth import read_frames
from anomalycli.data.labels import read_labels
from anomalycli.data.sampling import read_groups
from anomalycli.denet import DENet, DENetConfig
from anomalycli.errors import AnomalyError
from anomalycli.extraction.run_report import ExtractionOutcome, RunReport, read_report
from anomalycli.extraction.spool import Rows
from anomalycli.features.files import FeatureKind, Features, load_features, load_metadata
from anomalycli.features.folder import FeatureFolder, find_features
from anomalycli.features.layouts import load_arrays
from anomalycli.inputs import expand

KIND = FeatureKind("mc3", "0" * 64, "whole frame", 128, 32)
WORDS = (b"\xff\xff\xff\xff\xff\xff\xff\x7f", b"\0" * 8, b"NaN", b"-1", b"1e999", b'"', b"{", b"[" * 200, b"\n", b",")
WORDS += (
    b";",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"999999999999",
    b"null",
    b"true",
    b"\xc3\x28",
    b"\t",
    b"=cmd()",
    b"../../x",
)
TRUTHS = {  # of each data set: an annotation file
    "csv": "video,n_frames,start,end\na,40,3,9\na,40,12,20\nb,50,,\n",
    "xd-violence": "a_label_B1 3 9 12 20\nb_label_B2 1 4\n",
    "ucf-crime": "a.mp4 Abuse 3 9 -1 -1 40\nb.mp4 Normal -1 -1 -1 -1 50\n",
    "tad": '[{"path": "x/a.npy", "anomaly_span": [[0.1, 0.2], [0.5, 1.0]]}, {"path": "b.npy", "anomaly_span": []}]',
}


def write_features(path: Path) -> None:
    rng = np.random.default_rng(0)
    visual = rng.normal(size=(3, 1, 32)).astype(np.float32)
    Features(visual, KIND, 40, 25.0, "a.mp4", times=np.arange(40) / 25).save(path)


def write_model(path: Path) -> None:
    config = DENetConfig(32, segments=4, heads=2, feedforward=8, width=8)
    save_model(path, DENet(config), ModelInfo(config, KIND))


def write_report(path: Path) -> None:
    with RunReport(path.parent) as report:
        report.add(ExtractionOutcome(Path("a.mp4"), "done", frames=40, seconds=1.6))
    (path.parent / "report.json").replace(path)


def write_rows(path: Path) -> None:
    rows = Rows(path, {"of": "a"}, 32)
    rows.extend(np.ones((3, 1, 32), np.float32))
    rows._file.close()


def read_rows(path: Path) -> None:
    rows = Rows(path, {"of": "a"}, 32)
    assert len(rows) == 0 or np.array_equal(rows.array(), np.ones((len(rows), 1, 32), np.float32))
    rows.discard()


def text(content: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(content, encoding="utf-8") and None


def write_array(path: Path) -> None:
    np.save(path, np.ones((3, 10, 8), np.float16))


def write_list(path: Path) -> None:
    path.write_text("/data/a__0.npy\nfolder/b.mp4\n", encoding="utf-8")
    (path.parent / "features").mkdir(exist_ok=True)
    for name in ("a", "b"):
        np.save(path.parent / "features" / f"{name}.npy", np.ones((3, 8), np.float32))


def read_weights(path: Path) -> None:
    from anomalycli.backbones.weights import load_weights

    load_weights(torch.nn.Linear(4, 4), path)


PARSERS: dict[str, tuple[str, Callable[[Path], None], Callable[[Path], Any]]] = {
    "features": ("a.npz", write_features, load_features),
    "features, metadata": ("a.npz", write_features, load_metadata),
    "model": ("a.safetensors", write_model, load_model),
    "weights": ("a.pth", lambda path: torch.save(torch.nn.Linear(4, 4).state_dict(), path), read_weights),
    "report": ("report.1-of-2.json", write_report, read_report),
    "rows": ("a.npz.rows", write_rows, read_rows),
    "labels": ("labels.csv", text("video,label\na.mp4,1\nb,0\n"), read_labels),
    "groups": ("groups.csv", text("video,group\na.mp4,x\nb,y\n"), lambda path: read_groups(path, ["a", "b"])),
    "frames": ("frames.csv", text("video,n_frames\na,40\nb,50\n"), read_frames),
    "arrays": ("a_i3d.npy", write_array, lambda path: load_arrays("a", (path,))),
    "list": ("list.txt", write_list, lambda path: find_features(FeatureFolder(path.parent / "features", only=path))),
    "inputs": ("inputs.txt", text("a.mp4\nfolder/b.mp4\n"), lambda path: expand([f"@{path}"])),
    **{
        f"ground truth, {name}": ("truth.txt", text(content), dataset_of(name).read) for name, content in TRUTHS.items()
    },
}


def mutated(content: bytes, rng: Generator) -> bytes:
    """One to three changes of `content`."""
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(0, max(1, len(content))))
        to = min(len(content), at + int(2 ** rng.uniform(0, 7)))
        way = int(rng.integers(0, 7))
        if way == 0 and content:
            content = content[:at] + bytes([content[at] ^ (1 << int(rng.integers(0, 8)))]) + content[at + 1 :]
        elif way == 1:
            content = content[:at]
        elif way == 2:
            content = content[:at] + rng.bytes(to - at) + content[to:]
        elif way == 3:
            content = content[:at] + bytes(to - at) + content[to:]
        elif way == 4:
            content = content[:to] + content[at:]
        else:
            word = WORDS[int(rng.integers(0, len(WORDS)))]
            content = content[:at] + word + content[at + (len(word) if way == 5 else 0) :]
    return content


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=1000, help="per parser")
    parser.add_argument("--only", nargs="+", default=list(PARSERS), choices=list(PARSERS))
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--memory", type=int, default=4096, help="MB that this process may have")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_DATA, (args.memory << 20, args.memory << 20))
    broken = []
    print("| parser | read | refused with a sentence | broken promise |\n|---|---:|---:|---:|")
    for number, name in enumerate(args.only):
        file, write, read = PARSERS[name]
        rng = np.random.default_rng([args.seed, number])
        fates: Counter[str] = Counter()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / file
            write(path)
            good = path.read_bytes()
            read(path)  # the good one is read
            for _ in range(args.mutations):
                path.write_bytes(content := mutated(good, rng))
                begin = time.perf_counter()
                try:
                    read(path)
                    fate = "read"
                except AnomalyError as error:
                    fate = "refused" if file in str(error) else "broken"
                    reason = f"the error does not name the file: {error}"
                except Exception as error:
                    fate, reason = "broken", repr(error)
                if (seconds := time.perf_counter() - begin) > args.seconds:
                    fate, reason = "broken", f"{seconds:.0f} s"
                fates[fate] += 1
                if fate == "broken":
                    broken.append(f"{name}: {reason[:300]} of {content[:80]!r}")
        print(f"| {name} | {fates['read']} | {fates['refused']} | {fates['broken'] or ''} |", flush=True)
    print(f"\n{args.mutations} mutations of each, seed {args.seed}; peak memory "
          f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")  # fmt: skip
    print(*broken[:50] or ["no broken promise"], sep="\n")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
