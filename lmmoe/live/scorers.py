"""How a fitted detector scores one row of each of n streams, given the rows before it.

Axes: l rows before (the context), c channels, n streams. A scorer says how rows are kept and what
they are worth; it has no state, so that streams of one model share it.
"""

import copy
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lmmoe.detectors import Detector
from lmmoe.errors import DataError
from lmmoe.live.model import Model

Floats = npt.NDArray[np.floating]
NEAR = 1e-5  # how near live scores are to batch scores, above 1 as a share
FAR = 1e9  # deviations from the mean beyond which a value is cut: its square fits a float32


class Judged(NamedTuple):
    """Scores ``(n,)``; each channel's part in them and its forecast, ``(c, n)``, where there are.

    A forecast is in the unit in which the scorer keeps rows.
    """

    scores: npt.NDArray[np.float64]
    errors: Floats | None
    forecasts: Floats | None


class Forecasting:
    """The MMoE family by `lmmoe.live.forward`: one pass per row, whatever the window.

    Rows are kept as the detector scales them, in single precision. ``masks``: a missing cell adds
    nothing, and the score is the mean over the channels that are there.
    """

    masks = True
    block = 64  # streams at a time: what the network makes of them then stays near the processor
    dtype = np.float32
    ewma = 0.0

    def __init__(self, model: Model) -> None:
        from lmmoe.live.forward import Forward

        made = model.detector
        self.forward, self.window = Forward(made.network), made.window
        self.context = made.unscored
        self.centre, self.spread, self.far = made._scaling.shift, made._scaling.scale, FAR

    def kept(self, rows: Floats, scaled: Floats) -> Floats:
        """Give the form in which rows are kept, of raw ones and of scaled ones."""
        return scaled.astype(np.float32)

    def raw(self, kept: Floats) -> Floats:
        """Bring kept rows ``(c,)`` back to their units."""
        return kept * self.spread + self.centre

    def distance(self, raw: Floats) -> Floats:
        """Bring a distance ``(c,)`` to the unit of kept rows."""
        return raw / self.spread

    def judge(self, past: Floats, rows: Floats, carry: Floats | None = None) -> Judged:
        """Score kept rows ``(c, n)`` after the rows ``past`` ``(l, c, n)``, oldest first."""
        forecasts = self.forward(past[: self.window])
        errors = rows - forecasts
        errors *= errors
        scores = np.add.reduce(errors, axis=0, dtype=np.float64)
        scores /= len(errors)
        return Judged(scores, errors, forecasts)


class Sliding:
    """Any other detector by its public functions, on the shortest piece that ends with the row.

    It costs as many rows of batch scoring as the detector looks back, and what its functions spend
    on a call; twice that with the channels' parts. That a row's score depends on no more than these
    rows is tried out when this is made. An exponentially weighted mean over the errors, which does
    look further back, is carried on here (`lmmoe.detectors.scaling.ewma`).
    """

    masks = False
    block = 512
    dtype = np.float64

    def __init__(self, model: Model) -> None:
        self.ewma = getattr(model.detector, "ewma", 0.0)
        self.detector = copy.copy(model.detector)
        if self.ewma:
            self.detector.ewma = 0.0
        self.context = self.detector.min_rows - 1
        channels = self.detector.n_features_in_
        self.centre, self.spread, self.far = np.zeros(channels), np.ones(channels), 1e150
        if model.facts:
            self.centre, self.spread = map(np.array, (model.facts.means, model.facts.deviations))
            self.far = FAR
        self.shares = self._has_shares()
        self._try_out()

    def kept(self, rows: Floats, scaled: Floats) -> Floats:
        """Rows are kept as they come."""
        return rows.copy()

    def raw(self, kept: Floats) -> Floats:
        """Kept rows are raw ones."""
        return kept

    def distance(self, raw: Floats) -> Floats:
        """Likewise."""
        return raw

    def judge(self, past: Floats, rows: Floats, carry: Floats | None = None) -> Judged:
        """Score kept rows ``(c, n)`` after the rows ``past`` ``(l, c, n)``, oldest first.

        ``carry`` ``(c, n)`` holds the errors' weighted means so far, NaN where there are none, and
        is brought up to date.
        """
        # The pieces of all streams, one after another: each last row sees its own piece only.
        pieces = np.concatenate([past, rows[None]]).transpose(2, 0, 1)  # (n, l + 1, c)
        series = np.ascontiguousarray(pieces).reshape(-1, len(rows))
        last = slice(self.context, None, self.context + 1)
        errors = self.detector.channel_scores(series)[last].T if self.shares else None
        if self.ewma:
            new = np.isnan(carry)
            errors = np.where(new, errors, self.ewma * errors + (1 - self.ewma) * carry)
            carry[:] = errors
            scores = errors.mean(axis=0)
        else:
            scores = self.detector.decision_function(series)[last]
        return Judged(scores, errors, None)

    def forecast(self, past: Floats, row: Floats) -> Floats | None:
        """Forecast of one row ``(c,)`` after ``(l, c)``; None where the detector makes none."""
        if not hasattr(self.detector, "forecasts"):
            return None
        return self.detector.forecasts(np.concatenate([past, row[None]]))[-1]

    def _has_shares(self) -> bool:
        try:
            self.detector.channel_scores(np.zeros((self.context + 1, len(self.centre))))
        except NotImplementedError:
            return False
        return True

    def _try_out(self) -> None:
        """Raise `DataError` where a row's score changes with rows that are not in its piece."""
        size = self.context + 1
        spread = np.random.default_rng(0).normal(size=(3 * size + 2, len(self.centre)))
        rows = self.centre + self.spread * spread
        whole = self.detector.decision_function(rows)[-3:]
        ends = range(len(rows) - 2, len(rows) + 1)
        alone = [self.detector.decision_function(rows[end - size : end])[-1] for end in ends]
        if not np.allclose(whole, alone, rtol=NEAR, atol=NEAR):
            raise DataError(
                f"{self.detector.name} has no live score: what it gives a row depends on more than "
                f"the {size} rows up to it",
                hint="Watch with a detector that scores each row by the rows before it",
            )


Scorer = Forecasting | Sliding


def scorer(model: Model) -> Scorer:
    """Give the quickest scorer for a model; `DataError` where no live score exists."""
    if model.detector.rescales:
        raise DataError(
            f"{model.detector.name} has no live score: its scores depend on all rows given"
        )
    return Forecasting(model) if _is_forecasting(model.detector) else Sliding(model)


def _is_forecasting(made: Detector) -> bool:
    if not hasattr(made, "network"):
        return False
    from lmmoe.live.forward import supported

    return supported(made.network)
