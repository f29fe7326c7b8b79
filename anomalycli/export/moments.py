"""Which frames of a video are worth a picture."""

from dataclasses import replace

from ..events import find_events
from ..score import Result


def moments(result: Result, most: int) -> list[int]:
    """At most `most` frames worth a picture: the peaks of events, then those at other thresholds, nearest first."""
    chosen = dict.fromkeys(result.highlights(most))
    levels = sorted((level / 20 for level in range(1, 20)), key=lambda level: abs(level - result.rule.start_threshold))
    for level in levels:
        rule = replace(result.rule, start_threshold=level, end_threshold=min(result.rule.end_threshold, level))
        events = find_events(result.scores, result.fps, rule, result.times)
        for event in sorted(events, key=lambda event: -event.score):
            if len(chosen) >= most:
                return sorted(chosen)
            chosen.setdefault(event.peak)
    return sorted(chosen)
