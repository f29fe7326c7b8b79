"""Scores of a stream while it runs, in bounded memory.

At each moment they are what `Scorer.score(mode="window")` would return if the stream ended now. A score is provisional
while clips to come can change it, then final: with windows of L clips, that is L clips later.
"""

from dataclasses import dataclass

import numpy as np

from ..segments import centres, pool, window_weights


@dataclass(frozen=True)
class Scores:
    """Scores of the frames from number `start` on, float32 (n,); those before were final.

    times: when each was taken, seconds since 1970, float64 (n,). n_final: how many of these are final.
    """

    start: int
    scores: np.ndarray
    times: np.ndarray
    n_final: int

    @property
    def newest(self) -> float:
        """The score of the newest frame."""
        return float(self.scores[-1])


class ScoreWindow:
    """The clips of one stream that still matter: `add` them, run what `bags` asks for, `take` the scores.

    `length` is that of a window in clips, `clip_length` that of a clip in frames.
    """

    def __init__(self, length: int, clip_length: int):
        self.length, self.clip_length = length, clip_length
        self._weight = window_weights(length)
        self.n = 0  # clips so far
        self._first = 0  # the first clip of which anything is kept
        self._features: list[np.ndarray] = []
        self._times: list[np.ndarray] = []
        self._total, self._weights = np.zeros(0), np.zeros(0)  # of windows that are complete, from clip `_first` on
        self._next = 0  # where the next window of the steady grid begins
        self._n_before = 0  # frames before clip `_first`
        self._n_final = 0  # frames that were final when scores were taken last
        self._starts: list[int] = []

    def add(self, features: np.ndarray, times: np.ndarray) -> None:
        """Append a clip: float32 (n_crops, D), and when its frames were taken, (n_frames,)."""
        self._features.append(features)
        self._times.append(times)
        self._total, self._weights = np.append(self._total, 0.0), np.append(self._weights, 0.0)
        self.n += 1

    def bags(self) -> np.ndarray:
        """What a model is to score now: float32 (n_bags, length, n_crops, D)."""
        if self.n <= self.length:
            self._starts = []
            return pool(np.stack(self._features), self.length)[None]
        grid = range(self._next, self.n - self.length + 1, self.length // 2)
        self._starts = sorted({*grid, self.n - self.length})
        return np.stack([self._window(start) for start in self._starts])

    def take(self, scores: np.ndarray) -> Scores:
        """Scores of all frames that were not final before, from those of the bags, (n_bags, length)."""
        if self.n <= self.length:
            return self._result(np.asarray(scores[0], np.float64), n_final=0)
        total, weights = self._total, self._weights
        for start, values in zip(self._starts, scores, strict=True):
            if start == self._next:
                self._next += self.length // 2
                total, weights = self._total, self._weights
            else:
                total, weights = self._total.copy(), self._weights.copy()
            at = slice(start - self._first, start - self._first + self.length)
            total[at] += self._weight * values
            weights[at] += self._weight
        result = self._result(total / weights, n_final=self.n - self.length)
        self._forget()
        return result

    def _result(self, scores: np.ndarray, n_final: int) -> Scores:
        """`scores` are those of segments where n <= length, else those of the clips from `_first` on."""
        if self.n <= self.length:
            middles = centres(self.n, self.length, self.clip_length)
        else:
            middles = (self._first + np.arange(len(scores)) + 0.5) * self.clip_length
        places = [
            (self._first + number) * self.clip_length + np.arange(len(times)) + 0.5
            for number, times in enumerate(self._times)
        ]
        place = np.concatenate(places)
        frames = np.interp(place, middles, scores).astype(np.float32)
        settled = int((place <= (n_final - 0.5) * self.clip_length).sum()) + self._n_before
        start, self._n_final = self._n_final, settled
        new = slice(start - self._n_before, None)
        return Scores(start, frames[new], np.concatenate(self._times)[new], settled - start)

    def _window(self, start: int) -> np.ndarray:
        return np.stack(self._features[start - self._first : start - self._first + self.length])

    def _forget(self) -> None:
        """Drop clips that nothing needs: neither a window to come, nor the interpolation between clips."""
        gone = min(self._next, self.n - self.length - 1) - self._first
        if gone > 0:
            self._n_before += sum(map(len, self._times[:gone]))
            del self._features[:gone], self._times[:gone]
            self._total, self._weights = self._total[gone:], self._weights[gone:]
            self._first += gone
