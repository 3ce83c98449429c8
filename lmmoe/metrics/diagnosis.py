"""Diagnosis: whether the channels that a detector blames for an event are those that caused it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Diagnosis(NamedTuple):
    """Means over events, each in [0, 1]; NaN where no event has a known cause."""

    hit_rate: float
    ndcg: float


def diagnosis(
    *, blame: npt.ArrayLike, causes: Sequence[Sequence[int]], percent: float
) -> Diagnosis:
    """Give HitRate@P% and NDCG@P% over all events with known causes, detected or not.

    ``blame`` is ``(events, c)``: each channel's scores summed over the event; ``causes`` has the
    channels at fault of each event, counted from 0 (an event without any is left out). Channels
    are ranked by blame; k = max(1, floor(P |causes| / 100)), at most c, are looked at. HitRate:
    the share of the causes among them (Su et al., OmniAnomaly, KDD 2019, section 5). NDCG: each
    cause found at place i counts 1 / log2(i + 1), as a share of what the best ranking gets (as
    Tuli et al., TranAD, VLDB 2022, who round k where we floor it for both).

    Tied channels, such as constant ones, get the mean over their random orders. So equal blame for
    all gives what a random ranking has: pass zeros for that row of a table. Raises `ValueError` on
    input that does not fit together.
    """
    blame = np.asarray(blame)
    if blame.ndim != 2 or len(blame) != len(causes):
        problem = f"blame of shape {blame.shape} for the causes of {len(causes)} events"
        raise ValueError(f"{problem}: (events, channels) is needed")
    if blame.dtype.kind not in "biuf" or not np.isfinite(blame).all():
        raise ValueError("blame must be finite numbers")
    if not 0 < percent < float("inf"):
        raise ValueError(f"percent={percent}: a number above 0 is needed")
    for event, channels in enumerate(causes):
        if unknown := set(channels) - set(range(blame.shape[1])):
            raise ValueError(f"event {event}: no channel {min(unknown)} among {blame.shape[1]}")
    pairs = zip(blame, map(list, map(set, causes)), strict=True)
    values = [_of_event(row, channels, percent) for row, channels in pairs if channels]
    return Diagnosis(*map(float, np.mean(values or [[np.nan, np.nan]], axis=0)))


def _of_event(blame: npt.NDArray, channels: list[int], percent: float) -> tuple[float, float]:
    k = min(len(blame), max(1, int(percent * len(channels) / 100 + 1e-9)))
    gains = np.arange(len(blame)) < k
    discounts = gains / np.log2(np.arange(len(blame)) + 2)
    # What a place is worth, averaged over the places that tied channels share.
    _, tie = np.unique(-blame, return_inverse=True)
    size, place = np.bincount(tie), np.sort(tie)
    hit = np.bincount(place, gains)[tie] / size[tie]
    worth = np.bincount(place, discounts)[tie] / size[tie]
    ideal = discounts[: len(channels)].sum()
    return hit[channels].sum() / len(channels), worth[channels].sum() / ideal
