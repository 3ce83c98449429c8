"""Three views of a row, without a network: what is unusual, what is restless, what is far off.

Axes: t rows, c channels, w rows of a window.
"""

from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field

from lmmoe.detectors.base import Detector, Part, Positive, Whole, blocks
from lmmoe.detectors.classical import principal
from lmmoe.detectors.scaling import Floats, Scaling, ewma

FLOOR = 0.1  # deviations of a channel: the least unit of an error, the least spread of a speed
REACH = 3.0  # deviations beyond which a row moves a slow mean no further
MOST = 10.0  # of a channel in a view of speeds
SKIPPED = 200  # training rows that no statistic sees; a quarter where there are fewer than 800
UNIT = 0.99  # quantile of a channel's training errors that is their unit
SHARES = {"B": 0.05, "D": 0.2}  # of a new row in the exponentially weighted means of these views


class Traced(NamedTuple):
    """What views are made of, ``(t, c)`` each; ``drift`` and ``bias`` are the last slow means."""

    above: Floats
    errors: Floats
    speeds: dict[str, Floats]
    drift: Floats
    bias: Floats


class ThreeViews(Detector):
    """Add up views of each row, each as log(1 + view / its mean in training).

    Of z-scored rows, d is what lies above a slow mean, which moves half of the way to a new level
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

    def _fit(self, rows: Floats) -> None:
        self._scaling = Scaling.of(self.scaling, rows)
        nothing = np.zeros(rows.shape[1])
        self._learned = {"drift": nothing, "bias": nothing}
        found = self._traced(rows, self._cut(len(rows)))
        seen, known = slice(min(SKIPPED, len(rows) // 4), None), self._learned
        known["unit"] = np.maximum(np.quantile(found.errors[seen], UNIT, axis=0), FLOOR)
        for view, speeds in found.speeds.items():
            known[f"speed {view}"] = speeds[seen].mean(axis=0)
            known[f"spread {view}"] = np.maximum(speeds[seen].std(axis=0), FLOOR)
        made = self._views(self._parts(found))
        tiny = np.finfo(float).tiny
        known |= {
            f"mean {n}": np.maximum(line[seen].mean()[None], tiny) for n, line in made.items()
        }
        known |= {"drift": found.drift, "bias": found.bias}
        self._made = self._sum(made)

    def _training_scores(self, rows: Floats) -> Floats:
        """Those that the statistics came from: other rows go on where the training rows end."""
        return vars(self).pop("_made")

    def _score_rows(self, rows: Floats) -> Floats:
        return self._sum(self._views(self._parts(self._traced(rows))))

    def _score_channels(self, rows: Floats) -> Floats:
        parts = self._parts(self._traced(rows))
        views = self._views(parts)
        tiny, found = np.finfo(float).tiny, np.zeros(rows.shape)
        for view, part in parts.items():
            shares = part / np.maximum(part.sum(axis=1, keepdims=True), tiny)
            found += shares * self._sum({view: views[view]})[:, None]
        return found

    def _traced(self, rows: Floats, cut: int = 0) -> Traced:
        """Follow raw rows ``(t, c)``; learn the main directions from the first ``cut``, if any."""
        scaled, known = self._scaling(rows), self._learned
        above, drift = self._without_drift(scaled, known["drift"])
        filled = np.concatenate([np.repeat(above[:1], self.width - 1, axis=0), above])
        if cut:
            known |= principal(filled[: cut + self.width - 1], self.width, self.components)
        last, left = slice(-rows.shape[1], None), []
        for block in blocks(filled, self.width):
            block -= known["mean"]
            rebuilt = (block @ known["directions"].T) @ known["directions"][:, last]
            left.append(block[:, last] - rebuilt)
        errors, bias = self._without_drift(np.concatenate(left), known["bias"])
        np.abs(errors, out=errors)
        sizes = {"B": np.abs(np.diff(scaled, axis=0, prepend=scaled[:1])), "D": errors}
        speeds = {
            view: ewma(sizes[view], share, known.get(f"speed {view}"))
            for view, share in SHARES.items()
            if view in self.views
        }
        return Traced(above, errors, speeds, drift, bias)

    def _without_drift(self, values: Floats, start: Floats) -> tuple[Floats, Floats]:
        """Subtract from values ``(t, c)`` the slow mean before each; also give the last one."""
        slow = ewma(np.clip(values, -REACH, REACH), self.pace, start)
        return values - np.concatenate([start[None], slow[:-1]]), slow[-1]

    def _parts(self, found: Traced) -> dict[str, Floats]:
        """Each channel's part in each view ``(t, c)``, before the mean and smoothing."""
        known = self._learned
        parts = {"A": lambda: found.errors / known["unit"], "C": lambda: np.abs(found.above)}
        for view, speeds in found.speeds.items():
            spread = (speeds - known[f"speed {view}"]) / known[f"spread {view}"]
            parts[view] = lambda spread=spread: np.clip(spread, 0, MOST)
        return {view: parts[view]() for view in self.views}

    def _views(self, parts: dict[str, Floats]) -> dict[str, Floats]:
        """Means over channels ``(t,)``; A and C smoothed, from their means in training if known."""
        made = {view: part.mean(axis=1, keepdims=True) for view, part in parts.items()}
        for view in made.keys() & set("AC"):
            start = self._learned.get(f"mean {view}")
            made[view] = ewma(made[view], self.smoothing, start)
        return {view: line[:, 0] for view, line in made.items()}

    def _sum(self, views: dict[str, Floats]) -> Floats:
        return sum(np.log1p(line / self._learned[f"mean {view}"]) for view, line in views.items())
