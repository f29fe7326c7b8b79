"""Calibrations: thresholds for a scene, set by its own normal footage, and how often a score occurs there.

`calibrate` makes one, `Calibration.save` writes it as JSON, and `load` reads it.
"""

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from .errors import AnomalyError, UsageError, cause
from .events import EventRule
from .features import schema
from .matching import fits_pattern, pattern_parts
from .media.timecode import time_in_words
from .storage import check_file, write_file
from .textfiles import read_text
from .version import __version__
from .wording import number_of

if TYPE_CHECKING:
    from .false_alarms import AlarmCurve, Footage

VERSION = 1
SHORTEST = 60.0  # seconds of footage, below which there is nothing to calibrate on
DIGITS = 6  # of scores, rounded down
FURTHEST, STEP = 10, 1.25  # times the length of the footage to which its tail is extrapolated, in steps
LOWEST_RATE = 1e-6  # events per hour that can be asked for: one in 114 years


@dataclass(frozen=True)
class ScoredBy:
    """What scores depend on, besides the footage: the fingerprint of the model, its backbone, and the scoring mode."""

    model: str
    backbone: str
    mode: str = "auto"


@dataclass(frozen=True)
class Frequency:
    """How often normal footage reaches a score: once in `hours`.

    extrapolated: whether this is beyond what the footage can show. bound: "at-least" where it is reached this often or
    more often, "at-most" where this often or less often, else "".
    """

    hours: float
    extrapolated: bool = False
    bound: str = ""

    def __str__(self) -> str:
        if self.bound == "at-least":
            return "usual"
        words = f"once in {time_in_words(self.hours)}"
        return f"less than {words}" if self.bound == "at-most" else f"about {words}" if self.extrapolated else words


@dataclass(frozen=True)
class Calibration:
    """Thresholds for the videos of a scene, and what is known about them.

    rule: the event rule. target: requested false alarms per hour. hours, videos: of normal footage. events:
    those that the rule finds in it. rate_bound: upper bound of their rate per hour, at 95% confidence. hours_needed:
    of such footage without an event, to promise the target. clustering: how many events come together. extrapolated:
    the thresholds are above all scores of the footage. reached: (score, hours): normal footage reaches it once in so
    many hours; `shown` of them were counted, the others are extrapolated. scored_by: what the footage was scored by.
    pattern: of the paths of the videos it is for, None for all. new_events: upper limit of the events in as much new
    footage, at 95% confidence. source: the file, once it is one.
    """

    rule: EventRule
    target: float
    hours: float
    videos: int
    events: int
    rate_bound: float
    hours_needed: float
    clustering: float
    extrapolated: bool
    reached: tuple[tuple[float, float], ...]
    shown: int
    scored_by: ScoredBy
    pattern: str | None = None
    new_events: int | None = None
    tool: str = f"anomalycli {__version__}"
    source: Path | None = dataclasses.field(default=None, compare=False)

    @property
    def is_promised(self) -> bool:
        """Whether the footage shows, with 95% confidence, that false alarms are no more frequent than the target."""
        return self.rate_bound <= self.target

    def once_in(self, score: float) -> Frequency:
        """How often normal footage of the scene reaches this score."""
        below = sum(1 for level, _ in self.reached if level <= score)
        if not below:
            return Frequency(self.reached[0][1] if self.reached else self.hours, bound="at-least")
        last = below == len(self.reached)
        beyond = last and score > self.reached[-1][0]
        return Frequency(self.reached[below - 1][1], below > self.shown, "at-most" if beyond else "")

    def matches(self, path: PurePath) -> bool:
        """Whether the calibration is for this video."""
        return self.pattern is None or fits_pattern(path, self.pattern)

    def check(self, scored_by: ScoredBy) -> None:
        """Raise UsageError where scores are made in another way than those of the footage were."""
        name = self.source or "The calibration"
        if self.scored_by.backbone != scored_by.backbone:
            raise UsageError(
                f"{name}: made with a model for features of {self.scored_by.backbone}, and this model is for those of "
                f"{scored_by.backbone}. Calibrate again with this model."
            )
        if self.scored_by.model != scored_by.model:
            raise UsageError(
                f"{name}: made with another model, and scores of two models cannot be compared. Calibrate again with "
                "this one."
            )
        if self.scored_by.mode != scored_by.mode:
            raise UsageError(
                f"{name}: made in the scoring mode {self.scored_by.mode}, and this one is {scored_by.mode}. Score in "
                "that mode, or calibrate again.",
                "mode",
            )

    def save(self, path: Path) -> None:
        """Write the file atomically."""
        content = dataclasses.asdict(self)
        del content["source"]
        write_file(path, json.dumps({"anomalycli": "calibration", "version": VERSION} | content, indent=1) + "\n")


