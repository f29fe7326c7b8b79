"""Methods and settings of a comparison."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError
from ..methods import find_method
from ..settings import unknown_setting
from ..training.config import TrainConfig, check_keep
from ..training.plan import Plan, make_plan, setting_names, split_settings

# those of the paper's tables, and its peers; ms-tct-full takes several times as long as all of them
USUAL = ("mil-rank", "rtfm", "baseline", "mstm", "mstm+eo", "de-net", "rtfm-mtn", "ms-tct")


def check_evaluated_on(has_test: bool, has_held_out: bool, keep: str) -> None:
    """Raise UsageError where a run has no videos to evaluate on, or none to pick the best state on."""
    if not has_test and (keep == "validation" or not has_held_out):
        raise UsageError(
            "There is nothing to evaluate on: give test features, or ground truth of training videos and a share of "
            "them to hold out (to be evaluated on, and not to pick the best on as well), as validation=0.2 does and "
            "presets do not.",
            "test",
            "ground_truth",
            "validation",
        )
    check_keep(keep, has_held_out)


@dataclass(frozen=True)
class ComparisonRow:
    """A row of the table: a plan. `setting` and `value` where it is one of a sweep."""

    label: str
    plan: Plan
    setting: str | None = None
    value: float | None = None


@dataclass(frozen=True)
class _Row:
    """A row before its plan is made: its settings by name; which one it sweeps, if any, and the value of that."""

    label: str
    method: str
    values: Mapping[str, Any]
    setting: str | None = None
    value: Any = None


@dataclass(frozen=True)
class Comparison:
    """The methods and settings to compare. Settings are named as in the methods' settings and in TrainConfig.

    defaults: of every method that has them, below what its authors use for it (a preset). settings: of every method
    that has them. of_method: of single methods. sweeps: a row for each value of a setting,
    "NAME" of DE-Net (Fig. 3) or "METHOD.NAME".
    """

    methods: Sequence[str]
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    of_method: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    sweeps: Mapping[str, Sequence] = dataclasses.field(default_factory=dict)
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def crops(self) -> str:
        """How the features are to be read: with their crops, if any row needs them."""
        policies = {row.values.get("crops", "mean") for row in self._rows()}
        return policies.pop() if len(policies) == 1 else "all"

    @property
    def segments(self) -> int:
        """The number of segments of every row. Raises UsageError where they differ."""
        counts = {find_method(row.method).segments(row.values) for row in self._rows()}
        if len(counts) > 1:
            raise UsageError("All methods must have the same number of segments: they see the same bags.", "segments")
        return counts.pop()

    @property
    def not_compared(self) -> list[str]:
        """Methods that have settings of their own, and no row."""
        return sorted(self.of_method.keys() - {row.method for row in self._rows()})

    def check(self) -> None:
        """Raise UsageError for a method or setting that does not exist, or a value of another type."""
        if not self.methods and not self.sweeps:
            raise UsageError("There is no method to compare.", "methods")
        for name in self.of_method:
            find_method(name)
        for row in self._rows():
            try:
                split_settings(row.method, row.values)
            except UsageError as error:
                raise UsageError(f"{row.label}: {error}", *error.settings) from error
            if row.values.get("keep") == "test":
                raise UsageError(f"{row.label}: a comparison never picks the best on test.", "keep")
            if "seed" in row.values:
                raise UsageError(
                    f"{row.label}: a comparison takes its seeds one after another; it has no setting seed."
                )
        _ = self.segments

    def check_held_out(self, has_test: bool) -> None:
        """Raise UsageError where no videos are held out, and some are needed to evaluate or to pick the best on.

        has_test: whether there are test videos to evaluate on.
        """
        for row in self._rows():
            keep, share = (row.values.get(name, getattr(TrainConfig, name)) for name in ("keep", "validation"))
            try:
                check_evaluated_on(has_test, bool(share), keep)
            except UsageError as error:
                raise UsageError(f"{row.label}: {error}", *error.settings) from error

    def rows(self, feature_dim: int) -> list[ComparisonRow]:
        """The rows, for features of this width. Raises UsageError where settings do not fit together."""
        self.check()
        rows = []
        for row in self._rows():
            try:
                plan = make_plan(row.method, feature_dim, row.values)
                rows.append(ComparisonRow(row.label, plan, row.setting, row.value))
            except UsageError as error:
                raise UsageError(
                    f"{row.label}: these settings do not fit together: {error}", *error.settings
                ) from error
        return rows

    def _rows(self) -> list[_Row]:
        rows = [_Row(method, method, {}) for method in self.methods]
        for swept, values in self.sweeps.items():
            method, _, name = swept.rpartition(".")
            rows += [_Row(f"{swept}={value}", method or "de-net", {name: value}, swept, value) for value in values]
        known: set[str] = set()
        made = []
        for row in {row.label: row for row in rows}.values():  # each once
            kind, has = find_method(row.method), setting_names(row.method)
            known.update(has)
            shared = {name: each for name, each in self.defaults.items() if name in has} | dict(kind.training)
            shared |= {name: each for name, each in self.settings.items() if name in has}
            own = dict(self.of_method.get(row.method, {})) | dict(row.values)
            made.append(dataclasses.replace(row, values=shared | own))
        if unknown := sorted(self.settings.keys() - known):
            raise UsageError(f"{unknown_setting(unknown[0], sorted(known))} None of these methods has it.", unknown[0])
        return made
