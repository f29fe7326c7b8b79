"""The files and folders that training reads, loaded with their warnings printed."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from .settings import OPTION_NAMES, preset_of, say_warnings
from .terminal import fault

if TYPE_CHECKING:
    from ..data.bags import Bags
    from ..data.ground_truth import GroundTruthFile
    from ..features.folder import FeatureFolder
    from ..training.trainer import TrainingData


@dataclass(frozen=True)
class Sources:
    """What to learn from and to evaluate on.

    ground_truth: of the folder `test`. validation: of the training videos, for those that are held out. events:
    whether labels of single events count; they do not where validation is on frames. leave_out: whether videos with
    damaged features are left out of training, not an error. left_out: the sentences on those that were, which are
    printed, as are `warnings`, each once.
    """

    features: "FeatureFolder"
    labels: Path | None = None
    groups: Path | None = None
    validation: "GroundTruthFile | None" = None
    test: Path | None = None
    test_only: Path | None = None
    ground_truth: "GroundTruthFile | None" = None
    events: bool = True
    leave_out: bool = False
    left_out: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Raise UsageError where test features have no ground truth, or a list of test videos has no features."""
        if self.test_only and not self.test:
            raise UsageError(
                f"{self.test_only}: it lists test videos, and no folder of their features is given.", "test"
            )
        if self.test and self.ground_truth is None:
            raise UsageError(f"{self.test}: the test features need --ground-truth.")

    def load(self, n_segments: int, crops: str = "mean") -> "Bags":
        """The bags to train on."""
        from ..data.bags import load_bags

        events = self.events and not self.validation
        bags = load_bags(
            self.features, n_segments, crops=crops, labels=self.labels, events=events, leave_out=self.leave_out
        )
        equal = f"{self.features.path}: all features of all videos are equal, so nothing can be learnt from them."
        self._tell([*bags.warnings, *([equal] if bags.is_constant else [])], bags.left_out)
        return bags

    def _tell(self, warnings: Iterable[str], left_out: Iterable[str] = ()) -> None:
        """Print what was not printed before: features may be read twice."""
        say_warnings(new := [sentence for sentence in warnings if sentence not in self.warnings])
        self.warnings.extend(new)
        for sentence in left_out:
            if sentence not in self.left_out:
                fault("failed", sentence)
                self.left_out.append(sentence)

    def data(self, bags: "Bags", watch: tuple[str, ...] = (), to_frames: str = "repeated") -> "TrainingData":
        """The bags with their groups and ground truth, and the test set: TrainingData."""
        from ..data.sampling import read_groups
        from ..evaluation.protocol import load_evaluation_set
        from ..features.folder import FeatureFolder
        from ..matching import match_names
        from ..training.trainer import TrainingData

        groups, truth, test = None, None, None
        if self.groups:
            groups, warnings = read_groups(self.groups, list(dict.fromkeys(bags.videos)))
            self._tell(warnings)
        if self.validation:
            loaded = self.validation.load(bags.lengths)
            self._tell(loaded.warnings)
            truth = loaded.frames
        if self.test and self.ground_truth:
            folder = FeatureFolder(self.test, self.features.vggish, self.test_only)
            test = load_evaluation_set(folder, bags.x.shape[2], self.ground_truth, to_frames)
            self._tell(test.warnings, test.bags.left_out)
        found = match_names(watch, bags.names, "the videos to watch").found
        return TrainingData(bags, groups, truth, test, tuple(dict.fromkeys(found.get(name, name) for name in watch)))


def check_width(folder: Path, bags: "Bags", preset: str | None, dim: int | None) -> None:
    """Raise UsageError for features of another width than the preset's."""
    if dim not in (None, bags.dim):
        raise UsageError(
            f"{folder}: features of width {bags.dim}; the preset {preset} is for width {dim}. Its other settings are "
            f"the defaults and {_unlike_defaults(preset)}: give these in its place.",
            "preset",
        )


def _unlike_defaults(preset: str | None) -> str:
    """The settings of a preset that are not the defaults, as NAME=VALUE."""
    from ..denet_settings import DENetSettings
    from ..training.config import TrainConfig

    settings = preset_of(preset)
    different = [
        field.name
        for kind in (DENetSettings, TrainConfig)
        for field in fields(kind)
        if settings.get(field.name, field.default) != field.default and field.name != "feature_dim"
    ]
    return ", ".join(f"{OPTION_NAMES.get(name, name)}={settings[name]}" for name in different)
