"""Streams of rows: scores, alarms and the channels to blame, of one stream or thousands at a time.

Axes: n streams, c channels, l rows that the detector looks back.
"""

import json
import math
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lmmoe.detectors import saving
from lmmoe.errors import DataError
from lmmoe.live.alarms import RELEASE, Alarm
from lmmoe.live.model import Model
from lmmoe.live.scoring import Floats, Judged

Bits = npt.NDArray[np.bool_]
STATE = "lmmoe live state 6"
WARMING_UP = "warming up"  # why a row has no score that has too few rows before it
ENOUGH = 0.5  # share of the channels that a row must have values of to be scored
BRIDGE = 3  # missing rows in a row in whose place the last values pass; our choice
ARRAYS = ("window", "held", "carry", "offset", "lifted", "seen", "gone", "since")  # of a state


class Step(NamedTuple):
    """What a row of one stream came to.

    ``score`` is NaN where the row has none, and ``why`` says why. ``event`` is "opened", "ended"
    or "accepted" in the row where an alarm does so. ``errors`` ``(c,)`` are each channel's part in
    the score, None where there are none.
    """

    stream: int
    score: float
    event: str
    why: str
    errors: Floats | None

    @property
    def shares(self) -> Floats | None:
        """Each channel's share in the score ``(c,)``, summing to 1; None where there are none."""
        if self.errors is None:
            return None
        total = self.errors.sum(dtype=np.float64)
        return self.errors / total if total > 0 else np.zeros(len(self.errors))


class Tick(NamedTuple):
    """What a row of each stream came to, as in `Step`: scores ``(n,)``, errors ``(c, n)``."""

    scores: npt.NDArray[np.float64]
    events: dict[int, str]
    why: dict[int, str]
    errors: Floats | None

    def of(self, stream: int) -> Step:
        """Give one stream's part."""
        event, why = self.events.get(stream, ""), self.why.get(stream, "")
        errors = None if why or self.errors is None else self.errors[:, stream]
        return Step(stream, float(self.scores[stream]), event, why, errors)


