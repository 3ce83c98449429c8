"""What the study's detectors do to scores: moving averages, and scaling over the rows at hand."""

import numpy as np
import numpy.typing as npt

from lmmoe.detectors.base import Floats


def smoothed(values: Floats, weights: npt.ArrayLike, *, centred: bool = True) -> Floats:
    """Weighted moving average of values ``(t,)``; ``weights`` are symmetric, of odd length.

    ``centred``: a value sees as far ahead as back. Otherwise it sees the past only, and what was
    the value in the middle comes that much later. At the ends, the values that exist are averaged.
    """
    weights = np.asarray(weights, dtype=np.float64)
    start = len(weights) // 2 if centred else 0
    part = slice(start, start + len(values))
    sums = np.convolve(values, weights)[part]
    return sums / np.convolve(np.ones(len(values)), weights)[part]


def unit(values: Floats) -> Floats:
    """Scale values ``(t,)`` to their own range, 0 to 1; all 0 where they are equal."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros(len(values))
