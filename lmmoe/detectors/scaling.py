"""How channels are scaled, by training rows only, and how scores are smoothed and scaled."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass
class Scaling:
    """A shift and a divisor per channel, ``(c,)`` each. Axes: t rows, c channels."""

    shift: Floats
    scale: Floats

    @classmethod
    def of(cls, rule: Literal["z-score", "min-max", "none"], rows: Floats) -> "Scaling":
        """Learn from training rows ``(t, c)``; a channel that does not vary is divided by 1.

        "z-score": mean and population standard deviation; "min-max": lowest value and range.
        """
        low, high = rows.min(axis=0), rows.max(axis=0)
        if rule == "z-score":
            shift, scale = rows.mean(axis=0), rows.std(axis=0)
        elif rule == "min-max":
            shift, scale = low, high - low
        else:
            shift, scale = np.zeros(len(low)), np.ones(len(low))
        # Not scale > 0: rounding gives a constant channel a deviation near 1e-17.
        return cls(shift, np.where(high > low, scale, 1.0))

    def __call__(self, rows: Floats) -> Floats:
        """Scale rows ``(t, c)``."""
        return (rows - self.shift) / self.scale

    def undone(self, scaled: Floats) -> Floats:
        """Bring scaled rows ``(t, c)`` back to raw units."""
        return scaled * self.scale + self.shift


def unit(values: Floats) -> Floats:
    """Scale values ``(t,)`` to their own range, 0 to 1; all 0 where they are equal."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros(len(values))


def moving_average(values: Floats, weights: npt.ArrayLike, *, centred: bool = True) -> Floats:
    """Weighted moving average of values ``(t,)``; ``weights`` are symmetric, of odd length.

    ``centred``: a value sees as far ahead as back; otherwise it sees the past only. At the ends,
    the values that exist are averaged.
    """
    weights = np.asarray(weights, dtype=np.float64)
    start = len(weights) // 2 if centred else 0
    part = slice(start, start + len(values))
    sums = np.convolve(values, weights)[part]
    return sums / np.convolve(np.ones(len(values)), weights)[part]


def ewma(values: Floats, share: float, start: Floats | None = None) -> Floats:
    """Exponentially weighted mean down the columns of ``(t, c)``.

    s_t = a x_t + (1 - a) s_(t-1) with a = ``share`` (Roberts, Technometrics 1959); 0 leaves the
    values as they are. What is before the first row is ``start`` ``(c,)``, by default that row.
    """
    if share == 0:
        return values
    before = values[0] if start is None else start
    if len(values) == 1:  # scipy.signal takes seconds to import: a row in a watch does without
        return share * values + (1 - share) * before
    from scipy.signal import lfilter

    return lfilter([share], [1, share - 1], values, axis=0, zi=(1 - share) * before[None])[0]
