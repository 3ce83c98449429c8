"""How channels are scaled: by training rows only. The rule is the z-score unless a method's own."""

import numpy as np

from lmmoe.detectors.base import Detector, Floats


class Scaling:
    """A shift and a divisor per channel, ``(c,)`` each. Axes: t rows, c channels."""

    def __init__(self, shift: Floats, scale: Floats) -> None:
        self.shift, self.scale = shift, scale

    @classmethod
    def z_score(cls, rows: Floats) -> "Scaling":
        """Mean and population standard deviation of training rows ``(t, c)``.

        A channel that does not vary there is divided by 1.
        """
        scale = rows.std(axis=0)
        # Not std == 0: rounding gives a constant channel a deviation near 1e-17.
        scale[rows.max(axis=0) == rows.min(axis=0)] = 1.0
        return cls(rows.mean(axis=0), scale)

    @classmethod
    def min_max(cls, rows: Floats) -> "Scaling":
        """Lowest value and range of training rows ``(t, c)``; a range of 0 is replaced by 1."""
        low, high = rows.min(axis=0), rows.max(axis=0)
        return cls(low, np.where(high > low, high - low, 1.0))

    @classmethod
    def none(cls, rows: Floats) -> "Scaling":
        """Leave rows ``(t, c)`` as they are."""
        return cls(np.zeros(rows.shape[1]), np.ones(rows.shape[1]))

    def __call__(self, rows: Floats) -> Floats:
        """Scale rows ``(t, c)``."""
        return (rows - self.shift) / self.scale

    def undone(self, scaled: Floats) -> Floats:
        """Bring scaled rows ``(t, c)`` back to raw units."""
        return scaled * self.scale + self.shift

    @property
    def state(self) -> dict[str, Floats]:
        """Both arrays, by the names that a file of a detector gives them."""
        return {"shift": self.shift, "scale": self.scale}


class Scaled(Detector):
    """A detector that learns only its scaling, z-scores unless it has a ``_scaler`` of its own."""

    seeded = False

    def _fit(self, rows: Floats) -> None:
        self._scaling = self._scaler(rows)

    def _scaler(self, rows: Floats) -> Scaling:
        return Scaling.z_score(rows)

    def _state(self) -> dict[str, np.ndarray]:
        return self._scaling.state

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        self._scaling = Scaling(state["shift"], state["scale"])
