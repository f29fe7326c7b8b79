"""Several methods and seeds on the same features, in the same order, under the same evaluation."""

import csv
import dataclasses
import hashlib
import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..data.bags import Bags
from ..data.sampling import Batches, split
from ..denet import DENetConfig
from ..errors import UsageError
from ..evaluation.metrics import Metrics, evaluate
from ..evaluation.protocol import EvaluationSet, evaluation_set
from ..inference import score_bags
from ..methods import METHODS
from ..storage import whole, write_whole
from ..training.state import Run
from ..training.trainer import CHECKPOINTS, TrainConfig, check_classes, make_optimizer, steps
from ..training.validation import average_precision

COLUMNS = {
    "auc": "AUC",
    "ap": "AP",
    "pr_auc": "auc(recall, precision)",
    "abnormal_auc": "AUC, abnormal videos",
    "abnormal_ap": "AP, abnormal videos",
    "false_alarms": "false alarms",
}


@dataclass(frozen=True)
class Entry:
    """A row of the table: a method with its settings. `setting` and `value` where it is one of a sweep."""

    label: str
    method: str
    network: DENetConfig
    config: TrainConfig
    setting: str | None = None
    value: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What one method with one seed came to, and the step whose state was evaluated."""

    label: str
    seed: int
    step: int
    metrics: dict[str, float | None]


def entries(
    methods: Sequence[str],
    dim: int,
    settings: Mapping | None = None,
    of_method: Mapping[str, Mapping] | None = None,
    sweeps: Mapping[str, Sequence] | None = None,
) -> list[Entry]:
    """Rows for `methods`, and for each value of the settings of DE-Net in `sweeps` (Fig. 3).

    `settings`, named as in DENetConfig and TrainConfig, are everyone's; `of_method` has a method's own.

    Raises UsageError for a method or setting that there is not, or where settings do not fit together.
    """
    of_method, sweeps = of_method or {}, sweeps or {}
    rows: list[tuple[str, str, dict, str | None, float | None]] = [(name, name, {}, None, None) for name in methods]
    for swept, values in sweeps.items():
        rows += [(f"{swept}={value}", "de-net", {swept: value}, swept, value) for value in values]
    for name in {*methods, *of_method} - METHODS.keys():
        raise UsageError(f"There is no method '{name}': give {', '.join(METHODS)}.")
    made = []
    for label, method, own, setting, value in rows:
        every = {**(settings or {}), **of_method.get(method, {}), **own}
        network = {k: v for k, v in every.items() if k in DENetConfig.__dataclass_fields__ and k != "feature_dim"}
        config = {
            k: v for k, v in every.items() if k in TrainConfig.__dataclass_fields__ and k not in ("seed", "erasing")
        }
        if config.get("keep") == "test":
            raise UsageError(f"{label}: a comparison never picks the best on test.")
        if unknown := every.keys() - network.keys() - config.keys():
            raise UsageError(f"{label}: there is no setting '{min(unknown)}' that a comparison could change.")
        try:
            made.append(Entry(label, method, DENetConfig(dim, **network), TrainConfig(**config), setting, value))
        except (TypeError, ValueError) as error:
            raise UsageError(f"{label}: these settings do not fit together: {error}") from error
    if len({entry.network.segments for entry in made}) > 1:
        raise UsageError("All methods must have the same number of segments: they see the same bags.")
    return made


def compare(
    rows: Sequence[Entry],
    seeds: Sequence[int],
    bags: Bags,
    output: Path,
    *,
    test: EvaluationSet | None = None,
    truth: Mapping[str, np.ndarray] | None = None,
    groups: Mapping[str, str] | None = None,
    to_frames: str = "repeated",
    device: str | torch.device = "cpu",
    on_step: Callable[[Entry, int, int], None] | None = None,
) -> Iterator[Outcome]:
    """Train each row with each seed, and evaluate it on `test`, yielding outcomes as they come.

    Without `test`, the videos that `config.validation` holds out (whole `groups`, where given) stand in
    its place, with `truth`, ground truth by video: so settings are tuned without a look at the test
    set. With it, all videos are trained on, unless `config.keep` is "validation": then those held out
    pick the state, by frames where there is `truth`. `to_frames`: how the scores of videos held out become
    scores of frames (evaluation.protocol.TO_FRAMES); `test` says so itself.

    Each outcome is kept in OUTPUT/runs; what is there is not run again. Raises UsageError where what is
    there is of other settings or data, or where there is nothing to evaluate or to pick the best on.
    """
    if test and (conflict := test.bags.kind.conflict(bags.kind, "the test features have", "the training features")):
        raise UsageError(f"{conflict}: both need features of the same kind.")
    seen = {
        "train": bags.fingerprint(),
        "test": test.bags.fingerprint() if test else None,
        "evaluation": f"{test.to_frames}, {test.fingerprint()}" if test else to_frames,
    }
    for seed in seeds:
        for entry in rows:
            path = output / "runs" / f"{entry.label}-{seed}.json"
            config = dataclasses.replace(entry.config, seed=seed).on(torch.device(device))
            share = config.validation if test is None or config.keep == "validation" else 0
            held_out, kept = split(bags.names, bags.labels, share, seed, groups)
            identity = seen | {
                "method": entry.method,
                "network": dataclasses.asdict(entry.network),
                "settings": dataclasses.asdict(config),
                "held_out": _digest([bags.names[i] for i in held_out]),
            }
            outcome = _finished(path, identity)
            if outcome is None:
                judge = test
                if judge is None and len(held_out) and truth is not None:
                    judge = dataclasses.replace(evaluation_set(bags[held_out], truth), to_frames=to_frames)
                if judge is None or (test is None and config.keep == "validation"):
                    raise UsageError(
                        "There is nothing to evaluate on: give --test features, or --ground-truth of training videos "
                        "and a share of them to hold out (to be evaluated on, and not to pick the best on as well)."
                    )
                picker = (
                    evaluation_set(bags[held_out], truth if test is None else None)
                    if config.keep == "validation"
                    else None
                )
                outcome = _run(entry, config, bags, kept, judge, picker, torch.device(device), on_step)
                _keep(path, outcome, identity)
            yield outcome


def summary(rows: Sequence[Entry], outcomes: Sequence[Outcome]) -> list[dict]:
    """By row: label, number of seeds, checkpoint, and mean and standard deviation (n - 1) of each metric."""
    table = []
    for entry in rows:
        mine = [outcome for outcome in outcomes if outcome.label == entry.label]
        line: dict = {"method": entry.label, "seeds": len(mine), "checkpoint": CHECKPOINTS[entry.config.keep]}
        for name in COLUMNS:
            values = [value for outcome in mine if (value := outcome.metrics[name]) is not None]
            line[name] = statistics.mean(values) if values else None
            line[f"{name}_std"] = statistics.stdev(values) if len(values) > 1 else None
        table.append(line)
    return table


def write_table(table: Sequence[dict], output: Path, words: str) -> None:
    """OUTPUT/table.md, .csv and .json; `words` are what the table was measured on."""
    lines = [
        "| method | seeds | checkpoint | " + " | ".join(COLUMNS.values()) + " |",
        "|---" * (3 + len(COLUMNS)) + "|",
    ]
    for line in table:
        cells = [mean_and_spread(line[name], line[f"{name}_std"]) for name in COLUMNS]
        lines.append(f"| {line['method']} | {line['seeds']} | {line['checkpoint']} | " + " | ".join(cells) + " |")
    write_whole(output / "table.md", "\n".join([*lines, "", words, ""]))
    write_whole(output / "table.json", json.dumps({"on": words, "rows": list(table)}, indent=1) + "\n")
    with whole(output / "table.csv") as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)


def mean_and_spread(mean: float | None, spread: float | None) -> str:
    if mean is None:
        return "-"
    return f"{mean:.4f}" if spread is None else f"{mean:.4f} ± {spread:.4f}"


def _run(
    entry: Entry,
    config: TrainConfig,
    bags: Bags,
    kept: np.ndarray,
    judge: EvaluationSet,
    picker: EvaluationSet | None,
    device: torch.device,
    on_step: Callable[[Entry, int, int], None] | None,
) -> Outcome:
    check_classes(bags.labels[kept])
    batches = Batches(bags.labels, kept, bags.x.shape[1], config.crops, config.batch, config.seed)
    x = torch.from_numpy(bags.x).flatten(0, 1).to(device)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        method = METHODS[entry.method](entry.network, config).to(device)
        run = Run(method, make_optimizer(method, config))
        for step, _, _ in steps(method, method.loss, run.optimizer, x, batches, config):
            run.step = step
            if picker and (step % config.validate_every == 0 or step == config.steps):
                run.keep_best(average_precision(method, picker, device))
            if on_step:
                on_step(entry, config.seed, step)
    if run.best:
        method.load_state_dict(run.best)
    assert judge.truth is not None
    scores = judge.frame_scores(score_bags(method, judge.bags.x, device))
    metrics: Metrics = evaluate(scores, judge.truth, resamples=0).metrics
    return Outcome(entry.label, config.seed, run.best_step or run.step, dataclasses.asdict(metrics))


def _finished(path: Path, identity: dict) -> Outcome | None:
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        before, outcome = record["identity"], Outcome(**record["outcome"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: not the record of a run; delete it.") from error
    if before != identity:
        differs = next(name for name in identity if before.get(name) != identity[name])
        raise UsageError(f"{path}: that run had another '{differs}'. Give another --output, or delete it.")
    return outcome


def _keep(path: Path, outcome: Outcome, identity: dict) -> None:
    record = {"outcome": dataclasses.asdict(outcome), "identity": identity}
    write_whole(path, json.dumps(record, indent=1) + "\n")


def _digest(names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()
