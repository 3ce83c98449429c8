"""The rows that the programs work on: a machine of SMD where there is one, else random walks.

What is timed hardly depends on the values, so that anyone can run the programs.
"""

from typing import NamedTuple

import numpy as np

from lmmoe import data

ROWS, CHANNELS = 28_479, 38  # of SMD's machine-1-1
EVERY, LONG = 3000, 300  # rows from one made-up event to the next, and rows of one


class Given(NamedTuple):
    """Rows ``(t, c)`` to train on and to score, labels ``(t,)`` of the latter, and their name."""

    train: np.ndarray
    test: np.ndarray
    labels: np.ndarray
    name: str


def machine() -> Given:
    """Give the first machine of SMD that is here, or as many rows of random walks."""
    present = data.entities("smd")
    if present:
        series = data.load("smd", present[0])
        return Given(series.train, series.test, series.labels, f"SMD {present[0]}")
    steps = np.random.default_rng(0).normal(size=(2, ROWS, CHANNELS))
    walks = np.cumsum(steps, axis=1)
    labels = (np.arange(ROWS) % EVERY >= EVERY - LONG).astype(np.int8)
    return Given(walks[0], walks[1], labels, "random walks")
