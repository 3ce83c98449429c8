"""Runs of ones in a 0/1 vector: labelled events, alarms."""

import numpy as np
import numpy.typing as npt


def segments(bits: npt.ArrayLike) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Give all runs of 1 in a 0/1 vector ``(t,)``: first rows and rows after the last, ``(n,)``."""
    edges = np.flatnonzero(np.diff(np.asarray(bits, dtype=np.int8), prepend=0, append=0))
    return edges[::2], edges[1::2]


def runs(bits: npt.ArrayLike) -> list[tuple[int, int]]:
    """Give the same as a list of (start, end), end excluded."""
    starts, ends = segments(bits)
    return list(zip(starts.tolist(), ends.tolist(), strict=True))
