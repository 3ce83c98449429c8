"""What every detector shares: PyOD's contract, checked input."""

import inspect
from abc import ABC, abstractmethod
from typing import Self

import numpy as np
import numpy.typing as npt

from lmmoe.errors import DataError

Floats = npt.NDArray[np.float64]
Bits = npt.NDArray[np.int_]


class Detector(ABC):
    """A detector fitted on rows taken as normal; it takes raw rows and owns its scaling.

    Axes: t rows, c channels. The contract is PyOD's, so that either's detectors run in the other's
    harness. After ``fit``: ``decision_scores_`` ``(t,)``, the scores of the training rows;
    ``threshold_``, their (1 - ``contamination``) quantile; ``labels_`` ``(t,)``, 1 above it.
    ``contamination`` is the share of training rows to flag, above 0 and at most 0.5 (PyOD's
    default, 0.1, is high for a live alarm); ``seed`` fixes all that is random: two runs on one
    machine give equal bits.

    To add a detector, write one module in this folder: a subclass with ``_fit`` and ``_score`` (or
    ``_channel_scores``), its own settings as keyword arguments kept under their names, ``**others``
    for those of the classes that it extends, and ``@register(NAME)`` above it.
    """

    name = ""
    version: int | str = 1  # raise it with every change that moves a score by more than 1e-6
    seeded = True  # False where the seed changes nothing: one run then stands for all
    savable = True  # False where what it learned is more than arrays
    rescales = False  # True where scores are scaled over the rows given: no threshold carries over
    min_rows = 1  # fewest rows that it can be fitted on, and can score

    def __init__(self, *, seed: int = 0, contamination: float = 0.1) -> None:
        if not 0 < contamination <= 0.5:
            raise ValueError(f"contamination={contamination}: it must be above 0 and at most 0.5")
        self.seed = seed
        self.contamination = contamination

    @property
    def settings(self) -> dict[str, object]:
        """All settings with their values, as given or by default."""
        return {name: getattr(self, name) for name in setting_names(type(self))}

    # scikit-learn's signature
    def get_params(self, deep: bool = True) -> dict[str, object]:  # noqa: FBT001, FBT002
        """The settings, under the name that scikit-learn and PyOD use."""
        return self.settings

    def fit(self, X: npt.ArrayLike, y: object = None) -> Self:
        """Learn from training rows ``(t, c)``; ``y`` is ignored.

        Raises `DataError` on rows that are not finite numbers, or too few; `RuntimeError` where
        training diverges.
        """
        rows = self._rows(X)
        self.n_features_in_ = rows.shape[1]
        self._fit(rows)
        self.decision_scores_ = self._score(rows)
        self.threshold_ = float(np.quantile(self.decision_scores_, 1 - self.contamination))
        self.labels_ = (self.decision_scores_ > self.threshold_).astype(int)
        return self

    def decision_function(self, X: npt.ArrayLike) -> Floats:
        """Score consecutive rows ``(t, c)``: ``(t,)``, higher is more anomalous.

        Raises `DataError` on rows that are not finite numbers, too few, or of other channels than
        in training; `RuntimeError` before ``fit``.
        """
        return self._score(self._fitted_rows(X))

    def channel_scores(self, X: npt.ArrayLike) -> Floats:
        """How much each channel adds to each row's score, ``(t, c)``.

        Raises `NotImplementedError` where the method has no such share, else as
        `decision_function`.
        """
        return self._channel_scores(self._fitted_rows(X))

    def predict(self, X: npt.ArrayLike) -> Bits:
        """1 where a row's score is above ``threshold_``, else 0, ``(t,)``; raises likewise."""
        return (self.decision_function(X) > self.threshold_).astype(int)

    @property
    def fitted(self) -> bool:
        """Whether it can score."""
        return hasattr(self, "threshold_")

    @property
    def parameters(self) -> int:
        """How many numbers were learned."""
        return 0

    @abstractmethod
    def _fit(self, rows: Floats) -> None: ...

    @abstractmethod
    def _score(self, rows: Floats) -> Floats: ...

    def _channel_scores(self, rows: Floats) -> Floats:
        raise NotImplementedError(f"{self.name} does not say how much each channel adds")

    def _state(self) -> dict[str, np.ndarray]:
        """What ``_fit`` learned, as arrays by name."""
        return {}

    def _restore(self, state: dict[str, np.ndarray]) -> None:  # noqa: B027 most need nothing
        """Take back what `_state` gave."""

    def _rows(self, X: npt.ArrayLike) -> Floats:
        try:
            rows = np.asarray(X, dtype=np.float64, order="C")  # one layout, one result
        except (TypeError, ValueError) as error:
            raise DataError(f"rows must be numbers ({error})") from error
        if rows.ndim != 2 or rows.shape[1] == 0:
            raise DataError(f"rows of shape {rows.shape}: expected (rows, channels)")
        if len(rows) < self.min_rows:
            raise DataError(
                f"{len(rows)} rows are too few for {self.name}",
                hint=f"It needs at least {self.min_rows}: give more rows or a shorter window",
            )
        bad = np.argwhere(~np.isfinite(rows))
        if len(bad):
            row, column = (int(i) for i in bad[0])
            raise DataError(f"{rows[row, column]} is not a finite number", row=row, column=column)
        return rows

    def _fitted_rows(self, X: npt.ArrayLike) -> Floats:
        if not self.fitted:
            raise RuntimeError(f"{self.name} has not been fitted: call fit first")
        rows = self._rows(X)
        if rows.shape[1] != self.n_features_in_:
            raise DataError(
                f"{rows.shape[1]} channels, but {self.name} was fitted on {self.n_features_in_}"
            )
        return rows


def setting_names(cls: type) -> list[str]:
    """The keyword arguments of a detector class and of the classes that it extends."""
    names: dict[str, None] = {}
    for base in reversed(cls.__mro__[:-1]):
        if "__init__" in vars(base):
            parameters = inspect.signature(base.__init__).parameters.values()
            names |= dict.fromkeys(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
    return list(names)
