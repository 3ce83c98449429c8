"""How one row is scored, given the rows before it.

A scorer says how many rows it looks back (``context``) and remembers none, so that streams of one
model share it. It judges the last of rows ``(l + 1, c, n)``, scaled and oldest first: scores
``(n,)``, and a function that gives each channel's part in them, ``(c, n)``, or None. What it must
remember beyond these rows is in ``carry`` ``(k, c, n)``, NaN where nothing is known; ``turn`` rises
by 1 from row to row.
Axes: l rows of context, c channels, n streams.
"""

import copy
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lmmoe.data.series import FAR
from lmmoe.detectors import Detector
from lmmoe.detectors.three_views import REACH, SHARES
from lmmoe.errors import DataError
from lmmoe.live.alarms import ROUNDING

if TYPE_CHECKING:
    from lmmoe.detectors.classical import PCAWindows
    from lmmoe.detectors.mixture import Mixture
    from lmmoe.detectors.three_views import ThreeViews
    from lmmoe.live.model import Facts

Floats = npt.NDArray[np.floating]
Judged = tuple[npt.NDArray[np.float64], Callable[[], Floats] | None]


class Scorer:
    """What scorers have in common; values beyond ``far`` deviations are cut."""

    averaged = False  # True: a score is the mean over channels, and a missing cell adds nothing
    block, dtype, far, carried = 512, np.float64, FAR, 0  # streams at a time: the quickest

    def __init__(self, made: Detector) -> None:
        self.detector, self.context = made, made.min_rows - 1
        self.centre, self.spread = made._scaling.shift, made._scaling.scale


class Forecasting(Scorer):
    """The MMoE family by its network: one pass per row, whatever the window."""

    averaged = True
    block, dtype = 64, np.float32

    def __init__(self, made: "Mixture") -> None:
        super().__init__(made)
        self.network, self.window = copy.deepcopy(made.network).cpu(), made.window

    def judge(self, rows: Floats, carry: Floats, turn: int) -> Judged:
        """Score the last of the rows."""
        import torch  # here: other scorers do without

        from lmmoe import training

        windows = np.ascontiguousarray(rows[: self.window].T)  # (n, c, w)
        with torch.inference_mode(), training.threads(1):
            forecasts = self.network(torch.from_numpy(windows)).numpy().T
        errors = np.square(rows[-1] - forecasts)
        return errors.mean(axis=0, dtype=np.float64), lambda: errors


class Sliding(Scorer):
    """Any other detector by its public functions, on the shortest piece that ends with the row.

    It costs as many rows of batch scoring as the detector looks back. Raises `DataError` where a
    row's score depends on others than these.
    """

    def __init__(self, made: Detector, facts: "Facts") -> None:
        self.detector, self.context, channels = made, made.min_rows - 1, made.n_features_in_
        known = facts.means and (facts.means, facts.deviations)
        self.centre, self.spread = map(np.array, known or (np.zeros(channels), np.ones(channels)))
        self.far = FAR if known else 1e150
        self.shares = type(made)._score_channels is not Detector._score_channels
        # Does a row's score change with rows that are not in its piece?
        size, score = made.min_rows, made.decision_function
        noise = np.random.default_rng(0).normal(size=(3 * size + 2, channels))
        rows = self.centre + self.spread * noise
        alone = [score(rows[end - size : end])[-1] for end in range(len(rows) - 2, len(rows) + 1)]
        if not np.allclose(score(rows)[-3:], alone, rtol=ROUNDING, atol=ROUNDING):
            problem = f"what it gives a row depends on more than the {size} rows up to it"
            hint = "Watch with a detector that scores each row by the rows before it"
            raise DataError(f"{made.name} has no live score: {problem}", hint=hint)

    def judge(self, rows: Floats, carry: Floats, turn: int) -> Judged:
        """Score the last of the rows."""
        # The pieces of all streams, one after another: each last row sees its own piece only.
        series = rows.transpose(2, 0, 1).reshape(-1, rows.shape[1]) * self.spread + self.centre
        last = slice(self.context, None, self.context + 1)
        parts = cache(lambda: self.detector.channel_scores(series)[last].T)
        return self.detector.decision_function(series)[last], parts if self.shares else None