def calibrate(
    footage: "Sequence[Footage]", target: float, rule: EventRule, scored_by: ScoredBy, pattern: str | None = None
) -> Calibration:
    """Set thresholds so that events in footage like this come at most `target` times per hour.

    Going down from the highest score, a threshold is promised as long as the upper bound of its rate of events (95%,
    for events that come together) is at most the target; the first that is not ends the search, so the promise holds
    in spite of the choice (fixed-sequence testing). Where the footage is too short to promise even that its highest
    score is not exceeded, the threshold is extrapolated from its tail, and `extrapolated` says so.

    rule: its gap, shortest length, and ratio of end to start threshold are kept. pattern: of the paths of the videos
    that it is for.

    Raises UsageError where the footage is too short or has one score throughout, AnomalyError where even events at
    the highest possible score are too many.
    """
    from .alarm_bounds import rate_bound  # SciPy, which scoring does without
    from .false_alarms import AlarmCounter, AlarmCurve

    _check(footage, target)
    curve = AlarmCurve(AlarmCounter(footage, rule))
    counter = curve.counter
    found = curve.lowest(target)
    alarms = curve.above_all() if found is None else found
    threshold = alarms.threshold
    if found is None:
        if len(alarms):
            raise AnomalyError(
                f"This footage has {number_of(len(alarms), 'event')} with the highest possible score, 1, in "
                f"{time_in_words(counter.hours)}, so no threshold gives {target:g} per hour. Are these videos normal? "
                "If they are, train the model on some of them."
            )
        threshold = max(threshold, curve.extrapolate(target))
    reached, shown = _reached(curve, target)
    bounds = curve.bounds(alarms)
    return Calibration(
        rule=counter.rule_at(threshold),
        target=target,
        hours=counter.hours,
        videos=len(footage),
        events=len(alarms),
        rate_bound=bounds.rate,
        hours_needed=rate_bound(0, 1.0, curve.clustering) / target,
        clustering=curve.clustering,
        extrapolated=found is None,
        reached=reached,
        shown=shown,
        scored_by=scored_by,
        pattern=pattern,
        new_events=bounds.new_events,
    )


def load(path: Path) -> Calibration:
    """The calibration in a file. Raises UsageError where it cannot be read or is not one."""
    try:
        check_file(path)
        content = json.loads(read_text(path))
        if not isinstance(content, dict) or content.pop("anomalycli", None) != "calibration":
            raise ValueError("it is something else")
        if type(version := content.pop("version", None)) is int and version > VERSION:
            newer = f", {tool}" if schema.text(tool := content.get("tool")) else ""
            raise UsageError(f"{path}: written by a newer version{newer}. Update this one, or calibrate again.")
        if type(version) is not int or version != VERSION:
            raise ValueError(f"its 'version' is {str(version)[:60]!r}")
        if wrong := schema.fault(content, _CONTENT | _NEW) or schema.missing(content, _CONTENT):
            raise ValueError(f"its {wrong}")
        rule = EventRule(**content.pop("rule"))
        scored_by = ScoredBy(**content.pop("scored_by"))
        reached = tuple((float(score), float(hours)) for score, hours in content.pop("reached"))
        return Calibration(rule=rule, scored_by=scored_by, reached=reached, source=path, **content)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({cause(error)}).") from error
    except (ValueError, RecursionError) as error:
        wrong = f"damaged JSON in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise UsageError(f"{path}: not a calibration ({wrong}). `anomalycli calibrate` writes one.") from error


