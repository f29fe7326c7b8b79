"""Which video a list, a table or an annotation file means by a name.

People write the same video as `monday`, `monday.mp4`, `cam1/monday`, `cam1\\monday.MP4` or with the path of
another machine before it. Each name matches one video; names that match none are always reported.
"""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePath

from .errors import UsageError
from .wording import some

# the suffix of a video or of features; `.01` of `cam.2024.01` is not a suffix
_SUFFIX = re.compile(r"\.(3gp|3g2|26[45]|[a-z][a-z0-9]{1,4})$", re.IGNORECASE)
_PART = re.compile(r"(__(\d+|vggish)|_i3d)$")


@dataclass(frozen=True)
class Matches:
    """found: the video by the name that was written. unknown: names that match no video."""

    found: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def warning(self, source: str) -> str | None:
        """A sentence about the names of `source` that match no video, if there are any."""
        if not self.unknown:
            return None
        total = len(self.found) + len(self.unknown)
        return f"{source}: {len(self.unknown)} of {total} names match no video here: {some(self.unknown)}."


def match_names(written: Iterable[str], videos: Iterable[str], source: str = "a list") -> Matches:
    """Match names as people write them with `videos`, paths without suffix below one folder.

    A name matches a video where one is the end of the other, folder by folder, and else where no other name and no
    other video have the same last part. Suffixes of videos and features may be left out or differ.

    Raises UsageError where a name could be several videos; `source` is where the names come from.
    """
    written, videos = list(dict.fromkeys(written)), list(dict.fromkeys(videos))
    if not written:
        return Matches()
    by_end = _by_end(videos)
    matches = Matches()
    left = []
    for name in written:
        candidates = next(filter(None, (_candidates(form, by_end) for form in _forms(name))), [])
        if len(candidates) > 1:
            raise UsageError(f"{source}: '{name}' could be {some(candidates)}: write it with its folder.")
        if candidates:
            matches.found[name] = candidates[0]
        else:
            left.append(name)
    taken = set(matches.found.values())
    _match_last_parts(matches, left, [video for video in videos if video not in taken])
    return matches


def _match_last_parts(matches: Matches, names: list[str], videos: list[str]) -> None:
    """Add to `matches` those of `names` whose last part one of `videos` has, and no other name and no other video."""
    by_stem: dict[str, list[str]] = defaultdict(list)
    for video in videos:
        for form in _forms(video):
            by_stem[form[-1]].append(video)
    claims: dict[str, list[str]] = defaultdict(list)
    for name in names:
        stem = next((form[-1] for form in _forms(name) if form[-1] in by_stem), None)
        if stem is None:
            matches.unknown.append(name)
        else:
            claims[stem].append(name)
    for stem, alike in claims.items():
        candidates = list(dict.fromkeys(by_stem[stem]))
        if len(candidates) == len({tuple(_forms(name)[-1]) for name in alike}) == 1:
            matches.found.update(dict.fromkeys(alike, candidates[0]))
        else:
            matches.unknown.extend(alike)


def fits_pattern(path: PurePath, pattern: str) -> bool:
    """Whether the end of a path fits a pattern; the whole path, where the pattern begins with a slash.

    `*`, `?` and `[...]` stand for characters of a name, `**` for any number of folders, and a slash at the end for all
    files below a folder. Brackets also stand for themselves, as names of copies have them. Folders may be separated by
    backslashes.
    """
    wanted = pattern_parts(pattern)
    rooted = pattern.replace("\\", "/").startswith("/")
    return _fits(pattern_parts(path.as_posix()), wanted if rooted else ["**", *wanted])


def pattern_parts(pattern: str) -> list[str]:
    """The folders and the name in a pattern or a path; none where it is empty."""
    text = os.path.normcase(unicodedata.normalize("NFC", pattern)).replace("\\", "/")
    return [part for part in text.split("/") if part not in ("", ".")] + ["**"] * text.endswith("/")


def _fits(parts: Sequence[str], wanted: Sequence[str]) -> bool:
    if not wanted:
        return not parts
    if wanted[0] == "**":
        if len(wanted) == 1:
            return bool(parts)
        return any(_fits(parts[begin:], wanted[1:]) for begin in range(len(parts)))
    first = wanted[0]
    same = bool(parts) and (fnmatchcase(parts[0], first) or fnmatchcase(parts[0], first.replace("[", "[[]")))
    return same and _fits(parts[1:], wanted[1:])


def _forms(name: str) -> list[tuple[str, ...]]:
    """The folders and the last part of a name as written, without its suffix, and without the part of features."""
    path = unicodedata.normalize("NFC", name.strip().replace("\\", "/"))
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if not parts:
        return []
    forms = [parts]
    for pattern in (_SUFFIX, _PART):
        shorter = pattern.sub("", forms[-1][-1])
        if shorter and shorter != forms[-1][-1]:
            forms.append((*parts[:-1], shorter))
    return forms


def _by_end(videos: list[str]) -> dict[tuple[str, ...], list[tuple[int, str]]]:
    """Videos by each end of their path, with the number of parts that the end leaves out."""
    index: dict[tuple[str, ...], list[tuple[int, str]]] = defaultdict(list)
    for video in videos:
        for form in _forms(video):
            for start in range(len(form)):
                index[form[start:]].append((start, video))
    return index


def _candidates(form: tuple[str, ...], by_end: dict[tuple[str, ...], list[tuple[int, str]]]) -> list[str]:
    """Videos of which `form` is the end, the whole path first; else those that are whole ends of `form`."""
    if found := by_end.get(form):
        exact = [video for start, video in found if start == 0]
        whole = [video for video in exact if _forms(video)[0] == form]
        return list(dict.fromkeys(whole or exact or [video for _, video in found]))
    for start in range(1, len(form)):
        if whole := [video for left_out, video in by_end.get(form[start:], ()) if left_out == 0]:
            return list(dict.fromkeys(whole))
    return []