class Rebuilding(Scorer):
    """`PCAWindows` by one product a row; ``carry`` is the weighted mean of the errors so far."""

    block, carried = 256, 1

    def __init__(self, made: "PCAWindows | ThreeViews") -> None:
        super().__init__(made)
        learned, channels = made._learned, made.n_features_in_
        self.main, mean = learned["directions"], learned["mean"]
        # What is left of a row: by the directions' products, and a one for the constant part.
        back, last = self.main[:, -channels:].T, mean[-channels:]
        self.back = np.hstack([-back, (back @ (self.main @ mean) - last)[:, None]])

    def left(self, directions: Floats, window: Floats, row: Floats) -> Floats:
        """What directions leave of rows ``(c, n)``, the latest of windows ``(w, c, n)``."""
        main = np.ones((len(directions) + 1, row.shape[1]))
        np.matmul(directions, window.reshape(-1, row.shape[1]), out=main[:-1])
        left = self.back @ main
        left += row
        return left

    def judge(self, rows: Floats, carry: Floats, turn: int) -> Judged:
        """Score the last of the rows."""
        errors, smooth = np.abs(self.left(self.main, rows, rows[-1])), carry[0]
        if self.detector.ewma:
            np.copyto(smooth, errors, where=np.isnan(smooth))
            errors = follow(smooth, errors, self.detector.ewma).copy()
        return errors.mean(axis=0), lambda: errors


class Viewing(Rebuilding):
    """`ThreeViews`, with all that it remembers carried from row to row.

    ``carry`` holds what `STATE` names, each for the channels (smoothed views in all of them), and
    then the rows of the window without their drift: a ring, in which ``turn`` replaces the oldest.
    It begins where the training rows end.
    """

    STATE = ("drift", "bias", "row before", "speed B", "speed D", "mean A", "mean C")
    block = 512

    def __init__(self, made: "ThreeViews") -> None:
        super().__init__(made)
        channels, main = len(self.centre), self.main
        self.carried = len(self.STATE) + made.width
        begin = [np.broadcast_to(made._learned.get(name, 0.0), channels) for name in self.STATE]
        self.begin = np.array(begin)[..., None]
        # The directions as the ring's rows lie at each turn: views of two copies.
        twice, size = np.hstack([main, main]), main.shape[1]
        ends = range(2 * size - channels, size - 1, -channels)
        self.directions = [twice[:, end - size : end] for end in ends]
        self.added: dict[str, Floats] = {}  # what each view added to the latest scores

    def judge(self, rows: Floats, carry: Floats, turn: int) -> Judged:
        """Score the last of the rows; bring ``carry`` up to date."""
        row, made, slot = rows[-1], self.detector, turn % self.detector.width
        ring, state = carry[len(self.STATE) :], dict(zip(self.STATE, carry, strict=False))
        drift, bias, before = (state[name] for name in self.STATE[:3])
        fresh = np.isnan(drift[0])
        if fresh.any():
            carry[: len(state), :, fresh], before[:, fresh] = self.begin, row[:, fresh]
            ring[:, :, fresh] = (row - drift)[:, fresh]
        above = np.subtract(row, drift, out=ring[slot])
        follow(drift, np.clip(row, -REACH, REACH), made.pace)
        left = self.left(self.directions[slot], ring, above)
        errors = np.abs(left - bias)
        follow(bias, np.clip(left, -REACH, REACH, out=left), made.pace)
        sizes = {"A": errors, "C": np.abs(above)}
        for view in SHARES.keys() & set(made.views):
            size = np.abs(np.subtract(row, before, out=before)) if view == "B" else errors.copy()
            sizes[view] = follow(state[f"speed {view}"], size, SHARES[view])
        before[:] = row
        # From here on as in a batch: streams for rows.
        parts = made._parts({view: size.T for view, size in sizes.items()})
        sums = {view: part.sum(axis=1) for view, part in parts.items()}
        views = {view: part / len(row) for view, part in sums.items()}
        for view in views.keys() & set("AC"):
            views[view] = follow(state[f"mean {view}"][0], views[view], made.smoothing)
        self.added = added = made._added(views)
        return sum(added.values()), cache(lambda: made._shared(parts, sums, added).T)


def follow(slow: Floats, values: Floats, share: float) -> Floats:
    """Move means that follow slowly by a share of their way to ``values``, which are lost."""
    values -= slow
    values *= share
    slow += values
    return slow
