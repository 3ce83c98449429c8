"""The one rule by which channels are scaled: the z-score by training rows."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class ZScore:
    """Mean and population standard deviation per channel, from training rows only.

    A channel that does not vary there is divided by 1. Axes: t rows, c channels.
    """

    def __init__(self, mean: Floats, scale: Floats) -> None:
        self.mean, self.scale = mean, scale

    @classmethod
    def of(cls, rows: Floats) -> "ZScore":
        """Measure training rows ``(t, c)``."""
        scale = rows.std(axis=0)
        # Not std == 0: rounding gives a constant channel a deviation near 1e-17.
        scale[rows.max(axis=0) == rows.min(axis=0)] = 1.0
        return cls(rows.mean(axis=0), scale)

    def __call__(self, rows: Floats) -> Floats:
        """Scale rows ``(t, c)``."""
        return (rows - self.mean) / self.scale
