"""The thresholds that metrics try which are too dear to try at every score."""

import numpy as np
import numpy.typing as npt

THRESHOLDS = 250  # as package TSB-AD 1.5, whose values the published leaderboards show


def thresholds(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Choose 250 of the scores ``(t,)`` at equal steps of rank, highest first, ``(250,)``.

    The highest and the lowest score are among them; fewer rows repeat some.
    """
    ranks = np.linspace(0, len(scores) - 1, THRESHOLDS).astype(int)
    return -np.sort(-scores)[ranks]
