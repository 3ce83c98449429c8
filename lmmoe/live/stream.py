"""One live stream: a row in, its score, the alarm and the channels to blame out."""

import math
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lmmoe.errors import DataError
from lmmoe.live import statefile, thresholds
from lmmoe.live.alarm import RELEASE, Alarm
from lmmoe.live.model import Model
from lmmoe.live.scorers import Floats, scorer
from lmmoe.live.thresholds import Tail

RULE = "budget"
WARMING_UP = "warming up"  # why a row has no score that has too few rows before it
ENOUGH = 0.5  # share of the channels that a row must have values of to be scored


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
    channels: tuple[str, ...], step: Step, forecast: Floats | None, observed: Floats, top: int
) -> list[dict[str, object]]:
    """Name the ``top`` channels of a step with errors; `Stream.explain` tells the rest.

    ``forecast`` and ``observed`` ``(c,)`` are in the channels' units.
    """
    shares = step.shares
    forecast = np.full(len(shares), math.nan) if forecast is None else forecast
    if step.missing is not None:
        observed = np.where(step.missing, math.nan, observed)
    return [
        {
            "channel": channels[number],
            "share": float(shares[number]),
            "forecast": _finite(forecast[number]),
            "observed": _finite(observed[number]),
        }
        for number in np.argsort(-shares, kind="stable")[:top]
        if shares[number] > 0
    ]


def _finite(value: np.floating) -> float | None:
    return float(value) if np.isfinite(value) else None


class Stream:
    """Scores raw rows ``(c,)`` one by one, each as `decision_function` scores it in a batch.

    ``threshold`` is a rule (`lmmoe.live.thresholds`), ``release`` as in `Alarm`. ``rows_per_day``
    replaces that of the model's facts. With ``accept_after``, a level that has kept one alarm open
    for so many rows is taken as the new normal: the mean of these rows stands for the training
    mean from then on, and the alarm ends.

    The first rows, as many as the detector looks back, have no score. Missing cells (NaN, infinite)
    take the channel's last value; in the MMoE family they add nothing, and the score is the mean
    over the other channels. Rows with values in less than half of the channels have no score.
    Values more than 10^9 deviations from the mean are cut there.
    """

    def __init__(
        self,
        model: Model,
        *,
        threshold: str | float = RULE,
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
        rule = thresholds.threshold(threshold, model.calibration, model.day(rows_per_day))
        self.tail = rule if isinstance(rule, Tail) else None
        start = rule.threshold if self.tail else rule
        self.alarm = Alarm(start, release, model.normal)
        self.rule = [*thresholds.checked_rule(threshold), start]  # as a state keeps it
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

    def _scored(self, kept: Floats, missing: npt.NDArray[np.bool_] | None) -> Step:
        judged = self.scorer.judge(self.window[..., None], kept[:, None], self.carry[:, None])
        score = float(judged.scores[0])
        errors = None if judged.errors is None else judged.errors[:, 0]
        if missing is not None and errors is not None:
            errors = np.where(missing, 0, errors)
            if self.scorer.masks:
                score = float(errors.sum(dtype=np.float64) / np.count_nonzero(~missing))
        if not math.isfinite(score):
            self.counts["scores without a number"] += 1
            return Step(math.nan, why="not a number", missing=missing)
        event = self._event(score)
        if judged.forecasts is not None:
            forecast = judged.forecasts[:, 0]
        else:  # it costs as much as the score: only where somebody will ask for it
            forecast = self.scorer.forecast(self.window, kept) if event == "opened" else None
        return Step(score, event, "", errors, forecast, missing)

    def _event(self, score: float) -> str:
        """Let alarm, tail and level take the score; say what that led to."""
        was_open = self.alarm.open
        event = "opened" if self.alarm.step(score, self.rows - 1) else ""
        if was_open and not self.alarm.open:
            event = "ended"
        if self.tail is not None and self.tail.update(score):
            self.alarm.threshold = self.tail.threshold
        if self.accept_after is not None and self._accepted():
            event = "accepted"
        return event

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
        self.window -= self.scorer.distance(change)
        self.offset += change
        self.carry[:] = np.nan
        self.alarm.open, self.since = False, 0
        self._centre = self.scorer.centre + self.offset
        return True

    def _mended(self, row: Floats) -> tuple[Floats, Floats, npt.NDArray[np.bool_] | None]:
        """Fill what is missing with the last values, and cut what is too far out."""
        bad = ~np.isfinite(row)
        self.counts["filled cells"] += int(np.count_nonzero(bad))
        self.counts["infinite cells"] += int(np.count_nonzero(np.isinf(row)))
        row = np.where(bad, self.held, row)
        reach = self.scorer.far * self.scorer.spread
        inside = np.clip(row, self._centre - reach, self._centre + reach)
        self.counts["cut cells"] += int(np.count_nonzero(inside != row))
        return inside, (inside - self._centre) / self.scorer.spread, bad if bad.any() else None

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
        if step.errors is None:
            return []
        forecast = None if step.forecast is None else self.scorer.raw(step.forecast) + self.offset
        return blame(self.model.channels, step, forecast, self.held, top)

    def state(self) -> tuple[statefile.Arrays, dict[str, object]]:
        """Give all that the next rows depend on besides model and settings; `restore` takes it."""
        arrays = self._arrays() | ({"excesses": self.tail.excesses} if self.tail else {})
        return arrays, {
            "model": self.model.fingerprint,
            **{name: getattr(self, name) for name in ("rows", "seen", "since")},
            "alarm": self.alarm.state,
            "rule": self.rule,
            "tail": self.tail.numbers if self.tail else None,
            "counts": dict(self.counts),
        }

    def restore(self, arrays: statefile.Arrays, facts: dict[str, object]) -> None:
        """Go on from a `state` as if there had been no break.

        A threshold that learned is taken back where the rule is the same. Raises `DataError` where
        the state is another model's or does not fit; start another stream then.
        """
        if facts.get("model") != self.model.fingerprint:
            raise DataError("the state is that of a stream with another model")
        try:
            statefile.fill(arrays, self._arrays())
            self.rows, self.seen, self.since = (int(facts[n]) for n in ("rows", "seen", "since"))
            self.alarm.restore(facts["alarm"])
            self.counts = Counter({str(n): int(count) for n, count in facts["counts"].items()})
            if self.tail and facts["tail"] and facts["rule"] == self.rule:
                self.tail = Tail.restored(facts["tail"], arrays["excesses"])
                self.alarm.threshold = self.tail.threshold
        except statefile.UNFIT as error:
            raise DataError(f"the state does not fit the stream ({error})") from error
        self._centre = self.scorer.centre + self.offset

    def _arrays(self) -> statefile.Arrays:
        names = ("window", "held", "carry", "offset", "lifted")
        return {name: getattr(self, name) for name in names}

    def save(self, path: str | Path) -> Path:
        """Write `state` as a file, complete or not there."""
        return statefile.write(path, *self.state())

    def load(self, path: str | Path) -> None:
        """Take back what `save` wrote; `DataError` for anything else."""
        self.restore(*statefile.read(path))
