"""News of events as JSON: what is printed, sent and stored."""

import json
from datetime import UTC, datetime
from typing import Any

from .tracking import News


def utc_time(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC, with milliseconds."""
    moment = datetime.fromtimestamp(round(seconds, 3), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def message(news: News, recording: str = "", **more: Any) -> dict[str, Any]:
    """News of an event as a JSON object; `recording` is the file of a folder that it is in."""
    event = news.event
    fields = {
        "kind": news.kind,
        "id": event.id,
        "stream": event.stream,
        "recording": recording or None,
        "start": utc_time(event.start),
        "end": utc_time(event.end),
        "peak": utc_time(event.peak),
        "seconds": round(event.end - event.start, 3),
        "score": round(event.score, 4),
        "open": event.is_open,
        "final": event.is_final,
        "confirmed": event.is_confirmed,
        "reason": event.reason,
    }
    return {name: value for name, value in (fields | more).items() if value is not None}


def to_json(fields: dict[str, Any]) -> str:
    """One line."""
    return json.dumps(fields, ensure_ascii=False)
