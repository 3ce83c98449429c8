"""How one row is scored, given the rows before it.

A scorer says how many rows it looks back (``context``) and has no state, so that streams of one
model share it. It judges the last of rows ``(l + 1, c, n)``, scaled and oldest first: scores
``(n,)`` and each channel's part in them, ``(c, n)`` or None. What it must remember beyond these
rows is in ``carry`` ``(k, c, n)``, NaN where nothing is known; ``turn`` rises by 1 from row to row.
Axes: l rows of context, c channels, n streams.
"""

import copy
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lmmoe.data.series import FAR
from lmmoe.detectors import Detector
from lmmoe.detectors.three_views import MOST, REACH, SHARES
from lmmoe.errors import DataError

if TYPE_CHECKING:
    from lmmoe.detectors.classical import PCAWindows
    from lmmoe.detectors.mixture import Mixture
    from lmmoe.detectors.three_views import ThreeViews
    from lmmoe.live.model import Facts

Floats = npt.NDArray[np.floating]
Judged = tuple[npt.NDArray[np.float64], Floats | None]
NEAR = 1e-5  # how near live scores are to batch scores, above 1 as a share
TINY = np.finfo(np.float64).tiny


class Forecasting:
    """The MMoE family by its network: one pass per row, whatever the window."""

    averaged = True  # a missing cell adds nothing: the score is the mean over the other channels
    block, dtype, far = 64, np.float32, FAR  # streams at a time: the quickest
    carried = 0

    def __init__(self, made: "Mixture") -> None:
        self.detector, self.network = made, copy.deepcopy(made.network).cpu()
        self.window, self.context = made.window, made.unscored
        self.centre, self.spread = made._scaling.shift, made._scaling.scale

    def judge(self, rows: Floats, carry: Floats, turn: int) -> Judged:
        """Score the last of the rows."""
        import torch  # here: other scorers do without

        from lmmoe import training

        windows = np.ascontiguousarray(rows[: self.window].T)  # (n, c, w)
        with torch.inference_mode(), training.threads(1):
            forecasts = self.network(torch.from_numpy(windows)).numpy().T
        errors = np.square(rows[-1] - forecasts)
        return errors.mean(axis=0, dtype=np.float64), errors


class Sliding:
    """Any other detector by its public functions, on the shortest piece that ends with the row.

    It costs as many rows of batch scoring as the detector looks back, twice that with the channels'
    parts. Raises `DataError` where a row's score depends on others than these.
    """

    averaged = False  # missing cells are scored as filled
    block, dtype, carried = 512, np.float64, 0

    def __init__(self, made: Detector, facts: "Facts") -> None:
        self.detector, self.context, channels = made, made.min_rows - 1, made.n_features_in_
        self.centre, self.spread, self.far = np.zeros(channels), np.ones(channels), 1e150
        if facts.means:
            self.centre, self.spread = np.array(facts.means), np.array(facts.deviations)
            self.far = FAR
        try:
            made.channel_scores(np.zeros((made.min_rows, channels)))
            self.shares = True
        except NotImplementedError:
            self.shares = False
        # Does a row's score change with rows that are not in its piece?
        size, score = made.min_rows, made.decision_function
        noise = np.random.default_rng(0).normal(size=(3 * size + 2, channels))
        rows = self.centre + self.spread * noise
        alone = [score(rows[end - size : end])[-1] for end in range(len(rows) - 2, len(rows) + 1)]
        if not np.allclose(score(rows)[-3:], alone, rtol=NEAR, atol=NEAR):
            problem = f"what it gives a row depends on more than the {size} rows up to it"
            hint = "Watch with a detector that scores each row by the rows before it"
            raise DataError(f"{made.name} has no live score: {problem}", hint=hint)

    def judge(self, rows: Floats, carry: Floats, turn: int) -> Judged:
        """Score the last of the rows."""
        # The pieces of all streams, one after another: each last row sees its own piece only.
        series = rows.transpose(2, 0, 1).reshape(-1, rows.shape[1]) * self.spread + self.centre
        last = slice(self.context, None, self.context + 1)
        errors = self.detector.channel_scores(series)[last].T if self.shares else None
        return self.detector.decision_function(series)[last], errors


class Rebuilding:
    """`PCAWindows` by one product a row; ``carry`` is the weighted mean of the errors so far."""

    averaged = False
    block, dtype, far, carried = 256, np.float64, FAR, 1

    def __init__(self, made: "PCAWindows | ThreeViews") -> None:
        self.detector, learned, channels = made, made._learned, made.n_features_in_
        self.centre, self.spread = made._scaling.shift, made._scaling.scale
        self.context, self.main, mean = made.min_rows - 1, learned["directions"], learned["mean"]
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
            follow(smooth, errors, self.detector.ewma)
            errors = smooth.copy()
        return errors.mean(axis=0), errors


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
        learned, channels, main = made._learned, len(self.centre), self.main
        self.carried = len(self.STATE) + made.width
        self.known = {name: part[:, None] for name, part in learned.items() if part.ndim == 1}
        self.means = np.array([learned[f"mean {view}"] for view in made.views])
        begin = [np.broadcast_to(learned.get(name, 0.0), channels) for name in self.STATE]
        self.begin = np.array(begin)[..., None]
        # The directions as the ring's rows lie at each turn: views of two copies.
        twice, size = np.hstack([main, main]), main.shape[1]
        ends = range(2 * size - channels, size - 1, -channels)
        self.directions = [twice[:, end - size : end] for end in ends]
        self.added: dict[str, Floats] = {}  # what each view added to the latest scores

    def judge(self, rows: Floats, carry: Floats, turn: int) -> Judged:
        """Score the last of the rows; bring ``carry`` up to date."""
        row, made, known, slot = rows[-1], self.detector, self.known, turn % self.detector.width
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
        parts = np.empty((len(made.views), *row.shape))
        for view, part in zip(made.views, parts, strict=True):
            if view == "A":
                np.divide(errors, known["unit"], out=part)
            elif view == "C":
                np.abs(above, out=part)
            else:
                if view == "B":
                    np.abs(np.subtract(row, before, out=before), out=before)
                speed = state[f"speed {view}"]
                follow(speed, before if view == "B" else errors, SHARES[view])
                np.subtract(speed, known[f"speed {view}"], out=part)
                part /= known[f"spread {view}"]
                np.clip(part, 0, MOST, out=part)
        before[:] = row
        sums = parts.sum(axis=1)
        heights = sums / len(row)
        for view, height in zip(made.views, heights, strict=True):
            if view in "AC":
                smooth = state[f"mean {view}"][0]
                follow(smooth, height, made.smoothing)
                height[:] = smooth
        heights = np.log1p(heights / self.means)
        self.added = dict(zip(made.views, heights, strict=True))
        shares = heights / np.maximum(sums, TINY)
        return heights.sum(axis=0), np.einsum("vcn,vn->cn", parts, shares)


def follow(slow: Floats, values: Floats, share: float) -> None:
    """Move means that follow slowly by a share of their way to ``values``, which are lost."""
    values -= slow
    values *= share
    slow += values
