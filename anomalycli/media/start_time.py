"""When a recording began: as the user says, or by the file's name, or by its creation time.

Names are read before creation times: recorders and phones put the time of the first frame there. A creation time may
be that of the last frame (Android), of an export, or of a clock that was never set. Without any of them there is no
start: nothing is guessed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ..errors import UsageError

CREATION_TIMES = ("utc", "local", "ignore")  # how creation times are read
YEARS = range(1971, 2100)  # outside lie the zeros of clocks that were never set: 1904 (QuickTime) and 1970 (Unix)
UNSET = frozenset((date(1980, 1, 1), date(1980, 1, 6), date(2000, 1, 1)))  # zeros of FAT, GPS and many recorders

_DATE = r"(?P<Y>(?:19|20)\d\d)(?P<a>[-_.]?)(?P<m>\d\d)(?P=a)(?P<d>\d\d)"
_TIME = r"(?P<H>\d\d|\d(?=[.:]))(?P<b>[-_.:h]?)(?P<M>\d\d)(?P=b)(?P<S>\d\d)"
_REST = r"(?:\.?(?P<f>\d{3}))?(?: ?(?P<p>[AP]M))?(?P<z>Z|\+\d\d:?\d\d|(?<=T\d{6})-\d{4})?(?!\d)"
_CLOCK = _TIME.replace("[-_.:h]?", "[-_.]")
# (pattern, whether it is UTC): of the file's name without its suffix
_IN_NAME = (
    (rf"^PXL_{_DATE}_{_TIME}{_REST}", True),  # Pixel phones
    # most: Hikvision, Reolink, Axis, Android, OBS
    (rf"(?<!\d){_DATE}(?:T|[-_ @.,]{{1,3}}| at |){_TIME}{_REST}", False),
    # dash cameras of Novatek: 2023_0512_030014
    (rf"(?<!\d)(?P<Y>20\d\d)_(?P<m>\d\d)(?P<d>\d\d)_{_TIME}{_REST}", False),
    (r"^\d\dM\d\dS_(?P<E>1\d{9})$", True),  # Xiaomi, beside the seconds since 1970
    (r"-(?P<E>1\d{9})\.\d{1,6}-", True),  # clips of Frigate
    (r"^(?P<E>1\d{9})(?P<f>\d{3})$", True),  # Arlo, milliseconds
)
# of the whole path, without its suffix: the date is the name of a folder
_IN_PATH = (
    (rf"/{_DATE}/(?P<H>\d\d)/[^/]+/(?P<M>\d\d)\.(?P<S>\d\d)$", True),  # recordings of Frigate
    (rf"/{_DATE}/(?:[^/]+/){{0,4}}{_CLOCK}(?!\d)[^/]*$", False),  # Dahua, motionEye: 2023-05-12/…/03.00.14-03.30.00
    (rf"/{_DATE}/(?P<H>\d\d)/(?P<M>\d\d)$", False),  # Wyze
)
_WRITTEN = re.compile(
    r"(?P<Y>\d{4})-(?P<m>\d\d)-(?P<d>\d\d)[T ](?P<H>\d\d):(?P<M>\d\d)(?::(?P<S>\d\d)(?:[.,](?P<f>\d{1,9}))?)?"
    r"\s*(?P<z>Z|[+-]\d\d:?\d\d)?"
)
_DIRECTIVES = {
    "%Y": r"(?P<Y>\d{4})",
    "%m": r"(?P<m>\d\d?)",
    "%d": r"(?P<d>\d\d?)",
    "%H": r"(?P<H>\d\d?)",
    "%I": r"(?P<H>\d\d?)",
    "%p": r"(?P<p>[AaPp][Mm])",
    "%M": r"(?P<M>\d\d?)",
    "%S": r"(?P<S>\d\d?)",
    "%f": r"(?P<f>\d{1,9})",
    "%z": r"(?P<z>Z|[+-]\d\d:?\d\d)",
    "%s": r"(?P<E>\d{9,10})",
    "%%": "%",
    "*": ".*?",
    "?": ".",
}
_FULL = ({"Y", "m", "d", "H", "M"}, {"E"})  # what a pattern must hold: all of either


@dataclass(frozen=True)
class RecordingStart:
    """When the first frame was recorded, and how that is known.

    instant: UTC. source: where it is from, in words. zone: of the times that are shown; None is that of this computer.
    """

    instant: datetime
    source: str
    zone: ZoneInfo | None = None

    def at(self, seconds: float) -> datetime:
        """The time of day `seconds` after the first frame, in the zone, with the offset that was in force then."""
        return (self.instant + timedelta(seconds=float(seconds))).astimezone(self.zone)

    def offsets(self, length: float) -> list[tuple[float, int]]:
        """The offsets from UTC, minutes, during `length` seconds: one, with 0.0, or more where clocks are changed.

        Each comes with the time, in seconds from the start and to a second, from which on it is in force.
        """
        found = [(0.0, _minutes(self.at(0)))]
        for hour in range(int(length // 3600) + 1):
            low, high = 3600.0 * hour, min(3600.0 * (hour + 1), length)
            offset = _minutes(self.at(high))
            if offset != found[-1][1]:
                while high - low > 0.5:
                    middle = (low + high) / 2
                    low, high = (low, middle) if _minutes(self.at(middle)) == offset else (middle, high)
                found.append((float(round(high)), offset))
        return found


@dataclass(frozen=True)
class StartRule:
    """How the start of a recording is found: see `start_of`.

    given: the start itself. pattern: where it stands in names, see `name_pattern`. zone: that of local times, and of
    the times that are shown; None is that of this computer. creation_time: one of CREATION_TIMES: UTC, as formats
    define it, local time, as many cameras write it, or not to be read.
    """

    given: datetime | None = None
    pattern: str | None = None
    zone: ZoneInfo | None = None
    creation_time: str = "utc"

    def __post_init__(self) -> None:
        """Raises UsageError for a pattern that gives no time, and for a year that calendars may not reach."""
        if self.given and not 1800 <= self.given.year < 3000:
            raise UsageError(f"No recording is of the year {self.given.year}.", "start")
        if self.pattern is not None:
            name_pattern(self.pattern)

    def start_of(self, path: Path, creation_time: str | None = None) -> RecordingStart | None:
        """The start of the video at `path`, or None where nothing says it.

        creation_time is the text that the container has, or None.
        """
        if self.given:
            return self._start(self.given, "the time that was given")
        if (named := self._named(path)) is not None:
            return self._start(named, "the file name")
        if creation_time is None or self.creation_time == "ignore":
            return None
        written = read_time(creation_time)
        if written is None or is_unset(written):
            return None
        offset = written.utcoffset()
        if offset:
            return self._start(written, "the creation time")
        if offset is None or self.creation_time == "local":
            return self._start(written.replace(tzinfo=None), "the creation time, read as local time")
        return self._start(written, "the creation time, read as UTC")

    def _named(self, path: Path) -> datetime | None:
        if self.pattern is None:
            return time_in_name(path)
        text = path.absolute().as_posix() if "/" in self.pattern else path.name
        return next(_times(name_pattern(self.pattern), text), None)

    def _start(self, time: datetime, source: str) -> RecordingStart:
        """Of local times that there are twice, the first is taken; those that are skipped have the offset before."""
        if time.tzinfo is None and self.zone:
            time = time.replace(tzinfo=self.zone)
        return RecordingStart(time.astimezone(UTC), source, self.zone)


def time_in_name(path: Path) -> datetime | None:
    """The time that the name of a recorder's or phone's file has: local, without a zone, unless the name has one.

    None for other names, and for dates without a time.
    """
    for forms, text in ((_IN_NAME, path.stem), (_IN_PATH, path.absolute().with_suffix("").as_posix())):
        for form, is_utc in forms:
            for time in _times(re.compile(form), text):
                return time.replace(tzinfo=UTC) if is_utc and time.tzinfo is None else time
    return None


def name_pattern(pattern: str) -> re.Pattern:
    """A pattern such as `cam*_%d-%m-%Y_%H.%M.%S`, found anywhere in a name, or in a path if it has a slash.

    %Y %m %d %H %I %p %M %S %f %z are as in strftime, %s is the seconds since 1970; * is any text, ? any character.
    Raises UsageError if it does not give a date and a time.
    """
    parts = re.findall(r"%.|[*?]|[^%*?]+|%", pattern)
    if unknown := [part for part in parts if part.startswith("%") and part not in _DIRECTIVES]:
        raise UsageError(f"{pattern}: {unknown[0]} is not known in a pattern of names.", "start_pattern")
    pieces = [_DIRECTIVES.get(part) or re.escape(part) for part in parts]
    for at, (one, two) in enumerate(pairwise(parts)):  # numbers that nothing separates have both digits
        if one[0] == two[0] == "%":
            pieces[at : at + 2] = (piece.replace("\\d\\d?", "\\d\\d") for piece in pieces[at : at + 2])
    try:
        form = re.compile("".join(pieces))
    except re.error as error:  # a part of the time stands twice
        raise UsageError(f"{pattern}: a part of the time stands in this pattern twice.", "start_pattern") from error
    if not any(needed <= set(form.groupindex) for needed in _FULL):
        raise UsageError(
            f"{pattern}: this pattern gives no date and time. It needs %Y, %m, %d, %H and %M, or %s.", "start_pattern"
        )
    return form


def read_time(text: str) -> datetime | None:
    """A time as containers and people write it, `2023-05-12 03:00:14`, with or without a zone; None for other text."""
    match = _WRITTEN.fullmatch(text.strip())
    return match and _time_of(match)


def read_zone(name: str) -> ZoneInfo:
    """The time zone of this name, `Europe/Berlin` or `UTC`. Raises UsageError if there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UsageError(f"'{name}' is not a time zone. Give a name such as Europe/Berlin.", "timezone") from error


