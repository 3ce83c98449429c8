"""What detectors share that learn from rows, and that look at more than one row."""

from abc import abstractmethod
from typing import Literal

import numpy as np

from lmmoe import kinds
from lmmoe.detectors.base import Detector, Floats


class Learning(Detector):
    """A detector that learns more than its scaling from the training rows.

    The share ``held_out`` at their end is scaled with the rest and then left out: a threshold can
    be set there, and training be stopped by it. Scores of rows that a model was fitted on are too
    low for either. 0 uses all rows.
    """

    def __init__(self, *, held_out: float = 0.1, **others: object) -> None:
        super().__init__(**others)
        kinds.share(held_out=held_out)
        self.held_out = held_out

    def _cut(self, rows: int) -> int:
        """How many of the training rows to learn from; all, where too few would be left."""
        cut = rows - int(self.held_out * rows)
        return cut if cut >= self.min_rows else rows


class Windowed(Learning):
    """A detector that needs ``unscored`` rows before the first one that it can score.

    These get the lowest score of the series, or 0 with ``first_scores="zero"``, as the study does.
    """

    def __init__(
        self,
        *,
        first_scores: Literal["lowest", "zero"] = "lowest",
        **others: object,
    ) -> None:
        super().__init__(**others)
        if first_scores not in ("lowest", "zero"):
            raise ValueError(f"first_scores={first_scores!r}: use 'lowest' or 'zero'")
        self.first_scores = first_scores

    @property
    @abstractmethod
    def unscored(self) -> int:
        """How many rows at the start have no score."""

    @property
    def min_rows(self) -> int:
        """Fewest rows that it can be fitted on, and can score."""
        return self.unscored + 1

    def _late_channel_scores(self, rows: Floats) -> Floats:
        """Score each channel of rows ``unscored`` to the last: ``(t - unscored, c)``."""
        return super()._channel_scores(rows)  # raises: a method without them need not override it

    def _late_scores(self, rows: Floats) -> Floats:
        """Score rows ``unscored`` to the last, ``(t - unscored,)``: by default channels' mean."""
        return self._late_channel_scores(rows).mean(axis=1)

    def _score(self, rows: Floats) -> Floats:
        late = self._late_scores(rows)
        first = late.min() if self.first_scores == "lowest" else 0.0
        return np.concatenate([np.full(self.unscored, first), late])

    def _channel_scores(self, rows: Floats) -> Floats:
        late = self._late_channel_scores(rows)
        return np.concatenate([np.zeros((self.unscored, rows.shape[1])), late])
