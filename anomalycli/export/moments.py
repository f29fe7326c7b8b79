"""Choose the frames of a video to show as pictures."""

from dataclasses import replace

from ..events import find_events
from ..result import Result

STRIPS, STRIP = 10, 4  # events that get a filmstrip, the strongest; pictures of each, beside that of the peak


def moments(result: Result, most: int) -> list[int]:
    """At most `most` frames to show, in order.

    First the peaks of the strongest events; then frames spread over the strongest of them, for browsers that cannot
    play the video; then the peaks of events at other thresholds, the nearest thresholds first.
    """
    rule = result.rule
    chosen = dict.fromkeys(result.highlights(most))
    for event in sorted(result.events, key=lambda event: -event.score)[:STRIPS]:
        length = event.end - event.start
        for part in range(STRIP):
            chosen.setdefault(event.start + (2 * part + 1) * length // (2 * STRIP))
    levels = sorted((level / 20 for level in range(1, 20)), key=lambda level: abs(level - rule.start_threshold))
    for level in levels:
        other = replace(rule, start_threshold=level, end_threshold=min(rule.end_threshold, level))
        events = find_events(result.scores, result.fps, other, result.times)
        for event in sorted(events, key=lambda event: -event.score):
            chosen.setdefault(event.peak)
    return sorted(list(chosen)[:most])
