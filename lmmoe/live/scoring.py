"""How one row is scored, given the rows before it.

A scorer says in which form rows are kept and what they are worth; it has no state, so that streams
of one model share it. It judges the last of kept rows ``(l + 1, c, n)``, oldest first: scores
``(n,)`` and each channel's part in them, ``(c, n)`` or None. Axes: l rows that it looks back (the
context), c channels, n streams.
"""

import copy
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from lmmoe import training
from lmmoe.detectors import Detector
from lmmoe.detectors.mixture import Mixture
from lmmoe.detectors.three_views import MOST, REACH, SHARES, ThreeViews
from lmmoe.errors import DataError

if TYPE_CHECKING:
    from lmmoe.live.model import Facts

Floats = npt.NDArray[np.floating]
Judged = tuple[npt.NDArray[np.float64], Floats | None]
NEAR = 1e-5  # how near live scores are to batch scores, above 1 as a share
FAR = 1e9  # deviations from the mean beyond which a value is cut: its square fits a float32


class Forecasting:
    """The MMoE family by its network: one pass per row, whatever the window.

    Rows are kept as the detector scales them, in single precision. A missing cell adds nothing, and
    the score is the mean over the channels that are there.
    """

    scaled = True
    block, dtype, ewma, far = 64, np.float32, 0.0, FAR  # 64 streams at a time: the quickest
    carried = 0

    def __init__(self, made: Mixture) -> None:
        self.detector, self.network = made, copy.deepcopy(made.network).cpu()
        self.window, self.context = made.window, made.unscored
        self.centre, self.spread = made._scaling.shift, made._scaling.scale

    def judge(self, rows: Floats, carry: Floats) -> Judged:
        """Score the last of kept rows; there is nothing to ``carry``."""
        windows = np.ascontiguousarray(rows[: self.window].T)  # (n, c, w)
        with torch.inference_mode(), training.threads(1):
            forecasts = self.network(torch.from_numpy(windows)).numpy().T
        errors = np.square(rows[-1] - forecasts)
        return errors.mean(axis=0, dtype=np.float64), errors


class Sliding:
    """Any other detector by its public functions, on the shortest piece that ends with the row.

    It costs as many rows of batch scoring as the detector looks back, and what its functions spend
    on a call; twice that with the channels' parts. That a row's score depends on no more than these
    rows is tried out when this is made. An exponentially weighted mean over the errors, which does
    look further back, is carried on here (`lmmoe.detectors.classical`).
    """

    scaled = False  # rows are kept as they come
    block, dtype, carried = 512, np.float64, 1

    def __init__(self, made: Detector, facts: "Facts | None") -> None:
        self.ewma, self.detector = getattr(made, "ewma", 0.0), copy.copy(made)
        if self.ewma:
            self.detector.ewma = 0.0
        self.context = self.detector.min_rows - 1
        channels = self.detector.n_features_in_
        self.centre, self.spread, self.far = np.zeros(channels), np.ones(channels), 1e150
        if facts:
            self.centre, self.spread = np.array(facts.means), np.array(facts.deviations)
            self.far = FAR
        try:
            self.detector.channel_scores(np.zeros((self.context + 1, channels)))
            self.shares = True
        except NotImplementedError:
            self.shares = False
        self._try_out()

    def judge(self, rows: Floats, carry: Floats) -> Judged:
        """Score the last of kept rows; bring ``carry`` ``(1, c, n)`` up to date.

        It holds the errors' weighted means so far, NaN where there are none.
        """
        # The pieces of all streams, one after another: each last row sees its own piece only.
        series = np.ascontiguousarray(rows.transpose(2, 0, 1)).reshape(-1, rows.shape[1])
        last = slice(self.context, None, self.context + 1)
        errors = self.detector.channel_scores(series)[last].T if self.shares else None
        if not self.ewma:
            return self.detector.decision_function(series)[last], errors
        smooth = self.ewma * errors + (1 - self.ewma) * carry[0]
        carry[0] = errors = np.where(np.isnan(smooth), errors, smooth)
        return errors.mean(axis=0), errors

    def _try_out(self) -> None:
        """Raise `DataError` where a row's score changes with rows that are not in its piece."""
        size = self.context + 1
        spread = np.random.default_rng(0).normal(size=(3 * size + 2, len(self.centre)))
        rows, score = self.centre + self.spread * spread, self.detector.decision_function
        whole = score(rows)[-3:]
        alone = [score(rows[end - size : end])[-1] for end in range(len(rows) - 2, len(rows) + 1)]
        if not np.allclose(whole, alone, rtol=NEAR, atol=NEAR):
            raise DataError(
                f"{self.detector.name} has no live score: what it gives a row depends on more than "
                f"the {size} rows up to it",
                hint="Watch with a detector that scores each row by the rows before it",
            )