def choose(calibrations: Sequence[Calibration], path: PurePath) -> Calibration | None:
    """The first calibration that is for the video at `path`, or None."""
    return next((each for each in calibrations if each.matches(path)), None)


def check_target(target: float) -> None:
    """Raise UsageError for a rate of false alarms that cannot be asked for."""
    if not LOWEST_RATE <= target < math.inf:
        raise UsageError(
            f"The rate of false alarms must be at least {LOWEST_RATE:f} per hour, which is one in "
            f"{time_in_words(1 / LOWEST_RATE)}, not {target:g}.",
            "false_alarms_per_hour",
        )


def _check(footage: "Sequence[Footage]", target: float) -> None:
    check_target(target)
    seconds = sum(video.hours for video in footage) * 3600
    if seconds < SHORTEST:
        raise UsageError(
            f"{time_in_words(seconds / 3600)} of normal footage is too little: {time_in_words(3 / target)} without an "
            f"event promise {target:g} false alarms per hour."
        )
    low, high = (pick(float(pick(video.scores)) for video in footage) for pick in (min, max))
    if high - low < 1e-6:
        raise UsageError(
            f"All scores of this footage are {high:.3f}, so there is nothing to choose a threshold by. A model that "
            "scores all alike was trained on too little, or on other features."
        )


def _reached(curve: "AlarmCurve", target: float) -> tuple[tuple[tuple[float, float], ...], int]:
    """`Calibration.reached`, scores rising, and how many of them are counted."""
    hours = curve.counter.hours
    found: list[tuple[float, float]] = []
    for level, count in zip(curve.levels, curve.counts, strict=True):  # of thresholds with equal counts, the lowest
        if found and found[-1][1] == hours / max(count, 1):
            found[-1] = (float(level), found[-1][1])
        elif count:
            found.append((float(level), hours / count))
    found.reverse()
    shown = len(found)
    often = hours
    while curve.tail and (often := often * STEP) <= max(FURTHEST * hours, 1.001 / target):
        score = curve.tail.score(1 / often)
        if max(found[-1][0], curve.highest) + 10**-DIGITS < score < 1:
            found.append((score, often))
    return tuple((math.floor(score * 10**DIGITS) / 10**DIGITS, round(often, 6)) for score, often in found), shown


def _reached_in(value: Any) -> bool:
    """Whether this is `Calibration.reached` as it is written: pairs of score and hours, neither of them falling."""
    pairs = isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and schema.number(0)(pair[0]) and schema.positive(pair[1])
        for pair in value
    )
    if not pairs or any(score > 1 for score, _ in value):
        return False
    return all(column == sorted(column) for column in map(list, zip(*value, strict=True)))


def _object_of(checks: dict[str, schema.Check]) -> schema.Check:
    """An object with all of these values."""
    return lambda value: not (schema.fault(value, checks) or schema.missing(value, checks))


_SCORED_BY: dict[str, schema.Check] = dict.fromkeys(("model", "backbone", "mode"), schema.text)
_RULE: dict[str, schema.Check] = dict.fromkeys(EventRule.__dataclass_fields__, schema.number(0))
_CONTENT: dict[str, schema.Check] = {
    "rule": _object_of(_RULE),
    "target": schema.positive,
    "hours": schema.positive,
    "videos": schema.integer(1),
    "events": schema.integer(0),
    "rate_bound": schema.positive,
    "hours_needed": schema.positive,
    "clustering": schema.number(1),
    "extrapolated": lambda value: isinstance(value, bool),
    "reached": _reached_in,
    "shown": schema.integer(0),
    "scored_by": _object_of(_SCORED_BY),
    "pattern": lambda value: value is None or (schema.text(value) and bool(pattern_parts(value))),
    "tool": schema.text,
}
_NEW: dict[str, schema.Check] = {"new_events": lambda value: value is None or schema.integer(0)(value)}
