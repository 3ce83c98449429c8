"""PA%K: point adjustment that fills an event only once enough of it is flagged."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lmmoe.metrics.f1 import Floats, checked
from lmmoe.segments import segments


class PAK(NamedTuple):
    """Best F1 at each K = 0, 1, ..., 100 percent ``(101,)``, and the area under them, in [0, 1]."""

    f1: Floats
    area: float


def pa_k(*, labels: npt.ArrayLike, scores: npt.ArrayLike) -> PAK:
    """Give the best F1 under PA%K for every whole K, and the area under F1 over K.

    Kim et al., "Towards a Rigorous Evaluation of Time-Series Anomaly Detection", AAAI 2022: an
    event counts as flagged as a whole where strictly more than K % of its rows are. K = 0 is point
    adjustment, K = 100 the plain best F1; each K has the best threshold on these labels. The area
    is the trapezoid rule's over K / 100. O(t log t) for all K together. Raises `ValueError` on bad
    input (`lmmoe.metrics.f1.checked`).
    """
    labels, scores = checked(labels, scores)
    # From here on scores are places among the distinct scores of events, 0 the highest: every
    # threshold worth trying is one of those.
    negated, place = np.unique(-scores[labels], return_inverse=True)
    false_alarms = np.searchsorted(np.sort(-scores[~labels]), negated, side="right")
    start, end = segments(labels)
    length = end - start
    event = np.repeat(np.arange(len(start)), length)
    ordered = place[np.lexsort((place, event))]  # each event's places, the best score's first
    offset = np.cumsum(length) - length
    f1 = np.empty(101)
    for percent in range(101):
        # Filled from the score of its (floor(K n / 100) + 1)-th best row on; never at K = 100.
        rank = np.minimum(percent * length // 100, length - 1)
        filled = ordered[offset + rank] if percent < 100 else np.full(len(length), len(negated))
        acting = np.minimum(place, filled[event])
        hits = np.cumsum(np.bincount(acting, minlength=len(negated)))
        f1[percent] = np.max(2 * hits / (hits + false_alarms + len(place)))
    return PAK(f1, float(np.trapezoid(f1, dx=0.01)))
