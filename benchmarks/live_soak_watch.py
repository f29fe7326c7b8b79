"""What live_soak.py runs in the processes of `watch`: the clock of the cameras, a network that reads a mark, a log."""

import ctypes
import mmap
import os
import signal
import struct
import sys
import time
from pathlib import Path

from live_cameras import BITS, UPTIME, area, number_of

CLOCK = struct.Struct("dddd")  # steady clock; offset of the system's clock; newest scored frame of each camera
ROW = struct.Struct("idddi")  # camera; first and last time of what is new; time and number of a picture


def simulate() -> None:
    """Make the clock of this process that of the cameras; in a decoder's process, that of the newest packet."""
    with open(os.environ["SOAK_CLOCK"], "r+b") as file:
        shared = mmap.mmap(file.fileno(), CLOCK.size)
    newest: list[float] = []

    def steady() -> float:
        return newest[0] if newest else CLOCK.unpack_from(shared)[0]

    time.monotonic = steady
    time.time = lambda: steady() + CLOCK.unpack_from(shared)[1]
    from anomalycli.media import stream

    packets = stream.Stream._packets

    def timed(self, *args, **kwargs):
        for packet in packets(self, *args, **kwargs):
            if packet.pts is not None:
                seconds = float(packet.pts * packet.time_base) - UPTIME
                wrap = (1 << 33) / 90_000
                newest[:] = [max([seconds + wrap * round((steady() - seconds) / wrap), *newest])]
            yield packet

    stream.Stream._packets = timed


def network():
    """The backbone that reads the mark alone."""
    from torch import nn

    from anomalycli.backbones.base import ClipNetwork

    class Mark(ClipNetwork):
        dim, clip_length, frames_taken, short_side, multiple = 1, 16, (0, 4, 8, 12), 96, 16
        preprocessing = "mark"

        def __init__(self, crops: int = 1):
            super().__init__(crops)
            self.net = nn.Identity()

        def load(self, path=None, on_bytes=None):
            self.sha256 = "0"
            return self

        def maps(self, view):
            return [area(view, BITS + 1, 2).float().mean((1, 2, 3, 4))[:, None] / 255]

        def pool(self, maps):
            return maps[0]

    return Mark


def mark_model(path: Path) -> None:
    """Write a model whose score is that of the mark."""
    import torch

    from anomalycli.checkpoint import ModelInfo, save_model
    from anomalycli.events import EventRule
    from anomalycli.features.files import FeatureKind
    from anomalycli.methods.linear import Linear, LinearSettings

    method = Linear(LinearSettings(1, 32))
    with torch.no_grad():
        method.layer.weight.fill_(12.0)
        method.layer.bias.fill_(-6.0)
    kind = FeatureKind("mark", "0", "mark", 96, 1)
    save_model(path, method, ModelInfo(method.settings, kind, EventRule(0.5, 0.3, 0.5, 0.5), method="linear"))


def watch(log: str, *words: str) -> None:
    """Run the command; note in `log` and in the clock what was scored."""
    import torch

    from anomalycli.backbones.base import BUILT_IN
    from anomalycli.cli import main
    from anomalycli.live.lines import Lines

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # end with the cameras
    torch.set_num_threads(1)
    sys.modules["live_soak_watch"].Mark = network()
    BUILT_IN["mark"] = "live_soak_watch:Mark"
    rows = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with open(os.environ["SOAK_CLOCK"], "r+b") as file:
        shared = mmap.mmap(file.fileno(), CLOCK.size)
    seen: dict[int, tuple[object, int]] = {}

    def scored(_self, stream, _scores) -> None:
        camera, window = int(stream.name), stream.window
        before = seen.get(camera, (None, 0))
        new = window._times[-(window.n - (before[1] if before[0] is window else 0)) :]
        if not new or (before[0] is window and before[1] == window.n):
            return
        seen[camera] = window, window.n
        taken, newest = stream.reader.form.taken[-1], new[-1]
        is_whole = len(newest) > taken
        row = camera, new[0][0], newest[-1], newest[taken] if is_whole else 0.0, number_of(stream.picture)
        os.write(rows, ROW.pack(*row))
        struct.pack_into("d", shared, 16 + 8 * camera, newest[-1])

    Lines.on_scores = scored
    sys.argv = ["anomalycli", "watch", *words]
    main()
