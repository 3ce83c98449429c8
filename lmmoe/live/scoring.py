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

from lmmoe.detectors import Detector
from lmmoe.detectors.three_views import MOST, REACH, SHARES
from lmmoe.errors import DataError

if TYPE_CHECKING:
    from lmmoe.detectors.mixture import Mixture
    from lmmoe.detectors.three_views import ThreeViews
    from lmmoe.live.model import Facts

Floats = npt.NDArray[np.floating]
Judged = tuple[npt.NDArray[np.float64], Floats | None]
NEAR = 1e-5  # how near live scores are to batch scores, above 1 as a share
FAR = 1e9  # deviations from the mean beyond which a value is cut: its square fits a float32
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
    parts. An exponentially weighted mean over the errors, which looks further back, is carried on
    here. Raises `DataError` where a row's score depends on others than these.
    """

    averaged = False  # missing cells are scored as filled
    block, dtype, carried = 512, np.float64, 1

    def __init__(self, made: Detector, facts: "Facts") -> None:
        self.ewma, self.detector = getattr(made, "ewma", 0.0), copy.copy(made)
        if self.ewma:
            self.detector.ewma = 0.0
        self.context = self.detector.min_rows - 1
        channels = self.detector.n_features_in_
        self.centre, self.spread, self.far = np.zeros(channels), np.ones(channels), 1e150
        if facts.means:
            self.centre, self.spread = np.array(facts.means), np.array(facts.deviations)
            self.far = FAR
        try:
            self.detector.channel_scores(np.zeros((self.context + 1, channels)))
            self.shares = True
        except NotImplementedError:
            self.shares = False
        # Does a row's score change with rows that are not in its piece?
        size, score = self.context + 1, self.detector.decision_function
        noise = np.random.default_rng(0).normal(size=(3 * size + 2, channels))
        rows = self.centre + self.spread * noise
        alone = [score(rows[end - size : end])[-1] for end in range(len(rows) - 2, len(rows) + 1)]
        if not np.allclose(score(rows)[-3:], alone, rtol=NEAR, atol=NEAR):
            problem = f"what it gives a row depends on more than the {size} rows up to it"
            hint = "Watch with a detector that scores each row by the rows before it"
            raise DataError(f"{made.name} has no live score: {problem}", hint=hint)

    def judge(self, rows: Floats, carry: Floats, turn: int) -> Judged:
        """Score the last of the rows; ``carry`` is the weighted mean of the errors so far."""
        # The pieces of all streams, one after another: each last row sees its own piece only.
        series = rows.transpose(2, 0, 1).reshape(-1, rows.shape[1]) * self.spread + self.centre
        last = slice(self.context, None, self.context + 1)
        errors = self.detector.channel_scores(series)[last].T if self.shares else None
        if not self.ewma:
            return self.detector.decision_function(series)[last], errors
        smooth = self.ewma * errors + (1 - self.ewma) * carry[0]
        carry[0] = errors = np.where(np.isnan(smooth), errors, smooth)
        return errors.mean(axis=0), errors


class Viewing:
    """`ThreeViews`, with all that it remembers carried from row to row.

    ``carry`` holds what `STATE` names, each for the channels (smoothed views in all of them), and
    then the rows of the window without their drift: a ring, in which ``turn`` replaces the oldest.
    It begins where the training rows end.
    """

    STATE = ("drift", "bias", "row before", "speed B", "speed D", "mean A", "mean C")
    averaged = False
    block, dtype, far, context = 512, np.float64, FAR, 0

    def __init__(self, made: "ThreeViews") -> None:
        self.detector, learned = made, made._learned
        self.centre, self.spread = made._scaling.shift, made._scaling.scale
        channels, self.carried = len(self.centre), len(self.STATE) + made.width
        self.known = {name: part[:, None] for name, part in learned.items() if part.ndim == 1}
        begin = [np.broadcast_to(learned.get(name, 0.0), channels) for name in self.STATE]
        self.begin, main, mean = np.array(begin)[..., None], learned["directions"], learned["mean"]
        self.back = main[:, -channels:].T.copy()
        self.centred = (self.back @ (main @ mean) - mean[-channels:])[:, None]
        # The directions as the ring's rows lie at each turn.
        parts = main.reshape(len(main), made.width, channels)
        turned = [np.roll(parts, turn + 1, axis=1) for turn in range(made.width)]
        self.directions = [one.reshape(main.shape) for one in turned]

    def judge(self, rows: Floats, carry: Floats, turn: int) -> Judged:
        """Score the last of the rows; bring ``carry`` up to date."""
        row, made, known, slot = rows[-1], self.detector, self.known, turn % self.detector.width
        state, ring = carry[: len(self.STATE)], carry[len(self.STATE) :]
        drift, bias, before = state[:3]
        fresh = np.isnan(drift[0])
        if fresh.any():
            state[:, :, fresh], before[:, fresh] = self.begin, row[:, fresh]
            ring[:, :, fresh] = (row - drift)[:, fresh]
        ring[slot] = above = row - drift
        main = self.directions[slot] @ ring.reshape(-1, row.shape[1])
        left = above - self.back @ main + self.centred
        errors = np.abs(left - bias)
        bias += made.pace * (np.clip(left, -REACH, REACH) - bias)
        drift += made.pace * (np.clip(row, -REACH, REACH) - drift)
        sizes = {"B": np.abs(row - before), "D": errors}
        before[:] = row
        parts = {"A": errors / known["unit"], "C": np.abs(above)}
        for place, (view, share) in enumerate(SHARES.items(), 3):
            if view in made.views:
                state[place] += share * (sizes[view] - state[place])
                far = (state[place] - known[f"speed {view}"]) / known[f"spread {view}"]
                parts[view] = np.clip(far, 0, MOST)
        found, scores = np.zeros(row.shape), np.zeros(row.shape[1])
        for view in made.views:
            sums = parts[view].sum(axis=0)
            height = sums / len(row)
            if view in "AC":
                smooth = state[5 + "AC".index(view)]
                smooth += made.smoothing * (height - smooth)
                height = smooth[0]
            added = np.log1p(height / known[f"mean {view}"][0])
            scores += added
            parts[view] *= added / np.maximum(sums, TINY)
            found += parts[view]
        return scores, found
