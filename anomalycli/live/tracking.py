"""Events while they happen: found in the scores so far, with news when they begin, change and end."""

import secrets
from dataclasses import dataclass, field, replace

import numpy as np

from ..events import EPSILON, Event, EventRule, find_events, frame_edges, runs
from .window import Scores

RISE = 0.05  # by which the highest score of an event grows before there is an update
EVERY = 10.0  # seconds after which there is an update of an open event
LONGEST = 3600.0  # seconds; a longer event is ended, and another begins
KINDS = ("start", "update", "end", "final")


@dataclass(frozen=True)
class LiveEvent:
    """An event of a stream; times are seconds since 1970.

    peak: when the score was highest; score: that. is_open: whether it has not ended. is_final: whether no score to come
    can change it. is_confirmed: false once final scores show no event there. reason: why it ended, where not by its
    scores.
    """

    id: str
    stream: str
    start: float
    end: float
    peak: float
    score: float
    is_open: bool = True
    is_final: bool = False
    is_confirmed: bool = True
    reason: str | None = None


@dataclass(frozen=True)
class News:
    """News of an event: `kind` is one of KINDS."""

    kind: str
    event: LiveEvent


@dataclass
class _Known:
    """An event whose frames are kept, [first, last)."""

    event: LiveEvent
    first: int
    last: int
    told: LiveEvent | None = None  # as the last news had it
    since: float = np.inf  # when it began, where that was before a restart
    is_found: bool = True
    is_done: bool = False  # its final news are out


@dataclass
class EventTracker:
    """The events of one stream.

    `before` is one that a restart interrupted, or None: it is continued if the first scores do not show its end.
    """

    stream: str
    rule: EventRule
    before: LiveEvent | None = None
    _known: list[_Known] = field(default_factory=list)
    _base: int = 0  # number of the first frame that is kept
    _scores: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    _times: np.ndarray = field(default_factory=lambda: np.empty(0))
    _begin: float = np.inf  # when its first frame was taken

    @property
    def is_open(self) -> bool:
        """Whether an event is going on."""
        return any(known.event.is_open for known in self._known)

    def update(self, scores: Scores, fps: float) -> list[News]:
        """What is new by these scores, which replace those that were not final."""
        kept = scores.start - self._base
        self._begin = min(self._begin, float(scores.times[0]))
        self._scores = np.concatenate((self._scores[:kept], scores.scores))
        self._times = np.concatenate((self._times[:kept], scores.times))
        n_final = kept + scores.n_final
        news = self._compare(fps, n_final)
        if self._times[-1] - self._times[0] > LONGEST:
            return news + self._finish(f"longer than {LONGEST:g} s", start=len(self._times))
        start = self._settled(n_final)
        self._drop(start)
        return news

    def finish(self, reason: str | None, fps: float) -> list[News]:
        """What is new where no score is to come: all events end."""
        news = self._compare(fps, len(self._scores)) if len(self._scores) else []
        return news + self._finish(reason, start=len(self._scores))

    def _finish(self, reason: str | None, start: int) -> list[News]:
        news = self._give_up_before()
        for known in self._known:
            if known.event.is_open:
                known.event = replace(known.event, is_open=False, reason=reason)
                news.append(News("end", known.event))
            if not known.is_done:
                news.append(self._final(known))
        self._known = []
        self._drop(start)
        return news

    def _compare(self, fps: float, n_final: int) -> list[News]:
        """Match the events in the scores with those that are known."""
        found = find_events(self._scores, fps, self.rule, self._times)
        edges = frame_edges(len(self._scores), fps, self._times)
        for known in self._known:
            known.is_found = False
        news: list[News] = []
        for event in found:
            news += self._match(event, edges)
        for known in self._known:
            if not known.is_done:
                news += self._changes(known)
                if self._is_settled(known, edges, n_final):
                    news.append(self._final(known))
        if self.before and edges[n_final] > max(self.before.end, self._begin) + self.rule.gap:
            news += self._give_up_before()
        return news

    def _match(self, event: Event, edges: np.ndarray) -> list[News]:
        """Give what was found to the known event that it overlaps, or to a new one."""
        first, last = event.start + self._base, event.end + self._base
        start, end, peak = float(edges[event.start]), float(edges[event.end]), float(edges[event.peak])
        is_open = bool(edges[-1] - end < self.rule.gap - EPSILON)
        for known in self._known:
            if not known.is_found and first < known.last and known.first < last:
                begin = min(start, known.since)
                known.event = replace(
                    known.event, start=begin, end=end, peak=peak, score=event.score, is_open=is_open, is_confirmed=True
                )
                known.first, known.last, known.is_found = first, last, True
                return []
        number, since = secrets.token_hex(8), np.inf
        news: list[News] = []
        if self.before and start <= max(self.before.end, self._begin) + self.rule.gap:
            number, since, self.before = self.before.id, self.before.start, None
        elif self.before:
            news = self._give_up_before()
        new = LiveEvent(number, self.stream, min(since, start), end, peak, event.score)
        self._known.append(_Known(new, first, last, told=new, since=since))
        if not is_open:
            self._known[-1].event = replace(new, is_open=False)
        return [*news, News("start", new)]

    def _give_up_before(self) -> list[News]:
        """The event before the restart has ended."""
        before, self.before = self.before, None
        return [News("final", replace(before, is_open=False, is_final=True, reason="interrupted"))] if before else []

    def _changes(self, known: _Known) -> list[News]:
        event, told = known.event, known.told
        assert told
        if not known.is_found and event.is_confirmed:
            known.event = event = replace(event, is_open=False, is_confirmed=False)
        kind = None
        if told.is_open and not event.is_open:
            kind = "end"
        elif event.is_open and (not told.is_open or event.score >= told.score + RISE or event.end >= told.end + EVERY):
            kind = "update"
        if kind is None:
            return []
        known.told = event
        return [News(kind, event)]

    def _is_settled(self, known: _Known, edges: np.ndarray, n_final: int) -> bool:
        """Whether no score to come can change the event."""
        last = known.last - self._base
        return not known.event.is_open and last <= n_final and edges[n_final] - edges[last] >= self.rule.gap

    def _final(self, known: _Known) -> News:
        known.is_done = True
        return News("final", replace(known.event, is_open=False, is_final=True))

    def _settled(self, n_final: int) -> int:
        """The first frame that is still needed: no event that may change begins before it."""
        start, edges = n_final, self._times
        for first, last in reversed(runs(self._scores >= self.rule.end_threshold)):
            if first < start and (last >= start or edges[start] - edges[last] < self.rule.gap):
                start = first
        for known in self._known:
            if not known.is_done:
                start = min(start, known.first - self._base)
        return max(start, 0)

    def _drop(self, start: int) -> None:
        self._scores, self._times = self._scores[start:], self._times[start:]
        self._base += start
        self._known = [known for known in self._known if not known.is_done or known.last > self._base]
