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
    block, dtype = 512, np.float64

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
        """Score the last of kept rows; bring ``carry`` ``(c, n)`` up to date.

        It holds the errors' weighted means so far, NaN where there are none.
        """
        # The pieces of all streams, one after another: each last row sees its own piece only.
        series = np.ascontiguousarray(rows.transpose(2, 0, 1)).reshape(-1, rows.shape[1])
        last = slice(self.context, None, self.context + 1)
        errors = self.detector.channel_scores(series)[last].T if self.shares else None
        if not self.ewma:
            return self.detector.decision_function(series)[last], errors
        smooth = self.ewma * errors + (1 - self.ewma) * carry
        carry[:] = errors = np.where(np.isnan(carry), errors, smooth)
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
