"""A linear forecast of all channels from all channels, in closed form."""

import numpy as np

from lmmoe.detectors.base import Detector, First, Positive, Share, Whole, blocks
from lmmoe.detectors.scaling import Floats


class RidgeVAR(Detector):
    """Vector autoregression: each row is forecast linearly from the ``order`` rows before it.

    Score: the mean over channels of the squared error in z-scores. Sources: Luetkepohl, "New
    Introduction to Multiple Time Series Analysis" (2005), section 3.2, for the model; Hoerl and
    Kennard (Technometrics 1970) for the penalty. The coefficients B ``(order * c, c)`` solve
    (X'X + n ``penalty`` I) B = X'Y over n centred windows X and the rows Y after them; the
    intercept is not penalised. In z-scores this equals noise of variance ``penalty`` on every input
    (Bishop, Neural Computation 1995), so it means the same for any number of rows. 0.01, a tenth of
    a deviation, was set beforehand; constant channels get no weight.
    """

    name = "ridge VAR"
    seeded = False

    held_out: Share = 0.1
    first_scores: First = "lowest"
    order: Whole = 16
    penalty: Positive = 0.01

    @property
    def unscored(self) -> int:
        """Rows before the first one that can be forecast."""
        return self.order

    def _learn(self, scaled: Floats) -> dict[str, np.ndarray]:
        from scipy.linalg import solve

        inputs, channels = self.order * scaled.shape[1], scaled.shape[1]
        count = len(scaled) - self.order
        # The rows after the windows stand behind them, so one sum gives both sides.
        both = np.zeros((inputs, inputs + channels))
        mean = np.concatenate([scaled[i : i + count].mean(axis=0) for i in range(self.order + 1)])
        for block in blocks(scaled, self.order + 1):
            block -= mean
            both += block[:, :inputs].T @ block
        left, right = both[:, :inputs], both[:, inputs:]
        left[np.diag_indices(inputs)] += self.penalty * count
        weights = solve(left, right, assume_a="pos")
        return {"weights": weights, "intercept": mean[inputs:] - mean[:inputs] @ weights}

    def _score_channels(self, rows: Floats) -> Floats:
        weights, intercept = self._learned["weights"], self._learned["intercept"]
        scaled = self._scaling(rows)
        past = blocks(scaled[:-1], self.order)
        forecasts = np.concatenate([block @ weights for block in past]) + intercept
        return (scaled[self.order :] - forecasts) ** 2
