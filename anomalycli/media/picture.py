"""A decoded frame as it is shown: turned, mirrored and scaled, all by FFmpeg's filters."""

import math
from typing import Any

import av
import numpy as np

MAX_ASPECT = 4  # longer pictures are squeezed to this ratio, so that a freak size cannot fill the memory
UPRIGHT = 1.0  # degrees; angles within this of a multiple of 90 are taken for it

Filter = tuple[str, str]  # name and arguments


def turning(frame: av.VideoFrame) -> list[Filter]:
    """The filters that turn a frame as its display matrix says: none for most frames."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return []
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()  # x' = ax + cy, y' = bx + dy; y points down
    angle = math.degrees(math.atan2(b, a))  # clockwise
    if abs(angle - 90 * round(angle / 90)) > UPRIGHT:
        return [("rotate", f"{angle}*PI/180")]
    if abs(a) + abs(d) < abs(b) + abs(c):
        turn = {(1, 1): "cclock_flip", (1, 0): "clock", (0, 1): "cclock", (0, 0): "clock_flip"}[b > 0, c > 0]
        return [("transpose", turn)]
    return [("hflip", "")] * (a < 0) + [("vflip", "")] * (d < 0)


def shown_size(frame: av.VideoFrame, pixel_shape: Any, filters: list[Filter]) -> tuple[int, int]:
    """(width, height) of a frame as it is shown, in square pixels, behind the filters of `turning`.

    `pixel_shape` is the width of a pixel divided by its height; None or 0 where the stream does not say.
    """
    width, height = frame.width, frame.height
    if pixel_shape:
        width = max(1, round(width * pixel_shape))
    is_on_its_side = any(name == "transpose" for name, _ in filters)
    return (height, width) if is_on_its_side else (width, height)


def scaled_size(width: int, height: int, short_side: int | None, multiple: int = 1) -> tuple[int, int]:
    """(width, height) scaled so that the short side is `short_side`, each rounded to `multiple`."""
    if short_side is None:
        return width, height
    scale = short_side / min(width, height)
    longest = short_side * MAX_ASPECT

    def rounded(side: int) -> int:
        return max(multiple, round(min(side * scale, longest) / multiple) * multiple)

    return rounded(width), rounded(height)


class Scaler:
    """Frames as uint8 (height, width, 3), RGB, of one `size` = (width, height), whatever size and format they have."""

    def __init__(self, size: tuple[int, int], filters: list[Filter]):
        self.size, self.filters = size, filters
        self._source: Any = None

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        source = frame.width, frame.height, frame.format.name
        if source != self._source:
            self._graph, self._source = self._built(frame), source
        self._graph.push(frame)
        return self._graph.pull().to_ndarray()

    def _built(self, frame: av.VideoFrame) -> av.filter.Graph:
        graph = av.filter.Graph()
        width, height = self.size
        nodes = [
            graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format.name, time_base=frame.time_base
            ),
            *(graph.add(name, arguments) for name, arguments in self.filters),
            # decord's flags; more threads take a twentieth more CPU time
            graph.add("scale", f"{width}:{height}:flags=bilinear:threads=1"),
            graph.add("format", "rgb24"),
            graph.add("buffersink"),
        ]
        graph.link_nodes(*nodes).configure()
        return graph
