"""Three views of a row, without a network: what is unusual, what is restless, what is far off.

Axes: t rows, c channels, w rows of a window.
"""

from typing import Annotated

import numpy as np
from pydantic import Field

from lmmoe.detectors.base import Arrays, Detector, Part, Positive, Whole
from lmmoe.detectors.classical import principal, remainder
from lmmoe.detectors.scaling import Floats, Scaling, ewma

Views = dict[str, Floats]
FLOOR = 0.1  # deviations of a channel: the least unit of an error, the least spread of a speed
REACH = 3.0  # deviations beyond which a row moves a slow mean no further
MOST = 10.0  # of a channel in a view of speeds
SKIPPED = 200  # training rows that no statistic sees; a quarter where there are fewer than 800
TINY = np.finfo(np.float64).tiny
UNIT = 0.99  # quantile of a channel's training errors that is their unit
SHARES = {"B": 0.05, "D": 0.2}  # of a new row in the exponentially weighted means of these views


class ThreeViews(Detector):
    """Add up views of each row, each as log(1 + view / its mean in training).

    Of z-scored rows, d is the rest beside a slow mean, which moves half of the way to a new level
    in ``half_life`` rows. A channel's error e is what ``components`` main directions of the windows
    of ``width`` rows of d leave of the last row, without its own slow mean. ``views`` are some of

    - A: the mean over channels of e in units of its 99 % quantile in training, smoothed;
    - B: the mean over channels of the size of steps from row to row, smoothed: how many deviations
      it lies above its mean in training, 0 to 10;
    - C: the mean over channels of the size of d, smoothed;
    - D: like B, of e in place of the steps.

    ``smoothing`` is the share of a new row in the smoothed A and C; 1 leaves them as they are. Slow
    means go on from the last training row, and no score sees later rows. A channel's score is its
    part in each view, times what the view adds; over channels they sum to the score.

    The method is this project's own, found by trials on the machines of SMD and ASD that its report
    shows: its numbers there are optimistic. Sources of its parts: `PCAWindows`; exponentially
    weighted means: Roberts (Technometrics 1959).
    """

    name = "ThreeViews"
    seeded = False
    held_out = 0.1
    logarithmic = True

    width: Whole = 8
    components: Whole = 30
    half_life: Positive = 1440.0
    smoothing: Part = 0.5
    views: Annotated[str, Field(pattern="^A?B?C?D?$", min_length=1)] = "ABC"

    @property
    def pace(self) -> float:
        """Share of a new row in the slow means."""
        return 1 - 0.5 ** (1 / self.half_life)

    def _fit(self, rows: Floats) -> Floats:
        self._scaling = Scaling.of(self.scaling, rows)
        self._learned = known = dict.fromkeys(("drift", "bias"), np.zeros(rows.shape[1]))
        sizes, after = self._sizes(rows, self._cut(len(rows)))
        seen = slice(min(SKIPPED, len(rows) // 4), None)
        known["unit"] = np.maximum(np.quantile(sizes["A"][seen], UNIT, axis=0), FLOOR)
        for view in SHARES.keys() & set(self.views):
            known[f"speed {view}"] = sizes[view][seen].mean(axis=0)
            known[f"spread {view}"] = np.maximum(sizes[view][seen].std(axis=0), FLOOR)
        made = self._views(self._parts(sizes))
        for view, line in made.items():
            known[f"mean {view}"] = np.maximum(line[seen].mean(keepdims=True), TINY)
        known |= after
        # Later rows get other scores: they go on where the training rows end.
        return sum(self._added(made).values())

    def _score_rows(self, rows: Floats) -> Floats:
        return sum(self._added(self._views(self._parts(self._sizes(rows)[0]))).values())

    def _score_channels(self, rows: Floats) -> Floats:
        parts = self._parts(self._sizes(rows)[0])
        sums = {view: part.sum(axis=1) for view, part in parts.items()}
        return self._shared(parts, sums, self._added(self._views(parts)))

    def _sizes(self, rows: Floats, cut: int = 0) -> tuple[Views, Arrays]:
        """What views of raw rows are made of, ``(t, c)`` each, and the last slow means.

        The main directions are learned from the first ``cut`` rows, if any.
        """
        scaled, known = self._scaling(rows), self._learned
        above, drift = self._without_drift(scaled, known["drift"])
        filled = np.concatenate([np.repeat(above[:1], self.width - 1, axis=0), above])
        if cut:
            known |= principal(filled[: cut + self.width - 1], self.width, self.components)
        left = remainder(filled, self.width, known)
        errors, bias = self._without_drift(left, known["bias"])
        np.abs(errors, out=errors)
        steps = np.abs(np.diff(scaled, axis=0, prepend=scaled[:1]))
        sizes = {"A": errors, "B": steps, "C": np.abs(above), "D": errors}
        for view, share in SHARES.items():
            if view in self.views:
                sizes[view] = ewma(sizes[view], share, known.get(f"speed {view}"))
        return sizes, {"drift": drift, "bias": bias}

    def _without_drift(self, values: Floats, start: Floats) -> tuple[Floats, Floats]:
        """Subtract from values ``(t, c)`` the slow mean before each; also give the last one."""
        slow = ewma(np.clip(values, -REACH, REACH), self.pace, start)
        return values - np.concatenate([start[None], slow[:-1]]), slow[-1]

    def _parts(self, sizes: Views) -> Views:
        """Each channel's part in each view ``(t, c)``, before the mean and smoothing."""
        known, parts = self._learned, {view: sizes[view] for view in self.views}
        if "A" in parts:
            parts["A"] = sizes["A"] / known["unit"]
        for view in SHARES.keys() & parts:
            above = (sizes[view] - known[f"speed {view}"]) / known[f"spread {view}"]
            parts[view] = np.clip(above, 0, MOST, out=above)
        return parts

    def _views(self, parts: Views) -> Views:
        """Means over channels ``(t,)``; A and C smoothed, from their means in training if known."""
        made = {view: part.mean(axis=1, keepdims=True) for view, part in parts.items()}
        for view in made.keys() & set("AC"):
            start = self._learned.get(f"mean {view}")
            made[view] = ewma(made[view], self.smoothing, start)
        return {view: line[:, 0] for view, line in made.items()}

    def _added(self, views: Views) -> Views:
        """What each view ``(t,)`` adds to the scores."""
        return {view: np.log1p(now / self._learned[f"mean {view}"]) for view, now in views.items()}

    def _shared(self, parts: Views, sums: Views, added: Views) -> Floats:
        """Share what views add among the channels, by parts with these sums, which are lost."""
        for view, part in parts.items():
            part *= (added[view] / np.maximum(sums[view], TINY))[:, None]
        return sum(parts.values())
