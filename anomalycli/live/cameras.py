"""Cameras from a TOML file, and changes of it while they are watched."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ..calibration import Calibration, load
from ..errors import AnomalyError, UsageError
from ..events import EventRule
from ..settings import make_settings
from ..textfiles import CAMERAS, read_toml
from .sources import Source, Waits, make_source
from .watcher import Listener, Watcher


@dataclass(frozen=True)
class Camera:
    """One stream of a file. `source` may hold ${VARIABLES} of the environment, so that no password is in the file."""

    source: Annotated[str, "As a word of the command line."]
    threshold: Annotated[float | None, "Score at which an event begins."] = None
    end_threshold: Annotated[float | None, "Score below which it ends."] = None
    gap: Annotated[float | None, "Events closer than this many seconds become one."] = None
    shortest: Annotated[float | None, "Events shorter than this many seconds are dropped."] = None
    calibration: Annotated[str | None, "File of thresholds of this scene."] = None

    def rule(self, default: EventRule, check: Callable[[Calibration], None]) -> EventRule:
        """Its event rule. Raises UsageError for contradictory values, and for a calibration of another model."""
        if self.calibration:
            calibration = load(Path(self.calibration))
            check(calibration)
            default = calibration.rule
        try:
            return default.changed(self.threshold, self.end_threshold, self.gap, self.shortest)
        except ValueError as error:
            raise UsageError(str(error)) from error

    def open(self, name: str, waits: Waits) -> Source:
        """Its source. Raises UsageError for a variable that is not set, and for what is not a source."""
        return make_source(_filled_in(self.source), waits, name)


def read_cameras(path: Path) -> dict[str, Camera]:
    """The cameras of a file by name: its tables [cameras.NAME]. Raises UsageError where something is wrong."""
    settings = read_toml(path)
    for name, table in settings.items():
        inner = [key for key, value in table.items() if isinstance(value, dict)] if isinstance(table, dict) else []
        if name != CAMERAS and inner:
            raise UsageError(f"{path}, [{name}.{inner[0]}]: cameras are tables of the form [{CAMERAS}.NAME].")
    tables = settings.get(CAMERAS, {})
    if not isinstance(tables, dict):
        raise UsageError(f"{path}: {CAMERAS} must be tables of the form [{CAMERAS}.NAME].")
    cameras = {}
    for name, table in tables.items():
        where = f"{path}, [{CAMERAS}.{name}]"
        if not name:
            raise UsageError(f"{where}: a camera needs a name.")
        if not isinstance(table, dict) or "source" not in table:
            raise UsageError(f"{where}: a camera needs a source, such as source = 'rtsp://camera/stream'.")
        try:
            cameras[name] = make_settings(Camera, {key.replace("-", "_"): value for key, value in table.items()})
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from error
    return cameras


def _filled_in(source: str) -> str:
    """`source` with each ${NAME} replaced by that variable of the environment."""

    def value(match: re.Match) -> str:
        if match[1] not in os.environ:
            raise UsageError(f"The variable {match[1]} is not set, and a source needs it.")
        return os.environ[match[1]]

    return re.sub(r"\$\{(\w+)\}", value, source)


class CameraFile(Listener):
    """Watches the cameras of a file; `reload` has it read again at the next tick.

    `check` raises UsageError for a calibration that does not fit the model. `resume` is called
    with each source before it is watched, `added` with each stream, and `removed` with its name.
    """

    def __init__(
        self,
        path: Path,
        waits: Waits,
        say: Callable[[str], None],
        check: Callable[[Calibration], None],
        added: Callable = lambda stream: None,
        removed: Callable[[str], None] = lambda name: None,
        resume: Callable[[Source], None] = lambda source: None,
    ):
        self.path, self.waits, self.say, self.check = path, waits, say, check
        self.added, self.removed, self.resume = added, removed, resume
        self.cameras: dict[str, Camera] = {}
        self.watcher: Watcher | None = None
        self._is_due = False

    def start(self, watcher: Watcher, unfinished: Mapping = {}) -> None:
        """Watch all cameras of the file. Raises UsageError where it, or one of them, is wrong."""
        self.watcher = watcher
        self._apply(read_cameras(self.path), unfinished)

    def reload(self) -> None:
        """Have the file read again soon; may be called by a signal handler."""
        self._is_due = True

    def tick(self) -> None:
        if not self._is_due or self.watcher is None:
            return
        self._is_due = False
        try:
            self._apply(read_cameras(self.path), {})
            self.say(f"{self.path}: read again; watching {', '.join(self.watcher.streams) or 'nothing'}.")
        except AnomalyError as error:
            self.say(f"{error} The cameras stay as they were.")

    def _apply(self, cameras: dict[str, Camera], unfinished: Mapping) -> None:
        """Watch these cameras: nothing changes where one is wrong, and those that stay lose nothing."""
        watcher = self.watcher
        assert watcher
        rules = {name: camera.rule(watcher.rule, self.check) for name, camera in cameras.items()}
        kept = {name for name, camera in cameras.items() if self._is_same(name, camera)}
        opened = {name: cameras[name].open(name, self.waits) for name in cameras if name not in kept}
        if taken := [name for name in opened if name in watcher.streams and name not in self.cameras]:
            raise UsageError(f"{self.path}: another source is named '{taken[0]}' already.")
        for name in self.cameras:
            if name not in kept:
                watcher.remove(name)
                self.removed(name)
        for name in kept:
            watcher.streams[name].tracker.rule = rules[name]
        for name, source in opened.items():
            self.resume(source)
            self.added(watcher.add(source, rules[name], unfinished.get(name)))
        self.cameras = cameras

    def _is_same(self, name: str, camera: Camera) -> bool:
        return name in self.cameras and self.cameras[name].source == camera.source