class Viewing:
    """`ThreeViews`, with all that it remembers carried from row to row.

    ``carry`` ``(k, c, n)`` holds, each a row of channels: the slow means of rows and of errors, the
    row before, the two smoothed speeds; the smoothed A and C (in their first channel); the last
    rows without their drift. It begins where the training rows end.
    """

    scaled = False
    block, dtype, ewma, context = 512, np.float64, 0.0, 0

    def __init__(self, made: ThreeViews) -> None:
        self.detector, self.known = made, {n: part[..., None] for n, part in made._learned.items()}
        self.centre, self.spread, self.far = made._scaling.shift, made._scaling.scale, FAR
        self.carried = 7 + made.width
        directions = made._learned["directions"]
        self.directions, self.back = directions, directions[:, -len(self.centre) :].T.copy()

    def judge(self, rows: Floats, carry: Floats) -> Judged:
        """Score the last of kept rows; bring ``carry`` up to date."""
        made, known, channels = self.detector, self.known, len(self.centre)
        row = (rows[-1] - self.centre[:, None]) / self.spread[:, None]
        drift, bias, before, speed, error_speed, smooth_a, smooth_c = carry[:7]
        fresh = np.isnan(drift[0])
        if fresh.any():
            begin = {"drift": drift, "bias": bias, "speed B": speed, "speed D": error_speed}
            begin |= {"mean A": smooth_a, "mean C": smooth_c}
            for name, part in begin.items():
                part[:, fresh] = known.get(name, 0.0)
            before[:, fresh] = row[:, fresh]
        above = row - drift
        carry[7:-1] = carry[8:]
        carry[-1] = above
        if fresh.any():
            carry[7:, :, fresh] = above[:, fresh]
        window = carry[7:].reshape(made.width * channels, -1) - known["mean"]
        left = window[-channels:] - self.back @ (self.directions @ window) - bias
        bias += made.pace * (np.clip(left + bias, -REACH, REACH) - bias)
        drift += made.pace * (np.clip(row, -REACH, REACH) - drift)
        errors = np.abs(left)
        speed += SHARES["B"] * (np.abs(row - before) - speed)
        error_speed += SHARES["D"] * (errors - error_speed)
        before[:] = row
        parts = {"A": errors / known["unit"], "C": np.abs(above)}
        for view, pace in (("B", speed), ("D", error_speed)):
            if view in made.views:
                far = (pace - known[f"speed {view}"]) / known[f"spread {view}"]
                parts[view] = np.clip(far, 0, MOST)
        found, scores = np.zeros(row.shape), np.zeros(row.shape[1])
        for view in made.views:
            part = parts[view]
            sums = part.sum(axis=0)
            height = sums / channels
            if view in "AC":
                smooth = (smooth_a if view == "A" else smooth_c)[0]
                smooth += made.smoothing * (height - smooth)
                height = smooth
            added = np.log1p(height / known[f"mean {view}"][0])
            scores += added
            found += part * (added / np.maximum(sums, np.finfo(float).tiny))
        return scores, found
