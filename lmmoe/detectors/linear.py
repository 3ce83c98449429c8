"""Linear models: principal components of rows and of windows, and a forecast in closed form."""

from typing import Literal

import numpy as np

from lmmoe.detectors.base import Arrays, Detector, First, Positive, Share, Whole, blocks, windows
from lmmoe.detectors.scaling import Floats, ewma


class PCA(Detector):
    """Rebuild each scaled row from ``components`` main directions; score what fails.

    Source: Sarfraz et al., "Position: Quo Vadis, Unsupervised Time Series Anomaly Detection?"
    (ICML 2024), baseline "PCA error": 10 components for up to 50 channels, min-max scaled rows, the
    highest absolute error over channels (``score="max"``). ``score="mean"`` takes the mean of the
    squared errors. Channel scores are the absolute errors.
    """

    name = "PCA"
    seeded = False

    held_out: Share = 0.1
    components: Whole = 10
    score: Literal["max", "mean"] = "max"
    scaling: Literal["z-score", "min-max"] = "min-max"

    def _learn(self, scaled: Floats) -> Arrays:
        return principal(scaled, 1, self.components)

    def _score_channels(self, rows: Floats) -> Floats:
        centred = self._scaling(rows) - self._learned["mean"]
        directions = self._learned["directions"]
        return np.abs(centred - centred @ directions.T @ directions)

    def _score_rows(self, rows: Floats) -> Floats:
        errors = self._score_channels(rows)
        return errors.max(axis=1) if self.score == "max" else (errors**2).mean(axis=1)


class PCAWindows(Detector):
    """Rebuild each window of ``window`` z-scored rows from ``components`` main directions.

    Score of a row: the mean over channels of the absolute error in the last row of the window that
    ends there. PCA as a detector: Shyu et al. (ICDM workshop 2003); of windows: Broomhead and King
    (Physica D 1986). With ``ewma`` above 0, errors are smoothed from the first scored row on
    (`lmmoe.detectors.scaling.ewma`). Channel scores are the (smoothed) absolute errors. 16 rows, 30
    components and 0.2 were singled out by trials on SMD: they are no blind choice there.
    """

    name = "PCA windows"
    seeded = False

    held_out: Share = 0.1
    first_scores: First = "lowest"
    window: Whole = 16
    components: Whole = 30
    ewma: Share = 0.0

    def _learn(self, scaled: Floats) -> Arrays:
        return principal(scaled, self.window, self.components)

    def _score_channels(self, rows: Floats) -> Floats:
        mean, directions = self._learned["mean"], self._learned["directions"]
        last = slice(-rows.shape[1], None)  # the window's last row
        errors = []
        for block in blocks(self._scaling(rows), self.window):
            block -= mean
            rebuilt = (block @ directions.T) @ directions[:, last]
            errors.append(np.abs(block[:, last] - rebuilt))
        return ewma(np.concatenate(errors), self.ewma)


def principal(rows: Floats, window: int, components: int) -> Arrays:
    """Mean and main directions of the windows of rows ``(t, c)``, with n = w * c values each.

    "mean" ``(n,)``; "directions" ``(k, n)``, orthonormal, by falling variance. k is ``components``
    or fewer: n - 1, since n of them would rebuild everything; and none along which the windows do
    not vary, since a step of a constant channel must not be rebuilt.
    """
    mean = windows(rows, window).mean(axis=0)
    covariance = np.zeros((len(mean), len(mean)))
    for block in blocks(rows, window):
        block -= mean
        covariance += block.T @ block
    variances, vectors = np.linalg.eigh(covariance)  # rising
    rounding = len(mean) * np.finfo(np.float64).eps * variances[-1]  # as matrix_rank has it
    kept = min(components, len(mean) - 1, np.count_nonzero(variances > rounding))
    return {"mean": mean, "directions": vectors[:, ::-1][:, :kept].T.copy()}


class RidgeVAR(Detector):
    """Vector autoregression: each row is forecast linearly from the ``order`` rows before it.

    Score: the mean over channels of the squared error in z-scores. Sources: Luetkepohl, "New
    Introduction to Multiple Time Series Analysis" (2005), section 3.2, for the model; Hoerl and
    Kennard (Technometrics 1970) for the penalty. The coefficients B ``(order * c, c)`` solve
    (X'X + n ``penalty`` I) B = X'Y over n centred windows X and the rows Y after them, which equals
    noise of variance ``penalty`` on every input (Bishop, Neural Computation 1995).
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

    def _learn(self, scaled: Floats) -> Arrays:
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
        scaled, weights = self._scaling(rows), self._learned["weights"]
        forecasts = [block @ weights for block in blocks(scaled[:-1], self.order)]
        errors = scaled[self.order :] - (np.concatenate(forecasts) + self._learned["intercept"])
        return errors**2
