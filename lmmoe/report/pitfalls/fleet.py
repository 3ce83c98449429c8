"""The numbers of all entities, and the two that a mistake is about: before it and after it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lmmoe.data.series import Bits, Floats

# From how often each entity was drawn, (r, n), to one number per resample, (r,).
Statistic = Callable[[Floats], Floats]


@dataclass(frozen=True, eq=False)
class Panel:
    """What one mistake's experiment gave for one detector. Axes: s seeds, n entities.

    ``values`` holds ``(s, n)`` numbers by setting, NaN where a run failed or a number is not
    defined; ``labels`` ``(n,)`` and ``scores`` ``(s, n)`` are lists of arrays, None where missing.
    """

    detector: str
    entities: list[str]
    groups: list[str]
    values: dict[str, Floats]
    labels: list[Bits]
    scores: list[list[Floats | None]]

    def mean(self, setting: str) -> Floats:
        """One setting's numbers ``(n,)``, seeds averaged."""
        return nan_mean(self.values[setting], axis=0)

    @property
    def complete(self) -> npt.NDArray[np.bool_]:
        """The entities that have a number under every setting, ``(n,)``."""
        there = [np.isfinite(self.mean(setting)) for setting in self.values]
        return np.logical_and.reduce(there, axis=0)

    @property
    def means(self) -> dict[str, Statistic]:
        """Every setting's mean over seeds, then the entities drawn."""
        return {setting: partial(mean_over, self.mean(setting)) for setting in self.values}


class Outcome(NamedTuple):
    """Both numbers as statistics of the entities drawn, and everything that was tried likewise.

    ``known`` ``(n,)`` tells which entities have them all: no others may be drawn, so that no number
    stands beside one of other entities.
    """

    before: Statistic
    after: Statistic
    known: npt.NDArray[np.bool_]
    settings: dict[str, Statistic]


Combine = Callable[[Panel], Outcome]


def pair(before: str, after: str) -> Combine:
    """Compare the means of two settings."""
    return partial(_pair, before=before, after=after)


def _pair(panel: Panel, *, before: str, after: str) -> Outcome:
    return outcome(panel, panel.mean(before), panel.mean(after))


def outcome(panel: Panel, before: Floats, after: Floats) -> Outcome:
    """Compare the means of two numbers of each entity, ``(n,)`` both, made from a panel's."""
    known = np.isfinite(before) & np.isfinite(after) & panel.complete
    return Outcome(partial(mean_over, before), partial(mean_over, after), known, panel.means)


def mean_over(values: Floats, counts: Floats, among: npt.ArrayLike | None = None) -> Floats:
    """Mean of values ``(n,)`` over the entities drawn, or those ``among`` them; NaN of none.

    ``counts`` is ``(r, n)``; an entity without a value must not be drawn.
    """
    weights = counts if among is None else counts * np.asarray(among)
    total = weights.sum(axis=1)
    sums = weights @ np.nan_to_num(values)
    return np.divide(sums, total, out=np.full(len(total), np.nan), where=total > 0)


def nan_mean(values: npt.ArrayLike, axis: int | None = None) -> Floats:
    """Mean of the numbers that are there; NaN, without a warning, where there is none."""
    values = np.asarray(values, dtype=float)
    count = np.isfinite(values).sum(axis=axis)
    sums = np.where(np.isfinite(values), values, 0).sum(axis=axis)
    return np.where(count > 0, sums / np.maximum(count, 1), np.nan)


def resamples(known: npt.NDArray[np.bool_], *, draws: int = 10_000, seed: int = 0) -> Floats:
    """Draw the known entities with replacement: how often each was drawn, ``(draws, n)``.

    The bootstrap of `report.statistics.bootstrap_mean` for statistics that are no means, and for
    the order of several detectors, which must be drawn on the same entities.
    """
    places = np.flatnonzero(known)
    counts = np.zeros((draws, len(known)))
    if len(places):
        chosen = np.random.default_rng(seed).integers(len(places), size=(draws, len(places)))
        cells = chosen + len(places) * np.arange(draws)[:, None]
        drawn = np.bincount(cells.ravel(), minlength=draws * len(places))
        counts[:, places] = drawn.reshape(draws, len(places))
    return counts


def group_of(entities: Sequence[str]) -> list[str]:
    """The group of each entity: ``machine-1`` for SMD's ``machine-1-6``; one group elsewhere."""
    parts = [name.rsplit("-", 1) for name in entities]
    fleet = all(len(part) == 2 and part[0].startswith("machine-") for part in parts)
    return [part[0] if fleet else "all" for part in parts]