def is_unset(time: datetime) -> bool:
    """Whether a time is one of those that clocks show before they are set."""
    if time.year not in YEARS:
        return True
    return bool({(time + timedelta(days=shift)).date() for shift in (-1, 0, 1)} & UNSET)  # in any zone


def _minutes(time: datetime) -> int:
    """The offset from UTC."""
    offset = time.utcoffset()
    return 0 if offset is None else round(offset.total_seconds() / 60)


def _times(form: re.Pattern, text: str) -> Iterator[datetime]:
    for match in form.finditer(text):
        time = _time_of(match)
        if time is not None and not is_unset(time):
            yield time


def _time_of(match: re.Match) -> datetime | None:
    """The time whose parts a match has; None where there is no such time."""
    parts = match.groupdict()
    fraction = timedelta(seconds=float(f"0.{parts.get('f') or 0}"))
    try:
        if parts.get("E"):
            return datetime.fromtimestamp(int(parts["E"]), UTC) + fraction
        hour = int(parts["H"])
        if half := parts.get("p"):
            if not 1 <= hour <= 12:
                return None
            hour = hour % 12 + (12 if half.upper() == "PM" else 0)
        year, month, day, minute, second = (int(parts.get(part) or 0) for part in "YmdMS")
        second -= second == 60  # a leap second
        return datetime(year, month, day, hour, minute, second, tzinfo=_offset(parts.get("z"))) + fraction
    except (ValueError, OverflowError):
        return None


def _offset(text: str | None) -> timezone | None:
    if not text:
        return None
    if text == "Z":
        return UTC
    minutes = int(text[1:3]) * 60 + int(text[-2:])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))
