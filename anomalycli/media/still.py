"""Tell clips in which nothing moves, on the small frames that a network takes.

A picture is compared by the means of its blocks, so that noise of single pixels averages out. What a scene's own noise
explains is measured on its clips. Where more than that changes, in however few blocks, the clip is not still; but for
the digits of a burnt-in clock, which change at once and stand still in between, as nothing else near the edge does.
"""

from collections import deque

import numpy as np

BLOCK = 8  # pixels; side of a block
FIRST = 4  # clips of a scene that are never called still: they are needed to know its noise
LONGEST = 32  # clips in a row that may be called still: after them, one is not, whatever it shows
RECENT = 24  # clips that noise is measured on
FACTOR = 3.0  # times the change of most blocks from frame to frame; what is more is not noise
EDGE = 6  # a clock is in the upper or lower sixth of the picture
OFTEN, SELDOM = 0.25, 0.1  # the digits of a clock change in at least so many clips, and twice in at most so many
DIGITS = 1.5  # times the largest recent change of a digit's block that a digit explains
FLOOR = 1.5  # grey levels; smaller changes are rounding and compression
LIGHT = 0.06  # share by which the light of the whole picture may differ

LUMA = np.array([0.299, 0.587, 0.114], np.float32)

Clip = np.ndarray  # uint8 (T, H, W, 3), RGB


class StillClips:
    """Whether clips of one scene, given one after another, show nothing that the last clip that was not still did not.

    The reference is that clip, so slow changes add up until they are noticed. A change of light of the whole picture is
    divided out up to LIGHT; beyond, the clip is not still: a light may have gone out.
    """

    def __init__(self) -> None:
        self._shape: tuple[int, ...] = ()
        self._forget()

    def _forget(self) -> None:
        self._reference: np.ndarray | None = None  # (rows, columns): block means of the last clip that was not still
        self._last: np.ndarray | None = None  # (1, rows, columns): block means of the frame before
        # the two largest changes from frame to frame of each recent clip: (2, rows, columns)
        self._noise: deque[np.ndarray] = deque(maxlen=RECENT)
        self._seen = self._in_a_row = 0

    def __call__(self, clip: Clip) -> bool:
        """Whether the next clip is still. A clip of another size begins another scene."""
        if clip.shape != self._shape:
            self._shape = clip.shape
            self._forget()
        blocks = block_means(clip)  # (T, rows, columns)
        frames = blocks if self._last is None else np.concatenate((self._last, blocks))
        steps = np.abs(np.diff(frames / light_of(frames, frames.mean(0)), axis=0))
        steps = np.concatenate((np.zeros((2, *blocks.shape[1:]), np.float32), steps))
        self._noise.append(np.partition(steps, -2, axis=0)[-2:][::-1])
        self._last = blocks[-1:]
        self._seen += 1
        is_still = self._seen > FIRST and self._in_a_row < LONGEST and self._explains(blocks)
        self._in_a_row = self._in_a_row + 1 if is_still else 0
        if not is_still:
            self._reference = blocks.mean(0)
        return is_still

    def _explains(self, blocks: np.ndarray) -> bool:
        """Whether noise explains how all blocks of all frames differ from the reference."""
        assert self._reference is not None
        light = light_of(blocks, self._reference)
        if np.abs(np.log(light)).max() > LIGHT:
            return False
        change = np.abs(blocks / light - self._reference).max(0)  # (rows, columns)
        largest, second = np.stack(self._noise, 1)  # (clips, rows, columns) each
        noise = FLOOR + FACTOR * float(np.median(np.median(largest, 0)))
        digits = ((largest > noise).mean(0) >= OFTEN) & ((second > noise).mean(0) <= SELDOM)
        n_rows = len(digits)
        digits[-(-n_rows // EDGE) : n_rows - -(-n_rows // EDGE)] = False
        allowed = np.where(digits, DIGITS * largest.max(0), noise)
        return bool((change <= allowed).all())


def light_of(blocks: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The light of each picture as a share of that of the reference: (T, rows, columns) -> (T, 1, 1)."""
    return np.median(blocks.clip(1) / reference.clip(1), (1, 2), keepdims=True)


def block_means(clip: Clip) -> np.ndarray:
    """Mean luma of each block: uint8 (T, H, W, 3) -> float32 (T, H // BLOCK, W // BLOCK)."""
    _, height, width, _ = clip.shape
    down, right = min(BLOCK, height), min(BLOCK, width)
    whole = clip[:, : height - height % down, : width - width % right]
    rows = np.zeros_like(whole[:, ::down], np.uint16)  # adding slices is several times as fast as summing over axes
    for i in range(down):
        rows += whole[:, i::down]
    blocks = np.zeros_like(rows[:, :, ::right], np.float32)
    for i in range(right):
        blocks += rows[:, :, i::right]
    return blocks @ (LUMA / np.float32(down * right))
