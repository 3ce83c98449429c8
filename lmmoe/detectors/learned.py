"""What the simple detectors share that learn a few arrays from z-scored rows."""

from abc import abstractmethod
from collections.abc import Iterator

import numpy as np

from lmmoe.detectors.base import Floats
from lmmoe.detectors.scaling import Scaling
from lmmoe.detectors.windowed import Learning

BLOCK = 2048  # windows at a time: 10 MB at 16 rows of 38 channels, which stays near the cache


class Learned(Learning):
    """A detector that turns z-scored rows into a few arrays, and scores with these.

    The z-scores are by all training rows; the arrays come from the first `_cut` of them. A subclass
    gives ``_learn`` (and ``_scaler``, if not z-scores), and reads ``_learned`` when it scores; for
    windows it extends `Windowed` too, named after this class.
    """

    @abstractmethod
    def _learn(self, scaled: Floats) -> dict[str, np.ndarray]:
        """Learn from scaled rows ``(t, c)``: arrays by name."""

    def _fit(self, rows: Floats) -> None:
        scaling = self._scaler(rows)
        learned = self._learn(scaling(rows)[: self._cut(len(rows))])
        self._scaling, self._learned = scaling, learned

    def _scaler(self, rows: Floats) -> Scaling:
        return Scaling.z_score(rows)

    @property
    def parameters(self) -> int:
        """How many numbers were learned, without the scaling; `RuntimeError` before ``fit``."""
        if not hasattr(self, "_learned"):
            raise RuntimeError(f"{self.name} has not been fitted: its size depends on the rows")
        return sum(array.size for array in self._learned.values())

    def _state(self) -> dict[str, np.ndarray]:
        return self._learned | self._scaling.state

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        self._scaling = Scaling(state.pop("shift"), state.pop("scale"))
        self._learned = state


def windows(rows: Floats, window: int) -> Floats:
    """View rows ``(t, c)`` as flat windows ``(t - w + 1, w * c)``, oldest row first; no copy.

    ``rows`` must be in one piece of memory, row by row, as `Detector` gives them.
    """
    channels = rows.shape[1]
    flat = np.lib.stride_tricks.sliding_window_view(rows.ravel(), window * channels)
    return flat[::channels]


def blocks(rows: Floats, window: int) -> Iterator[Floats]:
    """Give the flat windows ``(n, w * c)`` of rows ``(t, c)`` in turn, some at a time, copied.

    All of them at once would be ``w`` times as large as the rows; a product with a matrix is quick
    on a copy only.
    """
    flat = windows(rows, window)
    for start in range(0, len(flat), BLOCK):
        yield flat[start : start + BLOCK].copy()
