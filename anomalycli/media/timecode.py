"""Format seconds as times for people, for subtitles, and as SMPTE time codes (SMPTE ST 12-1)."""

from datetime import datetime, timedelta
from fractions import Fraction

# Rates of editing programs, frames per second.
RATES = tuple(
    Fraction(*rate)
    for rate in ((24000, 1001), (24, 1), (25, 1), (30000, 1001), (30, 1), (50, 1), (60000, 1001), (60, 1))
)
# Hours of each unit.
UNITS = {"years": 8766.0, "days": 24.0, "hours": 1.0, "minutes": 1 / 60, "seconds": 1 / 3600}
MOST_YEARS = 1000  # beyond which lengths of time are not told apart


def clock(seconds: float) -> str:
    """m:ss, rounded, or h:mm:ss from an hour on."""
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def time_of_day(when: datetime, *, day: bool = True) -> str:
    """`12 May 03:00:14`, rounded to seconds; without the day, `03:00:14`."""
    when += timedelta(seconds=0.5)
    return f"{when.day} {when:%b %H:%M:%S}" if day else f"{when:%H:%M:%S}"


def timeline_rate(fps: float) -> Fraction:
    """The rate of a timeline for a video of `fps`: the nearest of RATES."""
    return min(RATES, key=lambda rate: abs(rate - fps))


def is_dropped(rate: Fraction) -> bool:
    """Whether a rate is counted in drop-frame time code: 29.97 and 59.94 are, 23.976 is not."""
    return rate.denominator == 1001 and round(rate) % 30 == 0


def timecode(frame: int, rate: Fraction) -> str:
    """Frame number -> HH:MM:SS:FF; with `;` before the frames where numbers are dropped.

    Drop-frame skips the numbers (not frames) 0 and 1 at 29.97, 0 to 3 at 59.94, in each minute but
    every tenth, so that the code keeps up with the clock.
    """
    base, mark = round(rate), ":"
    if is_dropped(rate):
        mark, dropped = ";", base // 15
        tens, rest = divmod(frame, 600 * base - 9 * dropped)
        minutes = max(0, rest - dropped) // (60 * base - dropped)
        frame += dropped * (9 * tens + minutes)
    seconds, frames = divmod(frame, base)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours % 24:02}:{minutes:02}:{seconds:02}{mark}{frames:02}"


def subtitle_time(seconds: float, mark: str) -> str:
    """HH:MM:SS, `mark`, milliseconds."""
    total, milliseconds = divmod(round(seconds * 1000), 1000)
    minutes, whole = divmod(total, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{whole:02}{mark}{milliseconds:03}"


def time_in_words(hours: float) -> str:
    """A length of time in one unit, with at most one decimal."""
    if hours > MOST_YEARS * UNITS["years"]:
        return f"more than {MOST_YEARS:,} years"
    unit = next((unit for unit, length in UNITS.items() if hours >= 2 * length), "seconds")
    value = hours / UNITS[unit]
    words = f"{value:.1f}".removesuffix(".0") if value < 10 else f"{value:,.0f}"
    return f"1 {unit[:-1]}" if words == "1" else f"{words} {unit}"
