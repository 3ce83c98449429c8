"""One live stream: a row in, its score, the alarm and the channels to blame out.

A scorer says how rows are kept and what they are worth, given the rows before; it has no state, so
that streams of one model share it. Axes: l rows before (the context), c channels, n streams.
"""

import copy
import math
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lmmoe.errors import DataError
from lmmoe.live import alarms, outputs
from lmmoe.live.alarms import RELEASE, Alarm, Tail, checked_rule
from lmmoe.live.model import Model

Floats = npt.NDArray[np.floating]
NEAR = 1e-5  # how near live scores are to batch scores, above 1 as a share
FAR = 1e9  # deviations from the mean beyond which a value is cut: its square fits a float32
WARMING_UP = "warming up"  # why a row has no score that has too few rows before it
ENOUGH = 0.5  # share of the channels that a row must have values of to be scored


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
    far = FAR

    def __init__(self, model: Model) -> None:
        from lmmoe.live.forward import Forward

        made = model.detector
        self.forward, self.window, self.context = Forward(made.network), made.window, made.unscored
        self.centre, self.spread = made._scaling.shift, made._scaling.scale
        self.unit, self.origin = self.spread, self.centre  # of kept rows

    def kept(self, rows: Floats, scaled: Floats) -> Floats:
        """Give the form in which rows are kept, of raw ones and of scaled ones."""
        return scaled.astype(np.float32)

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
    look further back, is carried on here (`lmmoe.detectors.linear`).
    """

    masks = False
    block = 512
    dtype = np.float64
    unit, origin = 1.0, 0.0  # kept rows are raw ones

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
        try:
            self.detector.channel_scores(np.zeros((self.context + 1, channels)))
            self.shares = True
        except NotImplementedError:
            self.shares = False
        self._try_out()

    def kept(self, rows: Floats, scaled: Floats) -> Floats:
        """Rows are kept as they come."""
        return rows.copy()

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
        if not self.ewma:
            return Judged(self.detector.decision_function(series)[last], errors, None)
        smooth = self.ewma * errors + (1 - self.ewma) * carry
        carry[:] = errors = np.where(np.isnan(carry), errors, smooth)
        return Judged(errors.mean(axis=0), errors, None)

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
    made = model.detector
    if made.rescales:
        raise DataError(f"{made.name} has no live score: its scores depend on all rows given")
    if hasattr(made, "network"):
        from lmmoe.live.forward import supported

        if supported(made.network):
            return Forecasting(model)
    return Sliding(model)


class Step(NamedTuple):
    """What a row came to.

    ``score`` is NaN where the row has none, and ``why`` says why. ``event`` is "opened", "ended"
    or "accepted" in the row where an alarm does so. ``errors`` ``(c,)`` are each channel's part in
    the score, ``forecast`` ``(c,)`` in the scorer's unit, None where the detector has none;
    ``missing`` ``(c,)`` tells which cells were filled, None where none were.
    """

    score: float
    event: str = ""
    why: str = ""
    errors: Floats | None = None
    forecast: Floats | None = None
    missing: npt.NDArray[np.bool_] | None = None

    @property
    def shares(self) -> Floats | None:
        """Each channel's share in the score ``(c,)``, summing to 1; None where there are none."""
        if self.errors is None:
            return None
        total = self.errors.sum(dtype=np.float64)
        return self.errors / total if total > 0 else np.zeros(len(self.errors))

    def blame(
        self, channels: tuple[str, ...], forecast: Floats | None, observed: Floats, top: int
    ) -> list[dict[str, object]]:
        """Name the ``top`` channels by their shares; `Stream.explain` tells the rest.

        ``forecast`` and ``observed`` ``(c,)`` are in the channels' units.
        """
        if self.errors is None:
            return []
        both = np.full((2, len(channels)), math.nan)
        if forecast is not None:
            both[0] = forecast
        both[1] = observed if self.missing is None else np.where(self.missing, math.nan, observed)
        known = np.where(np.isfinite(both), both, None).tolist()  # JSON has no NaN
        shares = self.shares
        names = ("channel", "share", "forecast", "observed")
        rows = list(zip(channels, shares.tolist(), *known, strict=True))
        order = np.argsort(-shares, kind="stable")[:top]
        return [dict(zip(names, rows[n], strict=True)) for n in order if shares[n] > 0]