class Fleet:
    """n streams of one model that keep step: every call takes a row of each.

    Rows are scored as `decision_function` scores them in a batch; the first ones, as many as the
    detector looks back, have no score.

    Missing cells (NaN, infinite) take the channel's last value; in the MMoE family they add
    nothing, and the score is the mean over the other channels. Rows with values in less than half
    of the channels have no score. Values more than 10^9 deviations from the mean are cut there.
    ``counts`` counts such cells. A row without any value stands for one that did not come: after
    more than 3 of them the stream starts afresh.

    ``threshold`` is a rule (`lmmoe.live.alarms`), ``release`` as in `Alarm`. ``rows_per_day``
    replaces that of the model's facts. With ``accept_after``, a level that has kept one alarm open
    for so many rows is taken as the new normal: the mean of these rows stands for the training mean
    from then on, and the alarm ends.
    """

    longest_bridge: float = BRIDGE

    def __init__(
        self,
        model: Model,
        streams: int,
        *,
        threshold: str | float = "budget",
        release: float = RELEASE,
        rows_per_day: float | None = None,
        accept_after: int | None = None,
    ) -> None:
        if accept_after is not None and accept_after < 2:
            raise DataError(f"accept_after={accept_after}: a number of rows from 2 on is needed")
        self.model, self.scorer, self.accept_after = model, model.scorer, accept_after
        self.base, self.spread = self.scorer.centre, self.scorer.spread
        if accept_after is not None and not model.facts:
            problem = "the model does not say the training means, which accept_after needs"
            raise DataError(problem, hint="Fit it with lmmoe.live.fit, or give facts")
        self.means = np.array(model.facts.means) if accept_after is not None else self.base
        level = model.threshold(threshold, rows_per_day)
        self.alarms = [Alarm(level, release, model.normal) for _ in range(streams)]
        self.levels = np.full(streams, -np.inf)  # up to these, a score changes no alarm
        self.rows, self.counts, self.place = 0, Counter(), 0
        self.missing: Bits | None = None  # of the latest rows (n, c)
        shape = (self.scorer.context + 1, len(self.base), streams)
        self.window = np.zeros(shape, self.scorer.dtype)  # a ring, its oldest row at `place`
        self.held = np.tile(self.base, (streams, 1))  # last value of each channel
        self.carry = np.full(shape[1:], np.nan)
        self.offset, self.lifted = np.zeros_like(self.held), np.zeros_like(self.held)
        self.centres: Floats = self.base  # with the offsets, where a level was accepted
        self.seen, self.gone, self.since = (np.zeros(streams, dtype=np.int64) for _ in range(3))

    def step(self, rows: npt.ArrayLike) -> Tick:
        """Take the next raw row of each stream ``(n, c)``; `ValueError` for another shape."""
        rows = np.asarray(rows, dtype=np.float64)
        if rows.shape != self.held.shape:
            raise ValueError(f"rows of shape {rows.shape}: expected {self.held.shape}")
        missing, events, why = None, {}, {}
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = (rows - self.centres) / self.spread
            if not np.vdot(scaled, scaled) < self.scorer.far**2:  # too far out, or not a number
                rows, scaled, missing = self._mended(rows)
        if missing is not None or np.count_nonzero(self.gone):
            events = self._after_gaps(missing)
        self.rows += 1
        self.held[:] = rows
        self._push(rows, scaled)
        silent = warming = self.seen < len(self.window)
        if missing is not None:
            silent = warming | (missing.mean(axis=1) > 1 - ENOUGH)
        scores, errors = self._judged(silent, missing)
        self.missing = missing
        for number in np.flatnonzero(~(scores <= self.levels)).tolist():
            alarm, score = self.alarms[number], float(scores[number])
            if not math.isfinite(score):
                scores[number] = math.nan
                few = WARMING_UP if warming[number] else "too few values"
                why[number] = few if silent[number] else "not a number"
                continue
            if event := alarm.step(score, self.rows - 1):
                events[number] = event
            if self.accept_after is not None and self._accepted(number):
                events[number] = "accepted"
            self.levels[number] = -math.inf if alarm.open else alarm.threshold
        return Tick(scores, events, why, errors)

    def _mended(self, rows: Floats) -> tuple[Floats, Floats, Bits | None]:
        """Fill what is missing with the last values, and cut what is too far out."""
        bad = ~np.isfinite(rows)
        filled = np.where(bad, self.held, rows)
        reach = self.scorer.far * self.spread
        inside = np.clip(filled, self.centres - reach, self.centres + reach)
        found = {"filled cells": bad, "infinite cells": np.isinf(rows)}
        found["cut cells"] = inside != filled
        self.counts += {kind: int(cells.sum()) for kind, cells in found.items()}
        return inside, (inside - self.centres) / self.spread, bad if bad.any() else None

    def _after_gaps(self, missing: Bits | None) -> dict[int, str]:
        """Start afresh where rows come again after a gap; give the alarms that end by it."""
        absent = np.zeros(len(self.gone), bool) if missing is None else missing.all(axis=1)
        back = ~absent & (self.gone > self.longest_bridge)
        self.gone = np.where(absent, self.gone + 1, 0)
        ended = [number for number in np.flatnonzero(back).tolist() if self.alarms[number].open]
        self.restart(back)
        return dict.fromkeys(ended, "ended")

    def _push(self, rows: Floats, scaled: Floats) -> None:
        unmoved = rows if self.centres is self.base else rows - self.offset
        self.window[self.place] = (scaled if self.scorer.scaled else unmoved).T
        self.place = (self.place + 1) % len(self.window)
        self.seen += 1

    def _latest(self, part: slice) -> Floats:
        """Give the rows in the window ``(l + 1, c, n)``, oldest first."""
        window = self.window[:, :, part]
        if self.place == 0:
            return window
        return np.concatenate([window[self.place :], window[: self.place]])

    def _judged(self, silent: Bits, missing: Bits | None) -> Judged:
        """Score the latest rows, block by block; NaN where ``silent``, or the score is none."""
        quiet = np.count_nonzero(silent)  # much quicker than `any` for one stream
        if quiet == len(silent):
            return np.full(len(silent), np.nan), None
        before = self.carry.copy() if quiet else None
        size = self.scorer.block  # streams that are scored together
        blocks = [slice(first, first + size) for first in range(0, len(silent), size)]
        parts = [self.scorer.judge(self._latest(one), self.carry[:, one]) for one in blocks]
        scores = np.concatenate([one for one, _ in parts])
        parted = parts[0][1] is not None
        errors = np.concatenate([one for _, one in parts], axis=-1) if parted else None
        if missing is not None and errors is not None:
            errors[missing.T] = 0
            if self.scorer.scaled:
                some = missing.any(axis=1) & ~silent
                sums = errors[:, some].sum(axis=0, dtype=np.float64)
                scores[some] = sums / np.count_nonzero(~missing[some], axis=1)
        if quiet:
            self.carry[:, silent] = before[:, silent]
            scores[silent] = np.nan
        return scores, errors

    def _accepted(self, number: int) -> bool:
        """Follow the level of an open alarm; make it the normal one when it has stayed."""
        if not self.alarms[number].open:
            self.since[number] = 0
            return False
        self.since[number] += 1
        before = self.lifted[number] if self.since[number] > 1 else 0
        self.lifted[number] = before + (self.held[number] - before) / self.since[number]  # a mean
        if self.since[number] < self.accept_after:
            return False
        change = self.lifted[number] - self.means - self.offset[number]
        self.window[:, :, number] -= change / (self.spread if self.scorer.scaled else 1)
        self.offset[number] += change
        self.centres = self.base + self.offset
        self.carry[:, number] = np.nan
        self.alarms[number].open, self.since[number] = False, 0
        return True

    def bridge(self, rows: int) -> None:
        """Let missing rows pass as if they had held the last values; they have no score."""
        scaled = (self.held - self.centres) / self.spread
        for _ in range(rows):
            self._push(self.held, scaled)

    def restart(self, which: Bits | slice = slice(None)) -> None:
        """Forget the rows so far, as after a gap: the next ones have no score; alarms end."""
        self.seen[which] = self.since[which] = 0
        self.carry[:, which] = np.nan
        for number in np.arange(len(self.alarms))[which]:
            self.alarms[number].open = False

    def explain(self, step: Step, top: int = 5) -> list[dict[str, object]]:
        """Name the channels with the largest shares in the score of the latest row, largest first.

        Each with ``channel``, ``share``, ``forecast`` and ``observed`` in the channel's unit; the
        last two are None where there is no forecast, or the cell was missing. Empty where the
        detector does not say what each channel adds.
        """
        if step.errors is None:
            return []
        number, made = step.stream, self.scorer
        values = np.full((2, len(step.errors)), np.nan)
        if hasattr(made.detector, "forecasts"):
            latest = self._latest(slice(number, number + 1))[:, :, 0]
            latest = latest * made.spread + made.centre if made.scaled else latest
            values[0] = made.detector.forecasts(latest)[-1] + self.offset[number]
        values[1] = self.held[number]
        if self.missing is not None:
            values[1, self.missing[number]] = np.nan
        known = np.where(np.isfinite(values), values, None).tolist()  # JSON has no NaN
        names, shares = ("channel", "share", "forecast", "observed"), step.shares
        rows = list(zip(self.model.channels, shares.tolist(), *known, strict=True))
        order = np.argsort(-shares, kind="stable")[:top]
        return [dict(zip(names, rows[place], strict=True)) for place in order if shares[place] > 0]

    def save(self, path: str | Path, **more: object) -> Path:
        """Write all that the next rows depend on besides models and settings, in one file.

        ``more`` are plain values that `load` gives back.
        """
        facts = {name: getattr(self, name) for name in ("rows", "place", "counts")}
        facts["alarms"] = [alarm.state for alarm in self.alarms]
        facts |= {"model": self.model.fingerprint, "streams": len(self.alarms)} | more
        arrays = {name: getattr(self, name) for name in ARRAYS}
        return saving.write(path, arrays, {"format": STATE, "facts": json.dumps(facts)})

    def load(self, path: str | Path) -> dict[str, object]:
        """Go on from what `save` wrote as if there had been no break; give all its plain values.

        Raises `DataError` for a damaged file, one of another kind, and other models' state.
        """
        arrays, head = saving.read(path, STATE)
        facts = json.loads(head["facts"])
        if (facts["model"], facts["streams"]) != (self.model.fingerprint, len(self.alarms)):
            raise DataError("the state is that of a stream with another model", file=path)
        for name in ARRAYS:
            getattr(self, name)[...] = arrays[name]
        self.centres = self.base + self.offset
        self.levels[:] = -np.inf
        self.rows, self.place = facts["rows"], facts["place"]
        self.counts.clear()
        self.counts.update(facts["counts"])
        for alarm, known in zip(self.alarms, facts["alarms"], strict=True):
            for name, value in known.items():
                setattr(alarm, name, value)
        return facts


class Stream(Fleet):
    """One stream, a fleet of one: raw rows ``(c,)`` in, each one's `Step` out.

    Options are those of `Fleet`. A row without any value is a row here: only times tell of rows
    that did not come, and who has them calls `bridge` or `restart`.
    """

    longest_bridge = math.inf

    def __init__(self, model: Model, **options: object) -> None:
        super().__init__(model, 1, **options)

    def step(self, row: npt.ArrayLike) -> Step:
        """Take the next raw row ``(c,)``; `ValueError` for one of another length."""
        return super().step(np.asarray(row, dtype=np.float64)[None]).of(0)

    @property
    def alarm(self) -> Alarm:
        """The stream's alarm, with its threshold."""
        return self.alarms[0]
