"""What every detector shares: PyOD's and scikit-learn's contract, checked settings and input."""

from collections.abc import Iterator
from contextlib import nullcontext
from functools import cache
from typing import Annotated, Literal, Self, get_type_hints

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from lmmoe.data.series import matrix
from lmmoe.detectors.scaling import Floats, Scaling
from lmmoe.errors import DataError

Arrays = dict[str, np.ndarray]

# Kinds of settings.
Whole = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Part = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
First = Literal["lowest", "zero"]

BLOCK = 2048  # windows at a time: 10 MB at 16 rows of 38 channels, which stays near the cache


class Detector:
    """A detector fitted on rows taken as normal; it takes raw rows and owns its scaling.

    Axes: t rows, c channels. The contract is PyOD's. After ``fit``: ``decision_scores_`` ``(t,)``
    of the training rows; ``threshold_``, their (1 - ``contamination``) quantile; ``labels_``
    ``(t,)``, 1 above it; ``feature_names_in_``, where a data frame's columns have names. It works
    inside scikit-learn's harness (``clone``, ``Pipeline``, ``cross_val_predict``), whose import
    costs more than all of this package: so it is not derived from scikit-learn's classes.

    Settings are annotated attributes with their defaults, here and in subclasses. ``seed`` fixes
    all that is random; ``contamination`` is the share of training rows to flag. Where a subclass
    has them, a score looks at ``window`` rows up to its own or, for forecasts, up to ``horizon``
    rows before it; ``held_out`` is the share of rows at the end that are scaled with the rest but
    not learned from, for thresholds and to stop training; the first ``unscored`` rows get the
    "lowest" score or, as in the study, "zero" (``first_scores``).

    A new detector is a subclass with `_score_channels` or `_score_rows`, and `_learn` if it learns
    more than its scaling. Raises `ValueError` for a setting or a value that does not exist.
    """

    name = ""
    version = 1  # raise it with every change that moves a score by more than 1e-6
    seeded = True  # False where the seed changes nothing: one run then stands for all
    logarithmic = False  # True where scores are sums of logarithms
    rescales = False  # True where scores are scaled over the rows given: no threshold carries over
    scaling = "z-score"  # a rule of `Scaling.of`
    held_out = None  # None: it learns no more than its scaling
    first_scores = "lowest"
    window = 1
    horizon = 0

    seed: int = 0
    contamination: Annotated[float, Field(gt=0, le=0.5)] = 0.1

    def __init__(self, **settings: object) -> None:
        kinds = self.setting_kinds()
        for name, value in settings.items():
            if name not in kinds:
                raise ValueError(f"{self.name} has no setting {name!r}: it has {', '.join(kinds)}")
            plain = value.item() if isinstance(value, np.generic) else value
            try:
                kinds[name].validate_python(plain)
            except ValidationError as error:
                # Of "a number or a list of them", the last says what is wrong with a list.
                found = error.errors()[-1 if isinstance(plain, list) else 0]["msg"]
                raise ValueError(f"{name}={value!r}: {found}") from error
        for name in kinds:
            setattr(self, name, settings.get(name, getattr(type(self), name)))

    @classmethod
    @cache
    def setting_kinds(cls) -> dict[str, TypeAdapter]:
        """Types of the settings by name, those of the base classes first."""
        strict = ConfigDict(strict=True)  # "yes" is no number
        hints = get_type_hints(cls, include_extras=True)
        return {name: TypeAdapter(kind, config=strict) for name, kind in hints.items()}

    @property
    def settings(self) -> dict[str, object]:
        """All settings with their values, as given or by default."""
        return {name: getattr(self, name) for name in self.setting_kinds()}

    def get_params(self, deep: bool = True) -> dict[str, object]:  # noqa: FBT001, FBT002
        """The settings, by the name and the signature of scikit-learn and PyOD."""
        return self.settings

    def set_params(self, **settings: object) -> Self:
        """Change settings; where one is refused (`ValueError`), all stay as they were."""
        made = self.__sklearn_clone__()
        made.__init__(**self.settings | settings)
        vars(self).update(vars(made))
        return self

    def __sklearn_clone__(self) -> Self:
        made = type(self)(**self.settings)
        made.name = self.name  # the preset's
        return made

    def __sklearn_tags__(self) -> object:
        from sklearn.utils import Tags, TargetTags

        return Tags(estimator_type="outlier_detector", target_tags=TargetTags(required=False))

    def fit(self, X: npt.ArrayLike, y: object = None) -> Self:
        """Learn from training rows ``(t, c)``; ``y`` is ignored.

        Raises `DataError` for bad or too few rows, `RuntimeError` where training diverges.
        """
        rows = self._rows(X)
        self.n_features_in_ = rows.shape[1]
        vars(self).pop("feature_names_in_", None)
        if columns := _columns(X):
            self.feature_names_in_ = np.array(columns, dtype=object)
        with self._threads():
            scores = self._fit(rows)
            self.decision_scores_ = self._score(rows) if scores is None else scores
        self.threshold_ = float(np.quantile(self.decision_scores_, 1 - self.contamination))
        self.labels_ = (self.decision_scores_ > self.threshold_).astype(int)
        return self

    def decision_function(self, X: npt.ArrayLike) -> Floats:
        """Score consecutive rows ``(t, c)``: ``(t,)``, higher is more anomalous.

        Columns of a data frame are taken by their names, where it was fitted on one. Raises
        `DataError` for bad or too few rows or other channels, `RuntimeError` before ``fit``.
        """
        rows = self._fitted_rows(X)
        with self._threads():
            return self._score(rows)

    def channel_scores(self, X: npt.ArrayLike) -> Floats:
        """How much each channel adds to each row's score, ``(t, c)``.

        Raises as `decision_function`, and `NotImplementedError` where there is no such share.
        """
        rows = self._fitted_rows(X)
        with self._threads():
            late = self._score_channels(rows)
        return np.concatenate([np.zeros((self.unscored, rows.shape[1])), late])

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[np.int_]:
        """1 where a row's score is above ``threshold_``, else 0, ``(t,)``; raises likewise."""
        return (self.decision_function(X) > self.threshold_).astype(int)

    @property
    def fitted(self) -> bool:
        """Whether it can score."""
        return hasattr(self, "threshold_")

    @property
    def savable(self) -> bool:
        """Whether a file can hold it: one names detectors of this package only."""
        from lmmoe.detectors import PRESETS

        return self.name in PRESETS and type(self).__module__.startswith("lmmoe.")

    @property
    def parameters(self) -> int:
        """How many numbers were learned by ``fit``, without the scaling."""
        return sum(array.size for array in self._learned.values())

    @property
    def unscored(self) -> int:
        """Rows at the start that have no score of their own: those before the first window's."""
        return self.window + self.horizon - 1

    @property
    def min_rows(self) -> int:
        """Fewest rows that it can be fitted on, and can score."""
        return self.unscored + 1

    # From here on, what a subclass may replace.

    def _learn(self, scaled: Floats) -> Arrays:
        """Learn from scaled rows ``(t, c)``: arrays by name, later in ``_learned``."""
        return {}

    def _score_channels(self, rows: Floats) -> Floats:
        """Score each channel of rows ``unscored`` to the last: ``(t - unscored, c)``."""
        raise NotImplementedError(f"{self.name} does not say how much each channel adds")

    def _score_rows(self, rows: Floats) -> Floats:
        """Score rows ``unscored`` to the last, ``(t - unscored,)``: by default channels' mean."""
        return self._score_channels(rows).mean(axis=1)

    def _first_score(self, late: Floats) -> float:
        """What rows without a score of their own get, given those of the others."""
        return late.min() if self.first_scores == "lowest" else 0.0

    def _fit(self, rows: Floats) -> Floats | None:
        """Learn; give the scores of the training rows where `_score` would give others."""
        scaling = Scaling.of(self.scaling, rows)
        self._learned = self._learn(scaling(rows)[: self._cut(len(rows)) or None])
        self._scaling = scaling

    def _state(self) -> Arrays:
        """What ``_fit`` learned, as arrays by name."""
        return self._learned | ({} if self.scaling == "none" else vars(self._scaling))

    def _restore(self, state: Arrays) -> None:
        """Take back what `_state` gave."""
        parts = (0.0, 1.0) if self.scaling == "none" else (state.pop("shift"), state.pop("scale"))
        self._scaling, self._learned = Scaling(*parts), state

    _threads = staticmethod(nullcontext)  # how many to fit and to score with: NumPy's own choice

    def _cut(self, rows: int) -> int:
        """How many training rows it learns from: all if few would be left, 0 if just a scaling."""
        if self.held_out is None:
            return 0
        cut = rows - int(self.held_out * rows)
        return cut if cut >= self.min_rows else rows

    def _score(self, rows: Floats) -> Floats:
        """Score all rows: ``(t,)``."""
        late = self._score_rows(rows)
        if late.shape != (len(rows) - self.unscored,):
            problem = f"scores of shape {late.shape} for rows {self.unscored} to {len(rows) - 1}"
            raise RuntimeError(f"{self.name} gave {problem}")
        if not self.unscored:
            return late
        return np.concatenate([np.full(self.unscored, self._first_score(late)), late])

    def _rows(self, X: npt.ArrayLike) -> Floats:
        """Check rows that somebody gave."""
        rows = matrix(X)
        if len(rows) < self.min_rows:
            hint = f"It needs at least {self.min_rows}: give more rows or a shorter window"
            raise DataError(f"{len(rows)} rows are too few for {self.name}", hint=hint)
        return rows

    def _fitted_rows(self, X: npt.ArrayLike) -> Floats:
        if not self.fitted:
            raise RuntimeError(f"{self.name} has not been fitted: call fit first")
        known, given = list(getattr(self, "feature_names_in_", [])), _columns(X)
        if known and given and given != known:
            if sorted(given) != sorted(known):
                odd = sorted(set(known) ^ set(given)) or given  # if none: some are there twice
                raise DataError(f"columns {odd[:5]} are not those that {self.name} was fitted on")
            X = X[known]
        rows, channels = self._rows(X), self.n_features_in_
        if rows.shape[1] != channels:
            raise DataError(f"{rows.shape[1]} channels, but {self.name} was fitted on {channels}")
        return rows


def _columns(X: npt.ArrayLike) -> list[str]:
    """Names of a data frame's columns where all are texts, as scikit-learn has it, else none."""
    columns = list(getattr(X, "columns", ()))
    return columns if all(isinstance(name, str) for name in columns) else []


def windows(rows: Floats, window: int) -> Floats:
    """View contiguous rows ``(t, c)`` as flat windows ``(t - w + 1, w * c)``, oldest row first."""
    step = rows.shape[1]
    return np.lib.stride_tricks.sliding_window_view(rows.ravel(), window * step)[::step]


def blocks(rows: Floats, window: int) -> Iterator[Floats]:
    """Give `windows` ``(n, w * c)`` in turn, some at a time, copied: all would fill the memory."""
    flat = windows(rows, window)
    for start in range(0, len(flat), BLOCK):
        yield flat[start : start + BLOCK].copy()
