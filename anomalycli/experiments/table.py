"""The table of a comparison: mean and spread over seeds, as Markdown, CSV and JSON."""

import csv
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..storage import atomic_write, write_file
from ..training.config import CHECKPOINTS
from .comparison import ComparisonRow

COLUMNS = {
    "auc": "AUC",
    "ap": "AP",
    "pr_auc": "auc(recall, precision)",
    "abnormal_auc": "AUC, abnormal videos",
    "abnormal_ap": "AP, abnormal videos",
    "false_alarms": "false alarms",
}


@dataclass(frozen=True)
class ComparisonResult:
    """The metrics of one row with one seed, and the step whose weights were evaluated."""

    label: str
    seed: int
    step: int
    metrics: dict[str, float | None]


def summary(rows: Sequence[ComparisonRow], results: Sequence[ComparisonResult]) -> list[dict]:
    """By row: label, number of seeds, checkpoint, and mean and standard deviation (n - 1) of each metric."""
    table = []
    for row in rows:
        mine = [result for result in results if result.label == row.label]
        line: dict = {"method": row.label, "seeds": len(mine), "checkpoint": CHECKPOINTS[row.plan.config.keep]}
        for name in COLUMNS:
            values = [value for result in mine if (value := result.metrics[name]) is not None]
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
    write_file(output / "table.md", "\n".join([*lines, "", words, ""]))
    write_file(output / "table.json", json.dumps({"on": words, "rows": list(table)}, indent=1) + "\n")
    with atomic_write(output / "table.csv") as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)


def mean_and_spread(mean: float | None, spread: float | None) -> str:
    """Mean and standard deviation as text, with four decimals; "-" without a mean."""
    if mean is None:
        return "-"
    return f"{mean:.4f}" if spread is None else f"{mean:.4f} ± {spread:.4f}"