class Stream:
    """Scores raw rows ``(c,)`` one by one, each as `decision_function` scores it in a batch.

    ``threshold`` is a rule (`lmmoe.live.alarms`), ``release`` as in `Alarm`. ``rows_per_day``
    replaces that of the model's facts. With ``accept_after``, a level that has kept one alarm open
    for so many rows is taken as the new normal: the mean of these rows stands for the training
    mean from then on, and the alarm ends.

    The first rows, as many as the detector looks back, have no score. Missing cells (NaN, infinite)
    take the channel's last value; in the MMoE family they add nothing, and the score is the mean
    over the other channels. Rows with values in less than half of the channels have no score.
    Values more than 10^9 deviations from the mean are cut there. ``counts`` counts such cells.
    """

    def __init__(
        self,
        model: Model,
        *,
        threshold: str | float = "budget",
        release: float = RELEASE,
        rows_per_day: float | None = None,
        accept_after: int | None = None,
    ) -> None:
        if accept_after is not None and accept_after < 2:
            raise DataError(f"accept_after={accept_after}: a number of rows from 2 on is needed")
        if accept_after is not None and model.facts is None:
            problem = "the model does not say the training means, which accept_after needs"
            raise DataError(problem, hint="Fit it with lmmoe.live.fit, or give facts")
        self.model, self.scorer, self.accept_after = model, scorer(model), accept_after
        start = alarms.threshold(threshold, model.calibration, model.day(rows_per_day))
        self.tail = start if isinstance(start, Tail) else None
        start = self.tail.threshold if self.tail else start
        self.alarm = Alarm(start, release, model.normal)
        self.rule = [*checked_rule(threshold), start]  # as a state keeps it
        channels = len(model.channels)
        self.rows, self.seen, self.counts = 0, 0, Counter()
        self.window = np.zeros((self.scorer.context, channels), dtype=self.scorer.dtype)
        self.held = self.scorer.centre.copy()  # last value of each channel
        self.carry = np.full(channels, np.nan)
        self.offset, self.lifted, self.since = np.zeros(channels), np.zeros(channels), 0
        self._centre, self._far = self.scorer.centre, self.scorer.far**2

    def step(self, row: npt.ArrayLike) -> Step:
        """Take the next raw row ``(c,)``; raises `ValueError` for one of another length."""
        row = np.asarray(row, dtype=np.float64)
        if row.shape != self.held.shape:
            raise ValueError(f"row of shape {row.shape}: expected {self.held.shape}")
        missing = None
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = (row - self._centre) / self.scorer.spread
            if not scaled @ scaled < self._far:  # too far out, or not a number
                row, scaled, missing = self._mended(row)
        kept = self.scorer.kept(row - self.offset, scaled)
        self.held[:] = row
        self.rows += 1
        if self.seen < len(self.window):
            found = Step(math.nan, why=WARMING_UP, missing=missing)
        elif missing is not None and np.count_nonzero(missing) > len(row) * (1 - ENOUGH):
            found = Step(math.nan, why="too few values", missing=missing)
        else:
            found = self._scored(kept, missing)
        self._push(kept)
        return found

    def _mended(self, row: Floats) -> tuple[Floats, Floats, npt.NDArray[np.bool_] | None]:
        """Fill what is missing with the last values, and cut what is too far out."""
        bad = ~np.isfinite(row)
        filled = np.where(bad, self.held, row)
        reach = self.scorer.far * self.scorer.spread
        inside = np.clip(filled, self._centre - reach, self._centre + reach)
        for kind, cells in (
            ("filled cells", bad),
            ("infinite cells", np.isinf(row)),
            ("cut cells", inside != filled),
        ):
            if cells.any():
                self.counts[kind] += int(np.count_nonzero(cells))
        return inside, (inside - self._centre) / self.scorer.spread, bad if bad.any() else None

    def _scored(self, kept: Floats, missing: npt.NDArray[np.bool_] | None) -> Step:
        judged = self.scorer.judge(self.window[..., None], kept[:, None], self.carry[:, None])
        score = float(judged.scores[0])
        errors = None if judged.errors is None else judged.errors[:, 0]
        if missing is not None and errors is not None:
            errors = np.where(missing, 0, errors)
            if self.scorer.masks:
                score = float(errors.sum(dtype=np.float64) / np.count_nonzero(~missing))
        if not math.isfinite(score):
            return Step(math.nan, why="not a number", missing=missing)
        event = self.alarm.step(score, self.rows - 1)
        if self.tail is not None and self.tail.update(score):
            self.alarm.threshold = self.tail.threshold
        if self.accept_after is not None and self._accepted():
            event = "accepted"
        forecast = None
        if judged.forecasts is not None:
            forecast = judged.forecasts[:, 0]
        elif event == "opened" and hasattr(self.scorer.detector, "forecasts"):
            # It costs as much as the score: only where somebody will ask for it.
            forecast = self.scorer.detector.forecasts(np.concatenate([self.window, kept[None]]))[-1]
        return Step(score, event, "", errors, forecast, missing)

    def _accepted(self) -> bool:
        """Follow the level of an open alarm; make it the normal one when it has stayed."""
        if not self.alarm.open:
            self.since = 0
            self.lifted[:] = 0
            return False
        self.since += 1
        self.lifted += (self.held - self.lifted) / self.since  # their running mean
        if self.since < self.accept_after:
            return False
        change = self.lifted - np.array(self.model.facts.means) - self.offset
        self.window -= change / self.scorer.unit
        self.offset += change
        self.carry[:] = np.nan
        self.alarm.open, self.since = False, 0
        self._centre = self.scorer.centre + self.offset
        return True

    def _push(self, kept: Floats) -> None:
        self.seen = min(self.seen + 1, len(self.window))
        if len(self.window):
            self.window[:-1] = self.window[1:]
            self.window[-1] = kept

    def bridge(self, rows: int) -> None:
        """Let missing rows pass as if they had held the last values; they have no score."""
        scaled = (self.held - self._centre) / self.scorer.spread
        for _ in range(rows):
            self._push(self.scorer.kept(self.held - self.offset, scaled))

    def restart(self) -> None:
        """Forget the rows so far, as after a gap: the next ones have no score; an alarm ends."""
        self.seen, self.since, self.alarm.open = 0, 0, False
        self.carry[:] = np.nan

    def explain(self, step: Step, top: int = 5) -> list[dict[str, object]]:
        """Name the channels with the largest shares in the score of the latest row, largest first.

        Each with ``channel``, ``share``, ``forecast`` and ``observed`` in the channel's unit; the
        last two are None where there is no forecast, or the cell was missing. Empty where the
        detector does not say what each channel adds.
        """
        forecast = step.forecast
        if forecast is not None:
            forecast = forecast * self.scorer.unit + self.scorer.origin + self.offset
        return step.blame(self.model.channels, forecast, self.held, top)

    def state(self) -> tuple[outputs.Arrays, dict[str, object]]:
        """Give all that the next rows depend on besides model and settings; `restore` takes it."""
        arrays = self._arrays() | ({"excesses": self.tail.excesses} if self.tail else {})
        return arrays, {
            "model": self.model.fingerprint,
            **{name: getattr(self, name) for name in ("rows", "seen", "since", "rule", "counts")},
            "alarm": self.alarm.state,
            "tail": self.tail.state if self.tail else None,
        }

    def restore(self, arrays: outputs.Arrays, facts: dict[str, object]) -> None:
        """Go on from a `state` as if there had been no break.

        A threshold that learned is taken back where the rule is the same. Raises `DataError` where
        the state is another model's or does not fit; start another stream then.
        """
        if facts.get("model") != self.model.fingerprint:
            raise DataError("the state is that of a stream with another model")
        try:
            outputs.fill(arrays, self._arrays())
            self.rows, self.seen, self.since = (int(facts[n]) for n in ("rows", "seen", "since"))
            for name, value in facts["alarm"].items():
                setattr(self.alarm, name, value)
            self.counts.clear()
            self.counts.update(facts["counts"])
            if self.tail and facts["rule"] == self.rule:
                self.tail = Tail(**facts["tail"], excesses=arrays["excesses"])
                self.alarm.threshold = self.tail.threshold
        except outputs.UNFIT as error:
            raise DataError(f"the state does not fit the stream ({error})") from error
        self._centre = self.scorer.centre + self.offset

    def _arrays(self) -> outputs.Arrays:
        names = ("window", "held", "carry", "offset", "lifted")
        return {name: getattr(self, name) for name in names}

    def save(self, path: str | Path) -> Path:
        """Write `state` as a file, complete or not there."""
        return outputs.write_state(path, *self.state())

    def load(self, path: str | Path) -> None:
        """Take back what `save` wrote; `DataError` for anything else."""
        self.restore(*outputs.read_state(path))
